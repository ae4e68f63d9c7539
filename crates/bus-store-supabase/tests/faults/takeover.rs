//! A writer that wakes up after its lease: it goes on if nobody took over; if somebody did, it is told so and changes
//! nothing.

use bus_model::MessageStatus;
use bus_store::{
    Begin, NewMessage, PurgeOptions, PutOutcome, Store, StoreErrorKind as Kind, UploadToken,
};
use bus_testkit::Fault;
use rstest::rstest;

use crate::kit::{Body, HASTY, Rig, begin_new, key, message, resume, send};

/// Who came while the writer slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// Another writer with the same plan, who resumes.
    Resumed,
    /// The same, who has sent other bytes for what was there.
    Resent,
    /// The same, whose message is complete.
    Committed,
    /// Another writer with another plan, who begins anew.
    Replanned,
    /// A whole message in one round trip, with the same plan.
    Put,
    /// A purge.
    Purged,
    /// A delete.
    Deleted,
}

impl Other {
    /// Comes after the lease, and does what it does; its token and its body.
    async fn comes(self, rig: &Rig, new: &NewMessage) -> (Option<UploadToken>, Body) {
        let store = rig.direct.as_ref();
        let body = Body::of(3, 22);
        let mut token = None;
        match self {
            Self::Resumed | Self::Resent | Self::Committed => {
                let (upload, durable) = resume(store, new).await;
                assert_eq!(durable.len(), 2);
                if self != Self::Resumed {
                    send(store, &upload.token, &body, 0..3).await;
                }
                if self == Self::Committed {
                    store.commit(&upload.token, &body.manifest).await.unwrap();
                } else {
                    token = Some(upload.token);
                }
            }
            Self::Replanned => {
                let mut other = new.clone();
                other.plan.expected_digest = Some(body.manifest.payload_digest());
                token = Some(begin_new(store, &other).await.token);
            }
            Self::Put => {
                let body = Body::of(1, 23);
                let put = store.put(new, &body.manifest, &body.chunks).await.unwrap();
                assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");
                return (None, body);
            }
            Self::Purged => {
                let purged = store.purge(&PurgeOptions::default()).await.unwrap();
                assert_eq!(purged.orphaned, 1);
            }
            Self::Deleted => store.delete(&new.key).await.unwrap(),
        }
        (token, body)
    }
}

/// Everything that the tables hold of messages, as one number.
const FINGERPRINT: &str =
    "select coalesce(sum(hashtextextended(all_of_it, 0) % 1000000007), 0)::bigint from (
    select m::text as all_of_it from public.message_bus m
    union all select c::text from public.message_bus_chunks c) rows";

#[tokio::test]
async fn a_writer_that_wakes_up_alone_goes_on() {
    let rig = Rig::shared().await;
    let store = rig.store.as_ref();
    let (new, body) = (message("sleepy"), Body::of(3, 1));
    let token = begin_new(store, &new).await.token;
    send(store, &token, &body, 0..1).await;
    rig.leases_run_out().await;
    send(store, &token, &body, 1..2).await;
    let Begin::Busy { .. } = rig.direct.begin(&new).await.unwrap() else {
        panic!("a chunk starts the lease anew");
    };
    rig.leases_run_out().await;
    store.renew(&token).await.unwrap();
    send(store, &token, &body, 2..3).await;
    rig.leases_run_out().await;
    store.commit(&token, &body.manifest).await.unwrap();
    rig.whole(&new.key, &body).await;
}

#[rstest]
#[tokio::test]
async fn a_writer_that_was_replaced_is_told_so_and_changes_nothing(
    #[values(
        Other::Resumed,
        Other::Resent,
        Other::Committed,
        Other::Replanned,
        Other::Put,
        Other::Purged,
        Other::Deleted
    )]
    other: Other,
) {
    let rig = Rig::shared().await;
    let store = rig.store.as_ref();
    let (new, body) = (message("sleepy"), Body::of(3, 1));
    let token = begin_new(store, &new).await.token;
    send(store, &token, &body, 0..2).await;
    rig.leases_run_out().await;
    let (theirs, their_body) = other.comes(&rig, &new).await;

    let before = rig.number(FINGERPRINT).await;
    let chunk = body.chunks[2].clone();
    let error = rig.failed(store.put_chunk(&token, 2, chunk).await, Kind::LeaseLost);
    assert!(error.to_string().contains("begin again"), "{error}");
    let chunk = body.chunks[0].clone();
    rig.failed(store.put_chunk(&token, 0, chunk).await, Kind::LeaseLost);
    rig.failed(store.renew(&token).await, Kind::LeaseLost);
    rig.failed(store.commit(&token, &body.manifest).await, Kind::LeaseLost);
    rig.failed(
        store.commit(&token, &their_body.manifest).await,
        Kind::LeaseLost,
    );
    rig.failed(store.abort(&token, "a test").await, Kind::LeaseLost);
    assert_eq!(rig.number(FINGERPRINT).await, before);

    if let Some(theirs) = theirs {
        rig.absent(&new.key, &their_body).await;
        send(rig.direct.as_ref(), &theirs, &their_body, 0..3).await;
        rig.direct
            .commit(&theirs, &their_body.manifest)
            .await
            .unwrap();
    }
    match other {
        Other::Purged | Other::Deleted => rig.absent(&new.key, &body).await,
        _ => rig.whole(&new.key, &their_body).await,
    }
    rig.works("afterwards").await;
}

