//! The WebSocket side of the daemon over real sockets, as a client sees it.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly, as tests do"
)]

mod audit;
mod audit_purge;
mod calls;
mod command_tools;
mod delivery;
mod duplicates;
mod events;
mod limits;
mod read_file;
mod sessions;
mod shutdown;
mod support;
mod unmodified_clients;
