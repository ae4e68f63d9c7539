//! Sweeping what is over, and leaving the rest alone.

use std::time::Duration;

use bus_model::MessageStatus;
use futures::StreamExt as _;

use super::{
    Harness,
    support::{
        LEASE, MARGIN, TTL, begin_new, body, everything, gone, key, message, noise, other_process,
        principal, publish, publish_as, put, read, refused, resume, stale, ttl, upload, walk,
    },
};
use crate::{PurgeOptions, PurgeReport, READ_GRACE, Store, StoreErrorKind, StoreExt as _};

/// There is nothing to purge in an empty store.
pub async fn an_empty_store_has_nothing_to_purge(h: &dyn Harness) {
    assert_eq!(purge(&*h.store()).await, PurgeReport::default());
}

/// Messages that are served stay.
pub async fn served_messages_stay(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    h.advance(TTL - MARGIN).await;
    assert_eq!(purge(&*store).await, PurgeReport::default());
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// A purge goes in batches, and says whether there may be more.
pub async fn a_purge_goes_in_batches(h: &dyn Harness) {
    let store = h.store();
    for i in 0..5 {
        publish(&*store, &format!("m{i}"), "payload").await;
    }
    h.advance(TTL + READ_GRACE).await;
    let options = PurgeOptions {
        limit: 2,
        ..PurgeOptions::default()
    };
    for wanted in [2, 2, 1] {
        let report = store.purge(&options).await.expect("purge");
        assert_eq!(report.removed(), wanted);
        assert_eq!(report.more, wanted == 2, "{report:?}");
    }
    assert_eq!(walk(&*store, &everything()).await, [""; 0]);
}

/// `purge_all` goes on until nothing is left.
pub async fn purge_all_leaves_nothing(h: &dyn Harness) {
    let store = h.store();
    for i in 0..5 {
        publish(&*store, &format!("m{i}"), "payload").await;
    }
    h.advance(TTL + READ_GRACE).await;
    let options = PurgeOptions {
        limit: 2,
        ..PurgeOptions::default()
    };
    let report = store.purge_all(&options).await.expect("purge");
    assert_eq!((report.expired, report.more), (5, false));
    assert_eq!(report.freed_bytes, 5 * 7);
}

/// A live upload is never touched.
pub async fn a_live_upload_is_never_touched(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    for _ in 0..3 {
        h.advance(LEASE - MARGIN).await;
        assert_eq!(purge(&*other_process(h)).await, PurgeReport::default());
        store.renew(&begun.token).await.expect("renew");
    }
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), body.payload);
}

/// An upload that its writer left is removed, with its chunks.
pub async fn an_orphan_is_removed(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    gone(h, &begun.token).await;
    let report = purge(&*store).await;
    assert_eq!((report.orphaned, report.removed()), (1, 1));
    assert_eq!(report.freed_bytes, 70);
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
    stale(&*store, &begun.token, &body).await;
    begin_new(&*store, &message("m")).await;
}

/// An upload that was taken over is live again.
pub async fn an_upload_that_was_taken_over_is_live(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    gone(h, &begun.token).await;
    let (next, _) = resume(&*store, &message("m")).await;
    assert_eq!(purge(&*store).await, PurgeReport::default());
    store.renew(&next.token).await.expect("renew");
}

/// Orphans go, whatever lives beside them.
pub async fn only_what_is_over_goes(h: &dyn Harness) {
    let store = h.store();
    let mut short = message("expired");
    short.attributes.ttl = ttl(MARGIN);
    publish_as(&*store, &short, noise(30, 1)).await;
    h.advance(READ_GRACE).await;
    let orphan = begin_new(&*store, &message("orphan")).await;
    upload(&*store, &orphan.token, &body(noise(20, 2))).await;
    let mut brief = message("failed");
    brief.attributes.ttl = ttl(MARGIN);
    let failed = begin_new(&*store, &brief).await;
    store.abort(&failed.token, "no").await.expect("abort");
    gone(h, &orphan.token).await;
    let live = begin_new(&*store, &message("live")).await;
    publish(&*store, "served", "payload").await;
    let report = purge(&*store).await;
    let wanted = PurgeReport {
        expired: 1,
        orphaned: 1,
        failed: 1,
        freed_bytes: 50,
        ..PurgeReport::default()
    };
    assert_eq!(report, wanted);
    store.renew(&live.token).await.expect("renew");
    let mut left = walk(&*store, &everything()).await;
    left.sort();
    assert_eq!(left, ["live", "served"]);
}

