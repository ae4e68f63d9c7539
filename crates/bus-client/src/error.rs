//! The one error of the client: opaque, with a kind that a caller can act on, and a source.

use std::{error::Error, fmt, io, time::Duration};

use bus_codec::EncodeError;
use bus_store::{StoreError, StoreErrorKind};

use crate::settings::SettingsError;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientErrorKind {
    /// A setting is not legal, or the settings contradict each other.
    Settings,
    /// The bus is disabled, so nothing is published.
    Disabled,
    /// No such message for this principal.
    NotFound,
    /// The message's time to live has passed.
    Expired,
    /// The message is still being written, or was given up by its writer.
    NotComplete,
    /// The transaction id is taken by a message with another digest.
    Conflict,
    /// Another writer holds the transaction id, or took it over.
    Busy,
    /// The payload is larger than the maximum.
    TooLarge,
    /// The bytes are not what their digest says.
    DigestMismatch,
    /// The caller's own reader or file failed.
    Source,
    /// An argument is not legal.
    InvalidInput,
    /// The store has no space left.
    Full,
    /// The store refuses to be written, or the caller may not do this.
    Denied,
    /// Stored data is damaged.
    Damaged,
    /// Written by a newer bus than this one.
    NewerFormat,
    /// The store cannot be reached, is too busy or did not answer in time.
    Unavailable,
    /// The work was given up because its runtime is shutting down.
    Cancelled,
    /// A bug or a failure that fits nothing above.
    Internal,
}

/// Why the client did not do what it was asked to.
///
/// `Display` says what failed, with which value, and what to do; it never repeats the source.
pub struct ClientError(Box<Inner>);

struct Inner {
    kind: ClientErrorKind,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl ClientError {
    /// An error of `kind`. The message must hold no secret.
    #[must_use]
    pub fn new(kind: ClientErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
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

    /// The same; another try is worth it after `delay`.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ClientErrorKind {
        self.0.kind
    }

    /// How long to wait before another try, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.0.kind,
            ClientErrorKind::Busy | ClientErrorKind::Unavailable
        )
    }

    /// A failure of the caller's own reader or file.
    pub(crate) fn source_failed(what: impl Into<String>, error: io::Error) -> Self {
        Self::new(ClientErrorKind::Source, what).with_source(error)
    }

    /// More than the largest payload allowed.
    pub(crate) fn too_large(size: Option<u64>, limit: u64) -> Self {
        let what = match size {
            Some(size) => format!("the payload has {size} bytes"),
            None => "the payload grew".to_owned(),
        };
        Self::new(
            ClientErrorKind::TooLarge,
            format!(
                "{what}, beyond the maximum of {limit} bytes: raise MESSAGE_BUS_MAX_PAYLOAD_MB or send less"
            ),
        )
    }

    /// Whole-payload digests that differ.
    pub(crate) fn digest_mismatch(expected: bus_model::Digest, found: bus_model::Digest) -> Self {
        Self::new(
            ClientErrorKind::DigestMismatch,
            format!("the payload has SHA-256 {found}, {expected} was announced; nothing was kept"),
        )
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for ClientError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

impl From<SettingsError> for ClientError {
    fn from(error: SettingsError) -> Self {
        Self::new(ClientErrorKind::Settings, error.to_string())
    }
}

impl From<StoreError> for ClientError {
    /// Takes over what the store says, with what caused it as the source, so that no message
    /// stands in the chain twice.
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::NotFound => ClientErrorKind::NotFound,
            StoreErrorKind::Expired => ClientErrorKind::Expired,
            StoreErrorKind::NotComplete => ClientErrorKind::NotComplete,
            StoreErrorKind::Conflict => ClientErrorKind::Conflict,
            StoreErrorKind::LeaseLost => ClientErrorKind::Busy,
            StoreErrorKind::Mismatch => ClientErrorKind::DigestMismatch,
            StoreErrorKind::InvalidInput => ClientErrorKind::InvalidInput,
            StoreErrorKind::TooLarge => ClientErrorKind::TooLarge,
            StoreErrorKind::Full => ClientErrorKind::Full,
            StoreErrorKind::Denied => ClientErrorKind::Denied,
            StoreErrorKind::Damaged => ClientErrorKind::Damaged,
            StoreErrorKind::NewerFormat => ClientErrorKind::NewerFormat,
            StoreErrorKind::Contended
            | StoreErrorKind::Overloaded
            | StoreErrorKind::Unavailable
            | StoreErrorKind::Timeout => ClientErrorKind::Unavailable,
            _ => ClientErrorKind::Internal,
        };
        let mut new = Self::new(kind, error.to_string());
        new.0.retry_after = error.retry_after();
        new.0.source = error.into_source();
        new
    }
}

impl From<EncodeError> for ClientError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Source(error) => {
                Self::source_failed("the payload's source failed before its end", error)
            }
            EncodeError::TooLarge { limit } => Self::too_large(None, limit),
            error @ (EncodeError::ChunkSize(_)
            | EncodeError::TooManyChunks { .. }
            | EncodeError::Level { .. }) => {
                Self::new(ClientErrorKind::InvalidInput, error.to_string())
            }
            error @ EncodeError::Stopped => {
                Self::new(ClientErrorKind::Cancelled, "a publish was cut off").with_source(error)
            }
            other => Self::new(
                ClientErrorKind::Internal,
                "the payload could not be encoded",
            )
            .with_source(other),
        }
    }
}
