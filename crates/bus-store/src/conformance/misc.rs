//! Stamps, deletes, counts and limits.

use std::time::Duration;

use bus_model::{ByteSize, CompressionType};

use super::{
    Harness,
    support::{
        LEASE, TTL, begin_new, body, everything, gone, key, message, noise, other_process, publish,
        publish_as, put, read, refused, resume, same_time, stale, stored, ttl, upload, walk,
    },
};
use crate::{Begin, PutOutcome, Stats, StoreErrorKind};

/// Reading stamps nothing by itself; a touch does.
pub async fn a_touch_stamps_the_access(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    publish(&*store, "other", "payload").await;
    h.advance(LEASE).await;
    read(&*store, &key("m")).await.expect("read");
    store.touch(&[key("m")]).await.expect("touch");
    let record = store.record(&key("m")).await.expect("record");
    same_time(record.accessed_at, record.created_at + LEASE);
    let other = store.record(&key("other")).await.expect("record");
    assert_eq!(other.accessed_at, other.created_at);
}

/// Several messages are touched at once; unknown and unreadable ones are passed over.
pub async fn a_touch_passes_over_what_cannot_be_read(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "a", "payload").await;
    publish(&*store, "b", "payload").await;
    begin_new(&*store, &message("pending")).await;
    h.advance(LEASE / 2).await;
    let keys = ["unknown", "a", "pending", "b", "a"].map(key);
    store.touch(&keys).await.expect("touch");
    store.touch(&[]).await.expect("touch");
    for (name, wanted) in [
        ("a", LEASE / 2),
        ("b", LEASE / 2),
        ("pending", Duration::ZERO),
    ] {
        let record = store.record(&key(name)).await.expect("record");
        same_time(record.accessed_at, record.created_at + wanted);
    }
    refused(
        store.record(&key("unknown")).await,
        StoreErrorKind::NotFound,
    );
}

/// A touch changes nothing else.
pub async fn a_touch_changes_nothing_else(h: &dyn Harness) {
    let store = h.store();
    let mut wanted = publish(&*store, "m", "payload").await;
    h.advance(LEASE).await;
    store.touch(&[key("m")]).await.expect("touch");
    let record = store.record(&key("m")).await.expect("record");
    wanted.accessed_at = record.accessed_at;
    assert_eq!(record, wanted);
}

/// An acknowledgement is stamped, and the record shows it.
pub async fn an_acknowledgement_is_stamped(h: &dyn Harness) {
    let store = h.store();
    let before = publish(&*store, "m", "payload").await;
    h.advance(LEASE).await;
    let stamp = store.acknowledge(&key("m")).await.expect("acknowledge");
    same_time(stamp, before.created_at + LEASE);
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.acknowledged_at, Some(stamp));
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// A second acknowledgement keeps the first time.
pub async fn a_second_acknowledgement_keeps_the_first_time(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    let first = store.acknowledge(&key("m")).await.expect("acknowledge");
    h.advance(LEASE).await;
    let second = store.acknowledge(&key("m")).await.expect("acknowledge");
    assert_eq!(first, second);
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.acknowledged_at, Some(first));
}

/// A deleted message is gone, and a second delete finds nothing.
pub async fn a_deleted_message_is_gone(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "m", "payload").await;
    publish(&*store, "other", "payload").await;
    store.delete(&key("m")).await.expect("delete");
    refused(store.open(&key("m")).await, StoreErrorKind::NotFound);
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
    refused(store.delete(&key("m")).await, StoreErrorKind::NotFound);
    assert_eq!(walk(&*store, &everything()).await, ["other"]);
    assert_eq!(store.stats().await.expect("stats").stored_bytes, 7);
}

/// A deleted key can be used again, by other bytes too.
pub async fn a_deleted_key_can_be_used_again(h: &dyn Harness) {
    let store = h.store();
    let old = publish(&*store, "m", "old").await;
    store.acknowledge(&key("m")).await.expect("acknowledge");
    store.delete(&key("m")).await.expect("delete");
    let new = publish(&*store, "m", "new").await;
    assert_ne!(old.id, new.id);
    assert_eq!(new.acknowledged_at, None);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "new");
}

/// A delete takes the upload away from its writer.
pub async fn a_delete_takes_the_upload_away(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    other_process(h).delete(&key("m")).await.expect("delete");
    stale(&*store, &begun.token, &body).await;
    let again = begin_new(&*store, &message("m")).await;
    stale(&*store, &begun.token, &body).await;
    let refusal = store.commit(&again.token, &body.manifest).await;
    refused(refusal, StoreErrorKind::Mismatch);
}

/// A delete ends the right to repeat a commit.
pub async fn a_commit_is_not_repeated_after_a_delete(h: &dyn Harness) {
    let (store, body) = (h.store(), body("payload"));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    store.delete(&key("m")).await.expect("delete");
    let refusal = store.commit(&begun.token, &body.manifest).await;
    refused(refusal, StoreErrorKind::LeaseLost);
}

/// What was given up can be deleted.
pub async fn a_given_up_message_can_be_deleted(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    store.abort(&begun.token, "no").await.expect("abort");
    store.delete(&key("m")).await.expect("delete");
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
}

/// The counts of an empty store are all 0.
pub async fn the_counts_of_an_empty_store_are_zero(h: &dyn Harness) {
    assert_eq!(h.store().stats().await.expect("stats"), Stats::default());
}

