//! A store that passes every call on to the reference, with a place for one fault.

use std::{collections::HashMap, fmt, ops::Range, sync::Mutex};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, Principal};
use bus_store::{
    Begin, Capabilities, ChunkStream, ListQuery, MemoryStore, NewMessage, OpenMessage, Page,
    PurgeOptions, PurgeReport, PutOutcome, Stats, Store, StoreError, StoredChunk, UploadToken,
};
use chrono::{DateTime, Utc};

/// What a faulty store remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// The token that was handed out last, by message.
    pub tokens: HashMap<MessageId, UploadToken>,
    /// Messages as they were opened.
    pub opened: HashMap<MessageKey, OpenMessage>,
}

/// One way to break the contract. Every method passes on by default.
#[async_trait]
pub trait Fault: fmt::Debug + Send + Sync + 'static {
    async fn begin(&self, s: &Inner, message: &NewMessage) -> Result<Begin, StoreError> {
        s.store.begin(message).await
    }
    async fn put_chunk(
        &self,
        s: &Inner,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        s.store.put_chunk(token, seq, chunk).await
    }
    async fn renew(&self, s: &Inner, token: &UploadToken) -> Result<(), StoreError> {
        s.store.renew(token).await
    }
    async fn commit(
        &self,
        s: &Inner,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        s.store.commit(token, manifest).await
    }
    async fn open(&self, s: &Inner, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        s.store.open(key).await
    }
    async fn record(&self, s: &Inner, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        s.store.record(key).await
    }
    async fn chunks(
        &self,
        s: &Inner,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        s.store.chunks(principal, id, range).await
    }
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        s.store.list(query).await
    }
    async fn delete(&self, s: &Inner, key: &MessageKey) -> Result<(), StoreError> {
        s.store.delete(key).await
    }
    async fn purge(&self, s: &Inner, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        s.store.purge(options).await
    }
}

/// No fault.
#[derive(Debug)]
pub struct Transparent;

impl Fault for Transparent {}

/// What a fault works with.
#[derive(Debug)]
pub struct Inner {
    pub store: MemoryStore,
    pub memory: Mutex<Memory>,
}

impl Inner {
    /// The token that was handed out last for `id`.
    pub fn last_token(&self, id: MessageId) -> Option<UploadToken> {
        self.memory
            .lock()
            .expect("not poisoned")
            .tokens
            .get(&id)
            .cloned()
    }
}

/// The reference with a fault.
#[derive(Debug)]
pub struct Wrapper<F> {
    inner: Inner,
    fault: F,
}

impl<F: Fault> Wrapper<F> {
    pub fn new(store: MemoryStore, fault: F) -> Self {
        let memory = Mutex::default();
        Self {
            inner: Inner { store, memory },
            fault,
        }
    }
}

#[async_trait]
impl<F: Fault> Store for Wrapper<F> {
    fn capabilities(&self) -> Capabilities {
        self.inner.store.capabilities()
    }

    async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        let begun = self.fault.begin(&self.inner, message).await?;
        if let Begin::New(upload) | Begin::Resume(upload, _) = &begun {
            let mut memory = self.inner.memory.lock().expect("not poisoned");
            memory.tokens.insert(upload.token.id, upload.token.clone());
        }
        Ok(begun)
    }

    async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        self.fault.put_chunk(&self.inner, token, seq, chunk).await
    }

    async fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        self.fault.renew(&self.inner, token).await
    }

    async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        self.fault.commit(&self.inner, token, manifest).await
    }

    async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        self.inner.store.abort(token, reason).await
    }

    async fn put(
        &self,
        message: &NewMessage,
        manifest: &Manifest,
        chunks: &[StoredChunk],
    ) -> Result<PutOutcome, StoreError> {
        bus_store::contract::put_in_steps(self, message, manifest, chunks).await
    }

    async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        self.fault.record(&self.inner, key).await
    }

    async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        let opened = self.fault.open(&self.inner, key).await?;
        let mut memory = self.inner.memory.lock().expect("not poisoned");
        memory.opened.insert(key.clone(), opened.clone());
        Ok(opened)
    }

    async fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        self.fault.chunks(&self.inner, principal, id, range).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.fault.list(&self.inner, query).await
    }

    async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        self.inner.store.touch(keys).await
    }

    async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        self.inner.store.acknowledge(key).await
    }

    async fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        self.fault.delete(&self.inner, key).await
    }

    async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        self.fault.purge(&self.inner, options).await
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        self.inner.store.stats().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.store.check().await
    }
}
