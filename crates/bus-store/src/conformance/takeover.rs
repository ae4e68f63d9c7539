//! What happens to an upload whose writer is gone.

use bus_model::{CompressionType, Digest, MessageStatus, Priority};

use super::{
    Harness,
    support::{
        CHUNK, LEASE, begin_new, body, body_in, busy, gone, key, message, noise, other_process,
        principal, read, refused, resume, stale, stored, upload,
    },
};
use crate::{Begin, DurableChunk, NewMessage, StoreErrorKind};

/// The next writer goes on: same message, new fence, and it is told which chunks are durable.
pub async fn the_next_writer_is_told_the_durable_chunks(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    for seq in [0, 4, 2] {
        let chunk = body.chunks[seq as usize].clone();
        store
            .put_chunk(&begun.token, seq, chunk)
            .await
            .expect("put_chunk");
    }
    gone(h, &begun.token).await;
    let (next, mut durable) = resume(&*store, &message("m")).await;
    assert_eq!(next.token.id, begun.token.id);
    assert_ne!(next.token.fence, begun.token.fence);
    durable.sort_by_key(|chunk| chunk.seq);
    let wanted = [0_u32, 2, 4].map(|seq| {
        let chunk = &body.chunks[seq as usize];
        DurableChunk {
            seq,
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        }
    });
    assert_eq!(durable, wanted);
}

/// An upload without a chunk is resumed, too.
pub async fn an_upload_without_chunks_is_resumed(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    gone(h, &begun.token).await;
    let (_, durable) = resume(&*store, &message("m")).await;
    assert_eq!(durable, []);
}

