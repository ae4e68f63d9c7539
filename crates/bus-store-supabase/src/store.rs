//! [`SupabaseStore`]: the contract, handed on to the modules that do it.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, Principal};
use bus_store::{
    Begin, Capabilities, ChunkStream, ListQuery, NewMessage, OpenMessage, Page, PurgeOptions,
    PurgeReport, PutOutcome, Stats, Store, StoreError, StoredChunk, UploadToken,
};
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use crate::{ServerInfo, SupabaseConfig, attempts::Attempts, http::Http, write};

/// The version of the schema that this build works with.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest stored chunk, in bytes: the functions take no more.
pub(crate) const MAX_CHUNK_BYTES: u64 = 4 << 20;
/// Calls of one transfer at the same time: they hide the way to the server, more only fill memory.
pub(crate) const CALLS: usize = 4;

/// A store in a Supabase project. Cheap to clone; clones share connections.
///
/// # Cancellation
/// Every future may be dropped. What was asked may have taken effect; asking again is safe.
#[derive(Clone)]
pub struct SupabaseStore {
    core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) http: Http,
    pub(crate) attempts: Attempts,
    /// Whether raw bytes are sent, once the server was asked whether it takes them.
    pub(crate) raw: OnceCell<AtomicBool>,
}

impl SupabaseStore {
    /// A store in the project that `config` names. Nothing is sent yet; [`Store::check`] tells
    /// whether it can be used.
    ///
    /// # Errors
    /// Where this machine's certificates or proxy settings cannot be used.
    pub fn new(config: SupabaseConfig) -> Result<Self, StoreError> {
        let core = Core {
            http: Http::new(config)?,
            attempts: Attempts::default(),
            raw: OnceCell::new(),
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    /// What the server says of itself, in one round trip.
    ///
    /// # Errors
    /// As [`Store::check`], but a schema of another version is none.
    pub async fn info(&self) -> Result<ServerInfo, StoreError> {
        self.core.info().await
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }
}

impl fmt::Debug for SupabaseStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupabaseStore")
            .field("http", &self.core.http)
            .field("raw", &self.core.raw.get())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SupabaseStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_chunk_bytes: MAX_CHUNK_BYTES,
            max_message_bytes: None,
            one_step_put_bytes: MAX_CHUNK_BYTES,
            filters_pushed_down: true,
            durable: true,
            concurrent_calls: CALLS,
        }
    }

    async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        self.core.begin(message).await
    }

    async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        self.core.put_chunk(token, seq, chunk).await
    }

    async fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        self.core.renew(token).await
    }

    async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        self.core.commit(token, manifest).await
    }

    async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        self.core.abort(token, reason).await
    }

    async fn put(
        &self,
        message: &NewMessage,
        manifest: &Manifest,
        chunks: &[StoredChunk],
    ) -> Result<PutOutcome, StoreError> {
        write::put(self, message, manifest, chunks).await
    }

    async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        self.core.record(key).await
    }

    async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        self.core.open(key).await
    }

    async fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        self.core.chunks(principal, id, range).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.core.list(query).await
    }

    async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        self.core.touch(keys).await
    }

    async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        self.core.acknowledge(key).await
    }

    async fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        self.core.delete(key).await
    }

    async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        self.core.purge(options).await
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        self.core.stats().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.core.check().await
    }
}
