//! The HTTP API against a real daemon over real sockets.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly, as tests do"
)]

mod support;

mod access;
mod conditions;
mod described;
mod faults;
mod health;
mod listing;
mod payload;
mod publish;
mod ranges;
mod rude;
