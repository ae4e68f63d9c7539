//! What the reference has beside the contract: a limit, and `verify` over it.

use bus_model::{
    Attributes, ChunkEntry, CompressionType, Digest, Manifest, MessageKey, Principal, SessionId,
    ToolName, TransactionId,
};
use bus_store::{
    Begin, MemoryStore, NewMessage, Plan, PutOutcome, Store, StoreErrorKind, StoreExt, StoredChunk,
    Upload,
};
use bytes::Bytes;
use std::time::Duration;

const CHUNK: u64 = 10;

fn message(name: &str) -> NewMessage {
    let session = SessionId::new("session").expect("legal");
    let tool = ToolName::new("tool").expect("legal");
    NewMessage {
        key: key(name),
        attributes: Attributes::new(session, tool),
        plan: Plan {
            encoding: CompressionType::None,
            chunk_size: CHUNK,
            expected_digest: None,
            expected_size: None,
            lease: Duration::from_secs(60),
        },
    }
}

fn key(name: &str) -> MessageKey {
    let id = TransactionId::new(name).expect("legal");
    MessageKey::new(Principal::default(), id)
}

fn chunk(bytes: &'static [u8]) -> StoredChunk {
    StoredChunk {
        bytes: Bytes::from_static(bytes),
        digest: Digest::of(bytes),
    }
}

/// The manifest of one chunk of at most 10 bytes.
fn manifest(chunk: &StoredChunk) -> Manifest {
    let entry = ChunkEntry {
        stored_len: chunk.bytes.len() as u64,
        digest: chunk.digest,
    };
    let (size, digest) = (entry.stored_len, chunk.digest);
    Manifest::new(
        CompressionType::None,
        CHUNK,
        size,
        digest,
        digest,
        vec![entry],
    )
    .expect("consistent")
}

async fn begin(store: &MemoryStore, name: &str) -> Upload {
    match store.begin(&message(name)).await.expect("begin") {
        Begin::New(upload) => upload,
        other => panic!("a new upload was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_full_store_says_so_and_keeps_what_it_has() {
    let store = MemoryStore::with_capacity(25);
    let ten = chunk(b"0123456789");
    let put = store
        .put(&message("a"), &manifest(&ten), std::slice::from_ref(&ten))
        .await;
    assert!(matches!(put, Ok(PutOutcome::Created(_))), "{put:?}");
    let begun = begin(&store, "b").await;
    store
        .put_chunk(&begun.token, 0, ten.clone())
        .await
        .expect("20 of 25 bytes");
    let full = store
        .put_chunk(&begun.token, 1, ten.clone())
        .await
        .expect_err("30 of 25");
    assert_eq!(full.kind(), StoreErrorKind::Full);
    // A chunk that takes another's place counts by the difference.
    store
        .put_chunk(&begun.token, 0, ten.clone())
        .await
        .expect("still 20");
    store
        .commit(&begun.token, &manifest(&ten))
        .await
        .expect("commit");
    assert_eq!(store.stats().await.expect("stats").stored_bytes, 20);
}

#[tokio::test]
async fn every_way_out_frees_the_space() {
    let store = MemoryStore::with_capacity(10);
    let ten = chunk(b"0123456789");
    for _ in 0..3 {
        let begun = begin(&store, "aborted").await;
        store
            .put_chunk(&begun.token, 0, ten.clone())
            .await
            .expect("put_chunk");
        store.abort(&begun.token, "no").await.expect("abort");

        let begun = begin(&store, "deleted").await;
        store
            .put_chunk(&begun.token, 0, ten.clone())
            .await
            .expect("put_chunk");
        store.delete(&key("deleted")).await.expect("delete");

        // The chunk beyond the manifest goes at the commit.
        let begun = begin(&store, "cut").await;
        let (five, rest) = (chunk(b"01234"), chunk(b"56789"));
        store
            .put_chunk(&begun.token, 0, five.clone())
            .await
            .expect("put_chunk");
        store
            .put_chunk(&begun.token, 7, rest)
            .await
            .expect("put_chunk");
        store
            .commit(&begun.token, &manifest(&five))
            .await
            .expect("commit");
        let begun = begin(&store, "beside").await;
        store
            .put_chunk(&begun.token, 0, five)
            .await
            .expect("put_chunk");
        for name in ["cut", "beside"] {
            store.delete(&key(name)).await.expect("delete");
        }
    }
}

#[tokio::test]
async fn a_raw_payload_above_the_capacity_is_refused_before_its_first_byte() {
    let store = MemoryStore::with_capacity(10);
    let mut large = message("m");
    large.plan.expected_size = Some(11);
    let error = store.begin(&large).await.expect_err("11 of 10 bytes");
    assert_eq!(error.kind(), StoreErrorKind::TooLarge);
    // Compressed, it may fit.
    large.plan.encoding = CompressionType::Zstd;
    store.begin(&large).await.expect("begin");
}

#[tokio::test]
async fn verify_reports_the_damaged_message_and_reads_the_rest() {
    let store = MemoryStore::new();
    let good = chunk(b"good");
    store
        .put(
            &message("good"),
            &manifest(&good),
            std::slice::from_ref(&good),
        )
        .await
        .expect("put");
    let lying = StoredChunk {
        bytes: Bytes::from_static(b"evil"),
        digest: good.digest,
    };
    store
        .put(&message("bad"), &manifest(&good), &[lying])
        .await
        .expect("put");
    let report = store.verify(&Principal::default()).await.expect("verify");
    assert_eq!((report.messages, report.stored_bytes), (1, 4));
    let [issue] = &report.issues[..] else {
        panic!("one damaged message was expected, not {:?}", report.issues);
    };
    assert_eq!(issue.key, key("bad"));
    assert_eq!(issue.error.kind(), StoreErrorKind::Damaged);
}

#[tokio::test]
async fn clones_share_their_messages_and_debug_tells_no_fence() {
    let store = MemoryStore::new();
    let begun = begin(&store, "m").await;
    store.clone().renew(&begun.token).await.expect("renew");
    let shown = format!("{store:?} {begun:?}");
    assert!(!shown.contains(&begun.token.fence.to_string()), "{shown}");
}
