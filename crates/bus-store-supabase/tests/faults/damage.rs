//! What somebody changed behind the functions, with the rights of a superuser and the guards off: readers notice.

use bus_client::{ClientErrorKind, Fetched};
use bus_model::Principal;
use bus_store::{Store, StoreErrorKind as Kind, StoreExt as _};
use bytes::Bytes;
use futures::StreamExt as _;

use crate::kit::{Body, Rig, key, message, publish};

/// A session of a superuser for whom no trigger runs.
macro_rules! behind_the_guards {
    ($rig:expr) => {{
        let client = $rig.project.connect().await.unwrap();
        client
            .batch_execute("set session_replication_role = replica")
            .await
            .unwrap();
        client
    }};
}

async fn fetched(rig: &Rig, name: &str) -> Fetched {
    rig.client().fetch(&name.parse().unwrap()).await.unwrap()
}

/// What a reader got before the error, and of which kind that was.
async fn until_the_error(fetched: &Fetched) -> (Vec<u8>, ClientErrorKind) {
    let mut stream = fetched.stream();
    let mut got = Vec::new();
    loop {
        match stream.next().await.expect("damage is never passed over") {
            Ok(bytes) => got.extend_from_slice(&bytes),
            Err(error) => {
                assert!(!error.is_transient(), "{error:?}");
                return (got, error.kind());
            }
        }
    }
}

fn tells_of_damage(kind: ClientErrorKind) {
    let kinds = [ClientErrorKind::Damaged, ClientErrorKind::DigestMismatch];
    assert!(kinds.contains(&kind), "{kind:?}");
}

#[tokio::test]
async fn a_chunk_that_was_changed_is_not_handed_out() {
    let rig = Rig::shared().await;
    let vandal = behind_the_guards!(rig);
    let body = Body::of(4, 1);
    publish(rig.direct.as_ref(), "message", &body).await;
    // One bit of the third chunk; then a shorter one; then one of another place.
    for change in [
        "body = set_byte(body, 9, get_byte(body, 9) # 1)",
        "body = substring(body from 1 for 9), stored_bytes = 9",
        "body = (select body from public.message_bus_chunks where seq = 1)",
        "body = '', stored_bytes = 0",
    ] {
        let sql = format!(
            "create temporary table kept as select * from public.message_bus_chunks;
            update public.message_bus_chunks set {change} where seq = 2"
        );
        vandal.batch_execute(&sql).await.unwrap();
        let (got, kind) = until_the_error(&fetched(&rig, "message").await).await;
        tells_of_damage(kind);
        assert!(
            got[..] == body.payload[..2 * Body::CHUNK],
            "whole chunks before the damage"
        );
        // A range that does not touch it is as good as before.
        let range = fetched(&rig, "message").await;
        let mut first = range.range(0..100).unwrap();
        assert!(first.next().await.unwrap().unwrap() == body.payload[..100]);
        let report = rig.client().verify().await.unwrap();
        assert_eq!(report.issues.len(), 1, "{report:?}");
        let back = "delete from public.message_bus_chunks;
            insert into public.message_bus_chunks select * from kept; drop table kept";
        vandal.batch_execute(back).await.unwrap();
        rig.whole(&key("message"), &body).await;
    }
}

#[tokio::test]
async fn a_chunk_that_is_missing_is_told() {
    let rig = Rig::shared().await;
    let vandal = behind_the_guards!(rig);
    let body = Body::of(4, 1);
    let key = publish(rig.direct.as_ref(), "message", &body).await;
    vandal
        .batch_execute("delete from public.message_bus_chunks where seq = 1")
        .await
        .unwrap();
    let id = rig.store.open(&key).await.unwrap().record.id;
    let mut stream = rig.store.chunks(&key.principal, id, 0..4).await.unwrap();
    let first: Bytes = stream.next().await.unwrap().unwrap();
    assert!(first == body.chunks[0].bytes);
    let error = rig.failed(stream.next().await.unwrap(), Kind::Damaged);
    assert!(!error.is_transient());
    assert!(error.to_string().contains("publish it again"), "{error}");
    let (got, kind) = until_the_error(&fetched(&rig, "message").await).await;
    assert_eq!((got.len(), kind), (Body::CHUNK, ClientErrorKind::Damaged));
    let report = rig.direct.verify(&Principal::default()).await.unwrap();
    assert_eq!(report.issues.len(), 1);

    // As the advice says: away with it, and once more.
    rig.store.delete(&key).await.unwrap();
    publish(rig.store.as_ref(), "message", &body).await;
    rig.whole(&key, &body).await;
}

