//! The uploads that this process writes: their chunks, their leases, their locks.
//!
//! All of it is judged here in memory, and once more in the index where it counts. An upload that
//! is given away is marked lost under its own lock, so that a call that was under way finds out
//! before it records anything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use bus_model::MessageId;
use bus_store::{StoreError, UploadToken};
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::{
    bodies::BodyFile,
    error::lease_lost,
    rows::{MessageRow, Place, after},
};

/// The uploads of one open store.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<MessageId, Arc<Upload>>>);

impl Uploads {
    pub(crate) fn add(&self, upload: Upload) -> Arc<Upload> {
        let upload = Arc::new(upload);
        self.0
            .lock()
            .insert(upload.row.record.id, Arc::clone(&upload));
        upload
    }

    /// The upload that `token` is for.
    pub(crate) fn held_by(&self, token: &UploadToken) -> Result<Arc<Upload>, StoreError> {
        self.get(token.id)
            .filter(|upload| {
                upload.row.fence == token.fence && upload.row.record.principal == token.principal
            })
            .ok_or_else(lease_lost)
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<Arc<Upload>> {
        self.0.lock().get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Upload>> {
        self.0.lock().values().cloned().collect()
    }

    /// Lets go of an upload, if it is still this one: its lock on the file ends with the last call
    /// that is under way.
    pub(crate) fn forget(&self, upload: &Upload) {
        upload.state.lock().lost = true;
        let mut all = self.0.lock();
        let id = upload.row.record.id;
        if all
            .get(&id)
            .is_some_and(|u| u.row.fence == upload.row.fence)
        {
            all.remove(&id);
        }
    }

    /// Lets go of whatever upload has this id.
    pub(crate) fn forget_id(&self, id: MessageId) {
        if let Some(upload) = self.get(id) {
            self.forget(&upload);
        }
    }
}

/// One upload of this process.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Its row as it was when this writer began.
    pub(crate) row: MessageRow,
    pub(crate) body: Arc<BodyFile>,
    state: Mutex<State>,
}

/// What changes while an upload is written.
#[derive(Debug, Clone)]
pub(crate) struct State {
    lost: bool,
    lease_until: DateTime<Utc>,
    /// What the index says of the lease.
    lease_written: DateTime<Utc>,
    /// Where the next chunk goes.
    end: u64,
    chunks: BTreeMap<u32, Place>,
    /// Chunks that the index does not know.
    dirty: BTreeSet<u32>,
    dirty_bytes: u64,
    checkpointing: bool,
    name_durable: bool,
}

/// What is due after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Write the lease to the index, for other processes.
    Lease,
    /// Make the chunks durable. Nobody else is told so until `checkpointed`.
    Checkpoint,
}

/// The chunks of an upload at one moment.
pub(crate) struct Snapshot {
    pub(crate) chunks: BTreeMap<u32, Place>,
    pub(crate) dirty: BTreeSet<u32>,
    pub(crate) name_durable: bool,
}

impl Upload {
    /// An upload with these chunks, all known to the index, whose next chunk goes to `end`.
    pub(crate) fn new(
        row: MessageRow,
        body: Arc<BodyFile>,
        chunks: BTreeMap<u32, Place>,
        end: u64,
    ) -> Self {
        let until = row.record.lease_expires_at.unwrap_or_default();
        Self {
            row,
            body,
            state: Mutex::new(State {
                lost: false,
                lease_until: until,
                lease_written: until,
                end,
                name_durable: !chunks.is_empty(),
                chunks,
                dirty: BTreeSet::new(),
                dirty_bytes: 0,
                checkpointing: false,
            }),
        }
    }

    /// The upload of another writer of this process, under a new one.
    pub(crate) fn continued(row: MessageRow, body: Arc<BodyFile>, left: State) -> Self {
        let until = row.record.lease_expires_at.unwrap_or_default();
        Self {
            row,
            body,
            state: Mutex::new(State {
                lost: false,
                lease_until: until,
                lease_written: until,
                checkpointing: false,
                ..left
            }),
        }
    }

