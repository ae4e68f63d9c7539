//! The bus daemon as a library: a WebSocket tool server and an HTTP API on one port.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bus_client::MessageBusClient;
//! use bus_daemon::{
//!     Daemon, DaemonConfig,
//!     tools::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec},
//! };
//! use bus_store::MemoryStore;
//! use serde_json::json;
//!
//! struct Greet(ToolSpec);
//!
//! #[async_trait::async_trait]
//! impl Tool for Greet {
//!     fn spec(&self) -> &ToolSpec {
//!         &self.0
//!     }
//!
//!     async fn call(&self, _: ToolContext) -> Result<ToolOutput, ToolError> {
//!         Ok(ToolOutput::text("hello"))
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let schema = json!({"type": "object"});
//! let greet = Greet(ToolSpec::new("greet".try_into()?, "Says hello", schema));
//! let store = Arc::new(MemoryStore::new());
//! let daemon = Daemon::builder()
//!     .config(DaemonConfig { listen: ([127, 0, 0, 1], 0).into(), ..DaemonConfig::default() })
//!     .client(MessageBusClient::builder().store(store).enabled(true).build())
//!     .tool(Arc::new(greet))
//!     .bind()
//!     .await?;
//! println!("connect to ws://{}", daemon.local_addr());
//! # daemon.shutdown(std::time::Duration::ZERO).await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`server`] | a daemon from its settings to its last answer |
//! | [`config`] | what it is told when it starts |
//! | [`state`] | what all sessions and requests share |
//! | [`tools`] | what a client may call |
//! | `http` | the HTTP API |
//! | `ws`, `delivery`, `results` | WebSocket sessions, how a result travels, kept results |
//! | `audit` | an entry a call, written behind the calls' backs |
//! | [`metrics`] | what is counted |
//! | [`token`] | the token that clients must show |

mod audit;
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
