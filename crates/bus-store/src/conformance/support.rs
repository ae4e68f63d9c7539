//! What the cases are made of: messages, bodies and short ways to write and read them.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use bus_model::{
    Attributes, ByteSize, ChunkEntry, CompressionType, Digest, Hasher, Manifest, MessageBusRecord,
    MessageId, MessageKey, Principal, SessionId, ToolName, TransactionId, Ttl,
};
use bytes::Bytes;
use futures::TryStreamExt as _;

use super::Harness;
use crate::{
    Begin, Cursor, DurableChunk, ListQuery, NewMessage, Plan, PutOutcome, Store, StoreError,
    StoreErrorKind, StoredChunk, Upload, UploadToken,
};

/// The lease that writers of the suite ask for.
pub(super) const LEASE: Duration = Duration::from_secs(60);
/// The time to live that messages of the suite have: longer than every lease.
pub(super) const TTL: Duration = Duration::from_secs(3600);
/// How far from a border the suite looks at the side before it, for stores whose clock runs on.
pub(super) const MARGIN: Duration = Duration::from_secs(10);
/// The chunk size of the suite, in bytes: small, so that a body has several.
pub(super) const CHUNK: u64 = 16;

/// A body in its stored form.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) payload: Bytes,
    pub(super) manifest: Manifest,
    pub(super) chunks: Vec<StoredChunk>,
}

/// `payload` in raw chunks of [`CHUNK`] bytes.
pub(super) fn body(payload: impl Into<Bytes>) -> Body {
    body_in(payload, CHUNK)
}

/// `payload` in raw chunks of `chunk_size` bytes.
pub(super) fn body_in(payload: impl Into<Bytes>, chunk_size: u64) -> Body {
    let payload = payload.into();
    let step = usize::try_from(chunk_size).expect("a chunk of the suite fits into memory");
    let mut chunks: Vec<StoredChunk> = (0..payload.len())
        .step_by(step)
        .map(|start| stored(payload.slice(start..payload.len().min(start + step))))
        .collect();
    if chunks.is_empty() {
        chunks.push(stored(Bytes::new()));
    }
    let whole = Digest::of(&payload);
    let manifest = manifest(CompressionType::None, chunk_size, &payload, whole, &chunks);
    Body {
        payload,
        manifest,
        chunks,
    }
}

/// A manifest that says what it is told, true or not.
pub(super) fn manifest(
    encoding: CompressionType,
    chunk_size: u64,
    payload: &[u8],
    payload_digest: Digest,
    chunks: &[StoredChunk],
) -> Manifest {
    let mut encoded = Hasher::new();
    for chunk in chunks {
        encoded.update(&chunk.bytes);
    }
    let entries = chunks
        .iter()
        .map(|chunk| ChunkEntry {
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        })
        .collect();
    let size = ByteSize::of(payload).get();
    Manifest::new(
        encoding,
        chunk_size,
        size,
        payload_digest,
        encoded.finish(),
        entries,
    )
    .expect("the suite's manifests are consistent")
}

/// A chunk and its digest.
pub(super) fn stored(bytes: impl Into<Bytes>) -> StoredChunk {
    let bytes = bytes.into();
    let digest = Digest::of(&bytes);
    StoredChunk { bytes, digest }
}

/// `len` bytes that look random and depend on `seed`.
pub(super) fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..len).map(|_| next()).collect()
}

pub(super) fn txn(name: &str) -> TransactionId {
    TransactionId::new(name).expect("the suite's transaction ids are legal")
}

/// The key of `name` within the default principal.
pub(super) fn key(name: &str) -> MessageKey {
    MessageKey::new(Principal::default(), txn(name))
}

pub(super) fn principal(name: &str) -> Principal {
    Principal::new(name).expect("the suite's principals are legal")
}

pub(super) fn attributes() -> Attributes {
    let session = SessionId::new("session-1").expect("the suite's session ids are legal");
    let tool = ToolName::new("tool-1").expect("the suite's tool names are legal");
    let mut attributes = Attributes::new(session, tool);
    attributes.ttl = ttl(TTL);
    attributes
}

pub(super) fn ttl(time: Duration) -> Ttl {
    u64::try_from(time.as_millis())
        .ok()
        .and_then(|ms| Ttl::from_millis(ms).ok())
        .expect("the suite's times to live are legal")
}

/// A message under `name` whose size and digest are not known before.
pub(super) fn message(name: &str) -> NewMessage {
    message_of(key(name))
}

pub(super) fn message_of(key: MessageKey) -> NewMessage {
    NewMessage {
        key,
        attributes: attributes(),
        plan: Plan {
            encoding: CompressionType::None,
            chunk_size: CHUNK,
            expected_digest: None,
            expected_size: None,
            lease: LEASE,
        },
    }
}

/// Begins `message`, which nobody has begun before.
pub(super) async fn begin_new(store: &dyn Store, message: &NewMessage) -> Upload {
    match store.begin(message).await.expect("begin") {
        Begin::New(upload) => upload,
        other => panic!("a new upload was expected, not {other:?}"),
    }
}

