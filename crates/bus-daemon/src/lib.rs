//! The bus daemon as a library: a WebSocket tool server and an HTTP API on one port.
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | a daemon from its settings to its last answer |
//! | [`config`] | what it is told when it starts |
//! | [`state`] | what all sessions and requests share |
//! | [`tools`] | what a client may call |
//! | `http` | the HTTP API |
//! | `ws`, `delivery`, `results` | WebSocket sessions, how a result travels, kept results |
//! | [`metrics`] | what is counted |
//! | [`token`] | the token that clients must show |

pub mod config;
mod delivery;
pub mod error;
mod http;
mod listener;
pub mod metrics;
mod results;
mod retention;
pub mod server;
pub mod state;
pub mod token;
pub mod tools;
mod ws;

pub use config::{DaemonConfig, Limits};
pub use error::DaemonError;
pub use server::{Daemon, DaemonBuilder, RunningDaemon};
pub use state::AppState;
