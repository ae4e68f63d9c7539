//! The record of a message, and what a caller says of one.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Claim, CompressionType, ContentType, Digest, MessageId, MessageKey, MessageStatus, Principal,
    ProviderName, SessionId, ToolName, TransactionId, units::Ttl,
};

/// Free keys of a message, a JSON object; the daemon puts `request_id` and `timestamp` there.
pub type Metadata = serde_json::Map<String, serde_json::Value>;

/// How urgent a message is on its way to the store.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else.
    Urgent,
    /// The usual.
    #[default]
    Normal,
    /// After everything else.
    Bulk,
}

/// A text is not one of `urgent`, `normal`, `bulk`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a priority: urgent, normal or bulk are expected")]
pub struct PriorityParseError(String);

impl Priority {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::Urgent, Self::Normal, Self::Bulk];

    /// The name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = PriorityParseError;
    fn from_str(text: &str) -> Result<Self, PriorityParseError> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.as_str() == text)
            .ok_or_else(|| PriorityParseError(text.chars().take(80).collect()))
    }
}

/// What the writer of a message says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// The session that it belongs to.
    pub session_id: SessionId,
    /// The tool that produced it.
    pub tool_name: ToolName,
    /// The provider behind the tool.
    #[serde(default)]
    pub provider_name: ProviderName,
    /// The media type of the payload.
    #[serde(default)]
    pub content_type: ContentType,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// Free keys.
    #[serde(default)]
    pub metadata: Metadata,
    /// How long it lives after its commit.
    #[serde(default)]
    pub ttl: Ttl,
}

impl Attributes {
    /// The attributes of a message of `tool_name` in `session_id`, all else at its default.
    #[must_use]
    pub fn new(session_id: SessionId, tool_name: ToolName) -> Self {
        Self {
            session_id,
            tool_name,
            provider_name: ProviderName::default(),
            content_type: ContentType::default(),
            priority: Priority::default(),
            metadata: Metadata::new(),
            ttl: Ttl::default(),
        }
    }
}

/// A message as its store knows it. Times are UTC, by the store's own clock, to the millisecond.
///
/// The fields of the original keep their names; sizes are bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MessageBusRecord {
    /// Our own id, which names chunks and files.
    pub id: MessageId,
    /// The idempotency key within the principal.
    pub transaction_id: TransactionId,
    /// The session that the message belongs to.
    pub session_id: SessionId,
    /// The tool that produced it.
    pub tool_name: ToolName,
    /// The provider behind the tool.
    pub provider_name: ProviderName,
    /// The exact original bytes, where they were loaded with the record; never in listings.
    /// Serialised as base64.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "payload_base64"
    )]
    pub payload: Option<Bytes>,
    /// Size of the payload; 0 while pending.
    pub payload_size_bytes: u64,
    /// How the body is encoded.
    pub compression_type: CompressionType,
    /// Size of the stored body; `None` while pending.
    pub compressed_size_bytes: Option<u64>,
    /// SHA-256 of the payload; `None` while pending.
    pub checksum: Option<Digest>,
    /// Where the message stands; `expired` as soon as `expires_at` has passed.
    pub status: MessageStatus,
    /// Why its writer gave it up, where the status is `error`.
    pub error_message: Option<String>,
    /// When its writing began.
    pub created_at: DateTime<Utc>,
    /// When it was last read, best effort.
    pub accessed_at: DateTime<Utc>,
    /// From when on it is no longer served.
    pub expires_at: DateTime<Utc>,
    /// Free keys.
    pub metadata: Metadata,
    /// Version of the stored form of the body.
    pub format_version: u16,
    /// The media type of the payload.
    pub content_type: ContentType,
    /// How urgent it is.
    pub priority: Priority,
    /// Who owns it.
    pub principal: Principal,
    /// Number of chunks; 0 while pending.
    pub chunk_count: u32,
    /// Original size of every chunk but the last.
    pub chunk_size_bytes: u64,
    /// SHA-256 of all stored chunks concatenated; `None` while pending.
    pub encoded_sha256: Option<Digest>,
    /// SHA-256 of the manifest; `None` while pending.
    pub manifest_sha256: Option<Digest>,
    /// When its receiver acknowledged it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Until when its writer may stay silent; `None` once it is not pending.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Reserved for encryption at rest; always `None` in this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// Reserved for encryption at rest; always `None` in this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

impl MessageBusRecord {
    /// What the message is found by.
    #[must_use]
    pub fn key(&self) -> MessageKey {
        MessageKey::new(self.principal.clone(), self.transaction_id.clone())
    }

    /// The claim on this message.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim::new(
            self.transaction_id.clone(),
            self.payload_size_bytes,
            self.session_id.clone(),
            self.tool_name.clone(),
        )
    }
}

mod payload_base64 {
    //! serde form of an optional payload: base64 with padding.

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        payload: &Option<Bytes>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match payload {
            Some(bytes) => serializer.serialize_some(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Bytes>, D::Error> {
        Option::<String>::deserialize(deserializer)?
            .map(|text| {
                STANDARD
                    .decode(text)
                    .map(Bytes::from)
                    .map_err(D::Error::custom)
            })
            .transpose()
    }
}
