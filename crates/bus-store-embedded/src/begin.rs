//! Who may write: `begin`, and the one-transaction `put` of a small message.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus_model::{ByteSize, Digest, MessageId, MessageStatus};
use bus_store::{
    Begin, DurableChunk, NewMessage, StoreError, StoreErrorKind, Upload, UploadToken,
    contract::conflict,
};
use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::{
    Step,
    bodies::{BodyFile, Claimed},
    core::{Core, too_large},
    error::{self, invalid},
    rows::{self, BodyPlace, MessageRow, Place},
    uploads::{self, State},
};

/// Largest chunk, original or stored.
pub(crate) const MAX_CHUNK_BYTES: u64 = 256 << 20;

/// When to ask again for an upload whose lease is over in the index but whose writer lives.
const ALIVE_RETRY: Duration = Duration::from_secs(1);

/// What is under a key, for a writer that asks for it.
pub(crate) enum Found {
    /// Nothing that stays; this is removed with the same transaction.
    Free(Option<MessageRow>),
    /// Another writer's.
    Busy(Duration),
    /// A message.
    Complete(MessageRow),
    /// An upload whose writer is gone.
    Abandoned(MessageRow, Leftover),
}

/// What a writer that is gone left.
pub(crate) enum Leftover {
    /// It was of this process: all that it wrote is known.
    Memory(Arc<BodyFile>, State),
    /// It was of another: what the index knows.
    File(BodyFile),
    /// It died before it made its file.
    NoFile,
}

impl Core {
    /// See [`Store::begin`](bus_store::Store::begin).
    pub(crate) fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        check_message(message)?;
        let now = self.now();
        let (row, leftover, trash) = {
            let decided = self.index.write(|transaction| {
                Ok(match self.find(transaction, message, now)? {
                    Found::Busy(retry_after) => Err(Begin::Busy { retry_after }),
                    Found::Complete(row) => Err(self.already(message, row)?),
                    Found::Free(old) => Ok(replace(transaction, message, old, now)?),
                    Found::Abandoned(old, leftover) if old.fits(message) => {
                        let row = old.taken_over(message, now);
                        rows::take_over(transaction, &row)?;
                        Ok((row, Some(leftover), Vec::new()))
                    }
                    Found::Abandoned(old, _) => Ok(replace(transaction, message, Some(old), now)?),
                })
            })?;
            match decided {
                Ok(ours) => ours,
                Err(answer) => return Ok(answer),
            }
        };
        self.done(Step::RowPending);
        for id in &trash {
            self.uploads.forget_id(*id);
        }
        self.remove_files_or_later(&trash);
        match leftover {
            None => self.start(row),
            Some(leftover) => self.resume(row, leftover),
        }
    }

    /// What is under the key of `message`. Called under the write lock of the index, so that the
    /// lock on a file is never asked for by two at once.
    pub(crate) fn find(
        &self,
        conn: &Connection,
        message: &NewMessage,
        now: DateTime<Utc>,
    ) -> Result<Found, StoreError> {
        let Some(row) = rows::by_key(conn, &message.key)? else {
            return Ok(Found::Free(None));
        };
        match row.record.status {
            MessageStatus::Complete if row.is_expired(now) => Ok(Found::Free(Some(row))),
            MessageStatus::Complete => Ok(Found::Complete(row)),
            MessageStatus::Error | MessageStatus::Expired => Ok(Found::Free(Some(row))),
            MessageStatus::Pending => self.judge(row, now),
        }
    }

    /// Whether the writer of a pending row is gone.
    fn judge(&self, row: MessageRow, now: DateTime<Utc>) -> Result<Found, StoreError> {
        let ours = self.uploads.get(row.record.id);
        if let Some(upload) = ours.filter(|upload| upload.row.fence == row.fence) {
            return Ok(match upload.take_if_abandoned(now) {
                Some(state) => {
                    Found::Abandoned(row, Leftover::Memory(Arc::clone(&upload.body), state))
                }
                None => Found::Busy(remaining(upload.lease_until(), now)),
            });
        }
        if !row.lease_over(now) {
            let until = row.record.lease_expires_at.unwrap_or(now);
            return Ok(Found::Busy(remaining(until, now)));
        }
        Ok(match self.bodies.claim(row.record.id)? {
            Claimed::Held => Found::Busy(ALIVE_RETRY),
            Claimed::Missing => Found::Abandoned(row, Leftover::NoFile),
            Claimed::Ours(file) => Found::Abandoned(row, Leftover::File(file)),
        })
    }

    /// The answer where the key holds a message.
    fn already(&self, message: &NewMessage, row: MessageRow) -> Result<Begin, StoreError> {
        let differs = message
            .plan
            .expected_digest
            .is_some_and(|expected| row.record.checksum != Some(expected));
        if differs {
            return Err(conflict(&message.key));
        }
        Ok(Begin::Complete(Box::new(row.record)))
    }

    /// Makes the file of a new upload.
    fn start(&self, row: MessageRow) -> Result<Begin, StoreError> {
        let body = match self.bodies.create(row.record.id) {
            Ok(body) => body,
            Err(error) => {
                self.withdraw(&row);
                return Err(error);
            }
        };
        let upload = uploads::Upload::new(row, Arc::new(body), BTreeMap::new(), 0);
        Ok(Begin::New(handle(&self.uploads.add(upload))))
    }

    /// Removes the row of an upload that could not begin, best effort: what is left is pending and
    /// swept once its lease is over. Where somebody took the upload over, row and file are theirs.
    fn withdraw(&self, row: &MessageRow) {
        let id = row.record.id;
        let removed = self.index.write_to_free(|transaction| {
            let ours = rows::holds(transaction, id, row.fence)?;
            if ours {
                rows::remove(transaction, id, true)?;
            }
            Ok(ours)
        });
        match removed {
            Ok(true) => self.remove_files_or_later(&[id]),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, %id, "an upload that never began is left"),
        }
    }

    /// Goes on where another writer stopped.
    fn resume(&self, row: MessageRow, leftover: Leftover) -> Result<Begin, StoreError> {
        let upload = match leftover {
            Leftover::Memory(body, state) => uploads::Upload::continued(row, body, state),
            Leftover::File(body) => {
                let known = self
                    .index
                    .read(|conn| rows::chunk_places(conn, row.num, 0..u32::MAX))?;
                let size = body.len()?;
                let kept = intact(&body, known, size);
                let end = kept.values().map(Place::end).max().unwrap_or(0);
                // What the index never heard of is only space.
                body.set_len(end)?;
                uploads::Upload::new(row, Arc::new(body), kept, end)
            }
            Leftover::NoFile => {
                let body = self.bodies.create(row.record.id)?;
                uploads::Upload::new(row, Arc::new(body), BTreeMap::new(), 0)
            }
        };
        let durable = upload
            .chunks()
            .iter()
            .map(|(seq, place)| DurableChunk {
                seq: *seq,
                stored_len: place.len,
                digest: place.digest,
            })
            .collect();
        Ok(Begin::Resume(handle(&self.uploads.add(upload)), durable))
    }
}

