//! The suite and the model find stores that break the contract, each in one way.

mod support;

use std::{
    cell::Cell,
    ops::Range,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, MessageStatus, Principal};
use bus_store::{
    Begin, ChunkStream, Cursor, ListQuery, NewMessage, OpenMessage, Page, PurgeOptions,
    PurgeReport, Store, StoreError, StoreErrorKind, StoredChunk, UploadToken,
    conformance::{cases, model},
};
use futures::{FutureExt as _, StreamExt as _};
use uuid::Uuid;

use crate::support::{
    Memory,
    wrapper::{Fault, Inner, Transparent, Wrapper},
};

/// Asserts that both the suite and the model find the fault.
async fn is_found<F: Fault>(fault: fn() -> F) {
    let failed = failed_cases(fault).await;
    assert!(!failed.is_empty(), "no case fails");
    let found = tokio::task::spawn_blocking(move || disagrees(fault)).await;
    assert!(found.expect("the model does not panic"), "the model agrees");
}

/// Asserts that the cases with these names, at least, find the fault.
async fn is_found_by<F: Fault>(fault: fn() -> F, names: &[&str]) {
    let failed = failed_cases(fault).await;
    for name in names {
        assert!(
            failed.contains(name),
            "{name} passes; these fail: {failed:?}"
        );
    }
}

fn harness<F: Fault>(fault: fn() -> F) -> Memory {
    Memory::new(|memory| Arc::new(Wrapper::new(memory, fault())))
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// As long as it lives, panics of this thread are expected and not shown.
struct Quiet;

impl Quiet {
    fn new() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !QUIET.get() {
                    usual(info);
                }
            }));
        });
        QUIET.set(true);
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// Names of the cases that fail.
async fn failed_cases<F: Fault>(fault: fn() -> F) -> Vec<&'static str> {
    let mut failed = Vec::new();
    let _quiet = Quiet::new();
    for case in cases() {
        let harness = harness(fault);
        let run = AssertUnwindSafe((case.run)(&harness));
        if run.catch_unwind().await.is_err() {
            failed.push(case.name);
        }
    }
    failed
}

/// Whether the model finds a difference.
fn disagrees<F: Fault>(fault: fn() -> F) -> bool {
    model::compare(|| async { harness(fault) }, 512).is_err()
}

/// The wrapper itself breaks nothing: what is found below is the fault.
#[tokio::test]
async fn a_wrapper_without_a_fault_passes() {
    assert_eq!(failed_cases(|| Transparent).await, [""; 0]);
}

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
    is_found(|| ServesExpired).await;
    is_found_by(|| ServesExpired, &["a_message_is_expired_at_its_very_time"]).await;
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
    is_found(|| ShowsExpiredAsComplete).await;
}

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
    is_found(|| NoFence).await;
    is_found_by(
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
    is_found(|| RenewsForAnyone).await;
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
    is_found(|| TakesLateChunks).await;
    is_found_by(|| TakesLateChunks, &["committed_chunks_never_change"]).await;
}

/// Finds chunks by the message's id alone.
#[derive(Debug)]
struct ForgetsPrincipal;

#[async_trait]
impl Fault for ForgetsPrincipal {
    async fn chunks(
        &self,
        s: &Inner,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let owner = s.last_token(id).map(|token| token.principal);
        let owner = owner.as_ref().unwrap_or(principal);
        s.store.chunks(owner, id, range).await
    }
}

#[tokio::test]
async fn forgetting_the_principal_is_found() {
    is_found(|| ForgetsPrincipal).await;
    is_found_by(|| ForgetsPrincipal, &["a_stranger_gets_no_chunks"]).await;
}

/// Lists the messages of whoever wrote last.
#[derive(Debug)]
struct TellsStrangers;

#[async_trait]
impl Fault for TellsStrangers {
    async fn record(&self, s: &Inner, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        let answer = s.store.record(key).await;
        let Err(error) = &answer else { return answer };
        let tokens: Vec<_> = {
            let memory = s.memory.lock().expect("not poisoned");
            memory.tokens.values().cloned().collect()
        };
        for token in tokens {
            let other = MessageKey::new(token.principal, key.transaction_id.clone());
            if s.store.record(&other).await.is_ok() {
                return Err(StoreError::new(StoreErrorKind::Denied, error.to_string()));
            }
        }
        answer
    }
}