/// A purge frees the stored bytes that it says.
pub async fn a_purge_says_what_it_freed(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "a", noise(70, 1)).await;
    publish(&*store, "b", noise(33, 2)).await;
    publish(&*store, "c", "").await;
    h.advance(TTL + READ_GRACE).await;
    let report = purge(&*store).await;
    assert_eq!((report.expired, report.freed_bytes), (3, 103));
    let stats = store.stats().await.expect("stats");
    assert_eq!((stats.expired, stats.stored_bytes), (0, 0));
}

/// Acknowledged messages stay, unless it is asked for.
pub async fn acknowledged_messages_stay_unless_asked_for(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    store.acknowledge(&key("m")).await.expect("acknowledge");
    h.advance(TTL / 2).await;
    assert_eq!(purge(&*store).await, PurgeReport::default());
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// Acknowledged messages go after the time asked for, others stay.
pub async fn acknowledged_messages_go_after_the_time_asked_for(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "seen", "payload").await;
    publish(&*store, "unseen", "payload").await;
    store.acknowledge(&key("seen")).await.expect("acknowledge");
    h.advance(LEASE - MARGIN).await;
    assert_eq!(purge_acknowledged(&*store, LEASE).await.removed(), 0);
    h.advance(MARGIN).await;
    let report = purge_acknowledged(&*store, LEASE).await;
    assert_eq!((report.acknowledged, report.removed()), (1, 1));
    assert_eq!(report.freed_bytes, 7);
    assert_eq!(walk(&*store, &everything()).await, ["unseen"]);
}

/// Acknowledged messages can go at once.
pub async fn acknowledged_messages_can_go_at_once(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    assert_eq!(
        purge_acknowledged(&*store, Duration::ZERO).await.removed(),
        0
    );
    store.acknowledge(&key("m")).await.expect("acknowledge");
    let report = purge_acknowledged(&*store, Duration::ZERO).await;
    assert_eq!(report.acknowledged, 1);
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
}

/// What is acknowledged and past its grace counts as expired.
pub async fn past_the_grace_counts_as_expired(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    store.acknowledge(&key("m")).await.expect("acknowledge");
    h.advance(TTL + READ_GRACE).await;
    let report = purge_acknowledged(&*store, Duration::ZERO).await;
    assert_eq!((report.expired, report.acknowledged), (1, 0));
}

/// A message that is purged under its reader: the rest is right or an error, never cut in silence.
pub async fn a_purge_under_a_reader_cuts_nothing_in_silence(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(40 * 16, 1)));
    put(&*store, "m", &body).await.expect("put");
    let opened = store.open(&key("m")).await.expect("open");
    let owner = &opened.record.principal;
    let mut chunks = store
        .chunks(owner, opened.record.id, 0..40)
        .await
        .expect("chunks");
    let first = chunks.next().await.expect("a chunk").expect("chunk 0");
    assert_eq!(first, body.chunks[0].bytes);
    h.advance(TTL + READ_GRACE).await;
    assert_eq!(purge(&*store).await.expired, 1);
    for chunk in &body.chunks[1..] {
        match chunks.next().await {
            Some(Ok(bytes)) => assert_eq!(bytes, chunk.bytes),
            Some(Err(_)) => return,
            None => panic!("the stream was cut in silence"),
        }
    }
}

/// A purge is for all principals.
pub async fn a_purge_is_for_all_principals(h: &dyn Harness) {
    let store = h.store();
    for owner in ["a", "b"] {
        let mut message = message("m");
        message.key.principal = principal(owner);
        publish_as(&*store, &message, "payload").await;
    }
    h.advance(TTL + READ_GRACE).await;
    assert_eq!(purge(&*store).await.expired, 2);
}

/// A key that expired and was written anew is not purged with the old message's time.
pub async fn a_renewed_key_is_not_purged(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "old").await;
    h.advance(TTL).await;
    publish(&*store, "m", "new").await;
    h.advance(READ_GRACE).await;
    assert_eq!(purge(&*store).await, PurgeReport::default());
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.status, MessageStatus::Complete);
}

/// A purge twice finds nothing the second time.
pub async fn a_second_purge_finds_nothing(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    h.advance(TTL + READ_GRACE).await;
    assert_eq!(purge(&*store).await.expired, 1);
    assert_eq!(purge(&*store).await, PurgeReport::default());
}

async fn purge(store: &dyn Store) -> PurgeReport {
    store.purge(&PurgeOptions::default()).await.expect("purge")
}

async fn purge_acknowledged(store: &dyn Store, after: Duration) -> PurgeReport {
    let options = PurgeOptions {
        acknowledged_after: Some(after),
        ..PurgeOptions::default()
    };
    store.purge(&options).await.expect("purge")
}
