//! The client of a bus daemon: calls a tool over WebSocket, redeems its claim over HTTP.
//!
//! A claim is redeemed only where the frame itself says that it is one, never because of text
//! inside a payload, and never at an address that a frame names: a path is joined to the daemon's
//! own origin, anything else is refused. Bytes count as received only once their SHA-256 is what
//! the frame said.
//!
//! | module | holds |
//! |---|---|
//! | [`url`] | [`DaemonUrl`]: scheme, host and port, nothing else |
//! | [`config`] | [`RemoteConfig`] |
//! | [`session`] | [`Remote`]: tools and calls over WebSocket |
//! | [`http`] | [`HttpApi`]: messages over HTTP |
//! | [`payload`] | [`Payload`]: bytes on their way, checked as they come |
//! | [`error`] | [`RemoteError`] and its kinds |

pub mod config;
pub mod error;
pub mod http;
pub mod payload;
mod place;
pub mod session;
pub mod url;

pub use config::RemoteConfig;
pub use error::{RemoteError, RemoteErrorKind};
pub use http::{Body, HttpApi, Listing, Page, PutOptions, RangeRequest, StatusQuery, Stored};
pub use payload::Payload;
pub use session::{CallOptions, CallOutcome, Remote};
pub use url::{DaemonUrl, DaemonUrlError};
