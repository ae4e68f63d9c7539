//! Publishing: what is acknowledged is there, and nothing else is.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bus_client::{ClientErrorKind, Message, MessageBusClient, Source};
use bus_model::{CompressionType, ContentType, Digest, MessageStatus, Ttl};
use bus_store::ListQuery;
use common::{CHUNK, bus, bus_with, message, message_as, payload};
use rstest::rstest;
use serde_json::json;
use tokio::io::{AsyncRead, ReadBuf};

#[rstest]
#[tokio::test]
async fn every_size_comes_back_byte_for_byte(
    #[values(0, 1, 999, 1000, 1001, 2000, 2001, 10_500)] size: usize,
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    compression: CompressionType,
) {
    let bus = bus_with(compression);
    let bytes = payload(size);
    let published = bus.client.publish(message(), bytes.clone()).await.unwrap();
    let id = published.claim().message_bus_transaction_id;
    assert!(published.created);
    assert_eq!(published.record.payload_size_bytes, size as u64);
    assert_eq!(published.record.checksum, Some(Digest::of(&bytes)));
    assert_eq!(published.record.status, MessageStatus::Complete);
    let fetched = bus.client.fetch(&id).await.unwrap();
    assert_eq!(fetched.bytes().await.unwrap(), bytes);
    assert_eq!(fetched.record(), &published.record);
}

#[tokio::test]
async fn a_reader_a_file_and_a_value_are_published_alike() {
    let bus = bus();
    let bytes = payload(5 * CHUNK as usize + 7);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("payload");
    std::fs::write(&path, &bytes).unwrap();
    let sources = [
        Source::reader(io::Cursor::new(bytes.clone()), None),
        Source::reader(io::Cursor::new(bytes.clone()), Some(bytes.len() as u64)),
        Source::file(&path),
    ];
    for source in sources {
        let published = bus.client.publish(message(), source).await.unwrap();
        let id = published.record.transaction_id;
        assert_eq!(
            bus.client.fetch(&id).await.unwrap().bytes().await.unwrap(),
            bytes
        );
    }
    let value = json!({"b": 1, "a": [1.0, "\u{0}"]});
    let source = Source::json(&value).unwrap();
    let published = bus.client.publish(message(), source).await.unwrap();
    let fetched = bus
        .client
        .fetch(&published.record.transaction_id)
        .await
        .unwrap();
    assert_eq!(fetched.record().content_type, ContentType::json());
    assert_eq!(
        fetched.bytes().await.unwrap(),
        serde_json::to_vec(&value).unwrap()
    );
    assert_eq!(fetched.json::<serde_json::Value>().await.unwrap(), value);
}

#[tokio::test]
async fn what_the_caller_says_is_in_the_record() {
    let bus = bus();
    let mut message = Message {
        ttl: Some(Ttl::from_hours(2.0).unwrap()),
        ..message_as("my.txn-1")
    };
    message.metadata.insert("request_id".into(), json!("r1"));
    message.provider_name = "provider".parse().unwrap();
    message.content_type = Some(ContentType::text());
    let record = bus
        .client
        .publish(message, payload(3))
        .await
        .unwrap()
        .record;
    assert_eq!(record.transaction_id.as_str(), "my.txn-1");
    assert_eq!(record.metadata["request_id"], "r1");
    assert_eq!(record.provider_name.as_str(), "provider");
    assert_eq!(record.content_type, ContentType::text());
    assert_eq!((record.expires_at - record.created_at).num_minutes(), 120);
}

#[rstest]
#[case(10)]
#[case(3500)]
#[tokio::test]
async fn the_same_bytes_again_are_a_success_and_other_bytes_a_conflict(#[case] size: usize) {
    let bus = bus();
    let first = bus
        .client
        .publish(message_as("t1"), payload(size))
        .await
        .unwrap();
    let again = bus
        .client
        .publish(message_as("t1"), payload(size))
        .await
        .unwrap();
    assert!(!again.created);
    assert_eq!(again.record, first.record);
    for other in [
        payload(size + 1),
        payload(size - 1),
        payload(5 * CHUNK as usize),
    ] {
        let error = bus
            .client
            .publish(message_as("t1"), other)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ClientErrorKind::Conflict);
        assert!(error.to_string().contains("t1"), "{error}");
    }
    let id = "t1".parse().unwrap();
    assert_eq!(
        bus.client.fetch(&id).await.unwrap().bytes().await.unwrap(),
        payload(size)
    );
}

#[tokio::test]
async fn a_declared_length_above_the_maximum_is_refused_before_the_first_byte() {
    let bus = bus();
    let pulled = Arc::new(AtomicUsize::new(0));
    let source = Source::reader(Endless(Arc::clone(&pulled)), Some((1 << 20) + 1));
    let error = bus.client.publish(message(), source).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::TooLarge);
    assert_eq!(pulled.load(Ordering::SeqCst), 0);
    assert_nothing_is_kept(&bus.client).await;
}

