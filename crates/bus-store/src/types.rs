//! What goes into a store and what comes out of it.

use std::{fmt, str::FromStr, time::Duration};

use bus_model::{
    Attributes, CompressionType, Digest, Manifest, MessageBusRecord, MessageId, MessageKey,
    MessageStatus, Principal, ProviderName, SessionId, ToolName,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{StoreError, StoreErrorKind};

/// How a body is going to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How its chunks are encoded.
    pub encoding: CompressionType,
    /// Original size of every chunk but the last, in bytes.
    pub chunk_size: u64,
    /// SHA-256 of the payload, where it is known before.
    pub expected_digest: Option<Digest>,
    /// Size of the payload in bytes, where it is known before.
    pub expected_size: Option<u64>,
    /// How long the writer may stay silent. Every call with the upload token starts it anew.
    pub lease: Duration,
}

/// A message that is going to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// What it will be found by.
    pub key: MessageKey,
    /// What its writer says of it.
    pub attributes: Attributes,
    /// How its body is going to be written.
    pub plan: Plan,
}

/// The right to write one upload. It goes stale as soon as another writer takes over.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadToken {
    /// Who owns the message.
    pub principal: Principal,
    /// The message.
    pub id: MessageId,
    /// The fence: a new one for each writer. A capability, so not in `Debug`.
    pub fence: Uuid,
}

impl fmt::Debug for UploadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadToken")
            .field("principal", &self.principal)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// An upload that this writer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The right to write it.
    pub token: UploadToken,
    /// How long the writer may stay silent.
    pub lease: Duration,
}

/// A chunk that an earlier writer of the same upload left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurableChunk {
    /// Its place, from 0.
    pub seq: u32,
    /// Size of its stored bytes.
    pub stored_len: u64,
    /// SHA-256 of its stored bytes.
    pub digest: Digest,
}

/// The answer to `begin`.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// A new upload, with no chunks.
    New(Upload),
    /// An upload with the same plan whose writer is gone; these chunks are durable. Chunks that
    /// the store had not made durable when the writer died are not among them. Keep one only if it
    /// is what you would write, by its digest; replace it otherwise.
    Resume(Upload, Vec<DurableChunk>),
    /// Another writer holds the key.
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The message is there already. Whether that is success or a conflict is for the caller to
    /// judge, by the digest of what it would have written.
    Complete(Box<MessageBusRecord>),
}

/// A chunk in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChunk {
    /// The stored bytes: a whole zstd frame, a whole gzip member or raw bytes.
    pub bytes: Bytes,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
}

/// The answer to a whole-message `put`.
#[derive(Debug, Clone, PartialEq)]
pub enum PutOutcome {
    /// This call wrote the message.
    Created(Box<MessageBusRecord>),
    /// The message was there already, with the same digest.
    AlreadyThere(Box<MessageBusRecord>),
    /// Another writer holds the key.
    Busy {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// A message that can be read.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenMessage {
    /// Its record.
    pub record: MessageBusRecord,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Which messages to list. Newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    /// Whose messages.
    pub principal: Principal,
    /// Only of this session.
    pub session_id: Option<SessionId>,
    /// Only of this tool.
    pub tool_name: Option<ToolName>,
    /// Only of this provider.
    pub provider_name: Option<ProviderName>,
    /// Only with this status; `complete` by default, so that what is not whole is not seen unless
    /// it is asked for. `None` lists every status.
    pub status: Option<MessageStatus>,
    /// Only created at or after.
    pub created_from: Option<DateTime<Utc>>,
    /// Only created before.
    pub created_before: Option<DateTime<Utc>>,
    /// At most this many a page; a store may give fewer, and at least one where there is one.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

impl ListQuery {
    /// The complete messages of `principal`, 100 a page.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        Self {
            principal,
            session_id: None,
            tool_name: None,
            provider_name: None,
            status: Some(MessageStatus::Complete),
            created_from: None,
            created_before: None,
            limit: 100,
            after: None,
        }
    }
}

