//! Tools: what a client may call.
//!
//! A [`Tool`] gets arguments and a cancellation token, and gives outputs or a stream of bytes, so
//! that a result of a gigabyte never sits in memory. The [`Registry`] holds them by name, each with
//! its schema compiled once.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bus_model::{ContentType, ProviderName, SessionId, ToolName};
use bus_protocol::Output;
use serde_json::Value;
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

mod command;
mod echo;
mod generate;
mod read_file;
mod registry;

pub use command::{CommandTool, ToolsFileError, load as load_commands};
pub use echo::Echo;
pub use generate::{Content, Generate, Kind};
pub use read_file::ReadFile;
pub use registry::{Registry, RegistryBuilder, RegistryError};

/// Something that a client may call.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// What clients are told of it.
    fn spec(&self) -> &ToolSpec;

    /// Runs the tool.
    ///
    /// The arguments have passed the tool's schema. The future is dropped when the call is
    /// cancelled or its time is over, and `context.cancel` is cancelled then too, for work that
    /// runs elsewhere.
    ///
    /// # Errors
    /// [`ToolError`] where the tool failed; the client gets its message as EXEC_ERROR.
    async fn call(&self, context: ToolContext) -> Result<ToolOutput, ToolError>;
}

/// What clients are told of a tool.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// The name it is called by.
    pub name: ToolName,
    /// What it does, for people and models.
    pub description: String,
    /// Who provides it; `unknown` by default.
    pub provider: ProviderName,
    /// JSON schema of its arguments, an object.
    pub input_schema: Value,
    /// How long it may take; `None` for the daemon's own limit.
    pub timeout: Option<Duration>,
}

impl ToolSpec {
    /// A tool called `name`, all else at its default.
    #[must_use]
    pub fn new(name: ToolName, description: impl Into<String>, input_schema: Value) -> Self {
        Self {
            name,
            description: description.into(),
            provider: ProviderName::default(),
            input_schema,
            timeout: None,
        }
    }
}

/// What one call of a tool gets.
#[derive(Debug)]
pub struct ToolContext {
    /// The arguments, an object that has passed the tool's schema.
    pub arguments: Value,
    /// The session that calls.
    pub session_id: SessionId,
    /// The client's id of the call.
    pub request_id: String,
    /// Cancelled when nobody waits for the result any more.
    pub cancel: CancellationToken,
    /// Tells the client how far the tool is.
    pub progress: Progress,
}

/// Tells the client of a call how far its tool is.
#[derive(Clone)]
pub struct Progress(std::sync::Arc<dyn Fn(&str) + Send + Sync>);

impl Progress {
    /// Hands notes to `tell`, which must not block.
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(std::sync::Arc::new(tell))
    }

    /// Notes go nowhere.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Sends `note`. It is dropped where the client does not keep up: progress never waits.
    pub fn note(&self, note: &str) {
        (self.0)(note);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

/// What a tool gives back.
pub enum ToolOutput {
    /// Outputs in memory. The payload is `{"outputs":[…]}`.
    Outputs(Vec<Output>),
    /// A stream. The payload is exactly its bytes. An error of the reader means that the tool
    /// failed: nothing of the stream reaches the client or the store.
    Stream {
        /// The media type of the bytes.
        content_type: ContentType,
        /// How many bytes there are, where that is known: what cannot be stored is refused before
        /// the first byte then, and a reader that gives another number has failed.
        length: Option<u64>,
        /// The bytes. Dropping it ends whatever makes them.
        reader: Box<dyn AsyncRead + Send + Unpin>,
    },
}

impl ToolOutput {
    /// One text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Outputs(vec![Output::text(text)])
    }

    /// A stream of `content_type`, of a length that nobody knows yet.
    #[must_use]
    pub fn stream(
        content_type: ContentType,
        reader: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        Self::Stream {
            content_type,
            length: None,
            reader: Box::new(reader),
        }
    }

    /// A stream of exactly `length` bytes.
    #[must_use]
    pub fn sized_stream(
        content_type: ContentType,
        reader: impl AsyncRead + Send + Unpin + 'static,
        length: u64,
    ) -> Self {
        Self::Stream {
            content_type,
            length: Some(length),
            reader: Box::new(reader),
        }
    }
}

impl fmt::Debug for ToolOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outputs(outputs) => f.debug_tuple("Outputs").field(&outputs.len()).finish(),
            Self::Stream { content_type, .. } => f
                .debug_struct("Stream")
                .field("content_type", content_type)
                .finish_non_exhaustive(),
        }
    }
}

/// Why a tool failed, in words for its caller.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ToolError {
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ToolError {
    /// The tool failed; `message` says what, with which value, and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// The same, caused by `source`.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}