/// The next writer uploads only what is missing.
pub async fn the_next_writer_uploads_what_is_missing(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    for seq in [1, 3] {
        let chunk = body.chunks[seq as usize].clone();
        store
            .put_chunk(&begun.token, seq, chunk)
            .await
            .expect("put_chunk");
    }
    gone(h, &begun.token).await;
    let (next, _) = resume(&*store, &message("m")).await;
    for seq in [0, 2, 4] {
        let chunk = body.chunks[seq as usize].clone();
        store
            .put_chunk(&next.token, seq, chunk)
            .await
            .expect("put_chunk");
    }
    store
        .commit(&next.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// The next writer may replace what it would not have written.
pub async fn the_next_writer_may_replace_chunks(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    for seq in 0..5 {
        let other = stored(noise(24, seq));
        store
            .put_chunk(&begun.token, seq, other)
            .await
            .expect("put_chunk");
    }
    gone(h, &begun.token).await;
    let (next, durable) = resume(&*store, &message("m")).await;
    assert_eq!(durable.len(), 5);
    upload(&*store, &next.token, &body).await;
    store
        .commit(&next.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// A replaced chunk is reported as it is now, once.
pub async fn a_replaced_chunk_is_reported_once(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    for bytes in ["first", "a longer second", "third"] {
        store
            .put_chunk(&begun.token, 0, stored(bytes))
            .await
            .expect("put_chunk");
    }
    gone(h, &begun.token).await;
    let (_, durable) = resume(&*store, &message("m")).await;
    let wanted = DurableChunk {
        seq: 0,
        stored_len: 5,
        digest: Digest::of(b"third"),
    };
    assert_eq!(durable, [wanted]);
}

/// The old writer is refused everything and changes nothing.
pub async fn the_old_token_is_stale(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    gone(h, &begun.token).await;
    let (next, _) = resume(&*store, &message("m")).await;
    stale(&*store, &begun.token, &body).await;
    store
        .commit(&next.token, &body.manifest)
        .await
        .expect("nothing was changed");
    stale(&*store, &begun.token, &body).await;
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// A stale writer does not keep the upload alive.
pub async fn a_stale_writer_keeps_nothing_alive(h: &dyn Harness) {
    let store = h.store();
    let first = begin_new(&*store, &message("m")).await;
    gone(h, &first.token).await;
    let (second, _) = resume(&*store, &message("m")).await;
    h.advance(LEASE / 2).await;
    refused(store.renew(&first.token).await, StoreErrorKind::LeaseLost);
    h.writer_dies(&second.token).await;
    h.advance(LEASE / 2).await;
    resume(&*store, &message("m")).await;
}

/// Each writer in a row has a fence of its own, and only the last one may write.
pub async fn each_writer_has_a_fence_of_its_own(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let mut tokens = vec![begin_new(&*store, &message("m")).await.token];
    for _ in 0..3 {
        gone(h, &tokens[tokens.len() - 1]).await;
        tokens.push(resume(&*store, &message("m")).await.0.token);
    }
    let last = tokens.pop().expect("there are four");
    for token in &tokens {
        assert_ne!(token.fence, last.fence);
        stale(&*store, token, &body).await;
    }
    upload(&*store, &last, &body).await;
    store.commit(&last, &body.manifest).await.expect("commit");
}

/// Another encoding starts anew.
pub async fn another_encoding_starts_anew(h: &dyn Harness) {
    let mut other = message("m");
    other.plan.encoding = CompressionType::Gzip;
    restarts(h, &message("m"), &other).await;
}

/// Another chunk size starts anew.
pub async fn another_chunk_size_starts_anew(h: &dyn Harness) {
    let mut other = message("m");
    other.plan.chunk_size = CHUNK * 2;
    restarts(h, &message("m"), &other).await;
}

/// Another expected digest starts anew, also where one of the two is not known.
pub async fn another_expected_digest_starts_anew(h: &dyn Harness) {
    let [unknown, mut one, mut two] = [message("a"), message("a"), message("a")];
    one.plan.expected_digest = Some(Digest::of(b"one"));
    two.plan.expected_digest = Some(Digest::of(b"two"));
    restarts(h, &one, &two).await;
    h.store().delete(&key("a")).await.expect("delete");
    restarts(h, &unknown, &one).await;
    h.store().delete(&key("a")).await.expect("delete");
    restarts(h, &one, &unknown).await;
}

/// The same expected digest goes on.
pub async fn the_same_expected_digest_goes_on(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let mut message = message("m");
    message.plan.expected_digest = Some(body.manifest.payload_digest());
    let begun = begin_new(&*store, &message).await;
    upload(&*store, &begun.token, &body).await;
    gone(h, &begun.token).await;
    let (next, durable) = resume(&*store, &message).await;
    assert_eq!(durable.len(), 5);
    store
        .commit(&next.token, &body.manifest)
        .await
        .expect("commit");
}

/// Chunks of a plan that was dropped are not in the message of the next one.
pub async fn chunks_of_a_dropped_plan_are_gone(h: &dyn Harness) {
    let (store, old) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &old).await;
    gone(h, &begun.token).await;
    let mut other = message("m");
    other.plan.chunk_size = 70;
    let new = body_in(noise(70, 2), 70);
    let next = begin_new(&*store, &other).await;
    let refusal = store.commit(&next.token, &new.manifest).await;
    refused(refusal, StoreErrorKind::Mismatch);
    upload(&*store, &next.token, &new).await;
    let record = store
        .commit(&next.token, &new.manifest)
        .await
        .expect("commit");
    assert_eq!(record.compressed_size_bytes, Some(70));
    assert_eq!(read(&*store, &key("m")).await.expect("read"), new.payload);
}

/// The message is what the writer says that finished it; its id and creation are the first one's.
pub async fn the_next_writer_brings_its_own_attributes(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    let before = store.record(&key("m")).await.expect("record");
    gone(h, &begun.token).await;
    let mut message = message("m");
    message.attributes.priority = Priority::Urgent;
    message
        .attributes
        .metadata
        .insert("attempt".into(), 2.into());
    message.plan.expected_size = Some(70);
    let (next, _) = resume(&*store, &message).await;
    upload(&*store, &next.token, &body).await;
    let record = store
        .commit(&next.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(
        (record.id, record.created_at),
        (before.id, before.created_at)
    );
    assert_eq!(record.priority, Priority::Urgent);
    assert_eq!(record.metadata, message.attributes.metadata);
}

/// Another process takes over as well.
pub async fn another_process_takes_over(h: &dyn Harness) {
    let (store, other) = (h.store(), other_process(h));
    let body = body(noise(70, 1));
    let begun = begin_new(&*store, &message("m")).await;
    let first = body.chunks[0].clone();
    store
        .put_chunk(&begun.token, 0, first)
        .await
        .expect("put_chunk");
    busy(&*other, &message("m")).await;
    gone(h, &begun.token).await;
    let (next, durable) = resume(&*other, &message("m")).await;
    assert_eq!(durable.len(), 1);
    upload(&*other, &next.token, &body).await;
    other
        .commit(&next.token, &body.manifest)
        .await
        .expect("commit");
    stale(&*store, &begun.token, &body).await;
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// Of several writers that want to take over at once, one does.
pub async fn one_of_many_takes_over(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    gone(h, &begun.token).await;
    let message = message("m");
    let answers = futures::future::join_all((0..8).map(|_| store.begin(&message))).await;
    let mut winners = 0;
    for answer in answers {
        match answer.expect("begin") {
            Begin::Resume(..) => winners += 1,
            Begin::Busy { .. } => {}
            other => panic!("one writer to resume was expected, not {other:?}"),
        }
    }
    assert_eq!(winners, 1);
}

/// The upload of one principal is not resumed by another.
pub async fn another_principal_takes_nothing_over(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    gone(h, &begun.token).await;
    let mut stranger = message("m");
    stranger.key.principal = principal("stranger");
    let other = begin_new(&*store, &stranger).await;
    assert_ne!(other.token.id, begun.token.id);
    let (_, durable) = resume(&*store, &message("m")).await;
    assert_eq!(durable.len(), 5);
}

/// `new` drops what a dead writer with the plan of `old` left behind.
async fn restarts(h: &dyn Harness, old: &NewMessage, new: &NewMessage) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, old).await;
    upload(&*store, &begun.token, &body).await;
    gone(h, &begun.token).await;
    let next = begin_new(&*store, new).await;
    assert_ne!(next.token.fence, begun.token.fence);
    stale(&*store, &begun.token, &body).await;
    let record = store.record(&new.key).await.expect("record");
    assert_eq!(record.status, MessageStatus::Pending);
    assert_eq!(record.chunk_size_bytes, new.plan.chunk_size);
    assert_eq!(record.compression_type, new.plan.encoding);
    gone(h, &next.token).await;
    let (_, durable) = resume(&*store, new).await;
    assert_eq!(durable, [], "the chunks of the other plan are gone");
}
