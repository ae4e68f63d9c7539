//! A way or a server that says nothing: every call ends, and what was dropped half-way leaves the store consistent.

use std::{future::Future, time::Duration};

use bus_model::{MessageId, MessageKey};
use bus_store::{
    Begin, ListQuery, NewMessage, PurgeOptions, PutOutcome, Store, StoreError,
    StoreErrorKind as Kind, UploadToken,
};
use bus_testkit::Fault;
use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use rstest::rstest;

use crate::kit::{Body, HASTY, Rig, begin_new, key, message, publish, read, send};

/// A call that may be left without an answer.
type Asked<'a> = (&'static str, BoxFuture<'a, Result<(), StoreError>>);

/// Every call of the store, on an upload of its own where it writes to one.
fn everything<'a>(
    store: &'a dyn Store,
    uploads: &'a [UploadToken; 4],
    there: &'a MessageRecord,
    body: &'a Body,
) -> Vec<Asked<'a>> {
    let [chunk, renew, commit, abort] = uploads;
    let (key, id) = there;
    let first = body.chunks[0].clone();
    let principal = &key.principal;
    let begin = async { store.begin(&message("begin")).await.map(drop) };
    let put = async {
        let new = message("put");
        store
            .put(&new, &body.manifest, &body.chunks)
            .await
            .map(drop)
    };
    vec![
        ("begin", begin.boxed()),
        ("put", put.boxed()),
        ("put_chunk", store.put_chunk(chunk, 0, first)),
        ("renew", store.renew(renew)),
        (
            "commit",
            store.commit(commit, &body.manifest).map(nothing).boxed(),
        ),
        ("abort", store.abort(abort, "a test")),
        ("record", store.record(key).map(nothing).boxed()),
        ("open", store.open(key).map(nothing).boxed()),
        (
            "chunks",
            store.chunks(principal, *id, 0..2).map(nothing).boxed(),
        ),
        (
            "empty chunks",
            store.chunks(principal, *id, 1..1).map(nothing).boxed(),
        ),
        ("touch", store.touch(std::slice::from_ref(key))),
        ("acknowledge", store.acknowledge(key).map(nothing).boxed()),
        ("delete", store.delete(key)),
        ("check", store.check()),
    ]
}

type MessageRecord = (MessageKey, MessageId);

fn nothing<T>(result: Result<T, StoreError>) -> Result<(), StoreError> {
    result.map(drop)
}

/// Whatever is asked, on connections that were used before and on new ones.
#[rstest]
#[tokio::test]
async fn a_way_that_swallows_everything_is_a_timeout(#[values(true, false)] warm: bool) {
    let rig = Rig::shared_with(HASTY).await;
    if warm {
        rig.store.check().await.unwrap();
    }
    let body = Body::of(2, 3);
    let there = publish(rig.direct.as_ref(), "there", &body).await;
    let id = rig.direct.open(&there).await.unwrap().record.id;
    let mut uploads = Vec::new();
    for name in ["chunk", "renew", "commit", "abort"] {
        let token = begin_new(rig.direct.as_ref(), &message(name)).await.token;
        send(rig.direct.as_ref(), &token, &body, 0..2).await;
        uploads.push(token);
    }
    let uploads: [UploadToken; 4] = uploads.try_into().unwrap();

    rig.proxy.set(Fault::Blackhole);
    let there = (there, id);
    let asked = everything(rig.store.as_ref(), &uploads, &there, &body);
    let named = asked
        .into_iter()
        .map(|(name, call)| call.map(move |done| (name, done)));
    for (name, done) in join_all(named).await {
        let error = rig.transient(done, Kind::Timeout);
        assert!(error.to_string().contains("within"), "{name}: {error}");
    }
    rig.proxy.clear();
    rig.whole(&there.0, &body).await;
    for name in ["begin", "put", "commit", "abort"] {
        rig.absent(&key(name), &body).await;
    }
    rig.store.commit(&uploads[2], &body.manifest).await.unwrap();
    rig.whole(&key("commit"), &body).await;
    rig.works("afterwards").await;
}

/// A page may take long, so only an outer limit ends it; the future may be dropped.
#[tokio::test]
async fn a_patient_call_may_be_dropped() {
    let rig = Rig::shared_with(HASTY).await;
    publish(rig.direct.as_ref(), "there", &Body::of(2, 3)).await;
    for what in [true, false] {
        rig.proxy.set(Fault::Blackhole);
        let ask = async {
            if what {
                let query = ListQuery::new(key("there").principal);
                rig.store.list(&query).await.map(drop)
            } else {
                rig.store.purge(&PurgeOptions::default()).await.map(drop)
            }
        };
        assert!(tokio::time::timeout(HASTY, ask).await.is_err());
        rig.proxy.clear();
    }
    rig.works("afterwards").await;
}