/// The lease ends while calls of the writer are on their way, and another one comes at that very moment.
#[tokio::test]
async fn at_the_end_of_a_lease_one_of_both_writes() {
    let rig = Rig::shared().await;
    let (mine, yours) = (Body::of(2, 1), Body::of(2, 2));
    for round in 0..16 {
        let new = message(&format!("round-{round}"));
        let token = begin_new(rig.store.as_ref(), &new).await.token;
        send(
            rig.store.as_ref(),
            &token,
            &mine,
            0..if round % 2 == 0 { 2 } else { 1 },
        )
        .await;
        rig.leases_run_out().await;
        let i_go_on = async {
            if round % 2 == 1 {
                rig.store
                    .put_chunk(&token, 1, mine.chunks[1].clone())
                    .await?;
            }
            rig.store.commit(&token, &mine.manifest).await
        };
        let you_come = async {
            let (Begin::Resume(upload, _) | Begin::New(upload)) = rig.direct.begin(&new).await?
            else {
                return Ok(None);
            };
            send(rig.direct.as_ref(), &upload.token, &yours, 0..2).await;
            rig.direct
                .commit(&upload.token, &yours.manifest)
                .await
                .map(Some)
        };
        match tokio::join!(i_go_on, you_come) {
            (Ok(_), Ok(None)) => rig.whole(&new.key, &mine).await,
            (Err(error), Ok(Some(_))) => {
                assert_eq!(error.kind(), Kind::LeaseLost, "{error:?}");
                rig.whole(&new.key, &yours).await;
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// What a writer sent before it was given up arrives after another one has taken over.
#[tokio::test]
async fn a_call_that_arrives_after_the_takeover_changes_nothing() {
    tokio::join!(arrives_late("bus_put_chunk"), arrives_late("bus_commit"));
}

async fn arrives_late(function: &str) {
    let rig = Rig::shared_with(HASTY).await;
    let small = |seed| Body::cut(bus_testkit::random_payload(3000, seed).into(), 1000);
    let (mine, yours) = (small(1), small(2));
    let mut new = message("late");
    new.plan.chunk_size = 1000;
    let token = begin_new(rig.store.as_ref(), &new).await.token;
    let commit = function == "bus_commit";
    send(
        rig.store.as_ref(),
        &token,
        &mine,
        0..if commit { 3 } else { 2 },
    )
    .await;

    // The proxy has all of it, and hands it on later than anybody waits.
    rig.proxy.set(Fault::Delay(HASTY * 6));
    let before = rig.project.gateway().count(function);
    let late = if commit {
        rig.store.commit(&token, &mine.manifest).await.map(drop)
    } else {
        rig.store.put_chunk(&token, 2, mine.chunks[2].clone()).await
    };
    rig.transient(late, Kind::Timeout);
    rig.leases_run_out().await;
    let (upload, _) = resume(rig.direct.as_ref(), &new).await;
    assert_eq!(
        rig.project.gateway().count(function),
        before,
        "it has not arrived yet"
    );
    rig.arrived(function, before + 1).await;
    rig.absent(&new.key, &yours).await;
    send(rig.direct.as_ref(), &upload.token, &yours, 0..3).await;
    rig.direct
        .commit(&upload.token, &yours.manifest)
        .await
        .unwrap();
    rig.whole(&new.key, &yours).await;
}

/// An abort, a delete or a purge in the middle of the chunks of an upload: nobody waits for ever, nothing is left.
#[rstest]
#[tokio::test]
async fn what_ends_an_upload_while_chunks_arrive_leaves_none(#[values(0, 1, 2)] how: u8) {
    let rig = Rig::shared().await;
    let body = Body::of(6, 1);
    for round in 0..6 {
        let new = message(&format!("round-{round}"));
        let token = begin_new(rig.store.as_ref(), &new).await.token;
        send(rig.store.as_ref(), &token, &body, 0..1).await;
        rig.leases_run_out().await;
        let chunks = futures::future::join_all((1..6_u32).map(|seq| {
            let chunk = body.chunks[seq as usize].clone();
            rig.store.put_chunk(&token, seq, chunk)
        }));
        let end = async {
            match how {
                0 => rig.direct.abort(&token, "a test").await,
                1 => rig.direct.delete(&new.key).await,
                _ => rig.direct.purge(&PurgeOptions::default()).await.map(drop),
            }
        };
        let (chunks, end) = tokio::join!(chunks, end);
        end.unwrap();
        for sent in chunks.into_iter().filter(Result::is_err) {
            rig.failed(sent, Kind::LeaseLost);
        }
        rig.absent(&new.key, &body).await;
        if how < 2 {
            let left = "select count(*) from public.message_bus_chunks";
            assert_eq!(rig.number(left).await, 0);
        }
        let _ = rig.direct.delete(&new.key).await;
    }
    assert!(rig.direct.record(&key("round-0")).await.is_err());
}

/// The record of what was given up says so, until somebody uses the key again.
#[tokio::test]
async fn an_upload_that_was_given_up_has_a_reason_and_no_bytes() {
    let rig = Rig::shared().await;
    let (new, body) = (message("given-up"), Body::of(2, 1));
    let token = begin_new(rig.store.as_ref(), &new).await.token;
    send(rig.store.as_ref(), &token, &body, 0..2).await;
    rig.store.abort(&token, "the tool failed").await.unwrap();
    let record = rig.store.record(&new.key).await.unwrap();
    assert_eq!(record.status, MessageStatus::Error);
    assert_eq!(record.error_message.as_deref(), Some("the tool failed"));
    rig.absent(&new.key, &body).await;
    let token = begin_new(rig.store.as_ref(), &new).await.token;
    send(rig.store.as_ref(), &token, &body, 0..2).await;
    rig.store.commit(&token, &body.manifest).await.unwrap();
    rig.whole(&new.key, &body).await;
}
