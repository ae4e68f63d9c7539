//! The embedded store of bus: files beside a SQLite index in a folder of the local file system.

mod begin;
mod bodies;
mod core;
mod deep_check;
mod error;
mod index;
mod options;
mod read;
mod reserve;
mod rows;
mod store;
mod sweep;
mod upload;
mod uploads;

pub use deep_check::{DeepCheck, StoreIssue};
pub use options::{Options, Step, StepHook};
pub use store::EmbeddedStore;
