//! One upload: chunks on their way in a bounded window, a lease that is kept, and an abort if it
//! ends before its commit.

use std::{sync::Arc, time::Duration};

use bus_codec::EncodedChunk;
use bus_model::{Manifest, MessageBusRecord};
use bus_store::{DurableChunk, Store, StoreError, StoredChunk, Upload, UploadToken};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{runtime::Handle, task::JoinHandle, time::Instant};

/// An upload that is aborted in the background where it is dropped before its end.
pub(crate) struct OpenUpload {
    store: Arc<dyn Store>,
    /// `None` once the upload has ended.
    token: Option<UploadToken>,
    durable: Vec<DurableChunk>,
    window: FuturesUnordered<JoinHandle<Result<(), StoreError>>>,
    most: usize,
    renew_every: Duration,
    last_call: Instant,
}

impl OpenUpload {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        upload: Upload,
        durable: Vec<DurableChunk>,
        most: usize,
    ) -> Self {
        Self {
            store,
            token: Some(upload.token),
            durable,
            window: FuturesUnordered::new(),
            most,
            renew_every: upload.lease / 3,
            last_call: Instant::now(),
        }
    }

    /// Sends a chunk; waits while the window is full.
    pub(crate) async fn send(&mut self, chunk: EncodedChunk) -> Result<(), StoreError> {
        let kept = |d: &DurableChunk| d.seq == chunk.seq && d.digest == chunk.digest;
        let Some(token) = self.token.clone() else {
            return Ok(());
        };
        if self.durable.iter().any(kept) {
            return Ok(());
        }
        while self.window.len() >= self.most {
            self.step().await?;
        }
        let store = Arc::clone(&self.store);
        let stored = StoredChunk {
            bytes: chunk.bytes,
            digest: chunk.digest,
        };
        self.last_call = Instant::now();
        self.window.push(tokio::spawn(async move {
            store.put_chunk(&token, chunk.seq, stored).await
        }));
        Ok(())
    }

    /// Keeps the lease and watches the chunks on their way, until one of the two fails. It is raced
    /// against the source.
    pub(crate) async fn keep_alive(&mut self) -> StoreError {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
        }
    }

    /// Waits for the last chunk and commits.
    pub(crate) async fn commit(
        &mut self,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        while !self.window.is_empty() {
            self.step().await?;
        }
        let Some(token) = self.token.clone() else {
            return Err(cut_off());
        };
        let record = self.store.commit(&token, manifest).await?;
        self.token = None;
        Ok(record)
    }

    /// Gives the upload up, so that its space is free when this returns. Best effort: what cannot
    /// be aborted now is purged once its lease is over.
    pub(crate) async fn abort(mut self, reason: &str) {
        self.stop_sending();
        if let Some(token) = self.token.take() {
            while self.window.next().await.is_some() {}
            if let Err(error) = self.store.abort(&token, reason).await {
                tracing::debug!(%error, "an upload could not be aborted; purge will sweep it");
            }
        }
    }

    /// Waits until a chunk arrives or the lease needs care, and sees to it: a slow store must not
    /// cost the lease while the window is full.
    async fn step(&mut self) -> Result<(), StoreError> {
        let rest = self.renew_every.saturating_sub(self.last_call.elapsed());
        tokio::select! {
            arrived = self.one_arrives(), if !self.window.is_empty() => arrived,
            () = tokio::time::sleep(rest) => self.renew().await,
        }
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let Some(token) = &self.token else {
            return Err(cut_off());
        };
        self.store.renew(token).await?;
        self.last_call = Instant::now();
        Ok(())
    }

    async fn one_arrives(&mut self) -> Result<(), StoreError> {
        match self.window.next().await {
            Some(Ok(sent)) => sent,
            Some(Err(_)) => Err(cut_off()),
            None => Ok(()),
        }
    }

    fn stop_sending(&self) {
        self.window.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.stop_sending();
        let Some(token) = self.token.take() else {
            return;
        };
        let store = Arc::clone(&self.store);
        // Without a runtime the process is ending, and the lease frees the upload.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let _ = store.abort(&token, "the publish was cancelled").await;
            });
        }
    }
}

fn cut_off() -> StoreError {
    StoreError::new(
        bus_store::StoreErrorKind::Internal,
        "an upload was cut off before its end",
    )
}
