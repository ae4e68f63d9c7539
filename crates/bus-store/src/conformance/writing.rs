//! From `begin` to `commit`, and what a commit refuses.

use bus_model::{CompressionType, Digest, Manifest, MessageId, MessageStatus};
use futures::future::try_join_all;
use uuid::Uuid;

use super::{
    Harness,
    support::{
        Body, CHUNK, begin_new, body, body_in, key, manifest, message, noise, publish, read,
        refused, stale, stored, upload,
    },
};
use crate::{NewMessage, Store, StoreErrorKind, UploadToken};

/// A message of five chunks, the last one short.
fn five() -> Body {
    body(noise(70, 5))
}

/// What is uploaded and committed is read back.
pub async fn a_committed_message_is_read_back(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "a payload of more than one chunk").await;
    let payload = read(&*store, &key("m")).await.expect("read");
    assert_eq!(payload, "a payload of more than one chunk");
}

/// A message is not to be seen before its commit.
pub async fn nothing_is_visible_before_the_commit(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &five()).await;
    refused(store.open(&key("m")).await, StoreErrorKind::NotComplete);
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.status, MessageStatus::Pending);
    assert_eq!((record.payload_size_bytes, record.chunk_count), (0, 0));
    assert_eq!((record.checksum, record.manifest_sha256), (None, None));
}

/// Chunks may come in any order.
pub async fn chunks_may_come_in_any_order(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    for seq in [3, 0, 4, 2, 1] {
        let chunk = body.chunks[seq as usize].clone();
        store
            .put_chunk(&begun.token, seq, chunk)
            .await
            .expect("put_chunk");
    }
    commit_and_read(&*store, &begun.token, &body).await;
}

/// Chunks may come at the same time.
pub async fn chunks_may_come_at_the_same_time(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(40 * 16, 6)));
    let begun = begin_new(&*store, &message("m")).await;
    let calls = (0..)
        .zip(&body.chunks)
        .map(|(seq, chunk)| store.put_chunk(&begun.token, seq, chunk.clone()));
    try_join_all(calls).await.expect("put_chunk");
    commit_and_read(&*store, &begun.token, &body).await;
}

/// The same chunk may come twice.
pub async fn a_repeated_chunk_is_harmless(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    upload(&*store, &begun.token, &body).await;
    let record = commit_and_read(&*store, &begun.token, &body).await;
    assert_eq!(record.compressed_size_bytes, Some(70));
}