/// Everything arrives, but later than anybody waits.
#[tokio::test]
async fn what_arrives_too_late_is_a_timeout_and_may_be_repeated() {
    let rig = Rig::shared_with(HASTY).await;
    let (new, body) = (message("late"), Body::of(1, 5));
    rig.store.check().await.unwrap();
    rig.proxy.set(Fault::Delay(HASTY * 3));
    let put = rig.store.put(&new, &body.manifest, &body.chunks).await;
    rig.transient(put, Kind::Timeout);
    rig.proxy.clear();
    let again = rig
        .store
        .put(&new, &body.manifest, &body.chunks)
        .await
        .unwrap();
    assert!(matches!(again, PutOutcome::Created(_)), "{again:?}");
    rig.whole(&new.key, &body).await;
    // What was on its way arrives now, after its repetition.
    rig.arrived("bus_put", 2).await;
    rig.whole(&new.key, &body).await;
    rig.works("afterwards").await;
}

/// Slow is not away: what goes on moving is waited for as long as its bytes may take.
#[tokio::test]
async fn a_slow_way_only_takes_longer() {
    let rig = Rig::shared().await;
    let body = Body::of(2, 6);
    rig.proxy.set(Fault::Throttle {
        bytes_per_sec: 400_000,
    });
    let key = publish(rig.store.as_ref(), "slow", &body).await;
    assert!(read(rig.store.as_ref(), &key, 0..2).await.unwrap() == body.bytes());
    rig.proxy.clear();
    rig.whole(&key, &body).await;
}

/// Polls `call` for so long only.
async fn dropped_after<T>(time: Duration, call: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, call).await.ok()
}

/// Calls that are dropped at any moment: before they are sent, under way, answered or not.
#[tokio::test]
async fn a_put_that_is_dropped_at_any_moment_may_be_repeated() {
    let rig = Rig::shared().await;
    rig.store.check().await.unwrap();
    let body = Body::of(1, 8);
    for step in 0..24 {
        let new = message(&format!("dropped-{step}"));
        let time = Duration::from_micros(step * 400);
        let put = || rig.store.put(&new, &body.manifest, &body.chunks);
        if dropped_after(time, put()).await.is_none() {
            rig.visible(&new.key, &body).await;
            assert!(matches!(put().await.unwrap(), PutOutcome::Created(_)));
        }
        assert!(rig.visible(&new.key, &body).await);
    }
    rig.nothing_half().await;
}

#[tokio::test]
async fn an_upload_whose_calls_are_dropped_at_any_moment_goes_on() {
    let rig = Rig::shared().await;
    let store = rig.store.as_ref();
    store.check().await.unwrap();
    let body = Body::of(2, 9);
    for step in 0..24 {
        let new = message(&format!("dropped-{step}"));
        let time = Duration::from_micros(step * 400);
        dropped_after(time, store.begin(&new)).await;
        // The very upload, not a key that is busy until the lease is over.
        let token = match store.begin(&new).await.unwrap() {
            Begin::New(upload) => upload.token,
            // The first call was not dropped: it gave its token to nobody.
            Begin::Busy { .. } => {
                rig.leases_run_out().await;
                begin_again(&rig, &new).await
            }
            other => panic!("{other:?}"),
        };
        for (seq, chunk) in (0..).zip(&body.chunks) {
            dropped_after(time, store.put_chunk(&token, seq, chunk.clone())).await;
            store.put_chunk(&token, seq, chunk.clone()).await.unwrap();
        }
        dropped_after(time, store.commit(&token, &body.manifest)).await;
        rig.visible(&new.key, &body).await;
        store.commit(&token, &body.manifest).await.unwrap();
        assert!(rig.visible(&new.key, &body).await);
    }
    rig.nothing_half().await;
}

async fn begin_again(rig: &Rig, new: &NewMessage) -> UploadToken {
    match rig.store.begin(new).await.unwrap() {
        Begin::New(upload) | Begin::Resume(upload, _) => upload.token,
        other => panic!("{other:?}"),
    }
}

/// A reader that goes away in the middle costs nothing that another one needs.
#[tokio::test]
async fn a_stream_that_is_dropped_leaves_the_store_usable() {
    let rig = Rig::shared().await;
    let body = Body::of(12, 4);
    let key = publish(rig.direct.as_ref(), "message", &body).await;
    let id = rig.store.open(&key).await.unwrap().record.id;
    // More often than there are calls at the same time: none may be held for ever.
    for _ in 0..40 {
        let stream = rig.store.chunks(&key.principal, id, 0..12).await.unwrap();
        drop(stream);
    }
    assert!(read(rig.store.as_ref(), &key, 0..12).await.unwrap() == body.bytes());
    let upload = begin_new(rig.store.as_ref(), &message("afterwards")).await;
    rig.store.abort(&upload.token, "a test").await.unwrap();
}
