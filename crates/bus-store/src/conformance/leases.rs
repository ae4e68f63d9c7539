//! How long a writer holds its key.

use std::time::Duration;

use bus_model::{CompressionType, Digest, MessageStatus};

use super::{
    Harness,
    support::{
        LEASE, MARGIN, begin_new, body, busy, gone, key, message, noise, other_process, read,
        refused, resume, same_time, stored, upload,
    },
};
use crate::StoreErrorKind;

/// A key is busy while its writer's lease runs, and the answer says how long to wait.
pub async fn a_key_is_busy_while_the_lease_runs(h: &dyn Harness) {
    let store = h.store();
    begin_new(&*store, &message("m")).await;
    let wait = busy(&*store, &message("m")).await;
    assert!(wait > Duration::ZERO && wait <= LEASE, "{wait:?}");
}

/// A key is busy whatever the other writer plans.
pub async fn a_key_is_busy_whatever_the_plan(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    let mut other = message("m");
    other.plan.encoding = CompressionType::Gzip;
    busy(&*store, &other).await;
    let mut other = message("m");
    other.plan.chunk_size += 1;
    busy(&*store, &other).await;
    let mut other = message("m");
    other.plan.expected_digest = Some(Digest::of(b"other"));
    busy(&*store, &other).await;
    store
        .renew(&begun.token)
        .await
        .expect("the writer lost nothing");
}

/// A key is busy for another process as for this one.
pub async fn a_key_is_busy_for_another_process(h: &dyn Harness) {
    let (store, other) = (h.store(), other_process(h));
    let begun = begin_new(&*store, &message("m")).await;
    busy(&*other, &message("m")).await;
    store
        .renew(&begun.token)
        .await
        .expect("the writer lost nothing");
}

/// A key is busy up to the end of the lease.
pub async fn a_key_is_busy_up_to_the_end(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    h.advance(LEASE - MARGIN).await;
    let wait = busy(&*store, &message("m")).await;
    assert!(wait <= MARGIN, "{wait:?}");
    store
        .renew(&begun.token)
        .await
        .expect("the writer lost nothing");
}

/// Each writer has the lease that it asked for.
pub async fn each_writer_has_the_lease_it_asked_for(h: &dyn Harness) {
    let store = h.store();
    let mut long = message("m");
    long.plan.lease = LEASE * 10;
    let begun = begin_new(&*store, &long).await;
    assert_eq!(begun.lease, LEASE * 10);
    h.advance(LEASE * 9).await;
    let wait = busy(&*store, &message("m")).await;
    assert!(wait <= LEASE, "{wait:?}");
}

/// A chunk starts the lease anew.
pub async fn a_chunk_starts_the_lease_anew(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    for (seq, chunk) in (0..).zip(&body.chunks) {
        h.advance(LEASE - MARGIN).await;
        store
            .put_chunk(&begun.token, seq, chunk.clone())
            .await
            .expect("put_chunk");
        h.advance(MARGIN * 2).await;
        busy(&*store, &message("m")).await;
    }
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
}

/// A renewal starts the lease anew.
pub async fn a_renewal_starts_the_lease_anew(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    for _ in 0..3 {
        h.advance(LEASE - MARGIN).await;
        store.renew(&begun.token).await.expect("renew");
        h.advance(MARGIN * 2).await;
        busy(&*store, &message("m")).await;
    }
}

/// A commit that is refused does not start the lease.
pub async fn a_refused_commit_does_not_start_the_lease(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    h.advance(LEASE - MARGIN).await;
    let refusal = store.commit(&begun.token, &body.manifest).await;
    refused(refusal, StoreErrorKind::Mismatch);
    h.writer_dies(&begun.token).await;
    h.advance(MARGIN).await;
    resume(&*store, &message("m")).await;
}

/// The record of a pending message says until when its writer may stay silent.
pub async fn the_record_shows_the_lease(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    let before = store.record(&key("m")).await.expect("record");
    let until = before
        .lease_expires_at
        .expect("a pending message has a lease");
    same_time(until, before.created_at + LEASE);
    h.advance(LEASE / 2).await;
    store.renew(&begun.token).await.expect("renew");
    let after = store.record(&key("m")).await.expect("record");
    let until = after
        .lease_expires_at
        .expect("a pending message has a lease");
    same_time(until, before.created_at + LEASE + LEASE / 2);
    assert_eq!(after.status, MessageStatus::Pending);
}

/// A writer past its lease that nobody took over may go on.
pub async fn a_late_writer_may_go_on(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    for (seq, chunk) in (0..).zip(&body.chunks) {
        h.advance(LEASE * 3).await;
        store
            .put_chunk(&begun.token, seq, chunk.clone())
            .await
            .expect("put_chunk");
    }
    h.advance(LEASE * 3).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// A late renewal makes the upload live again.
pub async fn a_late_renewal_makes_the_upload_live_again(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    h.advance(LEASE * 2).await;
    store.renew(&begun.token).await.expect("renew");
    let wait = busy(&*store, &message("m")).await;
    assert!(wait <= LEASE, "{wait:?}");
}

/// The lease of a writer that took over is its own, not that of the one before.
pub async fn a_lease_is_that_of_the_last_writer(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    gone(h, &begun.token).await;
    let mut long = message("m");
    long.plan.lease = LEASE * 10;
    let (second, _) = resume(&*store, &long).await;
    assert_eq!(second.lease, LEASE * 10);
    store
        .put_chunk(&second.token, 0, stored("x"))
        .await
        .expect("put_chunk");
    h.advance(LEASE * 9).await;
    busy(&*store, &message("m")).await;
}

/// Leases of different keys are apart.
pub async fn leases_of_different_keys_are_apart(h: &dyn Harness) {
    let (store, body) = (h.store(), body("x"));
    let first = begin_new(&*store, &message("a")).await;
    h.advance(LEASE / 2).await;
    let second = begin_new(&*store, &message("b")).await;
    upload(&*store, &second.token, &body).await;
    h.writer_dies(&first.token).await;
    h.advance(LEASE / 2).await;
    resume(&*store, &message("a")).await;
    busy(&*store, &message("b")).await;
}