/// A chunk replaces the one that was there before, also a longer or a shorter one.
pub async fn a_chunk_replaces_the_one_before(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    for (seq, other) in [(0, noise(16, 1)), (1, noise(90, 2)), (2, noise(3, 3))] {
        store
            .put_chunk(&begun.token, seq, stored(other))
            .await
            .expect("put_chunk");
    }
    upload(&*store, &begun.token, &body).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// A chunk that replaced the right one is found out.
pub async fn a_replaced_chunk_is_found_out(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let other = stored(noise(16, 1));
    store
        .put_chunk(&begun.token, 1, other)
        .await
        .expect("put_chunk");
    refuse_commit(&*store, &begun.token, &body.manifest).await;
}

/// Chunks beyond the manifest's count go away.
pub async fn chunks_beyond_the_manifest_are_dropped(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    for seq in [5, 6, 900] {
        let extra = stored(noise(16, seq));
        store
            .put_chunk(&begun.token, seq, extra)
            .await
            .expect("put_chunk");
    }
    upload(&*store, &begun.token, &body).await;
    let record = commit_and_read(&*store, &begun.token, &body).await;
    assert_eq!(record.chunk_count, 5);
    let stats = store.stats().await.expect("stats");
    assert_eq!((stats.payload_bytes, stats.stored_bytes), (70, 70));
}

/// A commit with a chunk missing is refused, and succeeds once it is there.
pub async fn a_missing_chunk_is_a_mismatch(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    for missing in 0..5_u32 {
        let begun = begin_new(&*store, &message(&format!("m{missing}"))).await;
        for (seq, chunk) in (0..).zip(&body.chunks).filter(|(seq, _)| *seq != missing) {
            store
                .put_chunk(&begun.token, seq, chunk.clone())
                .await
                .expect("put_chunk");
        }
        refuse_commit(&*store, &begun.token, &body.manifest).await;
        let chunk = body.chunks[missing as usize].clone();
        store
            .put_chunk(&begun.token, missing, chunk)
            .await
            .expect("put_chunk");
        store
            .commit(&begun.token, &body.manifest)
            .await
            .expect("commit");
    }
}

/// A commit without any chunk is refused, also of an empty payload: that is one empty chunk.
pub async fn no_chunk_at_all_is_a_mismatch(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    refuse_commit(&*store, &begun.token, &body("").manifest).await;
}

/// A manifest that gives a chunk another digest is refused.
pub async fn another_chunk_digest_is_a_mismatch(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let mut chunks = body.chunks.clone();
    chunks[4].digest = Digest::of(b"something else");
    let wrong = manifest_of(&body, &chunks);
    refuse_commit(&*store, &begun.token, &wrong).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// A manifest that gives a chunk another size is refused.
pub async fn another_chunk_size_in_the_manifest_is_a_mismatch(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let mut chunks = body.chunks.clone();
    chunks[2].bytes = chunks[2].bytes.slice(..15);
    let wrong = manifest_of(&body, &chunks);
    refuse_commit(&*store, &begun.token, &wrong).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// A manifest that swaps two chunks is refused.
pub async fn swapped_chunks_are_a_mismatch(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let mut chunks = body.chunks.clone();
    chunks.swap(0, 3);
    let wrong = manifest_of(&body, &chunks);
    refuse_commit(&*store, &begun.token, &wrong).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// A manifest of another encoding than planned is refused.
pub async fn another_encoding_than_planned_is_a_mismatch(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let digest = body.manifest.payload_digest();
    let zstd = CompressionType::Zstd;
    let wrong = manifest(zstd, CHUNK, &body.payload, digest, &body.chunks);
    refuse_commit(&*store, &begun.token, &wrong).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// A manifest of another chunk size than planned is refused.
pub async fn another_chunk_size_than_planned_is_a_mismatch(h: &dyn Harness) {
    let (store, other) = (h.store(), body_in(noise(70, 5), CHUNK / 2));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &other).await;
    refuse_commit(&*store, &begun.token, &other.manifest).await;
}

/// A payload of another digest than planned is refused.
pub async fn another_digest_than_planned_is_a_mismatch(h: &dyn Harness) {
    let mut message = message("m");
    message.plan.expected_digest = Some(Digest::of(b"something else"));
    refuse_as_planned(h, &message).await;
}

/// A payload of another size than planned is refused.
pub async fn another_size_than_planned_is_a_mismatch(h: &dyn Harness) {
    for size in [0, 69, 71] {
        let mut message = message(&format!("m{size}"));
        message.plan.expected_size = Some(size);
        refuse_as_planned(h, &message).await;
    }
}

/// A payload of the size and digest that were planned is taken.
pub async fn what_was_planned_is_taken(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let mut message = message("m");
    message.plan.expected_digest = Some(body.manifest.payload_digest());
    message.plan.expected_size = Some(70);
    let begun = begin_new(&*store, &message).await;
    upload(&*store, &begun.token, &body).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// An upload that is given up keeps the reason.
pub async fn an_abort_keeps_the_reason(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &five()).await;
    store
        .abort(&begun.token, "the tool failed: \"why\"?")
        .await
        .expect("abort");
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.status, MessageStatus::Error);
    assert_eq!(
        record.error_message.as_deref(),
        Some("the tool failed: \"why\"?")
    );
    assert_eq!(record.lease_expires_at, None);
    refused(store.open(&key("m")).await, StoreErrorKind::NotComplete);
}

/// The key of an upload that was given up is free at once, and its chunks are gone.
pub async fn an_aborted_key_is_free_at_once(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    store.abort(&begun.token, "no").await.expect("abort");
    let again = begin_new(&*store, &message("m")).await;
    refuse_commit(&*store, &again.token, &body.manifest).await;
    upload(&*store, &again.token, &body).await;
    let record = commit_and_read(&*store, &again.token, &body).await;
    assert_eq!(record.error_message, None);
}

/// A token that nobody was given writes nothing.
pub async fn an_invented_token_is_stale(h: &dyn Harness) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let mut invented = begun.token.clone();
    invented.fence = Uuid::new_v4();
    stale(&*store, &invented, &body).await;
    let mut invented = begun.token.clone();
    invented.id = MessageId::mint();
    stale(&*store, &invented, &body).await;
    commit_and_read(&*store, &begun.token, &body).await;
}

/// Two uploads at the same time do not mix.
pub async fn uploads_do_not_mix(h: &dyn Harness) {
    let (store, a, b) = (h.store(), five(), body(noise(70, 9)));
    let first = begin_new(&*store, &message("a")).await;
    let second = begin_new(&*store, &message("b")).await;
    for (seq, (x, y)) in (0..).zip(a.chunks.iter().zip(&b.chunks)) {
        store
            .put_chunk(&first.token, seq, x.clone())
            .await
            .expect("put_chunk");
        store
            .put_chunk(&second.token, seq, y.clone())
            .await
            .expect("put_chunk");
    }
    store
        .commit(&second.token, &b.manifest)
        .await
        .expect("commit");
    store
        .commit(&first.token, &a.manifest)
        .await
        .expect("commit");
    assert_eq!(read(&*store, &key("a")).await.expect("read"), a.payload);
    assert_eq!(read(&*store, &key("b")).await.expect("read"), b.payload);
}

async fn commit_and_read(
    store: &dyn Store,
    token: &UploadToken,
    body: &Body,
) -> bus_model::MessageBusRecord {
    let record = store.commit(token, &body.manifest).await.expect("commit");
    let payload = read(store, &record.key()).await.expect("read");
    assert_eq!(payload, body.payload);
    record
}

/// A commit of `manifest` is a mismatch and leaves the upload pending.
async fn refuse_commit(store: &dyn Store, token: &UploadToken, manifest: &Manifest) {
    refused(
        store.commit(token, manifest).await,
        StoreErrorKind::Mismatch,
    );
    store
        .renew(token)
        .await
        .expect("the upload is still its writer's");
}

/// An upload of [`five`] as `message` is refused at its commit, and seen by nobody.
async fn refuse_as_planned(h: &dyn Harness, message: &NewMessage) {
    let (store, body) = (h.store(), five());
    let begun = begin_new(&*store, message).await;
    upload(&*store, &begun.token, &body).await;
    refuse_commit(&*store, &begun.token, &body.manifest).await;
    refused(store.open(&message.key).await, StoreErrorKind::NotComplete);
}

/// The manifest of `body` with other chunks.
fn manifest_of(body: &Body, chunks: &[crate::StoredChunk]) -> Manifest {
    let digest = body.manifest.payload_digest();
    manifest(CompressionType::None, CHUNK, &body.payload, digest, chunks)
}
