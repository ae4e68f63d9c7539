//! Stores that mix up their writers.

use async_trait::async_trait;
use bus_store::{Begin, NewMessage, Store, StoreError, StoreErrorKind, StoredChunk, UploadToken};

use super::is_found;
use crate::support::wrapper::{Fault, Inner};

/// Lets every writer of a message write, also one that lost it.
#[derive(Debug)]
struct NoFence;

#[async_trait]
impl Fault for NoFence {
    async fn put_chunk(
        &self,
        s: &Inner,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        let token = s.last_token(token.id).unwrap_or_else(|| token.clone());
        s.store.put_chunk(&token, seq, chunk).await
    }
}

#[tokio::test]
async fn a_stale_token_that_writes_is_found() {
    is_found(
        || NoFence,
        &["the_old_token_is_stale", "an_invented_token_is_stale"],
    )
    .await;
}

/// Lets a writer that lost its message keep it alive.
#[derive(Debug)]
struct RenewsForAnyone;

#[async_trait]
impl Fault for RenewsForAnyone {
    async fn renew(&self, s: &Inner, token: &UploadToken) -> Result<(), StoreError> {
        let token = s.last_token(token.id).unwrap_or_else(|| token.clone());
        s.store.renew(&token).await
    }
}

#[tokio::test]
async fn a_stale_token_that_renews_is_found() {
    is_found(|| RenewsForAnyone, &[]).await;
}

/// Says that a chunk of a committed message was replaced.
#[derive(Debug)]
struct TakesLateChunks;

#[async_trait]
impl Fault for TakesLateChunks {
    async fn put_chunk(
        &self,
        s: &Inner,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        match s.store.put_chunk(token, seq, chunk).await {
            Err(error) if error.kind() == StoreErrorKind::LeaseLost => Ok(()),
            answer => answer,
        }
    }
}

#[tokio::test]
async fn a_chunk_after_the_commit_is_found() {
    is_found(|| TakesLateChunks, &["committed_chunks_never_change"]).await;
}

/// Takes a key away from a writer whose lease runs.
#[derive(Debug)]
struct IgnoresLeases;

#[async_trait]
impl Fault for IgnoresLeases {
    async fn begin(&self, s: &Inner, message: &NewMessage) -> Result<Begin, StoreError> {
        match s.store.begin(message).await? {
            Begin::Busy { .. } => {
                s.store.delete(&message.key).await?;
                s.store.begin(message).await
            }
            begun => Ok(begun),
        }
    }
}

#[tokio::test]
async fn ignoring_a_lease_is_found() {
    is_found(
        || IgnoresLeases,
        &["a_key_is_busy_while_the_lease_runs", "one_of_many_begins"],
    )
    .await;
}

/// Forgets what an earlier writer left behind.
#[derive(Debug)]
struct ForgetsDurableChunks;

#[async_trait]
impl Fault for ForgetsDurableChunks {
    async fn begin(&self, s: &Inner, message: &NewMessage) -> Result<Begin, StoreError> {
        match s.store.begin(message).await? {
            Begin::Resume(upload, _) => Ok(Begin::New(upload)),
            begun => Ok(begun),
        }
    }
}

#[tokio::test]
async fn forgetting_durable_chunks_is_found() {
    is_found(|| ForgetsDurableChunks, &[]).await;
}

/// Answers a key that is taken with success, whatever the digest.
#[derive(Debug)]
struct NoConflict;

#[async_trait]
impl Fault for NoConflict {
    async fn begin(&self, s: &Inner, message: &NewMessage) -> Result<Begin, StoreError> {
        match s.store.begin(message).await {
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                let record = s.store.record(&message.key).await?;
                Ok(Begin::Complete(Box::new(record)))
            }
            answer => answer,
        }
    }
}

#[tokio::test]
async fn a_conflict_that_is_hidden_is_found() {
    is_found(|| NoConflict, &["another_digest_is_a_conflict"]).await;
}
