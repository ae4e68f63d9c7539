//! The conformance suite of the records beside messages, in the style of
//! [`conformance`](crate::conformance): a backend writes one [`RecordsHarness`] and one line:
//!
//! ```
//! use bus_store::records::{MemoryRecords, Records, conformance::RecordsHarness};
//! use chrono::{DateTime, Utc};
//!
//! struct Memory(MemoryRecords);
//!
//! impl RecordsHarness for Memory {
//!     fn records(&self) -> Records {
//!         self.0.records()
//!     }
//! }
//!
//! async fn harness() -> Memory {
//!     Memory(MemoryRecords::new())
//! }
//!
//! bus_store::records_conformance_suite!(harness);
//! ```

mod harness;
mod list;
mod support;

pub mod audit;
pub mod audit_pages;
pub mod history;
pub mod history_pages;
pub mod preferences;

pub use harness::RecordsHarness;
pub use list::{RecordsCase, records_cases};