/// The chunks whose bytes are in the file and match their digests. One chunk is in memory at a
/// time. Reading them all costs less than writing them again, which is what resuming saves.
fn intact(body: &BodyFile, known: BTreeMap<u32, Place>, size: u64) -> BTreeMap<u32, Place> {
    let sound = |place: &Place| {
        place.end() <= size
            && usize::try_from(place.len).is_ok_and(|len| {
                body.read_at(place.offset, len)
                    .is_ok_and(|bytes| Digest::of(&bytes) == place.digest)
            })
    };
    known
        .into_iter()
        .filter(|(_, place)| sound(place))
        .collect()
}

/// Puts a new pending row in the place of an old one; the old one's file is to be removed.
fn replace(
    conn: &Connection,
    message: &NewMessage,
    old: Option<MessageRow>,
    now: DateTime<Utc>,
) -> Result<(MessageRow, Option<Leftover>, Vec<MessageId>), StoreError> {
    let mut trash = Vec::new();
    if let Some(old) = old {
        let has_file = old.body == BodyPlace::File;
        rows::remove(conn, old.record.id, has_file)?;
        trash.extend(has_file.then_some(old.record.id));
    }
    let mut row = MessageRow::pending(message, now);
    row.num = rows::insert(conn, &row)?;
    Ok((row, None, trash))
}

fn handle(upload: &uploads::Upload) -> Upload {
    let record = &upload.row.record;
    Upload {
        token: UploadToken {
            principal: record.principal.clone(),
            id: record.id,
            fence: upload.row.fence,
        },
        lease: upload.row.lease,
    }
}

fn remaining(until: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (until - now)
        .to_std()
        .unwrap_or_default()
        .max(Duration::from_millis(1))
}

/// Whether the plan of `message` is one that this store can follow.
pub(crate) fn check_message(message: &NewMessage) -> Result<(), StoreError> {
    let plan = &message.plan;
    if plan.chunk_size == 0 || plan.chunk_size > MAX_CHUNK_BYTES {
        return Err(invalid(format!(
            "a chunk size of {} bytes is not legal: 1 to {MAX_CHUNK_BYTES} are",
            plan.chunk_size
        )));
    }
    let most = plan
        .chunk_size
        .saturating_mul(u64::from(u32::MAX))
        .min(ByteSize::MAX.get());
    match plan.expected_size {
        Some(size) if size > most => Err(too_large("the payload", size, most)),
        _ => Ok(()),
    }
}

/// The error for a manifest that is not what was uploaded or planned.
pub(crate) fn mismatch(what: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Mismatch, what)
}

/// The record of a pending message, with the lease as its writer in this process knows it.
pub(crate) fn with_live_lease(core: &Core, mut row: MessageRow) -> MessageRow {
    if row.record.status == MessageStatus::Pending
        && let Some(upload) = core.uploads.get(row.record.id)
        && upload.row.fence == row.fence
    {
        row.record.lease_expires_at = row.record.lease_expires_at.max(Some(upload.lease_until()));
    }
    row
}

/// The error for a message of which nothing can be read yet.
pub(crate) fn not_complete(row: &MessageRow) -> StoreError {
    let txn = &row.record.transaction_id;
    let why = match &row.record.error_message {
        Some(reason) => format!("message {txn} was given up by its writer: {reason}"),
        None => format!("message {txn} is still being written: try again later"),
    };
    StoreError::new(StoreErrorKind::NotComplete, why)
}

/// The error for a message that is not served any more.
pub(crate) fn expired(row: &MessageRow) -> StoreError {
    StoreError::new(
        StoreErrorKind::Expired,
        format!(
            "message {} expired at {}",
            row.record.transaction_id,
            row.record.expires_at.to_rfc3339()
        ),
    )
}

/// The error for a body that the index knows and the folder does not.
pub(crate) fn missing_body(row: &MessageRow) -> StoreError {
    error::damaged(&row.record.transaction_id, "its body file is missing")
}
