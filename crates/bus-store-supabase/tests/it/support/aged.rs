//! A store whose clock seems to move.
//!
//! The clock of a database cannot be moved, so its rows are made older. Every time that it tells is
//! then too early by as much, and the suite compares times from before with times from after: so
//! what is told is put right on its way out, and what is asked on its way in.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, Principal};
use bus_store::{
    Begin, Capabilities, ChunkStream, Cursor, ListQuery, NewMessage, OpenMessage, Page,
    PurgeOptions, PurgeReport, PutOutcome, Stats, Store, StoreError, StoredChunk, UploadToken,
};
use chrono::{DateTime, TimeDelta, Utc};

#[derive(Debug, Clone)]
pub(crate) struct Aged {
    store: Arc<dyn Store>,
    by_ms: Arc<AtomicI64>,
}

impl Aged {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            by_ms: Arc::default(),
        }
    }

    /// Another handle on the same rows.
    pub(crate) fn beside(&self, store: Arc<dyn Store>) -> Self {
        Self {
            store,
            by_ms: Arc::clone(&self.by_ms),
        }
    }

    /// The rows have become older by so many milliseconds.
    pub(crate) fn advance(&self, ms: i64) {
        self.by_ms.fetch_add(ms, Ordering::SeqCst);
    }

    fn by(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.by_ms.load(Ordering::SeqCst))
    }

    fn told(&self, mut record: MessageBusRecord) -> MessageBusRecord {
        let by = self.by();
        record.created_at += by;
        record.accessed_at += by;
        record.expires_at += by;
        record.acknowledged_at = record.acknowledged_at.map(|at| at + by);
        record.lease_expires_at = record.lease_expires_at.map(|at| at + by);
        record
    }

    fn asked(&self, query: &ListQuery) -> ListQuery {
        let by = self.by();
        let mut query = query.clone();
        query.created_from = query.created_from.map(|at| at - by);
        query.created_before = query.created_before.map(|at| at - by);
        query.after = query.after.map(|after| moved(after, -by));
        query
    }
}

fn moved(cursor: Cursor, by: TimeDelta) -> Cursor {
    Cursor {
        created_ms: cursor.created_ms + by.num_milliseconds(),
        id: cursor.id,
    }
}

#[async_trait]
impl Store for Aged {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        Ok(match self.store.begin(message).await? {
            Begin::Complete(record) => Begin::Complete(Box::new(self.told(*record))),
            begin => begin,
        })
    }

    async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        self.store.put_chunk(token, seq, chunk).await
    }

    async fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        self.store.renew(token).await
    }

    async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        Ok(self.told(self.store.commit(token, manifest).await?))
    }

    async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        self.store.abort(token, reason).await
    }

    async fn put(
        &self,
        message: &NewMessage,
        manifest: &Manifest,
        chunks: &[StoredChunk],
    ) -> Result<PutOutcome, StoreError> {
        Ok(match self.store.put(message, manifest, chunks).await? {
            PutOutcome::Created(record) => PutOutcome::Created(Box::new(self.told(*record))),
            PutOutcome::AlreadyThere(record) => {
                PutOutcome::AlreadyThere(Box::new(self.told(*record)))
            }
            busy @ PutOutcome::Busy { .. } => busy,
        })
    }

    async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        Ok(self.told(self.store.record(key).await?))
    }

    async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        let open = self.store.open(key).await?;
        Ok(OpenMessage {
            record: self.told(open.record),
            manifest: open.manifest,
        })
    }

    async fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        self.store.chunks(principal, id, range).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let page = self.store.list(&self.asked(query)).await?;
        let by = self.by();
        Ok(Page {
            records: page.records.into_iter().map(|r| self.told(r)).collect(),
            next: page.next.map(|next| moved(next, by)),
        })
    }

    async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        self.store.touch(keys).await
    }

    async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        Ok(self.store.acknowledge(key).await? + self.by())
    }

    async fn delete(&self, key: &MessageKey) -> Result<(), StoreError> {
        self.store.delete(key).await
    }

    async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        self.store.purge(options).await
    }

    async fn stats(&self) -> Result<Stats, StoreError> {
        self.store.stats().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}
