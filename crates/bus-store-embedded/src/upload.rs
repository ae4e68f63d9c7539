//! Writing an upload: chunks, leases, checkpoints, commit and abort.

use std::collections::BTreeMap;

use bus_model::{Manifest, MessageBusRecord, MessageStatus};
use bus_store::{StoreError, StoreErrorKind, StoredChunk, UploadToken};

use crate::{
    Step,
    begin::{MAX_CHUNK_BYTES, mismatch},
    core::{Core, too_large},
    error::lease_lost,
    rows::{self, MessageRow, Place, after},
    uploads::{Due, Upload},
};

impl Core {
    /// See [`Store::put_chunk`](bus_store::Store::put_chunk).
    pub(crate) fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: &StoredChunk,
    ) -> Result<(), StoreError> {
        let upload = self.uploads.held_by(token)?;
        let len = chunk.bytes.len() as u64;
        if len > MAX_CHUNK_BYTES {
            return Err(too_large("the chunk", len, MAX_CHUNK_BYTES));
        }
        self.require_row(&upload)?;
        if upload.has(seq, len, chunk.digest) {
            return self.write_lease(&upload);
        }
        let offset = upload.reserve(len, self.now())?;
        upload.body.write_at(&chunk.bytes, offset)?;
        self.done(Step::ChunkWritten);
        let place = Place {
            offset,
            len,
            digest: chunk.digest,
        };
        match upload.record(seq, place, self.now(), self.checkpoint_bytes)? {
            Due::Nothing => Ok(()),
            Due::Lease => self.write_lease(&upload),
            Due::Checkpoint => self.checkpoint(&upload),
        }
    }

    /// See [`Store::renew`](bus_store::Store::renew).
    pub(crate) fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        let upload = self.uploads.held_by(token)?;
        self.write_lease(&upload)
    }

    /// Forgets an upload of this process; its row, its file and its durable chunks stay.
    pub(crate) fn release(&self, token: &UploadToken) {
        if let Ok(upload) = self.uploads.held_by(token) {
            self.uploads.forget(&upload);
        }
    }

    /// See [`Store::commit`](bus_store::Store::commit).
    pub(crate) fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        let committed = self
            .uploads
            .held_by(token)
            .and_then(|upload| self.commit_held(&upload, manifest));
        match committed {
            // Perhaps because the same commit succeeded before, or just now.
            Err(error) if error.kind() == StoreErrorKind::LeaseLost => {
                self.committed_before(token, manifest)
            }
            done => done,
        }
    }

    fn commit_held(
        &self,
        upload: &Upload,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        self.require_row(upload)?;
        let id = upload.row.record.id;
        let snapshot = upload.snapshot()?;
        let mut places = snapshot.chunks;
        places.split_off(&manifest.chunk_count());
        check_plan(&upload.row, manifest, &places)?;
        upload.renew(self.now())?;
        self.bodies.sync_data(&upload.body)?;
        if !snapshot.name_durable {
            self.bodies.sync_name(id)?;
        }
        let row = upload.row.clone().completed(manifest, self.now());
        let done = self.index.write(|transaction| {
            // An abort that is under way cuts the body; it does so under this same lock.
            upload.require_held()?;
            let Some(num) = rows::complete(transaction, &row)? else {
                return Ok(None);
            };
            let all = places.iter().map(|(seq, place)| (*seq, place));
            rows::put_chunk_rows(transaction, num, all, true)?;
            rows::by_id(transaction, id)
        })?;
        self.uploads.forget(upload);
        let row = done.ok_or_else(lease_lost)?;
        self.done(Step::Committed);
        Ok(row.record)
    }

    /// See [`Store::abort`](bus_store::Store::abort).
    pub(crate) fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        let upload = self.uploads.held_by(token)?;
        // From here on no commit of it begins its transaction; one that has begun comes first.
        self.uploads.forget(&upload);
        let expires_at = after(self.now(), upload.row.ttl.as_duration());
        let ours = self.index.write_to_free(|transaction| {
            if !rows::holds(transaction, token.id, token.fence)? {
                return Ok(false);
            }
            // Frees the space first: where the disk is full, the index needs some of it.
            upload.body.set_len(0)?;
            rows::fail(transaction, token.id, token.fence, reason, expires_at)
        })?;
        if !ours {
            return Err(lease_lost());
        }
        self.done(Step::RowDeleted);
        self.remove_files_or_later(&[token.id]);
        Ok(())
    }

    /// The answer to a commit of an upload that this process does not hold: success where it is
    /// the repetition of one that succeeded.
    fn committed_before(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        let now = self.now();
        self.index
            .read(|conn| rows::by_id(conn, token.id))?
            .filter(|row| {
                row.fence == token.fence
                    && row.record.principal == token.principal
                    && row.record.status == MessageStatus::Complete
                    && row.record.manifest_sha256 == Some(manifest.digest())
            })
            .map(|row| row.record_at(now))
            .ok_or_else(lease_lost)
    }

    /// Asks the index whether the upload is still this writer's: another process may have deleted
    /// it.
    fn require_row(&self, upload: &Upload) -> Result<(), StoreError> {
        let row = &upload.row;
        if self
            .index
            .read(|conn| rows::holds(conn, row.record.id, row.fence))?
        {
            return Ok(());
        }
        self.uploads.forget(upload);
        Err(lease_lost())
    }

    /// Starts the lease anew, in the index too.
    fn write_lease(&self, upload: &Upload) -> Result<(), StoreError> {
        self.index_chunks(upload, &BTreeMap::new())
    }

    /// Makes the chunks written so far durable: their bytes, then their rows.
    fn checkpoint(&self, upload: &Upload) -> Result<(), StoreError> {
        let durable = self.make_durable(upload);
        match &durable {
            Ok(known) => upload.checkpointed(known),
            Err(_) => upload.checkpointed(&BTreeMap::new()),
        }
        durable.map(|_| ())
    }

    fn make_durable(&self, upload: &Upload) -> Result<BTreeMap<u32, Place>, StoreError> {
        let mut snapshot = upload.snapshot()?;
        snapshot
            .chunks
            .retain(|seq, _| snapshot.dirty.contains(seq));
        self.bodies.sync_data(&upload.body)?;
        if !snapshot.name_durable {
            self.bodies.sync_name(upload.row.record.id)?;
        }
        self.index_chunks(upload, &snapshot.chunks)?;
        self.done(Step::RowsCheckpointed);
        Ok(snapshot.chunks)
    }

    /// Tells the index of the lease and of durable chunks.
    fn index_chunks(
        &self,
        upload: &Upload,
        places: &BTreeMap<u32, Place>,
    ) -> Result<(), StoreError> {
        let until = upload.renew(self.now())?;
        let row = &upload.row;
        let ours = self.index.write(|transaction| {
            let num = rows::renew(transaction, row.record.id, row.fence, until)?;
            if let Some(num) = num {
                let all = places.iter().map(|(seq, place)| (*seq, place));
                rows::put_chunk_rows(transaction, num, all, false)?;
            }
            Ok(num.is_some())
        })?;
        if !ours {
            self.uploads.forget(upload);
            return Err(lease_lost());
        }
        upload.lease_written(until);
        Ok(())
    }
}

