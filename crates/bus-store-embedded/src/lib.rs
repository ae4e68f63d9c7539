//! The embedded store of bus: files beside a SQLite index in a folder of the local file system.

mod begin;
mod bodies;
mod core;
mod error;
mod index;
mod options;
mod read;
mod rows;
mod store;
mod sweep;
mod upload;
mod uploads;

pub use options::{Options, Step, StepHook};
pub use store::EmbeddedStore;
