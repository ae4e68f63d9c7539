//! The state machine: every call of the contract that changes a message, as a plain function of
//! the state and the time.

use std::collections::{BTreeMap, HashMap};

use bus_model::{CompressionType, Digest, Manifest, MessageBusRecord, MessageId, MessageKey};
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::entry::Entry;
use crate::{
    Begin, Capabilities, DurableChunk, NewMessage, Plan, StoreError, StoreErrorKind, StoredChunk,
    UploadToken, contract::conflict,
};
use bus_model::MessageStatus::{Complete, Error, Expired, Pending};

/// The randomness of one `begin`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fresh {
    pub(super) id: MessageId,
    pub(super) fence: Uuid,
}

/// All messages.
#[derive(Debug)]
pub(super) struct State {
    pub(super) entries: BTreeMap<MessageKey, Entry>,
    pub(super) keys: HashMap<MessageId, MessageKey>,
    capabilities: Capabilities,
    used_bytes: u64,
}

impl State {
    pub(super) fn new(capabilities: Capabilities) -> Self {
        Self {
            entries: BTreeMap::new(),
            keys: HashMap::new(),
            capabilities,
            used_bytes: 0,
        }
    }

    pub(super) fn begin(
        &mut self,
        message: &NewMessage,
        fresh: Fresh,
        now: DateTime<Utc>,
    ) -> Result<Begin, StoreError> {
        self.check_plan(&message.plan)?;
        if let Some(entry) = self.entries.get_mut(&message.key) {
            match entry.status(now) {
                Complete => return already_there(entry, message, now),
                Pending => {
                    if let Some(retry_after) = entry.lease_left(now) {
                        return Ok(Begin::Busy { retry_after });
                    }
                    if same_plan(&entry.plan, &message.plan) {
                        entry.hand_over(message, fresh, now);
                        return Ok(Begin::Resume(entry.upload(), durable(entry)));
                    }
                }
                Expired | Error => {}
            }
        }
        self.remove(&message.key);
        let entry = Entry::pending(message, fresh, now);
        let upload = entry.upload();
        self.keys.insert(fresh.id, message.key.clone());
        self.entries.insert(message.key.clone(), entry);
        Ok(Begin::New(upload))
    }

    pub(super) fn put_chunk(
        &mut self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let Capabilities {
            max_chunk_bytes,
            max_message_bytes,
            ..
        } = self.capabilities;
        let used = self.used_bytes;
        let entry = self.held(token)?;
        let new = chunk.bytes.len() as u64;
        if new > max_chunk_bytes {
            return Err(error(
                StoreErrorKind::TooLarge,
                format!(
                    "chunk {seq} has {new} stored bytes, the store takes {max_chunk_bytes}: use smaller chunks"
                ),
            ));
        }
        let old = entry.chunks.get(&seq).map_or(0, |c| c.bytes.len() as u64);
        let used = used - old + new;
        if let Some(room) = max_message_bytes.filter(|room| used > *room) {
            return Err(error(
                StoreErrorKind::Full,
                format!(
                    "chunk {seq} of {new} bytes does not fit into the {room} bytes of the store: delete or purge messages"
                ),
            ));
        }
        entry.chunks.insert(seq, chunk);
        entry.renew(now);
        self.used_bytes = used;
        Ok(())
    }

    pub(super) fn renew(
        &mut self,
        token: &UploadToken,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.held(token)?.renew(now);
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        token: &UploadToken,
        manifest: &Manifest,
        manifest_digest: Digest,
        now: DateTime<Utc>,
    ) -> Result<MessageBusRecord, StoreError> {
        let entry = self.fenced(token)?;
        match entry.record.status {
            Pending => {}
            Complete if entry.manifest.as_ref() == Some(manifest) => return Ok(entry.shown(now)),
            _ => return Err(lease_lost(token)),
        }
        check_manifest(entry, manifest)?;
        let before = entry.stored_bytes();
        entry.complete(manifest, manifest_digest, now);
        let dropped = before - entry.stored_bytes();
        let record = entry.shown(now);
        self.used_bytes -= dropped;
        Ok(record)
    }

    pub(super) fn abort(
        &mut self,
        token: &UploadToken,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let entry = self.held(token)?;
        let freed = entry.stored_bytes();
        entry.fail(reason, now);
        self.used_bytes -= freed;
        Ok(())
    }

    pub(super) fn touch(&mut self, keys: &[MessageKey], now: DateTime<Utc>) {
        for key in keys {
            if let Some(entry) = self.entries.get_mut(key)
                && entry.status(now) == Complete
            {
                entry.record.accessed_at = now;
            }
        }
    }

