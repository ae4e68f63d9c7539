//! Supabase as a store of bus: the functions of `migrations/`, called over HTTP through PostgREST.
//!
//! ```no_run
//! use bus_store::Store as _;
//! use bus_store_supabase::{SupabaseConfig, SupabaseStore};
//! use secrecy::SecretString;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = SecretString::from("sb_secret_...");
//! let store = SupabaseStore::new(SupabaseConfig::new("https://PROJECT.supabase.co", &key)?)?;
//! store.check().await?;
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | address, key, timeouts |
//! | [`key`] | the kinds of keys, and what a JWT says of itself |
//! | `http` | the shell around the network: headers, bounds, timeouts |
//! | `errors` | from a refused request to a `StoreError`, by its code |
//! | `row` | the JSON that travels, and nobody else knows it |
//! | `load` | how long a call is waited for beside others |
//! | `rpc` | one call of a function |
//! | `write`, `read`, `keep` | the contract, call by call |
//! | `records` | the audit log, conversation history and preferences |
//! | `attempts` | the fences of calls whose answer was lost |
//! | [`diagnose`] | what `bus doctor` asks, and how its answer is judged |
//!
//! # What travels
//! A message of one chunk is one request, also where its key is taken. A larger one is `begin`, a
//! request a chunk and `commit`. A chunk goes up as base64, or as raw bytes where the server turns out
//! to take them unchanged, which is asked once; it comes down as raw bytes.
//!
//! # Who is asking
//! With a secret key (or the older `service_role` JWT) the caller names the principal. With the
//! token of a user its `sub` is the principal, whatever the caller says, and records come back with it.
//!
//! # What is repeated
//! Nothing is tried twice here: that is for bus-client. Every call may be made again, and the
//! functions answer the same again; a `begin` or `put` whose answer was lost is known by its fence.

mod attempts;
pub mod config;
pub mod diagnose;
mod errors;
mod http;
mod keep;
pub mod key;
mod load;
mod read;
mod records;
mod row;
mod rpc;
mod store;
mod write;

pub use config::{ConfigError, REST_PREFIX, SupabaseConfig};
pub use key::{ApiKey, JwtClaims, KeyError, KeyKind};
pub use read::ServerInfo;
pub use records::SupabaseRecords;
pub use store::{SCHEMA_VERSION, SupabaseStore};
