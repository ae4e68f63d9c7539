//! The conformance suite of the Store contract, twice: as one process sees the store, and as two
//! processes see it whose writers die.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bus_store::{Store, UploadToken, conformance::Harness};
use bus_store_embedded::EmbeddedStore;

use crate::support::Fixture;

mod one_process {
    //! Uploads are taken over in memory, by their leases alone.

    use super::{Arc, Duration, Fixture, Harness, Store, async_trait};

    struct OneProcess(Fixture);

    #[async_trait]
    impl Harness for OneProcess {
        fn store(&self) -> Arc<dyn Store> {
            Arc::new(self.0.store.clone())
        }

        async fn advance(&self, by: Duration) {
            self.0.clock.advance(by);
        }
    }

    async fn harness() -> OneProcess {
        OneProcess(Fixture::new())
    }

    bus_store::conformance_suite!(harness);
}

mod two_processes {
    //! Each handle has its own uploads and locks; a dead writer leaves what was durable.

    use super::{Arc, Duration, EmbeddedStore, Fixture, Harness, Store, UploadToken, async_trait};

    struct TwoProcesses {
        first: Fixture,
        second: EmbeddedStore,
    }

    #[async_trait]
    impl Harness for TwoProcesses {
        fn store(&self) -> Arc<dyn Store> {
            Arc::new(self.first.store.clone())
        }

        async fn advance(&self, by: Duration) {
            self.first.clock.advance(by);
        }

        async fn writer_dies(&self, token: &UploadToken) {
            self.first.store.release(token);
            self.second.release(token);
        }

        fn second_store(&self) -> Option<Arc<dyn Store>> {
            Some(Arc::new(self.second.clone()))
        }
    }

    async fn harness() -> TwoProcesses {
        // Every chunk is durable at once, and nothing is small enough for the index.
        let first = Fixture::with(|options| bus_store_embedded::Options {
            checkpoint_bytes: 0,
            inline_bytes: 0,
            ..options
        });
        let second = first.other();
        TwoProcesses { first, second }
    }

    bus_store::conformance_suite!(harness);
}
