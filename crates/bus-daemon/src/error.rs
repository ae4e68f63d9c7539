//! Why a daemon does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::tools::{RegistryError, ToolsFileError};

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
    /// The tools file cannot be used.
    #[error("the command tools cannot be served")]
    ToolsFile(#[from] ToolsFileError),
    /// The root of `read_file` is no folder.
    #[error("the root {} is not a folder that can be read", root.display())]
    Root {
        /// The root asked for.
        root: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No client was handed in.
    #[error("a daemon needs a MessageBusClient: hand one to the builder")]
    NoClient,
}
