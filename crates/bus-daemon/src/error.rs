//! Why a daemon does not start.

use std::{io, net::SocketAddr};

use crate::tools::RegistryError;

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// A daemon without a token is for its own machine only.
    #[error(
        "without a token the daemon listens on loopback only, not on {address}: \
         set a token (BUS_TOKEN) or listen on 127.0.0.1"
    )]
    TokenNeeded {
        /// The address asked for.
        address: SocketAddr,
    },
    /// An empty token would let everybody in.
    #[error("the token is empty: set a token of at least one character, or none")]
    EmptyToken,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is another daemon running there?")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The tools cannot be served.
    #[error("the tools cannot be served")]
    Tools(#[from] RegistryError),
    /// No client was handed in.
    #[error("a daemon needs a MessageBusClient: hand one to the builder")]
    NoClient,
}
