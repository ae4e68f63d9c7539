//! The tests of the model, in one program.

mod digests;
mod forms;
mod ids;
mod manifests;
mod secrets;
mod statuses;
mod units;
