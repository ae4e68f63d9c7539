//! What is published: a message, and the source of its payload.

use std::{fmt, path::PathBuf};

use bus_model::{
    Claim, ContentType, Digest, MessageBusRecord, Metadata, Priority, ProviderName, SessionId,
    ToolName, TransactionId, Ttl,
};
use bytes::Bytes;
use serde::Serialize;
use tokio::io::AsyncRead;

use crate::{ClientError, ClientErrorKind};

/// What a caller says of a message that it publishes.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The idempotency key; minted where it is `None`.
    pub transaction_id: Option<TransactionId>,
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// The tool that produced it.
    pub tool_name: ToolName,
    /// The provider behind the tool.
    pub provider_name: ProviderName,
    /// The media type; the source's own where it is `None`.
    pub content_type: Option<ContentType>,
    /// How urgent it is.
    pub priority: Priority,
    /// Free keys.
    pub metadata: Metadata,
    /// How long it lives after its commit; the client's setting where it is `None`.
    pub ttl: Option<Ttl>,
    /// SHA-256 of the payload, where it is known before; anything else is refused.
    pub expected_digest: Option<Digest>,
}

impl Message {
    /// A message of `tool_name` in `session_id`, all else at its default.
    #[must_use]
    pub fn new(session_id: SessionId, tool_name: ToolName) -> Self {
        Self {
            transaction_id: None,
            session_id,
            tool_name,
            provider_name: ProviderName::default(),
            content_type: None,
            priority: Priority::default(),
            metadata: Metadata::new(),
            ttl: None,
            expected_digest: None,
        }
    }
}

/// Where the bytes of a payload come from.
pub struct Source {
    pub(crate) body: Body,
    pub(crate) content_type: ContentType,
}

pub(crate) enum Body {
    Bytes(Bytes),
    Reader {
        reader: Box<dyn AsyncRead + Send + Unpin>,
        declared: Option<u64>,
    },
    File(PathBuf),
}

impl Source {
    /// Bytes in memory; they are sliced, never copied.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self {
            body: Body::Bytes(bytes.into()),
            content_type: ContentType::octets(),
        }
    }

    /// A JSON value, serialised once: the bytes of that are the payload.
    ///
    /// # Errors
    /// [`ClientErrorKind::InvalidInput`] where the value cannot be serialised.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(value).map_err(|error| {
            ClientError::new(
                ClientErrorKind::InvalidInput,
                "the value cannot be written as JSON",
            )
            .with_source(error)
        })?;
        Ok(Self {
            body: Body::Bytes(bytes.into()),
            content_type: ContentType::json(),
        })
    }

    /// Everything that `reader` gives. A length declared above the maximum is refused before the
    /// first byte is read; a reader that gives another length than declared is an error.
    pub fn reader(
        reader: impl AsyncRead + Send + Unpin + 'static,
        declared_bytes: Option<u64>,
    ) -> Self {
        Self {
            body: Body::Reader {
                reader: Box::new(reader),
                declared: declared_bytes,
            },
            content_type: ContentType::octets(),
        }
    }

    /// The content of a regular file, opened when it is published.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self {
            body: Body::File(path.into()),
            content_type: ContentType::octets(),
        }
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::bytes(bytes)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.body {
            Body::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Body::Reader { declared, .. } => f.debug_tuple("Reader").field(declared).finish(),
            Body::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// A message that is stored, whole and durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Its record, without the payload.
    pub record: MessageBusRecord,
    /// Whether this call wrote it; false where it was there already, with the same digest.
    pub created: bool,
}

impl Published {
    /// The claim that travels instead of the payload.
    #[must_use]
    pub fn claim(&self) -> Claim {
        self.record.claim()
    }
}
