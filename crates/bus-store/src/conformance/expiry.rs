//! The time to live, and what is left of a message after it.

use std::time::Duration;

use bus_model::{MessageKey, MessageStatus, Principal};
use futures::StreamExt as _;

use super::{
    Harness,
    support::{
        LEASE, MARGIN, TTL, begin_new, body, everything, key, message, noise, publish, publish_as,
        put, read, read_chunks, refused, same_time, ttl, upload, walk,
    },
};
use crate::{Begin, ListQuery, PurgeOptions, PutOutcome, READ_GRACE, Store, StoreErrorKind};

/// A message is served until its time is over.
pub async fn a_message_is_served_until_its_time_is_over(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    h.advance(TTL - MARGIN).await;
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// A message is expired at `expires_at`, not a moment later.
pub async fn a_message_is_expired_at_its_very_time(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    h.advance(TTL).await;
    refused(store.open(&key("m")).await, StoreErrorKind::Expired);
}

/// The record of an expired message says so, and all else that it said.
pub async fn the_record_says_expired(h: &dyn Harness) {
    let store = h.store();
    let before = publish(&*store, "m", "payload").await;
    h.advance(TTL).await;
    let after = store.record(&key("m")).await.expect("record");
    assert_eq!(after.status, MessageStatus::Expired);
    let mut wanted = before;
    wanted.status = MessageStatus::Expired;
    assert_eq!(after, wanted);
}

/// A message that expired is not in the usual list.
pub async fn the_usual_list_has_no_expired_messages(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    let usual = ListQuery::new(Principal::default());
    assert_eq!(walk(&*store, &usual).await, ["m"]);
    h.advance(TTL).await;
    assert_eq!(walk(&*store, &usual).await, [""; 0]);
}

/// Each message has a time to live of its own.
pub async fn each_message_has_its_own_time(h: &dyn Harness) {
    let store = h.store();
    let mut short = message("short");
    short.attributes.ttl = ttl(TTL / 2);
    publish_as(&*store, &short, "payload").await;
    publish(&*store, "long", "payload").await;
    h.advance(TTL / 2).await;
    refused(store.open(&key("short")).await, StoreErrorKind::Expired);
    assert_eq!(read(&*store, &key("long")).await.expect("read"), "payload");
}

/// The time to live starts at the commit, however long the writing took.
pub async fn the_time_to_live_starts_at_the_commit(h: &dyn Harness) {
    let (store, body) = (h.store(), body("payload"));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    h.advance(TTL * 2).await;
    let record = store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(record.status, MessageStatus::Complete);
    same_time(record.expires_at, record.created_at + TTL * 3);
    h.advance(TTL - MARGIN).await;
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
    h.advance(MARGIN).await;
    refused(store.open(&key("m")).await, StoreErrorKind::Expired);
}

/// A reader that opened the message before may ask for its chunks during the grace.
pub async fn a_reader_has_grace_after_expiry(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    put(&*store, "m", &body).await.expect("put");
    let id = store.open(&key("m")).await.expect("open").record.id;
    h.advance(TTL + READ_GRACE - MARGIN).await;
    let chunks = read_chunks(&*store, &Principal::default(), id, 0..5).await;
    assert_eq!(chunks.expect("chunks").concat(), body.payload);
}

/// After the grace there are no chunks any more.
pub async fn there_are_no_chunks_after_the_grace(h: &dyn Harness) {
    let store = h.store();
    let record = publish(&*store, "m", noise(70, 1)).await;
    h.advance(TTL + READ_GRACE).await;
    let chunks = read_chunks(&*store, &Principal::default(), record.id, 0..5).await;
    refused(chunks, StoreErrorKind::Expired);
}

/// A stream that runs goes on through the expiry.
pub async fn a_stream_goes_on_through_the_expiry(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(40 * 16, 1)));
    put(&*store, "m", &body).await.expect("put");
    let id = store.open(&key("m")).await.expect("open").record.id;
    let mut chunks = store
        .chunks(&Principal::default(), id, 0..40)
        .await
        .expect("chunks");
    let mut read = chunks
        .next()
        .await
        .expect("a chunk")
        .expect("chunk 0")
        .to_vec();
    h.advance(TTL + MARGIN).await;
    store.purge(&PurgeOptions::default()).await.expect("purge");
    while let Some(bytes) = chunks.next().await {
        read.extend_from_slice(&bytes.expect("within the grace"));
    }
    assert!(read == body.payload, "the payload differs");
}

