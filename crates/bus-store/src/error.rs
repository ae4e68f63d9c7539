//! The one error of a store: opaque, with a kind, whether it is worth another try, and a source.

use std::{error::Error, fmt, time::Duration};

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// No such message for this principal (also where it belongs to somebody else).
    NotFound,
    /// The message's time to live has passed.
    Expired,
    /// The message is pending or was given up by its writer, so it has no payload.
    NotComplete,
    /// The key is taken by a message with another digest. Not retryable: the caller's mistake.
    Conflict,
    /// The upload token is stale: another writer took over, or the upload was purged or deleted.
    LeaseLost,
    /// What was uploaded and what the manifest says differ.
    Mismatch,
    /// An argument is not legal; nothing was changed.
    InvalidInput,
    /// Larger than this store takes.
    TooLarge,
    /// No space is left.
    Full,
    /// The store may not be written (read-only folder) or the caller may not do this.
    Denied,
    /// Stored data is damaged. Other messages are not affected.
    Damaged,
    /// Written by a newer bus than this one.
    NewerFormat,
    /// Another call was in the way at the very moment (a deadlock, two transactions that cannot be
    /// put in an order). The store itself is well: the same call may succeed at once.
    Contended,
    /// The store is too busy now, or locked by another process for too long.
    Overloaded,
    /// The store cannot be reached.
    Unavailable,
    /// The store did not answer in time.
    Timeout,
    /// A bug or a failure that fits nothing above.
    Internal,
}

impl StoreErrorKind {
    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Contended | Self::Overloaded | Self::Unavailable | Self::Timeout
        )
    }
}

/// Why a store did not do what it was asked to.
///
/// `Display` says what failed, with which value, and what to do; it never repeats the source.
pub struct StoreError(Box<Inner>);

struct Inner {
    kind: StoreErrorKind,
    message: String,
    retry_after: Option<Duration>,
    hopeless: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error of `kind`. The message must hold no secret.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retry_after: None,
            hopeless: false,
            source: None,
        }))
    }

    /// The same, caused by `source`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same; another try is worth it after `delay`.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The same, but another try of the very call is not worth it, though errors of this kind are
    /// transient: a statement that ran into the time limit of its server would do so again.
    #[must_use]
    pub fn without_retry(mut self) -> Self {
        self.0.hopeless = true;
        self
    }

    /// What caused it, for an error that takes over everything else that this one says.
    #[must_use]
    pub fn into_source(self) -> Option<Box<dyn Error + Send + Sync>> {
        self.0.source
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later, unchanged: by its kind, unless
    /// [`without_retry`](Self::without_retry) says otherwise.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.kind.is_transient() && !self.0.hopeless
    }

    /// How long to wait before another try, where the store said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}