/// Whether the manifest is what was planned and uploaded.
pub(crate) fn check_plan(
    row: &MessageRow,
    manifest: &Manifest,
    places: &BTreeMap<u32, Place>,
) -> Result<(), StoreError> {
    let record = &row.record;
    let planned = (record.compression_type, record.chunk_size_bytes);
    if (manifest.encoding(), manifest.chunk_size()) != planned {
        return Err(mismatch(format!(
            "the manifest has {} chunks of {} bytes, the plan {} ones of {}",
            manifest.encoding(),
            manifest.chunk_size(),
            planned.0,
            planned.1
        )));
    }
    let size = manifest.payload_size();
    if let Some(expected) = row.expected_size.filter(|s| *s != size) {
        return Err(mismatch(format!(
            "the payload has {size} bytes, not the {expected} that were planned"
        )));
    }
    let digest = manifest.payload_digest();
    if row.expected_digest.is_some_and(|d| d != digest) {
        return Err(mismatch(format!(
            "the payload has the digest {digest}, not the one that was planned"
        )));
    }
    for (seq, entry) in (0_u32..).zip(manifest.chunks()) {
        let what = match places.get(&seq) {
            None => "is missing: upload it",
            Some(place) if (place.len, place.digest) != (entry.stored_len, entry.digest) => {
                "is not the one of the manifest: upload it again"
            }
            Some(_) => continue,
        };
        return Err(mismatch(format!("chunk {seq} {what}")));
    }
    Ok(())
}
