//! The rows of the index. Nothing else knows a column.
//!
//! Times are milliseconds since 1970, UTC; digests and ids are blobs. A row that cannot be read
//! back is [`StoreErrorKind::Damaged`](bus_store::StoreErrorKind::Damaged), named by its
//! transaction id where that much can be read.

mod list;
mod read;
mod schema;
mod write;

pub(crate) use list::list;
pub(crate) use read::{
    Raw, by_id, by_key, chunk_places, due_acknowledged, due_complete, due_failed, due_pending,
    holds, inline_body, is_known, is_trash, page, stats, trash,
};
pub(crate) use schema::{APPLICATION_ID, CREATE, FORMAT};
pub(crate) use write::{
    acknowledge, clear_trash, complete, fail, insert, put_chunk_rows, remove, renew, set_inline,
    take_over, touch,
};

use std::time::Duration;

use bus_model::{
    Attributes, Digest, FORMAT_VERSION, Manifest, MessageBusRecord, MessageId, MessageStatus, Ttl,
};
use bus_store::NewMessage;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Where the stored bytes of a message are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPlace {
    /// There are none: it was given up.
    Nowhere,
    /// In a file of its own.
    File,
    /// Inside the index.
    Inline,
}

/// One chunk of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) digest: Digest,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// A message as the index holds it.
#[derive(Debug, Clone)]
pub(crate) struct MessageRow {
    /// Its number in this index; 0 before it is inserted.
    pub(crate) num: i64,
    /// Its record; the status is the stored one, never `expired`.
    pub(crate) record: MessageBusRecord,
    pub(crate) ttl: Ttl,
    pub(crate) body: BodyPlace,
    pub(crate) expected_digest: Option<Digest>,
    pub(crate) expected_size: Option<u64>,
    pub(crate) fence: Uuid,
    pub(crate) lease: Duration,
}

impl MessageRow {
    /// The row of a new upload.
    pub(crate) fn pending(message: &NewMessage, now: DateTime<Utc>) -> Self {
        let NewMessage {
            key,
            attributes,
            plan,
        } = message;
        let Attributes {
            session_id,
            tool_name,
            provider_name,
            content_type,
            priority,
            metadata,
            ttl,
        } = attributes.clone();
        Self {
            num: 0,
            record: MessageBusRecord {
                id: MessageId::mint(),
                transaction_id: key.transaction_id.clone(),
                session_id,
                tool_name,
                provider_name,
                payload: None,
                payload_size_bytes: 0,
                compression_type: plan.encoding,
                compressed_size_bytes: None,
                checksum: None,
                status: MessageStatus::Pending,
                error_message: None,
                created_at: now,
                accessed_at: now,
                expires_at: after(now, ttl.as_duration()),
                metadata,
                format_version: FORMAT_VERSION,
                content_type,
                priority,
                principal: key.principal.clone(),
                chunk_count: 0,
                chunk_size_bytes: plan.chunk_size,
                encoded_sha256: None,
                manifest_sha256: None,
                acknowledged_at: None,
                lease_expires_at: Some(after(now, plan.lease)),
                encryption: None,
                key_id: None,
            },
            ttl,
            body: BodyPlace::File,
            expected_digest: plan.expected_digest,
            expected_size: plan.expected_size,
            fence: Uuid::new_v4(),
            lease: plan.lease,
        }
    }

    /// The same upload under a new writer: its id, its age and its chunks stay.
    pub(crate) fn taken_over(&self, message: &NewMessage, now: DateTime<Utc>) -> Self {
        let mut row = Self::pending(message, now);
        row.num = self.num;
        row.continues(self);
        row
    }

    /// Keeps the id and the age of the upload that this one takes over.
    pub(crate) fn continues(&mut self, old: &Self) {
        self.record.id = old.record.id;
        self.record.created_at = old.record.created_at;
        self.record.accessed_at = old.record.created_at;
    }

    /// The same message, complete as of now.
    pub(crate) fn completed(mut self, manifest: &Manifest, now: DateTime<Utc>) -> Self {
        let record = &mut self.record;
        record.status = MessageStatus::Complete;
        record.payload_size_bytes = manifest.payload_size();
        record.compressed_size_bytes = Some(manifest.encoded_size());
        record.checksum = Some(manifest.payload_digest());
        record.encoded_sha256 = Some(manifest.encoded_digest());
        record.manifest_sha256 = Some(manifest.digest());
        record.chunk_count = manifest.chunk_count();
        record.expires_at = after(now, self.ttl.as_duration());
        record.lease_expires_at = None;
        self
    }

    /// Whether a writer with `message`'s plan may go on with these chunks.
    pub(crate) fn fits(&self, message: &NewMessage) -> bool {
        let plan = &message.plan;
        self.record.compression_type == plan.encoding
            && self.record.chunk_size_bytes == plan.chunk_size
            && self.expected_digest == plan.expected_digest
    }

    /// Whether it is complete but no longer served.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.record.status == MessageStatus::Complete && self.record.expires_at <= now
    }

    /// Whether the lease of a pending one is over, as far as the index knows.
    pub(crate) fn lease_over(&self, now: DateTime<Utc>) -> bool {
        self.record
            .lease_expires_at
            .is_none_or(|until| until <= now)
    }

    /// The record as a reader sees it at `now`.
    pub(crate) fn record_at(mut self, now: DateTime<Utc>) -> MessageBusRecord {
        if self.is_expired(now) {
            self.record.status = MessageStatus::Expired;
        }
        self.record
    }
}

/// `now` plus `by`, as late as a time can be at most.
pub(crate) fn after(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    i64::try_from(by.as_millis())
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|delta| now.checked_add_signed(delta))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A time as the index keeps it.
fn ms(time: DateTime<Utc>) -> i64 {
    time.timestamp_millis()
}

/// A size or duration as the index keeps it. All were checked to be below 2^63 before.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn duration_ms(value: Duration) -> i64 {
    i64::try_from(value.as_millis()).unwrap_or(i64::MAX)
}