/// Where a page ended: a key set, so that inserts and deletes never shift a page.
/// Shown, parsed and serialised as `milliseconds-uuid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// Creation time of the last message, milliseconds since 1970, UTC.
    pub created_ms: i64,
    /// Its id.
    pub id: MessageId,
}

impl Cursor {
    /// The cursor after `record`.
    #[must_use]
    pub fn after(record: &MessageBusRecord) -> Self {
        Self {
            created_ms: record.created_at.timestamp_millis(),
            id: record.id,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_ms, self.id.as_uuid().simple())
    }
}

impl FromStr for Cursor {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        text.split_once('-')
            .and_then(|(ms, id)| {
                Some(Self {
                    created_ms: ms.parse().ok()?,
                    id: id.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                let shown: String = text.chars().take(80).collect();
                StoreError::new(
                    StoreErrorKind::InvalidInput,
                    format!("{shown:?} is not a page cursor: pass back what the page before gave"),
                )
            })
    }
}

impl TryFrom<String> for Cursor {
    type Error = StoreError;
    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

/// A page of records, newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// The records, without payloads.
    pub records: Vec<MessageBusRecord>,
    /// Where to go on; `None` where there is no more.
    pub next: Option<Cursor>,
}

/// What to purge beside expired messages and abandoned uploads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeOptions {
    /// At most this many messages in one call.
    pub limit: u32,
    /// Purge acknowledged messages this long after their acknowledgement; `None` keeps them until
    /// they expire.
    pub acknowledged_after: Option<Duration>,
}

impl Default for PurgeOptions {
    fn default() -> Self {
        Self {
            limit: 500,
            acknowledged_after: None,
        }
    }
}

/// What a purge removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PurgeReport {
    /// Complete messages past their expiry and grace.
    pub expired: u64,
    /// Uploads that their writer abandoned.
    pub orphaned: u64,
    /// Messages with status `error`, past their expiry.
    pub failed: u64,
    /// Acknowledged messages past the grace asked for.
    pub acknowledged: u64,
    /// Stored bytes freed.
    pub freed_bytes: u64,
    /// Whether the limit was reached, so that another call may find more.
    pub more: bool,
}

impl PurgeReport {
    /// All messages removed.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.expired + self.orphaned + self.failed + self.acknowledged
    }

    /// Adds the counts of `other`; `more` becomes that of `other`.
    pub fn absorb(&mut self, other: &Self) {
        self.expired += other.expired;
        self.orphaned += other.orphaned;
        self.failed += other.failed;
        self.acknowledged += other.acknowledged;
        self.freed_bytes += other.freed_bytes;
        self.more = other.more;
    }
}

/// Counts over all principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Messages with status `pending`.
    pub pending: u64,
    /// Messages with status `complete`, not expired.
    pub complete: u64,
    /// Messages with status `error`.
    pub error: u64,
    /// Complete messages that have expired and are not purged yet.
    pub expired: u64,
    /// Payload bytes of the complete messages.
    pub payload_bytes: u64,
    /// Stored bytes of the complete messages.
    pub stored_bytes: u64,
}

/// What a store can do, so that callers do not ask for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Largest stored chunk in bytes.
    pub max_chunk_bytes: u64,
    /// Largest stored body in bytes; `None` where only space limits it.
    pub max_message_bytes: Option<u64>,
    /// Largest stored body in bytes that `put` writes in one step.
    pub one_step_put_bytes: u64,
    /// Whether `list` filters by session, tool, provider, status and time where the data is.
    pub filters_pushed_down: bool,
    /// Whether messages outlive the process.
    pub durable: bool,
    /// How many calls of one upload are worth making at the same time: more than there are cores
    /// where each waits for a network. 0 leaves it to the caller.
    pub concurrent_calls: usize,
}
