//! The in-memory reference: what the contract means, obviously correct rather than fast.
//!
//! [`MemoryStore`] is a thin shell around a pure state machine that is handed the time. Its one
//! lock is never held across an await, and nothing it does under the lock waits or hashes. Chunks
//! are shared, not copied: a reader keeps what it has begun to read, whatever happens to the
//! message meanwhile.

mod entry;
mod query;
mod state;
mod sweep;

use std::{fmt, ops::Range, sync::Arc};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, Principal};
use chrono::{DateTime, SubsecRound as _, Utc};
use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use uuid::Uuid;

use self::state::{Fresh, State};
use crate::{
    Begin, Capabilities, ChunkStream, Clock, ListQuery, NewMessage, OpenMessage, Page,
    PurgeOptions, PurgeReport, Stats, Store, StoreError, StoredChunk, SystemClock, UploadToken,
};

/// Largest stored chunk that the memory store takes, in bytes.
const MAX_CHUNK_BYTES: u64 = 64 << 20;

/// A store in the memory of this process. Clones share their messages.
///
/// Nothing outlives the process, so it is for tests, for short-lived tools and as the reference
/// that other stores are compared with.
///
/// ```
/// # use bus_store::{MemoryStore, Store};
/// let store = MemoryStore::new();
/// assert!(!store.capabilities().durable);
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    capabilities: Capabilities,
}

impl MemoryStore {
    /// An empty store, without a limit, on the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty store that judges leases and expiry by `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let capabilities = Capabilities {
            max_chunk_bytes: MAX_CHUNK_BYTES,
            max_message_bytes: None,
            one_step_put_bytes: 0,
            filters_pushed_down: true,
            durable: false,
            concurrent_calls: 0,
        };
        Self {
            state: Arc::new(Mutex::new(State::new(capabilities))),
            clock,
            capabilities,
        }
    }

    /// An empty store that holds at most `bytes` bytes of chunks and answers
    /// [`StoreErrorKind::Full`](crate::StoreErrorKind::Full) beyond that.
    #[must_use]
    pub fn with_capacity(bytes: u64) -> Self {
        Self::new().limited_to(bytes)
    }

    /// This store, emptied, with room for at most `bytes` bytes of chunks.
    #[must_use]
    pub fn limited_to(mut self, bytes: u64) -> Self {
        self.capabilities.max_message_bytes = Some(bytes);
        self.state = Arc::new(Mutex::new(State::new(self.capabilities)));
        self
    }

    /// The time now, in the whole milliseconds that records hold.
    fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(3)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("capabilities", &self.capabilities)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        let fresh = Fresh {
            id: MessageId::mint(),
            fence: Uuid::new_v4(),
        };
        self.state.lock().begin(message, fresh, self.now())
    }

    async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        self.state.lock().put_chunk(token, seq, chunk, self.now())
    }

    async fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        self.state.lock().renew(token, self.now())
    }

    async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        let digest = manifest.digest();
        self.state
            .lock()
            .commit(token, manifest, digest, self.now())
    }

    async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        self.state.lock().abort(token, reason, self.now())
    }

    async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        self.state.lock().record(key, self.now())
    }

    async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        self.state.lock().open(key, self.now())
    }

    async fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let chunks = self.state.lock().chunks(principal, id, range, self.now())?;
        Ok(stream::iter(chunks.into_iter().map(Ok)).boxed())
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.state.lock().list(query, self.now())
    }

    async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        self.state.lock().touch(keys, self.now());
        Ok(())
    }

    async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        self.state.lock().acknowledge(key, self.now())
    }

    async fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        self.state.lock().delete(key)
    }

    async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        Ok(self.state.lock().purge(options, self.now()))
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        Ok(self.state.lock().stats(self.now()))
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