#[tokio::test]
async fn a_stream_is_cut_at_the_maximum_and_leaves_nothing() {
    let bus = bus();
    let pulled = Arc::new(AtomicUsize::new(0));
    let source = Source::reader(Endless(Arc::clone(&pulled)), None);
    let error = bus.client.publish(message(), source).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::TooLarge);
    assert!(error.to_string().contains("1048576"), "{error}");
    let slack = 8 * CHUNK as usize;
    assert!(
        pulled.load(Ordering::SeqCst) <= (1 << 20) + slack,
        "read on behind the limit"
    );
    assert_nothing_is_kept(&bus.client).await;
}

#[rstest]
#[case::one_chunk(10)]
#[case::several_chunks(7 * CHUNK as usize)]
#[tokio::test]
async fn bytes_that_are_not_what_was_announced_are_refused(#[case] size: usize) {
    let bus = bus();
    let wrong = Message {
        expected_digest: Some(Digest::of(b"other")),
        ..message()
    };
    let error = bus.client.publish(wrong, payload(size)).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::DigestMismatch);
    let short = Source::reader(io::Cursor::new(payload(size)), Some(size as u64 + 1));
    let error = bus.client.publish(message(), short).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Source);
    assert_nothing_is_kept(&bus.client).await;
    let right = Message {
        expected_digest: Some(Digest::of(&payload(size))),
        ..message()
    };
    bus.client.publish(right, payload(size)).await.unwrap();
}

#[rstest]
#[case::at_once(0)]
#[case::late(5500)]
#[tokio::test]
async fn a_source_that_fails_leaves_nothing_and_says_why(#[case] after: usize) {
    let bus = bus();
    let source = Source::reader(Failing(after), None);
    let error = bus.client.publish(message(), source).await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Source);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the tool exited with 3");
    assert_nothing_is_kept(&bus.client).await;
}

#[tokio::test]
async fn a_publish_that_is_dropped_gives_its_upload_up() {
    let bus = bus();
    let source = Source::reader(Stalling(4 * CHUNK as usize), None);
    let publish = bus.client.publish(message_as("t1"), source);
    tokio::select! {
        _ = publish => panic!("the source never ends"),
        () = until(|| async { bus.client.stats().await.unwrap().pending == 1 }) => {}
    }
    until(|| async { bus.client.stats().await.unwrap().pending == 0 }).await;
    assert_nothing_is_kept(&bus.client).await;
    bus.client
        .publish(message_as("t1"), payload(5000))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_folder_and_a_missing_file_are_named() {
    let bus = bus();
    let dir = tempfile::tempdir().unwrap();
    let error = bus
        .client
        .publish(message(), Source::file(dir.path()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::InvalidInput);
    let missing = dir.path().join("missing");
    let error = bus
        .client
        .publish(message(), Source::file(&missing))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Source);
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn a_batch_gives_one_result_per_item_in_order() {
    let bus = bus();
    bus.client
        .publish(message_as("taken"), payload(1))
        .await
        .unwrap();
    let items = vec![
        (message_as("a"), Source::bytes(payload(5000))),
        (message_as("taken"), Source::bytes(payload(2))),
        (message_as("b"), Source::bytes(payload(20))),
    ];
    let results = bus.client.publish_batch(items).await;
    assert_eq!(
        results[0].as_ref().unwrap().record.transaction_id.as_str(),
        "a"
    );
    assert_eq!(
        results[1].as_ref().unwrap_err().kind(),
        ClientErrorKind::Conflict
    );
    assert_eq!(
        results[2].as_ref().unwrap().record.transaction_id.as_str(),
        "b"
    );
    let ids = ["b", "none", "a"].map(|id| id.parse().unwrap());
    let fetched = bus.client.fetch_batch(&ids).await;
    assert_eq!(
        fetched[0].as_ref().unwrap().bytes().await.unwrap(),
        payload(20)
    );
    assert_eq!(
        fetched[1].as_ref().unwrap_err().kind(),
        ClientErrorKind::NotFound
    );
    assert_eq!(
        fetched[2].as_ref().unwrap().bytes().await.unwrap(),
        payload(5000)
    );
}

async fn assert_nothing_is_kept(client: &MessageBusClient) {
    let page = client
        .list(&ListQuery::new(client.principal().clone()))
        .await
        .unwrap();
    assert_eq!(page.records, []);
    let stats = client.stats().await.unwrap();
    assert_eq!(
        (stats.pending, stats.complete, stats.stored_bytes),
        (0, 0, 0)
    );
}

async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    while !condition().await {
        tokio::task::yield_now().await;
    }
}

/// Gives zeros for ever and counts them.
struct Endless(Arc<AtomicUsize>);

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = buf.remaining().min(512);
        buf.put_slice(&[0; 512][..len]);
        self.0.fetch_add(len, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

/// Gives some zeros, then fails.
struct Failing(usize);

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Ready(Err(io::Error::other("the tool exited with 3")));
        }
        let len = buf.remaining().min(self.0).min(512);
        buf.put_slice(&[0; 512][..len]);
        self.0 -= len;
        Poll::Ready(Ok(()))
    }
}

/// Gives some zeros, then nothing any more.
struct Stalling(usize);

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            return Poll::Pending;
        }
        let len = buf.remaining().min(self.0).min(512);
        buf.put_slice(&[0; 512][..len]);
        self.0 -= len;
        Poll::Ready(Ok(()))
    }
}
