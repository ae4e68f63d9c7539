//! What the suite needs of a backend.

use chrono::{DateTime, Utc};

use crate::Records;

/// Fresh, empty records.
pub trait RecordsHarness: Send + Sync {
    /// The records.
    fn records(&self) -> Records;

    /// The time now by the store's clock, give or take some seconds; the machine's by default.
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    /// Another handle on the same records, as another process would have one. Where there is none,
    /// the cases with two processes use the one for both.
    fn second(&self) -> Option<Records> {
        None
    }
}