    pub(super) fn acknowledge(
        &mut self,
        key: &MessageKey,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, StoreError> {
        self.readable(key, now)?;
        let entry = self.entries.get_mut(key).ok_or_else(|| not_found(key))?;
        Ok(*entry.record.acknowledged_at.get_or_insert(now))
    }

    pub(super) fn delete(&mut self, key: &MessageKey) -> Result<(), StoreError> {
        self.remove(key).map(drop).ok_or_else(|| not_found(key))
    }

    /// Removes a message; the stored bytes that this freed.
    pub(super) fn remove(&mut self, key: &MessageKey) -> Option<u64> {
        let entry = self.entries.remove(key)?;
        self.keys.remove(&entry.record.id);
        let freed = entry.stored_bytes();
        self.used_bytes -= freed;
        Some(freed)
    }

    /// The message that can be read under `key`.
    pub(super) fn readable(
        &self,
        key: &MessageKey,
        now: DateTime<Utc>,
    ) -> Result<&Entry, StoreError> {
        let entry = self.entries.get(key).ok_or_else(|| not_found(key))?;
        match entry.status(now) {
            Complete => Ok(entry),
            Expired => Err(expired(entry)),
            Pending | Error => Err(not_complete(entry)),
        }
    }

    /// The pending message that `token` may write.
    fn held(&mut self, token: &UploadToken) -> Result<&mut Entry, StoreError> {
        self.fenced(token).and_then(|entry| {
            if entry.record.status == Pending {
                Ok(entry)
            } else {
                Err(lease_lost(token))
            }
        })
    }

    /// The message whose last writer holds `token`.
    fn fenced(&mut self, token: &UploadToken) -> Result<&mut Entry, StoreError> {
        self.keys
            .get(&token.id)
            .filter(|key| key.principal == token.principal)
            .and_then(|key| self.entries.get_mut(key))
            .filter(|entry| entry.fence == token.fence)
            .ok_or_else(|| lease_lost(token))
    }

    fn check_plan(&self, plan: &Plan) -> Result<(), StoreError> {
        let Capabilities {
            max_chunk_bytes,
            max_message_bytes,
            ..
        } = self.capabilities;
        if plan.chunk_size == 0 || plan.chunk_size > max_chunk_bytes {
            return Err(error(
                StoreErrorKind::InvalidInput,
                format!(
                    "a chunk size of {} bytes is not legal: 1 to {max_chunk_bytes} are taken",
                    plan.chunk_size
                ),
            ));
        }
        // Compressed, a payload may need less than its own size.
        let least = plan
            .expected_size
            .filter(|_| plan.encoding == CompressionType::None);
        match (least, max_message_bytes) {
            (Some(size), Some(room)) if size > room => Err(error(
                StoreErrorKind::TooLarge,
                format!("{size} bytes do not fit into a store of {room} bytes"),
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a writer with `new` may go on where one with `old` stopped.
fn same_plan(old: &Plan, new: &Plan) -> bool {
    (old.encoding, old.chunk_size, old.expected_digest)
        == (new.encoding, new.chunk_size, new.expected_digest)
}

fn durable(entry: &Entry) -> Vec<DurableChunk> {
    entry
        .chunks
        .iter()
        .map(|(seq, chunk)| DurableChunk {
            seq: *seq,
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        })
        .collect()
}

fn already_there(
    entry: &Entry,
    message: &NewMessage,
    now: DateTime<Utc>,
) -> Result<Begin, StoreError> {
    match message.plan.expected_digest {
        Some(digest) if entry.record.checksum != Some(digest) => Err(conflict(&message.key)),
        _ => Ok(Begin::Complete(Box::new(entry.shown(now)))),
    }
}

/// Whether `manifest` is what was planned and what is stored.
fn check_manifest(entry: &Entry, manifest: &Manifest) -> Result<(), StoreError> {
    let plan = &entry.plan;
    let mismatch = |what: String| Err(error(StoreErrorKind::Mismatch, what));
    if (manifest.encoding(), manifest.chunk_size()) != (plan.encoding, plan.chunk_size) {
        return mismatch(format!(
            "the manifest has {} chunks of {} bytes, the plan {} ones of {}",
            manifest.encoding(),
            manifest.chunk_size(),
            plan.encoding,
            plan.chunk_size
        ));
    }
    if plan
        .expected_size
        .is_some_and(|size| size != manifest.payload_size())
    {
        return mismatch(format!(
            "the payload has {} bytes, not the {} that were planned",
            manifest.payload_size(),
            plan.expected_size.unwrap_or_default()
        ));
    }
    if plan
        .expected_digest
        .is_some_and(|digest| digest != manifest.payload_digest())
    {
        return mismatch(format!(
            "the payload has the digest {}, not the one that was planned",
            manifest.payload_digest()
        ));
    }
    for (seq, wanted) in (0_u32..).zip(manifest.chunks()) {
        let Some(chunk) = entry.chunks.get(&seq) else {
            return mismatch(format!("chunk {seq} is missing: upload it"));
        };
        if (chunk.bytes.len() as u64, chunk.digest) != (wanted.stored_len, wanted.digest) {
            return mismatch(format!(
                "chunk {seq} is not the one of the manifest: upload it again"
            ));
        }
    }
    Ok(())
}

pub(super) fn error(kind: StoreErrorKind, message: impl Into<String>) -> StoreError {
    StoreError::new(kind, message)
}

pub(super) fn not_found(key: &MessageKey) -> StoreError {
    error(
        StoreErrorKind::NotFound,
        format!("there is no message {}", key.transaction_id),
    )
}

pub(super) fn expired(entry: &Entry) -> StoreError {
    let record = &entry.record;
    error(
        StoreErrorKind::Expired,
        format!(
            "message {} expired at {}: publish it again",
            record.transaction_id,
            record.expires_at.to_rfc3339()
        ),
    )
}

pub(super) fn not_complete(entry: &Entry) -> StoreError {
    let record = &entry.record;
    let why = match &record.error_message {
        Some(reason) => format!("was given up by its writer ({reason}): publish it again"),
        None => "is still being written: try again later".to_owned(),
    };
    error(
        StoreErrorKind::NotComplete,
        format!("message {} {why}", record.transaction_id),
    )
}

fn lease_lost(token: &UploadToken) -> StoreError {
    error(
        StoreErrorKind::LeaseLost,
        format!(
            "the upload of {} is no longer this writer's: begin again",
            token.id
        ),
    )
}
