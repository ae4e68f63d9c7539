//! The same thing twice, and two at once.

use bus_model::{Digest, MessageStatus};
use futures::future::join_all;

use super::{
    Harness,
    support::{
        Body, LEASE, begin_new, body, everything, gone, key, message, noise, other_process,
        publish, put, read, refused, stored, upload, walk,
    },
};
use crate::{Begin, ListQuery, PutOutcome, Store, StoreErrorKind};

/// A key with a complete message answers with its record.
pub async fn a_complete_key_answers_with_its_record(h: &dyn Harness) {
    let store = h.store();
    let written = publish(&*store, "m", "payload").await;
    assert_eq!(begun_record(&*store, None).await.id, written.id);
    let digest = Digest::of(b"payload");
    let record = begun_record(&*store, Some(digest)).await;
    assert_eq!(record.checksum, Some(digest));
    assert_eq!(record.status, MessageStatus::Complete);
}

/// A key with a complete message is a conflict for another digest.
pub async fn another_digest_is_a_conflict(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    let mut other = message("m");
    other.plan.expected_digest = Some(Digest::of(b"another payload"));
    refused(store.begin(&other).await, StoreErrorKind::Conflict);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// A plan of another encoding does not disturb a complete message.
pub async fn a_complete_key_ignores_the_plan(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    let mut other = message("m");
    other.plan.chunk_size += 1;
    let answer = store.begin(&other).await.expect("begin");
    assert!(matches!(answer, Begin::Complete(_)), "{answer:?}");
}

/// The same payload put twice is there once.
pub async fn the_same_put_twice_is_there_once(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let first = put(&*store, "m", &body).await.expect("put");
    let PutOutcome::Created(first) = first else {
        panic!("a new message was expected, not {first:?}");
    };
    let second = put(&*store, "m", &body).await.expect("put");
    let PutOutcome::AlreadyThere(second) = second else {
        panic!("the message was expected to be there, not {second:?}");
    };
    assert_eq!((first.id, first.checksum), (second.id, second.checksum));
    assert_eq!(walk(&*store, &everything()).await, ["m"]);
}

/// Another payload under the same key is a conflict, whether the plan tells its digest or not.
pub async fn another_put_is_a_conflict(h: &dyn Harness) {
    let (store, one, two) = (h.store(), body("one"), body("two"));
    put(&*store, "m", &one).await.expect("put");
    refused(put(&*store, "m", &two).await, StoreErrorKind::Conflict);
    let mut planned = message("m");
    planned.plan.expected_digest = Some(two.manifest.payload_digest());
    let refusal = store.put(&planned, &two.manifest, &two.chunks).await;
    refused(refusal, StoreErrorKind::Conflict);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "one");
}

/// A put while another writer holds the key is busy, and does not disturb it.
pub async fn a_put_beside_a_writer_is_busy(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let outcome = put(&*store, "m", &body).await.expect("put");
    assert!(
        matches!(outcome, PutOutcome::Busy { retry_after } if retry_after <= LEASE),
        "{outcome:?}"
    );
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
}