#[tokio::test]
async fn telling_strangers_that_there_is_something_is_found() {
    is_found(|| TellsStrangers).await;
    is_found_by(|| TellsStrangers, &["a_stranger_finds_nothing"]).await;
}

/// Begins each page with the last message of the page before.
#[derive(Debug)]
struct RepeatsOnPage;

#[async_trait]
impl Fault for RepeatsOnPage {
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        // One page more than there are would be read for ever otherwise.
        let mut query = query.clone();
        if query.limit > 1 {
            query.after = query.after.map(|after| Cursor {
                id: Uuid::max().into(),
                ..after
            });
        }
        s.store.list(&query).await
    }
}

#[tokio::test]
async fn a_repeated_message_on_a_page_is_found() {
    is_found(|| RepeatsOnPage).await;
    is_found_by(|| RepeatsOnPage, &["pages_together_hold_everything_once"]).await;
}

/// Goes on after the millisecond, not after the message, at which a page ended.
#[derive(Debug)]
struct SkipsOnPage;

#[async_trait]
impl Fault for SkipsOnPage {
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        let mut query = query.clone();
        query.after = query.after.map(|after| Cursor {
            id: Uuid::nil().into(),
            ..after
        });
        s.store.list(&query).await
    }
}

#[tokio::test]
async fn a_skipped_message_of_the_same_time_is_found() {
    is_found_by(|| SkipsOnPage, &["pages_stay_exact_within_a_millisecond"]).await;
}

/// Pages by offset, so that inserts and deletes shift them.
#[derive(Debug)]
struct PagesByOffset(std::sync::atomic::AtomicUsize);

#[async_trait]
impl Fault for PagesByOffset {
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        use std::sync::atomic::Ordering::SeqCst;
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let offset = if query.after.is_some() {
            self.0.load(SeqCst)
        } else {
            0
        };
        let all = ListQuery {
            limit: if limit == 0 { 0 } else { 1000 },
            after: None,
            ..query.clone()
        };
        let whole = s.store.list(&all).await?.records;
        let records: Vec<_> = whole.iter().skip(offset).take(limit).cloned().collect();
        self.0.store(offset + records.len(), SeqCst);
        let more = offset + records.len() < whole.len();
        let next = records.last().filter(|_| more).map(Cursor::after);
        Ok(Page { records, next })
    }
}

#[tokio::test]
async fn paging_by_offset_is_found() {
    is_found(|| PagesByOffset(0.into())).await;
    let names = [
        "pages_stay_exact_while_messages_come",
        "pages_stay_exact_while_messages_go",
    ];
    is_found_by(|| PagesByOffset(0.into()), &names).await;
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
    is_found(|| IgnoresLeases).await;
    is_found_by(
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
    is_found(|| ForgetsDurableChunks).await;
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
    is_found(|| NoConflict).await;
    is_found_by(|| NoConflict, &["another_digest_is_a_conflict"]).await;
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
    is_found(|| PurgesLiveUploads).await;
}

/// Gives chunks in the wrong order.
#[derive(Debug)]
struct TurnsChunksAround;

#[async_trait]
impl Fault for TurnsChunksAround {
    async fn chunks(
        &self,
        s: &Inner,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let chunks = s.store.chunks(principal, id, range).await?;
        let mut chunks: Vec<_> = chunks.collect().await;
        chunks.reverse();
        Ok(futures::stream::iter(chunks).boxed())
    }
}

#[tokio::test]
async fn chunks_in_the_wrong_order_are_found() {
    is_found(|| TurnsChunksAround).await;
}

/// Finds nothing where something else is asked for; deletes it anyway.
#[derive(Debug)]
struct DeletesTwice;

#[async_trait]
impl Fault for DeletesTwice {
    async fn delete(&self, s: &Inner, key: &MessageKey) -> Result<(), StoreError> {
        match s.store.delete(key).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(()),
            answer => answer,
        }
    }
}

#[tokio::test]
async fn a_delete_of_nothing_that_succeeds_is_found() {
    is_found(|| DeletesTwice).await;
}
