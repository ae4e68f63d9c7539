//! The conformance suite: what the contract says, as small named cases that every backend runs.
//!
//! A backend writes one [`Harness`] and one line:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use async_trait::async_trait;
//! use bus_store::{ManualClock, MemoryStore, Store, conformance::Harness};
//!
//! struct Memory {
//!     clock: Arc<ManualClock>,
//!     store: Arc<dyn Store>,
//! }
//!
//! #[async_trait]
//! impl Harness for Memory {
//!     fn store(&self) -> Arc<dyn Store> {
//!         Arc::clone(&self.store)
//!     }
//!
//!     async fn advance(&self, by: Duration) {
//!         self.clock.advance(by);
//!     }
//! }
//!
//! async fn harness() -> Memory {
//!     let clock = Arc::new(ManualClock::default());
//!     let store = Arc::new(MemoryStore::with_clock(Arc::clone(&clock) as _));
//!     Memory { clock, store }
//! }
//!
//! bus_store::conformance_suite!(harness);
//! ```
//!
//! The line becomes one `#[tokio::test]` for each case, named after it, and
//! `random_operations_agree_with_the_reference`, the model test of [`model`]. The crate that uses it needs tokio with its
//! `macros` and `rt` among its dev-dependencies. Bodies are raw bytes throughout, so that the
//! suite needs no codec.

mod harness;
mod list;
pub mod model;
mod support;

pub mod expiry;
pub mod idempotency;
pub mod leases;
pub mod listing;
pub mod misc;
pub mod principals;
pub mod purge;
pub mod reading;
pub mod takeover;
pub mod writing;

pub use harness::Harness;
pub use list::{Case, cases};