    /// Takes the upload away from its writer where its lease is over at `now`; what it left.
    pub(crate) fn take_if_abandoned(&self, now: DateTime<Utc>) -> Option<State> {
        let mut state = self.state.lock();
        if !state.lost && state.lease_until > now {
            return None;
        }
        state.lost = true;
        Some(state.clone())
    }

    pub(crate) fn lease_until(&self) -> DateTime<Utc> {
        self.state.lock().lease_until
    }

    /// Stored bytes of its chunks.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.state.lock().chunks.values().map(|c| c.len).sum()
    }

    pub(crate) fn chunks(&self) -> BTreeMap<u32, Place> {
        self.state.lock().chunks.clone()
    }

    /// Whether chunk `seq` is there with just these stored bytes.
    pub(crate) fn has(&self, seq: u32, len: u64, digest: bus_model::Digest) -> bool {
        let state = self.state.lock();
        state
            .chunks
            .get(&seq)
            .is_some_and(|place| place.len == len && place.digest == digest)
    }

    /// Starts the lease anew and sets `len` bytes of the file apart; where they begin.
    pub(crate) fn reserve(&self, len: u64, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut state = self.live()?;
        state.lease_until = after(now, self.row.lease);
        let offset = state.end;
        state.end = offset.saturating_add(len);
        Ok(offset)
    }

    /// Records a written chunk; what is due next.
    pub(crate) fn record(
        &self,
        seq: u32,
        place: Place,
        now: DateTime<Utc>,
        checkpoint_bytes: u64,
    ) -> Result<Due, StoreError> {
        let mut state = self.live()?;
        state.lease_until = after(now, self.row.lease);
        state.chunks.insert(seq, place);
        state.dirty.insert(seq);
        state.dirty_bytes = state.dirty_bytes.saturating_add(place.len);
        if state.dirty_bytes >= checkpoint_bytes && !state.checkpointing {
            state.checkpointing = true;
            return Ok(Due::Checkpoint);
        }
        Ok(self.lease_due(&state, now))
    }

    /// The index is told of the lease once a quarter of it has gone by.
    fn lease_due(&self, state: &State, now: DateTime<Utc>) -> Due {
        let soon = after(now, self.row.lease - self.row.lease / 4);
        if state.lease_written < soon {
            Due::Lease
        } else {
            Due::Nothing
        }
    }

    /// Starts the lease anew; until when it runs.
    pub(crate) fn renew(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
        let mut state = self.live()?;
        state.lease_until = after(now, self.row.lease);
        Ok(state.lease_until)
    }

    /// The index knows of the lease until `until`.
    pub(crate) fn lease_written(&self, until: DateTime<Utc>) {
        let mut state = self.state.lock();
        state.lease_written = state.lease_written.max(until);
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let state = self.live()?;
        Ok(Snapshot {
            chunks: state.chunks.clone(),
            dirty: state.dirty.clone(),
            name_durable: state.name_durable,
        })
    }

    /// A checkpoint ended, with these chunks now known to the index.
    pub(crate) fn checkpointed(&self, known: &BTreeMap<u32, Place>) {
        let mut state = self.state.lock();
        state.checkpointing = false;
        for (seq, place) in known {
            // One that was replaced meanwhile is not known.
            if state.chunks.get(seq) == Some(place) && state.dirty.remove(seq) {
                state.name_durable = true;
            }
        }
        state.dirty_bytes = state
            .dirty
            .iter()
            .filter_map(|seq| state.chunks.get(seq))
            .map(|place| place.len)
            .sum();
    }

    /// Whether nobody else has the upload and nobody gives it up.
    pub(crate) fn require_held(&self) -> Result<(), StoreError> {
        self.live().map(drop)
    }

    fn live(&self) -> Result<parking_lot::MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock();
        if state.lost {
            return Err(lease_lost());
        }
        Ok(state)
    }
}