/// Takes over `message`, whose writer is gone.
pub(super) async fn resume(store: &dyn Store, message: &NewMessage) -> (Upload, Vec<DurableChunk>) {
    match store.begin(message).await.expect("begin") {
        Begin::Resume(upload, durable) => (upload, durable),
        other => panic!("an upload to resume was expected, not {other:?}"),
    }
}

/// Begins `message`, which a live writer holds: how long to wait.
pub(super) async fn busy(store: &dyn Store, message: &NewMessage) -> Duration {
    match store.begin(message).await.expect("begin") {
        Begin::Busy { retry_after } => retry_after,
        other => panic!("a busy key was expected, not {other:?}"),
    }
}

/// Makes the writer of `token` be gone, its lease included.
pub(super) async fn gone(h: &dyn Harness, token: &UploadToken) {
    h.writer_dies(token).await;
    h.advance(LEASE).await;
}

/// Uploads all chunks of `body`.
pub(super) async fn upload(store: &dyn Store, token: &UploadToken, body: &Body) {
    for (seq, chunk) in (0..).zip(&body.chunks) {
        store
            .put_chunk(token, seq, chunk.clone())
            .await
            .expect("put_chunk");
    }
}

/// Publishes `payload` as `message`, step by step.
pub(super) async fn publish_as(
    store: &dyn Store,
    message: &NewMessage,
    payload: impl Into<Bytes>,
) -> MessageBusRecord {
    let body = body(payload);
    let begun = begin_new(store, message).await;
    upload(store, &begun.token, &body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit")
}

/// Publishes `payload` under `name`, step by step.
pub(super) async fn publish(
    store: &dyn Store,
    name: &str,
    payload: impl Into<Bytes>,
) -> MessageBusRecord {
    publish_as(store, &message(name), payload).await
}

/// Puts `body` as a whole under `name`.
pub(super) async fn put(
    store: &dyn Store,
    name: &str,
    body: &Body,
) -> Result<PutOutcome, StoreError> {
    store
        .put(&message(name), &body.manifest, &body.chunks)
        .await
}

/// The payload under `key`.
pub(super) async fn read(store: &dyn Store, key: &MessageKey) -> Result<Bytes, StoreError> {
    let opened = store.open(key).await?;
    let all = 0..opened.manifest.chunk_count();
    let chunks = read_chunks(store, &key.principal, opened.record.id, all).await?;
    Ok(chunks.concat().into())
}

/// The stored bytes of the chunks in `range`.
pub(super) async fn read_chunks(
    store: &dyn Store,
    principal: &Principal,
    id: MessageId,
    range: Range<u32>,
) -> Result<Vec<Bytes>, StoreError> {
    let stream = store.chunks(principal, id, range).await?;
    stream.try_collect().await
}

/// The transaction ids of all messages that match `query`, page by page.
pub(super) async fn walk(store: &dyn Store, query: &ListQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut names = Vec::new();
    loop {
        let page = store.list(&query).await.expect("list");
        names.extend(page.records.iter().map(|r| r.transaction_id.to_string()));
        match page.next {
            Some(cursor) => query.after = Some(onward(query.after, cursor)),
            None => return names,
        }
    }
}

/// The cursor `next` of a page that began at `after`; it has to lead on.
pub(super) fn onward(after: Option<Cursor>, next: Cursor) -> Cursor {
    assert!(
        after.is_none_or(|after| next < after),
        "a page that begins at {after:?} leads back to {next:?}"
    );
    next
}

/// All messages of the default principal, whatever their status.
pub(super) fn everything() -> ListQuery {
    ListQuery {
        status: None,
        ..ListQuery::new(Principal::default())
    }
}

/// Another handle on the messages of `h`, of another process where it has one.
pub(super) fn other_process(h: &dyn Harness) -> Arc<dyn Store> {
    h.second_store().unwrap_or_else(|| h.store())
}

/// Asserts that `result` is an error of `kind`.
#[track_caller]
pub(super) fn refused<T: fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) {
    match result {
        Ok(value) => panic!("an error of kind {kind:?} was expected, not {value:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}

/// Every call with `token` is refused.
pub(super) async fn stale(store: &dyn Store, token: &UploadToken, body: &Body) {
    let lost = StoreErrorKind::LeaseLost;
    refused(store.put_chunk(token, 0, stored("other bytes")).await, lost);
    refused(store.renew(token).await, lost);
    refused(store.commit(token, &body.manifest).await, lost);
    refused(store.abort(token, "no").await, lost);
}

/// Asserts that `a` and `b` are the same time, give or take what a clock that runs on may add.
#[track_caller]
pub(super) fn same_time(a: chrono::DateTime<chrono::Utc>, b: chrono::DateTime<chrono::Utc>) {
    let apart = (a - b).abs().to_std().unwrap_or(Duration::MAX);
    assert!(apart < MARGIN, "{a} and {b} are not the same time");
}
