//! Two writers with one key: one wins, the other gets success for the same bytes and a conflict for others.

use std::sync::Arc;

use bus_store::{Begin, NewMessage, PutOutcome, Store, StoreError, StoreErrorKind as Kind};
use bus_store_supabase::SupabaseStore;
use bus_testkit::{Project, Server};
use futures::future::join_all;
use rstest::rstest;

use crate::kit::{Body, PATIENT, Rig, begin_new, message, send};

const WRITERS: u64 = 6;

fn created(put: &Result<PutOutcome, StoreError>) -> bool {
    matches!(put, Ok(PutOutcome::Created(_)))
}

/// As the writers of one process: they share a store. Or of several: each has its own.
fn stores(rig: &Rig, own: bool) -> Vec<Arc<SupabaseStore>> {
    let store = |_| match own {
        true => rig.store_with_key(rig.project.secret_key()),
        false => rig.store.clone(),
    };
    (0..WRITERS).map(store).collect()
}

/// Each store puts its body.
async fn puts(
    stores: &[Arc<SupabaseStore>],
    new: &NewMessage,
    bodies: &[Body],
) -> Vec<Result<PutOutcome, StoreError>> {
    let put = |(store, body): (&Arc<SupabaseStore>, &Body)| {
        let (store, body) = (store.clone(), body.clone());
        async move { store.put(new, &body.manifest, &body.chunks).await }
    };
    join_all(stores.iter().zip(bodies).map(put)).await
}

#[rstest]
#[tokio::test]
async fn of_many_puts_of_the_same_bytes_one_writes(
    #[values(Server::Postrust, Server::Lite)] server: Server,
    #[values(true, false)] own: bool,
) {
    let rig = Rig::on(Project::take(server).await.unwrap(), PATIENT).await;
    let stores = stores(&rig, own);
    for round in 0..4 {
        let new = message(&format!("round-{round}"));
        let bodies: Vec<Body> = (0..WRITERS).map(|_| Body::of(1, 1)).collect();
        let done = puts(&stores, &new, &bodies).await;
        assert_eq!(
            done.iter().filter(|put| created(put)).count(),
            1,
            "{done:?}"
        );
        for put in &done {
            let fine = matches!(
                put,
                Ok(PutOutcome::Created(_) | PutOutcome::AlreadyThere(_))
            );
            assert!(fine, "{put:?}");
        }
        rig.whole(&new.key, &bodies[0]).await;
    }
}

#[rstest]
#[tokio::test]
async fn of_many_puts_of_other_bytes_one_wins_and_the_others_conflict(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let rig = Rig::on(Project::take(server).await.unwrap(), PATIENT).await;
    let stores = stores(&rig, true);
    for round in 0..4 {
        let new = message(&format!("round-{round}"));
        let bodies: Vec<Body> = (0..WRITERS).map(|seed| Body::of(1, seed)).collect();
        let done = puts(&stores, &new, &bodies).await;
        let winner = done.iter().position(created).expect("one wins");
        for (place, put) in done.into_iter().enumerate() {
            if place != winner {
                let error = rig.failed(put, Kind::Conflict);
                assert!(!error.is_transient());
                assert!(error.to_string().contains("use a new id"), "{error}");
            }
        }
        rig.whole(&new.key, &bodies[winner]).await;
    }
}

/// The same with uploads in steps: the second one is told to wait, and finds the first one's message then.
#[rstest]
#[tokio::test]
async fn the_second_writer_in_steps_waits_for_the_first(
    #[values(0, 1, 3)] sent: usize,
    #[values(true, false)] same: bool,
) {
    let rig = Rig::shared().await;
    let (store, direct) = (rig.store.as_ref(), rig.direct.as_ref());
    let (new, body) = (message("one"), Body::of(3, 1));
    let other = if same { body.clone() } else { Body::of(3, 2) };
    let token = begin_new(store, &new).await.token;
    send(store, &token, &body, 0..sent).await;
    let Begin::Busy { retry_after } = direct.begin(&new).await.unwrap() else {
        panic!("the key is held");
    };
    assert!(retry_after <= new.plan.lease && !retry_after.is_zero());
    let put = direct
        .put(&new, &other.manifest, &other.chunks)
        .await
        .unwrap();
    assert!(matches!(put, PutOutcome::Busy { .. }), "{put:?}");
    send(store, &token, &body, sent..3).await;
    store.commit(&token, &body.manifest).await.unwrap();

    let Begin::Complete(record) = direct.begin(&new).await.unwrap() else {
        panic!("the message is there");
    };
    assert_eq!(record.checksum, Some(body.manifest.payload_digest()));
    let mut known = new.clone();
    known.plan.expected_digest = Some(other.manifest.payload_digest());
    let put = direct.put(&new, &other.manifest, &other.chunks).await;
    if same {
        assert!(matches!(put, Ok(PutOutcome::AlreadyThere(_))), "{put:?}");
        assert!(matches!(direct.begin(&known).await, Ok(Begin::Complete(_))));
    } else {
        rig.failed(put, Kind::Conflict);
        rig.failed(direct.begin(&known).await, Kind::Conflict);
    }
    rig.whole(&new.key, &body).await;
}

/// A put in one round trip and an upload in steps, begun at the same moment, over and over.
#[rstest]
#[tokio::test]
async fn a_put_and_an_upload_of_the_same_bytes_never_mix(#[values(true, false)] same: bool) {
    let rig = Rig::shared().await;
    let (mine, yours) = (Body::of(1, 1), Body::of(1, if same { 1 } else { 2 }));
    for round in 0..12 {
        let new = message(&format!("round-{round}"));
        let put = async { rig.store.put(&new, &mine.manifest, &mine.chunks).await };
        let steps = async {
            match rig.direct.begin(&new).await? {
                Begin::New(upload) => {
                    send(rig.direct.as_ref(), &upload.token, &yours, 0..1).await;
                    rig.direct
                        .commit(&upload.token, &yours.manifest)
                        .await
                        .map(Some)
                }
                Begin::Complete(_) => Ok(None),
                other => panic!("{other:?}"),
            }
        };
        match tokio::join!(put, steps) {
            (Ok(PutOutcome::Created(_)), Ok(None)) => rig.whole(&new.key, &mine).await,
            (Ok(PutOutcome::Busy { .. }), Ok(Some(_))) => rig.whole(&new.key, &yours).await,
            (Ok(PutOutcome::AlreadyThere(_)), Ok(Some(_))) if same => {
                rig.whole(&new.key, &yours).await;
            }
            (Err(error), Ok(Some(_))) if !same && error.kind() == Kind::Conflict => {
                rig.whole(&new.key, &yours).await;
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// Through clients: both publish at the same time, and both wait for the other as long as it takes.
#[rstest]
#[tokio::test]
async fn clients_that_publish_the_same_both_succeed(#[values(1, 5)] chunks: usize) {
    let rig = Rig::shared().await;
    let body = Body::of(chunks, 3);
    let publish = |name: &'static str| {
        let client = crate::kit::client(rig.store_with_key(rig.project.secret_key()));
        let message = bus_client::Message {
            transaction_id: Some("one".parse().unwrap()),
            ..bus_client::Message::new(name.parse().unwrap(), "tool".parse().unwrap())
        };
        let payload = body.payload.clone();
        async move { client.publish(message, payload).await.unwrap() }
    };
    let (a, b, c) = tokio::join!(publish("a"), publish("b"), publish("c"));
    let created = [&a, &b, &c]
        .iter()
        .filter(|published| published.created)
        .count();
    assert_eq!(created, 1);
    rig.whole(&a.record.key(), &body).await;
}
