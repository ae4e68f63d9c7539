//! What is answered: outcomes and records, out of JSON.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bus_model::{
    CompressionType, ContentType, Digest, Manifest, ManifestError, MessageBusRecord, MessageId,
    MessageStatus, Metadata, Principal, Priority, ProviderName, SessionId, ToolName, TransactionId,
};
use bus_store::{
    Cursor, DurableChunk, Page, PurgeReport, Stats, StoreError, StoreErrorKind as Kind,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::errors::Call;

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Ok,
    New,
    Resume,
    Busy,
    Complete,
    Created,
    Exists,
    Conflict,
    Mismatch,
    TooLarge,
    LeaseLost,
    NotFound,
    Expired,
    NotComplete,
}

/// An answer; which of its parts are there depends on the outcome.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) detail: Option<String>,
    pub(crate) id: Option<Uuid>,
    pub(crate) principal: Option<Principal>,
    #[serde(default)]
    pub(crate) chunks: Vec<(u32, u64, Digest)>,
    pub(crate) retry_after_ms: Option<u64>,
    pub(crate) record: Option<RecordRow>,
    #[serde(default)]
    pub(crate) records: Vec<RecordRow>,
    #[serde(default)]
    pub(crate) more: bool,
    pub(crate) manifest: Option<String>,
    pub(crate) chunk_count: Option<u32>,
    pub(crate) acknowledged_ms: Option<i64>,
}

impl Answer {
    pub(crate) fn retry_after(&self) -> Duration {
        Duration::from_millis(self.retry_after_ms.unwrap_or_default())
    }

    pub(crate) fn durable(&self) -> Vec<DurableChunk> {
        let chunk = |&(seq, stored_len, digest): &(u32, u64, Digest)| DurableChunk {
            seq,
            stored_len,
            digest,
        };
        self.chunks.iter().map(chunk).collect()
    }

    pub(crate) fn record(&mut self, call: Call) -> Result<MessageBusRecord, StoreError> {
        self.record
            .take()
            .ok_or_else(|| lacking(call, "a record"))?
            .read()
    }

    pub(crate) fn manifest(&self, call: Call) -> Result<Manifest, StoreError> {
        let text = self
            .manifest
            .as_deref()
            .ok_or_else(|| lacking(call, "a manifest"))?;
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| damaged("a manifest", error))?;
        Manifest::from_bytes(&bytes).map_err(|error| match error {
            ManifestError::NewerFormat { .. } => {
                StoreError::new(Kind::NewerFormat, error.to_string())
            }
            error => damaged("a manifest", error),
        })
    }

    /// The page, where `more` says that there is another.
    pub(crate) fn page(self) -> Result<Page, StoreError> {
        let more = self.more;
        let records = self
            .records
            .into_iter()
            .map(RecordRow::read)
            .collect::<Result<Vec<_>, _>>()?;
        let next = records.last().filter(|_| more).map(Cursor::after);
        Ok(Page { records, next })
    }
}

/// What a purge removed.
#[derive(Debug, Deserialize)]
pub(crate) struct PurgedRow {
    expired: u64,
    orphaned: u64,
    failed: u64,
    acknowledged: u64,
    freed_bytes: u64,
    more: bool,
}

impl From<PurgedRow> for PurgeReport {
    fn from(row: PurgedRow) -> Self {
        Self {
            expired: row.expired,
            orphaned: row.orphaned,
            failed: row.failed,
            acknowledged: row.acknowledged,
            freed_bytes: row.freed_bytes,
            more: row.more,
        }
    }
}

/// Counts.
#[derive(Debug, Deserialize)]
pub(crate) struct StatsRow {
    pending: u64,
    complete: u64,
    error: u64,
    expired: u64,
    payload_bytes: u64,
    stored_bytes: u64,
}

impl From<StatsRow> for Stats {
    fn from(row: StatsRow) -> Self {
        Self {
            pending: row.pending,
            complete: row.complete,
            error: row.error,
            expired: row.expired,
            payload_bytes: row.payload_bytes,
            stored_bytes: row.stored_bytes,
        }
    }
}

/// What `bus_check` says.
#[derive(Debug, Deserialize)]
pub(crate) struct CheckRow {
    pub(crate) schema_version: u32,
    pub(crate) server_ms: i64,
    pub(crate) principal: Option<Principal>,
    pub(crate) statement_timeout: Option<String>,
}

/// A row of `message_bus`, as it travels.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordRow {
    id: Uuid,
    transaction_id: TransactionId,
    session_id: SessionId,
    tool_name: ToolName,
    provider_name: ProviderName,
    payload_size_bytes: u64,
    compression_type: CompressionType,
    compressed_size_bytes: Option<u64>,
    checksum: Option<Digest>,
    status: MessageStatus,
    error_message: Option<String>,
    created_ms: i64,
    accessed_ms: i64,
    expires_ms: i64,
    metadata: String,
    format_version: u16,
    content_type: ContentType,
    priority: Priority,
    principal: Principal,
    chunk_count: u32,
    chunk_size_bytes: u64,
    encoded_sha256: Option<Digest>,
    manifest_sha256: Option<Digest>,
    acknowledged_ms: Option<i64>,
    lease_expires_ms: Option<i64>,
    encryption: Option<String>,
    key_id: Option<String>,
}

impl RecordRow {
    fn read(self) -> Result<MessageBusRecord, StoreError> {
        let metadata: Metadata = serde_json::from_str(&self.metadata).map_err(|error| {
            damaged(
                &format!("the metadata of message {}", self.transaction_id),
                error,
            )
        })?;
        Ok(MessageBusRecord {
            id: MessageId::from(self.id),
            transaction_id: self.transaction_id,
            session_id: self.session_id,
            tool_name: self.tool_name,
            provider_name: self.provider_name,
            payload: None,
            payload_size_bytes: self.payload_size_bytes,
            compression_type: self.compression_type,
            compressed_size_bytes: self.compressed_size_bytes,
            checksum: self.checksum,
            status: self.status,
            error_message: self.error_message,
            created_at: time(self.created_ms)?,
            accessed_at: time(self.accessed_ms)?,
            expires_at: time(self.expires_ms)?,
            metadata,
            format_version: self.format_version,
            content_type: self.content_type,
            priority: self.priority,
            principal: self.principal,
            chunk_count: self.chunk_count,
            chunk_size_bytes: self.chunk_size_bytes,
            encoded_sha256: self.encoded_sha256,
            manifest_sha256: self.manifest_sha256,
            acknowledged_at: self.acknowledged_ms.map(time).transpose()?,
            lease_expires_at: self.lease_expires_ms.map(time).transpose()?,
            encryption: self.encryption,
            key_id: self.key_id,
        })
    }
}

/// The time `ms` after 1970.
pub(crate) fn time(ms: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(ms).ok_or_else(|| {
        StoreError::new(
            Kind::Damaged,
            format!("{ms} ms after 1970 is no time that can be shown"),
        )
    })
}

/// An answer lacks a part that its outcome promises.
pub(crate) fn lacking(call: Call, part: &str) -> StoreError {
    StoreError::new(
        Kind::Internal,
        format!(
            "the answer to {call} lacks {part}: run `bus migrate`, its functions may be older than this bus"
        ),
    )
}

fn damaged(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(
        Kind::Damaged,
        format!("{what} in the database cannot be read: delete the message and publish it again"),
    )
    .with_source(error)
}
