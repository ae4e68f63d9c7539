//! Faults that a real store cannot be made to show: what the caller sees, and that the client
//! cleans up.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use std::{sync::Arc, time::Duration};

use bus_client::{ClientErrorKind, Fetched, MessageBusClient};
use bus_model::{CompressionType, Manifest, MessageBusRecord, MessageId, Principal};
use bus_store::{
    Begin, Capabilities, MockStore, OpenMessage, StoreError, StoreErrorKind, Upload, UploadToken,
};
use bytes::Bytes;
use common::{CHUNK, bus_with, client_of, message, message_as, payload};
use futures::{StreamExt as _, TryStreamExt as _, stream};

fn token() -> UploadToken {
    UploadToken {
        principal: Principal::default(),
        id: MessageId::mint(),
        fence: MessageId::mint().as_uuid(),
    }
}

fn new_upload() -> Begin {
    Begin::New(Upload {
        token: token(),
        lease: Duration::from_secs(60),
    })
}

fn unavailable() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the store is away")
        .with_retry_after(Duration::from_secs(7))
}

fn client(mut store: MockStore) -> MessageBusClient {
    store.expect_capabilities().returning(|| Capabilities {
        max_chunk_bytes: 1 << 30,
        max_message_bytes: None,
        one_step_put_bytes: 0,
        filters_pushed_down: true,
        durable: true,
        concurrent_calls: 0,
    });
    client_of(Arc::new(store), CompressionType::None)
}

#[tokio::test]
async fn a_store_that_fails_at_a_chunk_is_told_to_drop_the_upload() {
    let mut store = MockStore::new();
    store.expect_begin().once().returning(|_| Ok(new_upload()));
    store.expect_put_chunk().returning(|_, seq, _| match seq {
        2 => Err(unavailable()),
        _ => Ok(()),
    });
    store.expect_commit().never();
    store.expect_abort().once().returning(|_, _| Ok(()));
    let error = client(store)
        .publish(message(), payload(9 * CHUNK as usize))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Unavailable);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_commit_that_fails_aborts_the_upload() {
    let mut store = MockStore::new();
    store.expect_begin().once().returning(|_| Ok(new_upload()));
    store.expect_put_chunk().returning(|_, _, _| Ok(()));
    store
        .expect_commit()
        .once()
        .returning(|_, _| Err(unavailable()));
    store.expect_abort().once().returning(|_, _| Ok(()));
    let error = client(store)
        .publish(message(), payload(3 * CHUNK as usize))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stays_busy_is_given_up_with_advice() {
    let mut store = MockStore::new();
    let busy = || Begin::Busy {
        retry_after: Duration::from_secs(3),
    };
    store.expect_begin().returning(move |_| Ok(busy()));
    let publish = client(store)
        .publish(message_as("t1"), payload(3 * CHUNK as usize))
        .await;
    let error = publish.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Busy);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
    assert!(
        error.is_transient() && error.to_string().contains("t1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_writer_that_lost_its_lease_is_told_to_try_again() {
    let mut store = MockStore::new();
    store.expect_begin().once().returning(|_| Ok(new_upload()));
    let lost = || StoreError::new(StoreErrorKind::LeaseLost, "another writer took over");
    store
        .expect_put_chunk()
        .returning(move |_, _, _| Err(lost()));
    store.expect_abort().returning(move |_, _| Err(lost()));
    let error = client(store)
        .publish(message(), payload(3 * CHUNK as usize))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Busy);
}

/// A message as a real store holds it, to be served wrongly.
async fn real(size: usize) -> (MessageBusRecord, Manifest, Vec<Bytes>) {
    let bus = bus_with(CompressionType::Zstd);
    let record = bus
        .client
        .publish(message_as("t1"), payload(size))
        .await
        .unwrap()
        .record;
    let open = bus.store.open(&record.key()).await.unwrap();
    let chunks = 0..open.manifest.chunk_count();
    let stream = bus
        .store
        .chunks(&record.principal, record.id, chunks)
        .await
        .unwrap();
    (
        open.record,
        open.manifest,
        stream.try_collect().await.unwrap(),
    )
}

async fn serve(record: &MessageBusRecord, manifest: &Manifest, chunks: Vec<Bytes>) -> Fetched {
    let mut store = MockStore::new();
    let open = OpenMessage {
        record: record.clone(),
        manifest: manifest.clone(),
    };
    store.expect_open().returning(move |_| Ok(open.clone()));
    store.expect_touch().returning(|_| Ok(()));
    store
        .expect_chunks()
        .returning(move |_, _, _| Ok(stream::iter(chunks.clone().into_iter().map(Ok)).boxed()));
    client(store).fetch(&"t1".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_store_that_lies_about_bytes_is_caught_and_nothing_wrong_is_handed_out() {
    let (record, manifest, chunks) = real(3500).await;
    assert_eq!(
        serve(&record, &manifest, chunks.clone())
            .await
            .bytes()
            .await
            .unwrap(),
        payload(3500)
    );
    let flipped = {
        let mut chunks = chunks.clone();
        let mut bytes = chunks[1].to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        chunks[1] = bytes.into();
        chunks
    };
    let swapped = [&chunks[1..2], &chunks[..1], &chunks[2..]].concat();
    let cut = chunks[..3].to_vec();
    let extra = [&chunks[..], &chunks[..1]].concat();
    for wrong in [flipped, swapped, cut, extra] {
        let fetched = serve(&record, &manifest, wrong).await;
        let error = fetched.bytes().await.unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::Damaged);
        let dir = tempfile::tempdir().unwrap();
        assert!(fetched.to_file(&dir.path().join("out")).await.is_err());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            0,
            "a wrong file was left"
        );
        assert_stored_ends_with_its_first_error(&fetched, &chunks).await;
        let mut seen = Vec::new();
        let mut stream = fetched.stream();
        while let Some(Ok(bytes)) = stream.next().await {
            seen.extend_from_slice(&bytes);
        }
        assert!(
            payload(3500).starts_with(&seen),
            "wrong bytes were handed out"
        );
    }
}

/// Whoever passes stored bytes on sees no wrong chunk, and an end without an error only of a whole.
async fn assert_stored_ends_with_its_first_error(fetched: &Fetched, right: &[Bytes]) {
    let items: Vec<_> = fetched.stored().collect().await;
    let (last, before) = items.split_last().unwrap();
    let error = last.as_ref().unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Damaged);
    for (item, right) in before.iter().zip(right) {
        assert_eq!(item.as_ref().unwrap(), right);
    }
    assert!(before.len() <= right.len());
}

#[tokio::test]
async fn a_manifest_that_is_not_the_records_is_refused() {
    let (record, _, chunks) = real(3500).await;
    let (_, other, _) = real(3501).await;
    let mut store = MockStore::new();
    let open = OpenMessage {
        record,
        manifest: other,
    };
    store.expect_open().returning(move |_| Ok(open.clone()));
    store.expect_touch().returning(|_| Ok(()));
    drop(chunks);
    let error = client(store)
        .fetch(&"t1".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Damaged);
}
