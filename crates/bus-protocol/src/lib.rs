//! The WebSocket frames of bus as types.

mod output;

pub use output::Output;
