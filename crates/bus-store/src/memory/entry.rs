//! One message in memory, whatever its status.

use std::{collections::BTreeMap, time::Duration};

use bus_model::{
    Attributes, FORMAT_VERSION, Manifest, MessageBusRecord, MessageStatus, Transition,
};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::state::Fresh;
use crate::{NewMessage, Plan, READ_GRACE, StoredChunk, Upload, UploadToken};

/// A message: its record as stored (never `expired`, which is a matter of the time), its chunks
/// and who may write it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: MessageBusRecord,
    pub(super) plan: Plan,
    /// Kept after the commit, so that repeating it can be told from a stranger's.
    pub(super) fence: Uuid,
    pub(super) chunks: BTreeMap<u32, StoredChunk>,
    /// Of a complete message.
    pub(super) manifest: Option<Manifest>,
    ttl: Duration,
}

impl Entry {
    /// A pending message, its lease running from `now`.
    pub(super) fn pending(message: &NewMessage, fresh: Fresh, now: DateTime<Utc>) -> Self {
        let Attributes { ttl, .. } = message.attributes;
        Self {
            record: pending_record(message, fresh, now),
            plan: message.plan.clone(),
            fence: fresh.fence,
            chunks: BTreeMap::new(),
            manifest: None,
            ttl: ttl.as_duration(),
        }
    }

    /// Hands the upload to another writer: its chunks, id and creation time stay, all else is the
    /// new writer's.
    pub(super) fn hand_over(&mut self, message: &NewMessage, fresh: Fresh, now: DateTime<Utc>) {
        let kept = Fresh {
            id: self.record.id,
            fence: fresh.fence,
        };
        let chunks = std::mem::take(&mut self.chunks);
        let created_at = self.record.created_at;
        *self = Self::pending(message, kept, now);
        self.chunks = chunks;
        self.record.created_at = created_at;
        self.record.accessed_at = created_at;
    }

    /// What its writer holds.
    pub(super) fn upload(&self) -> Upload {
        Upload {
            token: UploadToken {
                principal: self.record.principal.clone(),
                id: self.record.id,
                fence: self.fence,
            },
            lease: self.plan.lease,
        }
    }

    /// How long the lease of a pending message still runs; `None` once it is over.
    pub(super) fn lease_left(&self, now: DateTime<Utc>) -> Option<Duration> {
        let until = self.record.lease_expires_at?;
        (until - now).to_std().ok().filter(|left| !left.is_zero())
    }

    /// Starts the lease anew.
    pub(super) fn renew(&mut self, now: DateTime<Utc>) {
        self.record.lease_expires_at = Some(later(now, self.plan.lease));
    }

    /// Makes the message complete. The caller has checked `manifest`.
    pub(super) fn complete(
        &mut self,
        manifest: &Manifest,
        manifest_digest: bus_model::Digest,
        now: DateTime<Utc>,
    ) {
        let record = &mut self.record;
        record.status = Transition::Commit.to();
        record.payload_size_bytes = manifest.payload_size();
        record.compressed_size_bytes = Some(manifest.encoded_size());
        record.checksum = Some(manifest.payload_digest());
        record.chunk_count = manifest.chunk_count();
        record.encoded_sha256 = Some(manifest.encoded_digest());
        record.manifest_sha256 = Some(manifest_digest);
        record.lease_expires_at = None;
        record.expires_at = later(now, self.ttl);
        self.chunks.split_off(&manifest.chunk_count());
        self.manifest = Some(manifest.clone());
    }

    /// Gives the message up.
    pub(super) fn fail(&mut self, reason: &str, now: DateTime<Utc>) {
        self.record.status = Transition::Abort.to();
        self.record.error_message = Some(reason.to_owned());
        self.record.lease_expires_at = None;
        self.record.expires_at = later(now, self.ttl);
        self.chunks.clear();
    }

    /// The status that a reader is told at `now`.
    pub(super) fn status(&self, now: DateTime<Utc>) -> MessageStatus {
        match self.record.status {
            MessageStatus::Complete if now >= self.record.expires_at => Transition::Expire.to(),
            status => status,
        }
    }

    /// The record as a reader sees it at `now`.
    pub(super) fn shown(&self, now: DateTime<Utc>) -> MessageBusRecord {
        MessageBusRecord {
            status: self.status(now),
            ..self.record.clone()
        }
    }

    /// Whether a read that began before expiry has to be over.
    pub(super) fn grace_is_over(&self, now: DateTime<Utc>) -> bool {
        now >= later(self.record.expires_at, READ_GRACE)
    }

    /// Stored bytes that it holds.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.chunks.values().map(|c| c.bytes.len() as u64).sum()
    }
}

/// `time` and `by` more, cut at the end of time.
pub(super) fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    i64::try_from(by.as_millis())
        .ok()
        .and_then(TimeDelta::try_milliseconds)
        .and_then(|by| time.checked_add_signed(by))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn pending_record(message: &NewMessage, fresh: Fresh, now: DateTime<Utc>) -> MessageBusRecord {
    let NewMessage {
        key,
        attributes,
        plan,
    } = message.clone();
    MessageBusRecord {
        id: fresh.id,
        transaction_id: key.transaction_id,
        session_id: attributes.session_id,
        tool_name: attributes.tool_name,
        provider_name: attributes.provider_name,
        payload: None,
        payload_size_bytes: 0,
        compression_type: plan.encoding,
        compressed_size_bytes: None,
        checksum: None,
        status: MessageStatus::Pending,
        error_message: None,
        created_at: now,
        accessed_at: now,
        expires_at: later(now, attributes.ttl.as_duration()),
        metadata: attributes.metadata,
        format_version: FORMAT_VERSION,
        content_type: attributes.content_type,
        priority: attributes.priority,
        principal: key.principal,
        chunk_count: 0,
        chunk_size_bytes: plan.chunk_size,
        encoded_sha256: None,
        manifest_sha256: None,
        acknowledged_at: None,
        lease_expires_at: Some(later(now, plan.lease)),
        encryption: None,
        key_id: None,
    }
}
