//! Every call twice: what was asked again is answered the same again, also where the first answer was lost.

use std::time::Duration;

use bus_model::{MessageKey, MessageStatus, Principal};
use bus_store::{Begin, PutOutcome, Store, StoreErrorKind};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::{Fault, FaultProxy, Project, Server};
use rstest::rstest;
use secrecy::SecretString;

use crate::support::{
    config,
    writing::{begin_new, body, message, read, upload},
};

fn key() -> MessageKey {
    MessageKey::new(Principal::default(), "m".parse().unwrap())
}

#[rstest]
#[tokio::test]
async fn every_call_can_be_made_twice(#[values(Server::Postrust, Server::Lite)] server: Server) {
    let project = Project::take(server).await.unwrap();
    let store = SupabaseStore::new(config(&project)).unwrap();
    let body = body("a payload of three chunks", 10);
    let begun = begin_new(&store, &message("m", &body)).await;
    for _ in 0..2 {
        upload(&store, &begun, &body).await;
        store.renew(&begun.token).await.unwrap();
    }
    let first = store.commit(&begun.token, &body.manifest).await.unwrap();
    let second = store.commit(&begun.token, &body.manifest).await.unwrap();
    assert_eq!(first, second);
    let stamp = store.acknowledge(&key()).await.unwrap();
    assert_eq!(store.acknowledge(&key()).await.unwrap(), stamp);
    for _ in 0..2 {
        store.touch(&[key(), key()]).await.unwrap();
        assert_eq!(read(&store, "m").await, b"a payload of three chunks");
    }
    store.delete(&key()).await.unwrap();
    let gone = store.delete(&key()).await.unwrap_err();
    assert_eq!(gone.kind(), StoreErrorKind::NotFound);
}

/// It is given up at once: whoever asks again does not wait for a lease of minutes.
#[tokio::test]
async fn a_put_that_is_dropped_half_way_may_be_made_again() {
    let project = Project::take(Server::Postrust).await.unwrap();
    let store = SupabaseStore::new(config(&project)).unwrap();
    let body = body("a payload of many chunks", 1);
    let message = message("m", &body);
    let half = async {
        while project.gateway().count("rpc/bus_put_chunk") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        put = store.put(&message, &body.manifest, &body.chunks) => panic!("not dropped: {put:?}"),
        () = half => {}
    }
    let again = async {
        loop {
            let put = store.put(&message, &body.manifest, &body.chunks).await;
            match put.unwrap() {
                PutOutcome::Busy { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
                done => break done,
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), again).await;
    assert!(matches!(done, Ok(PutOutcome::Created(_))), "{done:?}");
    assert_eq!(read(&store, "m").await, b"a payload of many chunks");
}

/// A store behind a proxy, impatient, and one around it.
async fn rig(server: Server) -> (Project, FaultProxy, SupabaseStore, SupabaseStore) {
    let project = Project::take(server).await.unwrap();
    let proxy = FaultProxy::start(project.addr()).await.unwrap();
    let key = SecretString::from(project.secret_key());
    let hasty = SupabaseConfig::new(&proxy.url(), &key).unwrap();
    let hasty = hasty.with_call_timeout(Duration::from_secs(1), 1 << 30);
    let direct = SupabaseStore::new(config(&project)).unwrap();
    (project, proxy, SupabaseStore::new(hasty).unwrap(), direct)
}

/// Waits until `direct` sees the message with this status: what the lost call asked for was done.
async fn done(direct: &dyn Store, status: MessageStatus) {
    loop {
        match direct.record(&key()).await {
            Ok(record) if record.status == status => return,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::NotFound),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Without its fence, who asks again would find its own upload busy until the lease is over.
#[rstest]
#[tokio::test]
async fn a_begin_whose_answer_was_lost_goes_on_at_once(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let (_project, proxy, store, direct) = rig(server).await;
    let body = body("a payload of three chunks", 10);
    let message = message("m", &body);
    proxy.set(Fault::HalfOpen);
    let lost = store.begin(&message).await.unwrap_err();
    assert!(lost.is_transient(), "{lost:?}");
    done(&direct, MessageStatus::Pending).await;
    proxy.clear();
    let upload_again = match store.begin(&message).await.unwrap() {
        Begin::New(upload) => upload,
        other => panic!("the upload was expected, not {other:?}"),
    };
    let stranger = direct.begin(&message).await.unwrap();
    assert!(matches!(stranger, Begin::Busy { .. }), "{stranger:?}");
    upload(&store, &upload_again, &body).await;
    let commit = store.commit(&upload_again.token, &body.manifest);
    commit.await.unwrap();
    assert_eq!(read(&direct, "m").await, b"a payload of three chunks");
}

/// Whoever wrote it is told so, although the first answer was lost.
#[rstest]
#[tokio::test]
async fn a_put_whose_answer_was_lost_has_created_the_message(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let (_project, proxy, store, direct) = rig(server).await;
    let body = body("small", 10);
    let message = message("m", &body);
    proxy.set(Fault::HalfOpen);
    let lost = store.put(&message, &body.manifest, &body.chunks).await;
    assert!(lost.unwrap_err().is_transient());
    done(&direct, MessageStatus::Complete).await;
    proxy.clear();
    let again = store.put(&message, &body.manifest, &body.chunks).await;
    assert!(matches!(again, Ok(PutOutcome::Created(_))), "{again:?}");
    let third = store.put(&message, &body.manifest, &body.chunks).await;
    assert!(
        matches!(third, Ok(PutOutcome::AlreadyThere(_))),
        "{third:?}"
    );
}

/// A commit whose answer was lost is repeated with the same token.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_repeated() {
    let (_project, proxy, store, direct) = rig(Server::Postrust).await;
    let body = body("a payload of three chunks", 10);
    let begun = begin_new(&store, &message("m", &body)).await;
    upload(&store, &begun, &body).await;
    proxy.set(Fault::HalfOpen);
    let lost = store.commit(&begun.token, &body.manifest).await;
    assert!(lost.unwrap_err().is_transient());
    done(&direct, MessageStatus::Complete).await;
    proxy.clear();
    let again = store.commit(&begun.token, &body.manifest).await.unwrap();
    assert_eq!(again, direct.record(&key()).await.unwrap());
}
