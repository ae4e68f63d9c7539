//! The one-transaction `put` of a small message, its body inside the index.
//!
//! Each durable transaction costs a sync of the disk, which takes milliseconds where the rest takes
//! microseconds. So puts that wait for the writer at the same time share a transaction: whoever gets
//! the writer does all that are waiting, each behind a savepoint of its own, and hands out the
//! results once the transaction is durable.

use std::{collections::BTreeMap, mem, sync::Arc};

use bus_model::{Manifest, MessageBusRecord, MessageId};
use bus_store::{
    NewMessage, PutOutcome, StoreError, StoreErrorKind, StoredChunk, contract::conflict,
};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction};

use crate::{
    Step,
    begin::{Found, check_message},
    core::Core,
    error::sqlite,
    rows::{self, BodyPlace, MessageRow, Place},
    upload::check_plan,
};

/// Puts that wait for the writer.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Vec<(Put, Slot)>>);

/// Where the result of a put that somebody else did is found.
type Slot = Arc<Mutex<Option<Result<Done, StoreError>>>>;

/// A put that is ready to be written.
struct Put {
    message: NewMessage,
    row: MessageRow,
    body: Vec<u8>,
    places: BTreeMap<u32, Place>,
    now: DateTime<Utc>,
}

/// What came of a put: its outcome, and the message whose file it put out of use.
type Done = (PutOutcome, Option<MessageId>);

impl Core {
    /// Writes a small message in one transaction, its body inside the index.
    pub(crate) fn put_inline(
        &self,
        message: NewMessage,
        manifest: &Manifest,
        chunks: &[StoredChunk],
    ) -> Result<PutOutcome, StoreError> {
        check_message(&message)?;
        let now = self.now();
        let wanted = usize::try_from(manifest.chunk_count()).unwrap_or(usize::MAX);
        let (body, places) = concatenated(&chunks[..chunks.len().min(wanted)]);
        let pending = MessageRow::pending(&message, now);
        check_plan(&pending, manifest, &places)?;
        let mut row = pending.completed(manifest, now);
        row.body = BodyPlace::Inline;
        let (outcome, trash) = self.put_with_others(Put {
            message,
            row,
            body,
            places,
            now,
        })?;
        if let Some(id) = trash {
            self.uploads.forget_id(id);
            self.remove_files_or_later(&[id]);
        }
        Ok(outcome)
    }

    fn put_with_others(&self, put: Put) -> Result<Done, StoreError> {
        let slot = Slot::default();
        self.waiting.0.lock().push((put, Arc::clone(&slot)));
        self.index.as_writer(|writer| {
            // Whoever had the writer before may have done this one, too.
            if let Some(done) = slot.lock().take() {
                return done;
            }
            let (puts, slots): (Vec<_>, Vec<_>) =
                mem::take(&mut *self.waiting.0.lock()).into_iter().unzip();
            let results = writer.and_then(|mut writer| {
                writer.transaction(|transaction| self.put_all(transaction, &puts))
            });
            match results {
                Ok(results) => {
                    self.done(Step::Committed);
                    for (slot, result) in slots.iter().zip(results) {
                        *slot.lock() = Some(result);
                    }
                }
                Err(error) => {
                    for slot in &slots {
                        *slot.lock() = Some(Err(again(&error)));
                    }
                    return Err(error);
                }
            }
            let done = slot.lock().take();
            done.unwrap_or_else(|| Err(lost_result()))
        })
    }

    /// Does each of `puts` or nothing of it. An error is of all of them.
    fn put_all(
        &self,
        transaction: &mut Transaction<'_>,
        puts: &[Put],
    ) -> Result<Vec<Result<Done, StoreError>>, StoreError> {
        let failed = |error| sqlite("set a savepoint", error);
        let mut results = Vec::with_capacity(puts.len());
        for put in puts {
            let savepoint = transaction.savepoint().map_err(failed)?;
            let result = self.put_one(&savepoint, put);
            match &result {
                Ok(_) => savepoint.commit().map_err(failed)?,
                Err(error) => {
                    // Some faults, such as a full disk, end the whole transaction.
                    if savepoint.is_autocommit() {
                        return Err(again(error));
                    }
                    savepoint.finish().map_err(failed)?;
                }
            }
            results.push(result);
        }
        Ok(results)
    }

    fn put_one(&self, conn: &Connection, put: &Put) -> Result<Done, StoreError> {
        let mut row = put.row.clone();
        let old = match self.find(conn, &put.message, put.now)? {
            Found::Busy(retry_after) => return Ok((PutOutcome::Busy { retry_after }, None)),
            Found::Complete(there) if there.record.checksum == row.record.checksum => {
                let record = Box::new(there.record_at(put.now));
                return Ok((PutOutcome::AlreadyThere(record), None));
            }
            Found::Complete(_) => return Err(conflict(&put.message.key)),
            Found::Free(old) => old,
            Found::Abandoned(old, _) => {
                if old.fits(&put.message) {
                    row.continues(&old);
                }
                Some(old)
            }
        };
        if let Some(old) = &old {
            rows::remove(conn, old.record.id, old.body == BodyPlace::File)?;
        }
        let num = rows::insert(conn, &row)?;
        rows::set_inline(conn, num, &put.body)?;
        if !is_plain(&row.record, &put.places) {
            let all = put.places.iter().map(|(seq, place)| (*seq, place));
            rows::put_chunk_rows(conn, num, all, false)?;
        }
        let trash = old.filter(|old| old.body == BodyPlace::File);
        Ok((
            PutOutcome::Created(Box::new(row.record)),
            trash.map(|old| old.record.id),
        ))
    }
}

/// The same error for another put of the same transaction.
fn again(error: &StoreError) -> StoreError {
    let copy = StoreError::new(error.kind(), error.to_string());
    match error.retry_after() {
        Some(delay) => copy.with_retry_after(delay),
        None => copy,
    }
}

fn lost_result() -> StoreError {
    StoreError::new(
        StoreErrorKind::Internal,
        "the result of a put was lost; look the message up, and put it again if it is not there",
    )
}

/// All chunks in one piece, and where each is in it.
fn concatenated(chunks: &[StoredChunk]) -> (Vec<u8>, BTreeMap<u32, Place>) {
    let mut body = Vec::with_capacity(chunks.iter().map(|chunk| chunk.bytes.len()).sum());
    let mut places = BTreeMap::new();
    for (seq, chunk) in (0_u32..).zip(chunks) {
        let place = Place {
            offset: body.len() as u64,
            len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        };
        places.insert(seq, place);
        body.extend_from_slice(&chunk.bytes);
    }
    (body, places)
}

/// Whether the record alone says where the one chunk of an inline body is and what its digest is,
/// so that it needs no chunk row.
fn is_plain(record: &MessageBusRecord, places: &BTreeMap<u32, Place>) -> bool {
    places.len() == 1 && places.get(&0).map(|place| place.digest) == record.encoded_sha256
}
