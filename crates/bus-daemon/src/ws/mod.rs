//! WebSocket sessions: the original's frames over one socket.
//!
//! A session is a reader loop ([`session`]) and one writer task ([`writer`]) with a bounded queue;
//! each call of a tool is a task of its own ([`call`]). Nothing but the writer touches the socket's
//! sending half, so frames never mix and control frames never wait for more than one message.

use std::sync::Arc;

use axum::{extract::ws::WebSocketUpgrade, response::Response};
use tokio::sync::OwnedSemaphorePermit;

use crate::state::AppState;

mod call;
mod handshake;
mod keepalive;
mod problem;
mod requests;
mod session;
mod writer;

/// What a session holds for reading even while it is idle, in bytes; the library's own 128 KiB
/// would be most of the memory of many sessions.
const READ_BUFFER: usize = 16 << 10;

/// Answers an upgrade and runs the session behind it, which keeps `place` until it ends.
pub(crate) fn upgrade(
    upgrade: WebSocketUpgrade,
    state: Arc<AppState>,
    place: OwnedSemaphorePermit,
) -> Response {
    let largest = state.config.limits.max_inbound_message;
    let tasks = state.tasks.clone();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(largest)
        .max_frame_size(largest)
        .on_failed_upgrade(|error| tracing::debug!(%error, "an upgrade failed"))
        .on_upgrade(move |socket| {
            tasks.track_future(async move {
                let _place = place;
                session::run(state, socket).await;
            })
        })
}