/// The counts tell each status and the bytes of what is complete, over all principals.
pub async fn the_counts_tell_each_status(h: &dyn Harness) {
    let store = h.store();
    let mut short = message("expired");
    short.attributes.ttl = ttl(LEASE);
    publish_as(&*store, &short, noise(50, 1)).await;
    h.advance(LEASE).await;
    publish(&*store, "one", noise(70, 1)).await;
    let mut strange = message("two");
    strange.key.principal = super::support::principal("stranger");
    publish_as(&*store, &strange, noise(30, 1)).await;
    let failed = begin_new(&*store, &message("failed")).await;
    upload(&*store, &failed.token, &body("x")).await;
    store.abort(&failed.token, "no").await.expect("abort");
    let pending = begin_new(&*store, &message("pending")).await;
    upload(&*store, &pending.token, &body("x")).await;
    let wanted = Stats {
        pending: 1,
        complete: 2,
        error: 1,
        expired: 1,
        payload_bytes: 100,
        stored_bytes: 100,
    };
    assert_eq!(store.stats().await.expect("stats"), wanted);
    assert_eq!(other_process(h).stats().await.expect("stats"), wanted);
}

/// The counts of an upload that was taken over are those of one.
pub async fn an_upload_taken_over_counts_once(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    gone(h, &begun.token).await;
    resume(&*store, &message("m")).await;
    assert_eq!(store.stats().await.expect("stats").pending, 1);
}

/// A store that is in order says so.
pub async fn a_store_in_order_says_so(h: &dyn Harness) {
    h.store().check().await.expect("check");
    other_process(h).check().await.expect("check");
}

/// What a store says of itself is enough to work with, and does not change.
pub async fn the_capabilities_are_enough_to_work_with(h: &dyn Harness) {
    let capabilities = h.store().capabilities();
    let default_chunk = 2 << 20;
    assert!(capabilities.max_chunk_bytes > default_chunk);
    assert!(
        capabilities
            .max_message_bytes
            .is_none_or(|max| max > default_chunk)
    );
    assert_eq!(h.store().capabilities(), capabilities);
}

/// A chunk size of 0 or above what the store takes is refused, and nothing begun.
pub async fn an_impossible_chunk_size_is_refused(h: &dyn Harness) {
    let store = h.store();
    let mut sizes = vec![0];
    let max = store.capabilities().max_chunk_bytes;
    sizes.extend((max < ByteSize::MAX.get()).then_some(max + 1));
    for size in sizes {
        let mut message = message("m");
        message.plan.chunk_size = size;
        refused(store.begin(&message).await, StoreErrorKind::InvalidInput);
    }
    refused(store.record(&key("m")).await, StoreErrorKind::NotFound);
}

/// A payload that cannot fit is refused before its first byte.
pub async fn a_payload_that_cannot_fit_is_refused(h: &dyn Harness) {
    let store = h.store();
    let mut message = message("m");
    message.plan.encoding = CompressionType::None;
    message.plan.expected_size = store.capabilities().max_message_bytes.map(|max| max + 1);
    let answer = store.begin(&message).await;
    match message.plan.expected_size {
        Some(_) => refused(answer, StoreErrorKind::TooLarge),
        None => assert!(matches!(answer, Ok(Begin::New(_))), "{answer:?}"),
    }
}

/// A chunk that is too large is refused; what was there before stays.
///
/// Checked where the limit is at most 128 MiB; above, a single chunk would fill the memory.
pub async fn a_chunk_that_is_too_large_is_refused(h: &dyn Harness) {
    let (store, small) = (h.store(), body("payload"));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &small).await;
    let max = store.capabilities().max_chunk_bytes;
    if max <= 128 << 20 {
        let len = usize::try_from(max).expect("at most 128 MiB") + 1;
        let answer = store.put_chunk(&begun.token, 0, stored(vec![0; len])).await;
        refused(answer, StoreErrorKind::TooLarge);
    }
    store
        .commit(&begun.token, &small.manifest)
        .await
        .expect("commit");
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// A message that lives as long as can be asked for is written and read.
pub async fn the_longest_time_to_live_is_taken(h: &dyn Harness) {
    let store = h.store();
    let longest = TTL * 87_600;
    let mut message = message("m");
    message.attributes.ttl = ttl(longest);
    let record = publish_as(&*store, &message, "payload").await;
    same_time(record.expires_at, record.created_at + longest);
    h.advance(TTL * 24 * 3000).await;
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
}

/// A dropped call leaves the store in order, and can be repeated.
pub async fn a_dropped_call_can_be_repeated(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    for polls in 0..4 {
        let name = format!("m{polls}");
        drop_after(polls, put(&*store, &name, &body)).await;
        // The dropped writer cannot be asked to give its upload up, so the message is deleted.
        if let PutOutcome::Busy { .. } = put(&*store, &name, &body).await.expect("put") {
            store.delete(&key(&name)).await.expect("delete");
            put(&*store, &name, &body).await.expect("put");
        }
        assert_eq!(
            read(&*store, &key(&name)).await.expect("read"),
            body.payload
        );
    }
}

/// Polls `call` this often, and drops it then.
async fn drop_after(polls: u32, call: impl Future) {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 || call.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
