//! The records beside messages, by the functions `bus_audit_*`, `bus_history_*` and `bus_prefs_*`.
//!
//! Texts that may hold anything travel as JSON within a JSON string, and are kept as `json`: no text
//! column takes `\u0000`. Only `row` here knows the keys.

mod audit;
mod history;
mod preferences;
mod row;

use std::{sync::Arc, time::Duration};

use bus_store::{Records, StoreError, StoreErrorKind};
use serde::{Serialize, de::DeserializeOwned};

use crate::{SupabaseStore, row::Outcome};

/// The records of a Supabase project. Cheap to clone; clones share connections with their store.
#[derive(Debug, Clone)]
pub struct SupabaseRecords(SupabaseStore);

impl SupabaseStore {
    /// The audit log, conversation history and preferences of this store's project.
    ///
    /// With the token of a user they are that user's, whatever principal the caller names.
    #[must_use]
    pub fn records(&self) -> Records {
        Records::of(Arc::new(SupabaseRecords(self.clone())))
    }
}

impl SupabaseRecords {
    async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        function: &'static str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, StoreError> {
        self.0.core().http.call(function, request).await
    }

    async fn call_for<T: DeserializeOwned + Send + 'static>(
        &self,
        function: &'static str,
        request: &(impl Serialize + Sync),
        patience: Duration,
    ) -> Result<T, StoreError> {
        let http = &self.0.core().http;
        http.call_for(function, request, Some(patience)).await
    }
}

/// An outcome that `function` does not have.
fn strange(function: &'static str, outcome: Outcome) -> StoreError {
    StoreError::new(
        StoreErrorKind::Internal,
        format!("{function} answered {outcome:?}, which this bus does not know: run `bus migrate`"),
    )
}
