//! What the suite needs to be able to do to a store.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Store, UploadToken};

/// A fresh, empty store and the levers that a user of it does not have.
///
/// A store that makes chunks durable in batches is set up to do so with each of them: the cases
/// expect to resume with all that a dead writer uploaded.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Moves the clock of the store forward. A store with a clock that cannot be moved makes
    /// everything it holds older instead.
    async fn advance(&self, by: Duration);

    /// Makes the process of this upload's writer be gone, without moving the clock: the suite lets
    /// the lease run out by itself. The default does nothing, for a store that knows its writers
    /// by their leases alone.
    async fn writer_dies(&self, token: &UploadToken) {
        let _ = token;
    }

    /// Another handle on the same messages, as another process would have one. Where there is
    /// none, the cases with two processes use the one store for both.
    fn second_store(&self) -> Option<Arc<dyn Store>> {
        None
    }
}
