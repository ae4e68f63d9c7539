//! [`EmbeddedStore`]: the async shell. Each call runs on a thread that may block; a call that is
//! dropped while it runs there still ends, and leaves the store consistent.

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, Principal};
use bus_store::{
    Begin, Capabilities, ChunkStream, ListQuery, NewMessage, OpenMessage, Page, PurgeOptions,
    PurgeReport, PutOutcome, Stats, Store, StoreError, StoreErrorKind, StoredChunk, UploadToken,
    contract::put_in_steps,
};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{DeepCheck, Options, begin::MAX_CHUNK_BYTES, core::Core};

/// Calls that write at the same time. The index has one writer, but small puts that wait for it
/// share a transaction.
const WRITERS: usize = 32;

/// Chunks read at the same time by one stream: the one that is wanted and the next.
const READ_AHEAD: usize = 2;

/// A store in a folder of the local file system. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedStore {
    core: Arc<Core>,
    dir: Arc<Path>,
    inline_bytes: u64,
    writers: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl EmbeddedStore {
    /// Opens the store in `dir` with default [`Options`]. Creates the folder, for its owner only.
    ///
    /// Blocks while it opens the index and finishes deletions that a crash cut short;
    /// [`open_async`](Self::open_async) does not block a runtime.
    ///
    /// # Errors
    /// [`StoreErrorKind::Denied`] where the folder may not be written and holds no store that can
    /// be read; [`StoreErrorKind::Damaged`] where the index is damaged or is not one of bus;
    /// [`StoreErrorKind::NewerFormat`]; [`StoreErrorKind::Full`];
    /// [`StoreErrorKind::Overloaded`] where another process holds the index for too long.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(dir, Options::default())
    }

    /// As [`open`](Self::open), with `options`.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(dir: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let dir = dir.as_ref();
        let readers = options.readers.clamp(1, Semaphore::MAX_PERMITS);
        let inline_bytes = options.inline_bytes;
        Ok(Self {
            core: Arc::new(Core::open(dir, options)?),
            dir: dir.into(),
            inline_bytes,
            writers: Arc::new(Semaphore::new(WRITERS)),
            readers: Arc::new(Semaphore::new(readers)),
        })
    }

    /// As [`open_with`](Self::open_with), without blocking the runtime that it is called on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_async(dir: impl Into<PathBuf>, options: Options) -> Result<Self, StoreError> {
        let dir = dir.into();
        spawn_blocking(move || Self::open_with(dir, options))
            .await
            .map_err(stopped)?
    }

    /// The folder of the store.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Checks that index and folder say the same: the integrity of the index, the rows of every
    /// message, that each complete message has a body of sufficient size, that each file has a
    /// message. Reads the whole index but no body; takes seconds for a large store.
    ///
    /// # Errors
    /// Only where the store as a whole cannot be read; damage is in the answer.
    pub async fn deep_check(&self) -> Result<DeepCheck, StoreError> {
        self.read(Core::deep_check).await
    }

    /// Lets go of an upload without giving it up, as the end of this process would: its token goes
    /// stale, and once its lease is over another writer may resume it. For a stale token nothing.
    pub fn release(&self, token: &UploadToken) {
        self.core.release(token);
    }

    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(&self.writers, work).await
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(&self.readers, work).await
    }

    /// Runs `work` on a thread that may block, once `gate` lets it: a crowd waits here, where
    /// waiting costs no thread.
    async fn run<T: Send + 'static>(
        &self,
        gate: &Arc<Semaphore>,
        work: impl FnOnce(&Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let core = Arc::clone(&self.core);
        let permit = Arc::clone(gate).acquire_owned().await.map_err(stopped)?;
        spawn_blocking(move || {
            let _permit = permit;
            work(&core)
        })
        .await
        .map_err(stopped)?
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn stopped(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::new(
        StoreErrorKind::Internal,
        "the call to the embedded store was stopped; the log of the program says why",
    )
    .with_source(error)
}

#[async_trait]
impl Store for EmbeddedStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            max_chunk_bytes: MAX_CHUNK_BYTES,
            max_message_bytes: None,
            one_step_put_bytes: self.inline_bytes,
            filters_pushed_down: true,
            durable: true,
            concurrent_calls: 0,
        }
    }

    async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        let message = message.clone();
        self.write(move |core| core.begin(&message)).await
    }

    async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        let token = token.clone();
        self.write(move |core| core.put_chunk(&token, seq, &chunk))
            .await
    }

    async fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        let token = token.clone();
        self.write(move |core| core.renew(&token)).await
    }

    async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        let (token, manifest) = (token.clone(), manifest.clone());
        self.write(move |core| core.commit(&token, &manifest)).await
    }

    async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        let (token, reason) = (token.clone(), reason.to_owned());
        self.write(move |core| core.abort(&token, &reason)).await
    }

    async fn put(
        &self,
        message: &NewMessage,
        manifest: &Manifest,
        chunks: &[StoredChunk],
    ) -> Result<PutOutcome, StoreError> {
        let size: u64 = chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum();
        if size > self.inline_bytes {
            return put_in_steps(self, message, manifest, chunks).await;
        }
        let outcome = {
            let (message, manifest, chunks) = (message.clone(), manifest.clone(), chunks.to_vec());
            self.write(move |core| core.put_inline(message, &manifest, &chunks))
                .await
        };
        match outcome {
            // Whatever its size, a message that is not what it says leaves the same trace.
            Err(error) if error.kind() == StoreErrorKind::Mismatch => {
                put_in_steps(self, message, manifest, chunks).await
            }
            outcome => outcome,
        }
    }

    async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        let key = key.clone();
        self.read(move |core| core.record(&key)).await
    }

    async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        let key = key.clone();
        self.read(move |core| core.open_message(&key)).await
    }

    async fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let principal = principal.clone();
        let reading = self
            .read(move |core| core.chunks(&principal, id, &range))
            .await?;
        let reads = reading.into_chunks().map(|chunk| async move {
            if !chunk.blocks() {
                return chunk.read();
            }
            spawn_blocking(move || chunk.read())
                .await
                .map_err(stopped)?
        });
        Ok(stream::iter(reads).buffered(READ_AHEAD).boxed())
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let query = query.clone();
        self.read(move |core| core.list(&query)).await
    }

    async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        let keys = keys.to_vec();
        self.write(move |core| core.touch(&keys)).await
    }

    async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        let key = key.clone();
        self.write(move |core| core.acknowledge(&key)).await
    }

    async fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        let key = key.clone();
        self.write(move |core| core.delete(&key)).await
    }

    async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        let options = *options;
        self.write(move |core| core.purge(&options)).await
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        self.read(Core::stats).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.write(Core::check).await
    }

    /// The deep check, without what reading the messages shows as well.
    async fn inspect(&self) -> Result<Vec<String>, StoreError> {
        let found = self.deep_check().await?;
        let beside = found
            .issues
            .iter()
            .filter(|issue| !issue.is_of_a_readable_message());
        Ok(beside.map(ToString::to_string).collect())
    }
}