/// An expired message stays until its grace is over, and goes then.
pub async fn an_expired_message_is_purged_after_the_grace(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    h.advance(TTL + READ_GRACE - MARGIN).await;
    let early = store.purge(&PurgeOptions::default()).await.expect("purge");
    assert_eq!(early.removed(), 0, "{early:?}");
    h.advance(MARGIN).await;
    let report = store.purge(&PurgeOptions::default()).await.expect("purge");
    assert_eq!((report.expired, report.removed()), (1, 1));
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
}

/// The key of an expired message can be used again at once.
pub async fn an_expired_key_can_be_used_again(h: &dyn Harness) {
    let store = h.store();
    let old = publish(&*store, "m", "old payload").await;
    h.advance(TTL).await;
    let new = publish(&*store, "m", "new").await;
    assert_ne!(old.id, new.id);
    assert_eq!(new.status, MessageStatus::Complete);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "new");
    assert_eq!(walk(&*store, &everything()).await, ["m"]);
    let gone = read_chunks(&*store, &Principal::default(), old.id, 0..1).await;
    refused(gone, StoreErrorKind::NotFound);
    let stats = store.stats().await.expect("stats");
    assert_eq!(
        (stats.complete, stats.expired, stats.stored_bytes),
        (1, 0, 3)
    );
}

/// An expired message is no conflict for other bytes, and no success for the same.
pub async fn an_expired_message_answers_no_put(h: &dyn Harness) {
    let (store, one, two) = (h.store(), body("one"), body("two"));
    for (name, second) in [("same", &one), ("other", &two)] {
        put(&*store, name, &one).await.expect("put");
        h.advance(TTL).await;
        let outcome = put(&*store, name, second).await.expect("put");
        assert!(matches!(outcome, PutOutcome::Created(_)), "{outcome:?}");
    }
    let mut planned = message("same");
    planned.plan.expected_digest = Some(two.manifest.payload_digest());
    h.advance(TTL).await;
    let begun = store.begin(&planned).await.expect("begin");
    assert!(matches!(begun, Begin::New(_)), "{begun:?}");
}

/// An expired message is neither acknowledged nor touched.
pub async fn an_expired_message_takes_no_stamps(h: &dyn Harness) {
    let store = h.store();
    let before = publish(&*store, "m", "payload").await;
    h.advance(TTL).await;
    refused(store.acknowledge(&key("m")).await, StoreErrorKind::Expired);
    store.touch(&[key("m")]).await.expect("touch");
    let after = store.record(&key("m")).await.expect("record");
    assert_eq!(after.acknowledged_at, None);
    assert_eq!(after.accessed_at, before.accessed_at);
}

/// An expired message can be deleted.
pub async fn an_expired_message_can_be_deleted(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    h.advance(TTL).await;
    store.delete(&key("m")).await.expect("delete");
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
}

/// A commit can be repeated after the expiry; its record says that the message is expired.
pub async fn a_commit_can_be_repeated_after_expiry(h: &dyn Harness) {
    let (store, body) = (h.store(), body("payload"));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    h.advance(TTL).await;
    let again = store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(again.status, MessageStatus::Expired);
}

/// The time of a given-up message starts when it is given up; it stays `error` until it is purged.
pub async fn the_reason_is_kept_until_it_expires(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    h.advance(TTL * 2).await;
    store.abort(&begun.token, "no").await.expect("abort");
    h.advance(TTL - MARGIN).await;
    let early = store.purge(&PurgeOptions::default()).await.expect("purge");
    assert_eq!(early.removed(), 0, "{early:?}");
    h.advance(MARGIN).await;
    assert_eq!(status(&*store, &key("m")).await, MessageStatus::Error);
    let report = store.purge(&PurgeOptions::default()).await.expect("purge");
    assert_eq!((report.failed, report.removed()), (1, 1));
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
}

/// A pending message does not expire: its lease decides.
pub async fn a_pending_message_does_not_expire(h: &dyn Harness) {
    let store = h.store();
    let mut long = message("m");
    long.attributes.ttl = ttl(Duration::from_secs(1));
    let begun = begin_new(&*store, &long).await;
    h.advance(LEASE / 2).await;
    assert_eq!(status(&*store, &key("m")).await, MessageStatus::Pending);
    let report = store.purge(&PurgeOptions::default()).await.expect("purge");
    assert_eq!(report.removed(), 0, "{report:?}");
    store.renew(&begun.token).await.expect("renew");
}

async fn status(store: &dyn Store, key: &MessageKey) -> MessageStatus {
    store.record(key).await.expect("record").status
}
