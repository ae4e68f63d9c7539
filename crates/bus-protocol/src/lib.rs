//! The WebSocket frames of bus as types: the only crate that knows what they look like.
//!
//! Frames are JSON texts with an `op`. They are the original's, with keys added that old clients
//! ignore. Nothing here does I/O.
//!
//! | module | holds |
//! |---|---|
//! | [`client`] | what a client sends |
//! | [`server`] | what the daemon sends |
//! | [`inline`] | results that travel inside their frame: measured first, built once |
//! | [`reply`] | what a client makes of a result |
//! | [`codes`] | close codes and error codes |

pub mod client;
pub mod codes;
pub mod inline;
mod output;
mod parse;
pub mod reply;
pub mod server;

pub use client::{
    CallTool, ClientFrame, Hello, HelloError, RequestId, RequestIdError, RotateToken, Token,
};
pub use codes::{ErrorCode, close};
pub use inline::{InlineResult, OutputsPayload};
pub use output::Output;
pub use parse::FrameError;
pub use reply::{InlinePayload, Reply};
pub use server::{
    CallError, CallToolAck, CallToolRes, Delivery, Health, HelloAck, ProgressNote, Seconds,
    ServerFrame, ToolInfo,
};