#[tokio::test]
async fn the_body_of_a_small_message_that_was_changed_is_not_handed_out() {
    let rig = Rig::shared().await;
    let vandal = behind_the_guards!(rig);
    let (new, body) = (message("small"), Body::of(1, 1));
    rig.direct
        .put(&new, &body.manifest, &body.chunks)
        .await
        .unwrap();
    vandal.batch_execute("update public.message_bus set payload = set_byte(payload, 0, get_byte(payload, 0) # 128)").await.unwrap();
    let (got, kind) = until_the_error(&fetched(&rig, "small").await).await;
    tells_of_damage(kind);
    assert!(got.is_empty());
    vandal
        .batch_execute("update public.message_bus set payload = null")
        .await
        .unwrap();
    let (got, kind) = until_the_error(&fetched(&rig, "small").await).await;
    tells_of_damage(kind);
    assert!(got.is_empty());
}

/// The record, its manifest and its digests: what does not fit together is not believed.
#[tokio::test]
async fn a_record_that_was_changed_is_not_believed() {
    let rig = Rig::shared().await;
    let vandal = behind_the_guards!(rig);
    let body = Body::of(2, 1);
    let key = publish(rig.direct.as_ref(), "message", &body).await;
    for change in [
        "manifest = set_byte(manifest, 0, 7)",
        "manifest = substring(manifest from 1 for 100)",
        "manifest = ''",
        "manifest = set_byte(manifest, 120, get_byte(manifest, 120) # 1)",
        "manifest = set_byte(manifest, 30, get_byte(manifest, 30) # 1)",
    ] {
        let sql = format!(
            "create temporary table kept as select * from public.message_bus;
            update public.message_bus set {change}"
        );
        vandal.batch_execute(&sql).await.unwrap();
        match rig.client().fetch(&key.transaction_id).await {
            Err(error) => tells_of_damage(error.kind()),
            Ok(fetched) => tells_of_damage(until_the_error(&fetched).await.1),
        }
        let back = "update public.message_bus m set manifest = kept.manifest from kept
            where kept.id = m.id; drop table kept";
        vandal.batch_execute(back).await.unwrap();
        rig.whole(&key, &body).await;
    }
    // Written by a newer bus.
    vandal
        .batch_execute("update public.message_bus set manifest = set_byte(manifest, 5, 9)")
        .await
        .unwrap();
    rig.failed(rig.store.open(&key).await, Kind::NewerFormat);
}

/// With the guards on, nobody changes what is committed, not even a superuser by mistake.
#[tokio::test]
async fn the_guards_refuse_what_would_damage() {
    let rig = Rig::shared().await;
    let body = Body::of(2, 1);
    let key = publish(rig.direct.as_ref(), "message", &body).await;
    for sql in [
        "update public.message_bus_chunks set body = '', stored_bytes = 0",
        "delete from public.message_bus_chunks where seq = 1",
        "insert into public.message_bus_chunks select message_id, 9, stored_bytes, sha256, body
            from public.message_bus_chunks where seq = 1",
        "update public.message_bus set manifest = ''",
        "update public.message_bus set status = 'pending'",
        "update public.message_bus set checksum = repeat('0', 64)",
    ] {
        assert!(rig.project.sql(sql).await.is_err(), "{sql}");
    }
    rig.whole(&key, &body).await;
}