/// A put takes over from a writer that is gone.
pub async fn a_put_takes_over_from_the_dead(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    let mut chunk = body.chunks[1].clone();
    store
        .put_chunk(&begun.token, 1, chunk)
        .await
        .expect("put_chunk");
    chunk = stored("of another run");
    store
        .put_chunk(&begun.token, 2, chunk)
        .await
        .expect("put_chunk");
    gone(h, &begun.token).await;
    let outcome = put(&*store, "m", &body).await.expect("put");
    assert!(matches!(outcome, PutOutcome::Created(_)), "{outcome:?}");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// A put that fails leaves nothing to be seen, and the key free.
pub async fn a_failed_put_leaves_nothing(h: &dyn Harness) {
    let (store, good) = (h.store(), body(noise(70, 1)));
    let mut bad = good.clone();
    bad.chunks.pop();
    refused(put(&*store, "m", &bad).await, StoreErrorKind::Mismatch);
    assert!(store.open(&key("m")).await.is_err());
    let visible = walk(&*store, &ListQuery::new(key("m").principal)).await;
    assert_eq!(visible, [""; 0]);
    let outcome = put(&*store, "m", &good).await.expect("put");
    assert!(matches!(outcome, PutOutcome::Created(_)), "{outcome:?}");
}

/// A payload of one chunk, of many and of none can be put.
pub async fn a_put_takes_every_size(h: &dyn Harness) {
    let store = h.store();
    for len in [0, 1, 15, 16, 17, 32, 400] {
        let (name, body) = (format!("m{len}"), body(noise(len, 7)));
        put(&*store, &name, &body).await.expect("put");
        assert_eq!(
            read(&*store, &key(&name)).await.expect("read"),
            body.payload
        );
    }
}

/// Of writers that begin at once, one holds the key.
pub async fn one_of_many_begins(h: &dyn Harness) {
    let (store, other) = (h.store(), other_process(h));
    let message = message("m");
    let calls = (0..8).map(|i| if i % 2 == 0 { &store } else { &other });
    let answers = join_all(calls.map(|store| store.begin(&message))).await;
    let mut winners = 0;
    for answer in answers {
        match answer.expect("begin") {
            Begin::New(_) => winners += 1,
            Begin::Busy { .. } => {}
            other => panic!("one new upload was expected, not {other:?}"),
        }
    }
    assert_eq!(winners, 1);
}

/// Of equal puts at once, one writes and all the others succeed or are to wait.
pub async fn equal_puts_at_once_write_once(h: &dyn Harness) {
    let body = body(noise(70, 1));
    let bodies = vec![body.clone(); 8];
    assert_eq!(put_at_once(h, bodies).await, (1, 0));
    let payload = read(&*h.store(), &key("m")).await.expect("read");
    assert_eq!(payload, body.payload);
}

/// Of different puts at once, one writes; what is read is whole and one of them.
pub async fn different_puts_at_once_do_not_mix(h: &dyn Harness) {
    let bodies: Vec<Body> = (0..8).map(|seed| body(noise(70, seed))).collect();
    assert_eq!(put_at_once(h, bodies.clone()).await.0, 1);
    let payload = read(&*h.store(), &key("m")).await.expect("read");
    assert!(bodies.iter().any(|body| body.payload == payload));
}

/// A commit that is repeated succeeds with the same record.
pub async fn a_repeated_commit_succeeds(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let first = store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    h.advance(LEASE * 2).await;
    let second = store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(first, second);
}

/// A commit that is repeated at the same time succeeds.
pub async fn equal_commits_at_once_succeed(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let commits = (0..4).map(|_| store.commit(&begun.token, &body.manifest));
    for answer in join_all(commits).await {
        assert_eq!(answer.expect("commit").id, begun.token.id);
    }
}

/// A committed message takes no other manifest.
pub async fn another_commit_after_the_commit_is_refused(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = committed(&*store, &body).await;
    let other = super::support::body(noise(64, 1));
    let refusal = store.commit(&begun, &other.manifest).await;
    refused(refusal, StoreErrorKind::LeaseLost);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// Committed chunks never change.
pub async fn committed_chunks_never_change(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let token = committed(&*store, &body).await;
    for (seq, chunk) in [(0, stored("other bytes")), (5, stored("one more"))] {
        let refusal = store.put_chunk(&token, seq, chunk).await;
        refused(refusal, StoreErrorKind::LeaseLost);
    }
    let same = store.put_chunk(&token, 0, body.chunks[0].clone()).await;
    refused(same, StoreErrorKind::LeaseLost);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// A committed message is neither given up nor renewed.
pub async fn a_committed_message_is_not_given_up(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let token = committed(&*store, &body).await;
    refused(
        store.abort(&token, "too late").await,
        StoreErrorKind::LeaseLost,
    );
    refused(store.renew(&token).await, StoreErrorKind::LeaseLost);
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(
        (record.status, record.error_message),
        (MessageStatus::Complete, None)
    );
    assert_eq!(record.lease_expires_at, None);
}

/// An upload that was given up is its writer's no longer.
pub async fn a_given_up_upload_is_stale(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    store.abort(&begun.token, "first").await.expect("abort");
    super::support::stale(&*store, &begun.token, &body).await;
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.error_message.as_deref(), Some("first"));
}

/// Puts every body under one key at once: how many were created, and how many in conflict.
async fn put_at_once(h: &dyn Harness, bodies: Vec<Body>) -> (usize, usize) {
    let stores = [h.store(), other_process(h)];
    let tasks = bodies
        .into_iter()
        .zip(stores.iter().cycle())
        .map(|(body, store)| {
            let store = std::sync::Arc::clone(store);
            tokio::spawn(async move { put(&*store, "m", &body).await })
        });
    let (mut created, mut conflicts) = (0, 0);
    for answer in join_all(tasks).await {
        match answer.expect("no put panics") {
            Ok(PutOutcome::Created(_)) => created += 1,
            Ok(PutOutcome::AlreadyThere(_) | PutOutcome::Busy { .. }) => {}
            Err(error) if error.kind() == StoreErrorKind::Conflict => conflicts += 1,
            Err(error) => panic!("a put at the same time failed: {error:?}"),
        }
    }
    (created, conflicts)
}

async fn committed(store: &dyn Store, body: &Body) -> crate::UploadToken {
    let begun = begin_new(store, &message("m")).await;
    upload(store, &begun.token, body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    begun.token
}

async fn begun_record(
    store: &dyn Store,
    expected: Option<Digest>,
) -> Box<bus_model::MessageBusRecord> {
    let mut message = message("m");
    message.plan.expected_digest = expected;
    match store.begin(&message).await.expect("begin") {
        Begin::Complete(record) => record,
        other => panic!("a complete message was expected, not {other:?}"),
    }
}
