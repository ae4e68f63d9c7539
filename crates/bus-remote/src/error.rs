//! The one error of a daemon's client: opaque, with a kind that a caller can act on, and a source.

use std::{error::Error, fmt, time::Duration};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoteErrorKind {
    /// An argument is not legal; nothing was sent.
    InvalidInput,
    /// The daemon cannot be reached, or it cannot reach its store.
    Unavailable,
    /// The daemon did not answer in time.
    Timeout,
    /// The token is missing or wrong.
    Unauthorized,
    /// The daemon refuses this caller, whatever its token.
    Forbidden,
    /// No such message or no such path at the daemon; also where it belongs to somebody else.
    NotFound,
    /// The message's time to live has passed.
    Expired,
    /// The transaction id is taken by other bytes, or is being written by somebody else.
    Conflict,
    /// Larger than the daemon takes, or than it can deliver.
    TooLarge,
    /// A message from the daemon was larger than this client takes, and closed the connection
    /// with code 1009.
    FrameTooLarge,
    /// The daemon had no capacity left, in every try.
    OverCapacity,
    /// The daemon has no tool of that name.
    ToolNotFound,
    /// The tool failed.
    ToolFailed,
    /// The tool did not end in the daemon's time.
    ToolTimeout,
    /// The request id was used before, with another call.
    Duplicate,
    /// The bytes are not what the claim or the daemon says they are.
    Mismatch,
    /// The daemon's answer ended early.
    Truncated,
    /// The daemon closed the connection.
    Closed,
    /// The daemon said something that this client does not understand.
    Protocol,
    /// Space ran out at the daemon.
    Full,
    /// A local file could not be read or written.
    Io,
    /// The daemon failed in a way that fits nothing above.
    Daemon,
}

/// Why a daemon's client did not do what it was asked to.
///
/// `Display` says what failed, with which value, and what to do; it never repeats the source.
pub struct RemoteError(Box<Inner>);

struct Inner {
    kind: RemoteErrorKind,
    message: String,
    code: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RemoteError {
    /// An error of `kind`. The message must hold no secret.
    #[must_use]
    pub fn new(kind: RemoteErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            code: None,
            retry_after: None,
            source: None,
        }))
    }

    /// The same, caused by `source`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same, with the code that the daemon gave: of an error frame, a status or a close.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// The same; another try is worth it after `delay`.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> RemoteErrorKind {
        self.0.kind
    }

    /// The daemon's own code for it, such as `EXEC_ERROR`, `404` or `1009`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// How long to wait before another try, where the daemon said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.0.kind,
            RemoteErrorKind::Unavailable | RemoteErrorKind::OverCapacity | RemoteErrorKind::Timeout
        )
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("code", &self.0.code)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
