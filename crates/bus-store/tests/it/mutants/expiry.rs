//! Stores that keep what is over, or sweep what is not.

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageKey, MessageStatus};
use bus_store::{
    OpenMessage, PurgeOptions, PurgeReport, Store, StoreError, StoreErrorKind, UploadToken,
};

use super::is_found;
use crate::support::wrapper::{Fault, Inner};

/// Goes on serving a message that expired.
#[derive(Debug)]
struct ServesExpired;

#[async_trait]
impl Fault for ServesExpired {
    async fn open(&self, s: &Inner, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        let answer = s.store.open(key).await;
        match &answer {
            Err(error) if error.kind() == StoreErrorKind::Expired => {}
            _ => return answer,
        }
        let opened = s
            .memory
            .lock()
            .expect("not poisoned")
            .opened
            .get(key)
            .cloned();
        opened.map_or(answer, Ok)
    }

    async fn commit(
        &self,
        s: &Inner,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        let record = s.store.commit(token, manifest).await?;
        let mut memory = s.memory.lock().expect("not poisoned");
        let opened = OpenMessage {
            record: record.clone(),
            manifest: manifest.clone(),
        };
        memory.opened.insert(record.key(), opened);
        Ok(record)
    }
}

#[tokio::test]
async fn serving_expired_messages_is_found() {
    is_found(|| ServesExpired, &["a_message_is_expired_at_its_very_time"]).await;
}

/// Says `expired` in `open`, but not in records.
#[derive(Debug)]
struct ShowsExpiredAsComplete;

#[async_trait]
impl Fault for ShowsExpiredAsComplete {
    async fn record(&self, s: &Inner, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        let mut record = s.store.record(key).await?;
        if record.status == MessageStatus::Expired {
            record.status = MessageStatus::Complete;
        }
        Ok(record)
    }
}

#[tokio::test]
async fn hiding_the_expiry_in_records_is_found() {
    is_found(|| ShowsExpiredAsComplete, &[]).await;
}

/// Sweeps uploads whose writer is alive.
#[derive(Debug)]
struct PurgesLiveUploads;

#[async_trait]
impl Fault for PurgesLiveUploads {
    async fn purge(&self, s: &Inner, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
        let tokens: Vec<_> = {
            let memory = s.memory.lock().expect("not poisoned");
            memory.tokens.values().cloned().collect()
        };
        for token in tokens {
            // Where it succeeds, the upload was alive.
            let _ = s.store.abort(&token, "swept").await;
        }
        s.store.purge(options).await
    }
}

#[tokio::test]
async fn purging_live_uploads_is_found() {
    is_found(|| PurgesLiveUploads, &[]).await;
}

/// Says that it deleted what was not there.
#[derive(Debug)]
struct DeletesNothing;

#[async_trait]
impl Fault for DeletesNothing {
    async fn delete(&self, s: &Inner, key: &MessageKey) -> Result<(), StoreError> {
        match s.store.delete(key).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }
}

#[tokio::test]
async fn a_delete_of_nothing_that_succeeds_is_found() {
    is_found(|| DeletesNothing, &[]).await;
}
