//! Claim checks for tool servers: route a reply, publish it to a store, fetch it back byte for
//! byte.
//!
//! ```
//! use bus_client::{Message, MessageBusClient, Source};
//! # #[cfg(feature = "memory")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use bus_client::settings::StoreSpec;
//!
//! let bus = MessageBusClient::builder().store_spec(StoreSpec::Memory).build();
//! let message = Message::new("session-1".parse()?, "analyse_file".parse()?);
//! let published = bus.publish(message, Source::bytes("a large result")).await?;
//!
//! // Only the claim travels; whoever holds it fetches the exact bytes.
//! let id = &published.claim().message_bus_transaction_id;
//! assert_eq!(bus.fetch(id).await?.bytes().await?, "a large result");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`settings`] | the variables, `.env`, and what they may hold |
//! | [`client`] | [`MessageBusClient`] and its builder |
//! | [`message`] | [`Message`] and [`Source`]: what is published |
//! | [`route`] | inline or by claim |
//! | [`fetch`] | [`Fetched`]: bytes, JSON, a stream, a range, a file |
//! | [`records`] | [`History`](records::History): conversations, whose long entries go by claim |
//! | [`place`] | where a file that is going to be replaced really is |
//! | [`error`] | [`ClientError`] |
//!
//! Features: `embedded` and `supabase` (both default) and `memory` choose the backends that can be
//! named in settings; a store of your own goes in through [`ClientBuilder::store`].

mod accesses;
mod backend;
mod batch;
pub mod client;
pub mod error;
pub mod fetch;
pub mod message;
pub mod place;
mod publish;
pub mod records;
pub mod route;
pub mod settings;
mod upload;

pub use client::{ClientBuilder, MessageBusClient};
pub use error::{ClientError, ClientErrorKind};
pub use fetch::{Fetched, PayloadStream};
pub use message::{Message, Published, Source};
pub use route::Route;

/// The README's examples, run as tests.
#[cfg(all(doctest, feature = "memory"))]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
