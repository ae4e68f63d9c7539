//! The async way in, as its caller sees it.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bus_codec::{
    EncodeError, EncodedChunk, MAX_CHUNK_SIZE, Manifest, decode_all, encode_all,
    stream::{EncodeOptions, Encoder},
};
use bus_model::{CompressionType, Digest};
use bytes::Bytes;
use futures::{FutureExt as _, stream};
use rstest::rstest;
use support::{random, text};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf};

const CHUNK: usize = 10_000;

fn options(encoding: CompressionType, parallelism: usize) -> EncodeOptions {
    EncodeOptions {
        encoding,
        chunk_size: u32::try_from(CHUNK).unwrap(),
        parallelism,
        ..EncodeOptions::default()
    }
}

async fn drain(mut encoder: Encoder) -> (Manifest, Vec<EncodedChunk>) {
    let mut chunks = Vec::new();
    while let Some(chunk) = encoder.next().await {
        chunks.push(chunk.unwrap());
    }
    (encoder.finish().unwrap(), chunks)
}

#[rstest]
#[tokio::test]
async fn every_source_gives_the_same_body(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    encoding: CompressionType,
    #[values(1, 2, 7)] parallelism: usize,
    #[values(0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 8 * CHUNK + 7)] len: usize,
) {
    let payload = if len.is_multiple_of(2) {
        text(len, 1)
    } else {
        random(len, 1)
    };
    let options = options(encoding, parallelism);
    let expected = encode_all(encoding, None, options.chunk_size, &payload).unwrap();

    let bytes = Encoder::from_bytes(payload.clone(), options.clone());
    let reader = Encoder::from_reader(io::Cursor::new(payload.clone()), options.clone());
    let pieces: Vec<_> = payload
        .chunks(777)
        .map(|p| Ok(Bytes::copy_from_slice(p)))
        .collect();
    let small = Encoder::from_stream(stream::iter(pieces), options.clone());
    let large = Encoder::from_stream(stream::iter([Ok(payload.clone())]), options);
    for encoder in [bytes, reader, small, large] {
        let found = drain(encoder).await;
        assert_eq!(found, expected);
        let stored = found.1.into_iter().map(|chunk| chunk.bytes);
        assert_eq!(decode_all(&found.0, stored).unwrap(), payload);
    }
}

/// A reader that never ends, counts what was pulled and tells when it is gone.
struct Counting {
    pulled: Arc<AtomicU64>,
    _alive: Arc<()>,
}

impl AsyncRead for Counting {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = out.remaining();
        out.initialize_unfilled().fill(b'x');
        out.advance(len);
        self.pulled.fetch_add(len as u64, SeqCst);
        Poll::Ready(Ok(()))
    }
}

/// The reader, what it counts, and a weak handle that dies with it.
fn counting() -> (Counting, Arc<AtomicU64>, Weak<()>) {
    let (pulled, alive) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
    let weak = Arc::downgrade(&alive);
    let reader = Counting {
        pulled: Arc::clone(&pulled),
        _alive: alive,
    };
    (reader, pulled, weak)
}

#[rstest]
#[tokio::test]
async fn nothing_is_read_beyond_what_may_be_in_flight(
    #[values(CompressionType::None, CompressionType::Zstd)] encoding: CompressionType,
    #[values(1, 4)] parallelism: usize,
) {
    let (reader, pulled, _) = counting();
    let mut encoder = Encoder::from_reader(reader, options(encoding, parallelism));
    assert_eq!(pulled.load(SeqCst), 0, "it reads before anybody asked");
    for taken in 1..=40 {
        let chunk = encoder.next().await.unwrap().unwrap();
        assert_eq!(chunk.seq, taken - 1);
        let most = u64::from(taken) + parallelism as u64 + 1;
        let pulled = pulled.load(SeqCst);
        assert!(
            pulled <= most * CHUNK as u64,
            "{pulled} bytes for {taken} chunks"
        );
    }
}

#[tokio::test]
async fn dropping_it_midway_drops_the_reader_and_leaves_no_work() {
    let (reader, pulled, alive) = counting();
    let mut encoder = Encoder::from_reader(reader, options(CompressionType::Gzip, 3));
    for _ in 0..5 {
        encoder.next().await.unwrap().unwrap();
    }
    drop(encoder);
    assert!(alive.upgrade().is_none(), "somebody still holds the reader");
    let before = pulled.load(SeqCst);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(
        metrics.num_alive_tasks(),
        0,
        "a task is left on the reactor"
    );
    tokio::task::yield_now().await;
    assert_eq!(pulled.load(SeqCst), before);
}

#[test]
fn work_that_waits_for_a_thread_never_starts_after_a_drop() {
    // All blocking threads are taken, so what the encoder starts has to wait.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    let (open, gate) = mpsc::channel::<()>();
    let busy = runtime.spawn_blocking(move || gate.recv());
    let dropped = Arc::new(());
    let held = Arc::clone(&dropped);
    let piece = Bytes::from_owner(Owned(vec![7; 3 * CHUNK], held));
    let mut encoder = Encoder::from_bytes(piece, options(CompressionType::Zstd, 3));
    runtime.block_on(async {
        let next = encoder.next();
        futures::pin_mut!(next);
        assert!(futures::poll!(next).is_pending());
    });
    drop(encoder);
    open.send(()).unwrap();
    runtime.block_on(busy).unwrap().unwrap();
    runtime.block_on(async { tokio::task::spawn_blocking(|| ()).await.unwrap() });
    assert_eq!(
        Arc::strong_count(&dropped),
        1,
        "a job still holds the payload"
    );
    drop(runtime);
}

/// Bytes that tell when the last handle to them is gone.
struct Owned(
    Vec<u8>,
    #[expect(dead_code, reason = "counted, not read")] Arc<()>,
);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[tokio::test]
async fn a_cancelled_next_loses_nothing() {
    let payload = random(6 * CHUNK + 11, 5);
    let (mut sender, receiver) = tokio::io::duplex(777);
    let sent = payload.clone();
    let sending = tokio::spawn(async move { sender.write_all(&sent).await });
    let mut encoder = Encoder::from_reader(receiver, options(CompressionType::None, 2));
    let mut found = Vec::new();
    loop {
        // Polled once, then dropped, over and over.
        match encoder.next().now_or_never() {
            None => tokio::task::yield_now().await,
            Some(Some(chunk)) => found.extend_from_slice(&chunk.unwrap().bytes),
            Some(None) => break,
        }
    }
    sending.await.unwrap().unwrap();
    assert_eq!(found, payload);
    assert_eq!(
        encoder.finish().unwrap().payload_digest(),
        Digest::of(&payload)
    );
}

#[tokio::test]
async fn an_error_of_the_source_is_told_and_ends_it() {
    let pieces = vec![
        Ok(Bytes::from(vec![1; 3 * CHUNK])),
        Err(io::Error::other("the cable is cut")),
    ];
    let mut encoder = Encoder::from_stream(stream::iter(pieces), options(CompressionType::Zstd, 1));
    let error = loop {
        match encoder.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    match error {
        EncodeError::Source(error) => assert_eq!(error.to_string(), "the cable is cut"),
        other => panic!("{other}"),
    }
    assert!(encoder.next().await.is_none());
    assert!(matches!(encoder.finish(), Err(EncodeError::NotFinished)));
}

#[rstest]
#[case::at_the_first_byte(0)]
#[case::within_a_chunk(25_000)]
#[case::between_chunks(2 * CHUNK as u64)]
#[tokio::test]
async fn a_payload_over_the_limit_is_refused_without_reading_on(#[case] limit: u64) {
    let (reader, pulled, alive) = counting();
    let limited = EncodeOptions {
        max_payload: limit,
        ..options(CompressionType::Zstd, 2)
    };
    let mut encoder = Encoder::from_reader(reader, limited);
    let error = loop {
        if let Err(error) = encoder.next().await.unwrap() {
            break error;
        }
    };
    assert!(matches!(error, EncodeError::TooLarge { limit: l } if l == limit));
    assert_eq!(
        pulled.load(SeqCst),
        limit + 1,
        "one byte more is enough to know"
    );
    assert!(alive.upgrade().is_none());
    assert!(encoder.next().await.is_none());
}

#[rstest]
#[tokio::test]
async fn a_payload_of_exactly_the_limit_passes(#[values(0, 1, CHUNK, 25_000)] len: usize) {
    let payload = text(len, 2);
    let limited = EncodeOptions {
        max_payload: len as u64,
        ..options(CompressionType::Gzip, 2)
    };
    let pieces = stream::iter([Ok(payload.clone())]);
    for encoder in [
        Encoder::from_bytes(payload.clone(), limited.clone()),
        Encoder::from_reader(io::Cursor::new(payload.clone()), limited.clone()),
        Encoder::from_stream(pieces, limited.clone()),
    ] {
        let (manifest, _) = drain(encoder).await;
        assert_eq!(manifest.payload_digest(), Digest::of(&payload));
    }
}

#[tokio::test]
async fn bytes_and_streams_over_the_limit_are_refused() {
    let limited = EncodeOptions {
        max_payload: 99,
        ..options(CompressionType::None, 2)
    };
    let payload = text(100, 2);
    for mut encoder in [
        Encoder::from_bytes(payload.clone(), limited.clone()),
        Encoder::from_stream(stream::iter([Ok(payload)]), limited),
    ] {
        let first = encoder.next().await.unwrap();
        assert!(matches!(first, Err(EncodeError::TooLarge { limit: 99 })));
    }
}

#[rstest]
#[case::level(EncodeOptions { level: Some(23), ..EncodeOptions::default() })]
#[case::level_of_none(EncodeOptions {
    encoding: CompressionType::None,
    level: Some(1),
    ..EncodeOptions::default()
})]
#[case::no_chunk_size(EncodeOptions { chunk_size: 0, ..EncodeOptions::default() })]
#[case::chunk_size(EncodeOptions { chunk_size: MAX_CHUNK_SIZE + 1, ..EncodeOptions::default() })]
#[tokio::test]
async fn options_that_are_not_possible_are_told_first(#[case] options: EncodeOptions) {
    let (reader, pulled, _) = counting();
    let mut encoder = Encoder::from_reader(reader, options);
    let first = encoder.next().await.unwrap();
    assert!(matches!(
        first,
        Err(EncodeError::Level { .. } | EncodeError::ChunkSize(_))
    ));
    assert_eq!(pulled.load(SeqCst), 0);
}

#[tokio::test]
async fn the_manifest_is_refused_before_the_end() {
    let mut encoder = Encoder::from_bytes(text(3 * CHUNK, 1), options(CompressionType::Zstd, 2));
    encoder.next().await.unwrap().unwrap();
    assert!(matches!(encoder.finish(), Err(EncodeError::NotFinished)));
}

#[test]
fn a_runtime_that_is_gone_is_an_error_and_not_a_wait_without_end() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gone = runtime.handle().clone();
    drop(runtime);
    let (told, answer) = mpsc::channel();
    thread::spawn(move || {
        let _inside = gone.enter();
        let options = options(CompressionType::Zstd, 2);
        let mut encoder = Encoder::from_bytes(text(100, 1), options);
        told.send(encoder.next().now_or_never()).unwrap();
    });
    let next = answer.recv_timeout(Duration::from_secs(20));
    assert!(
        matches!(next, Ok(Some(Some(Err(EncodeError::Stopped))))),
        "{next:?}"
    );
}
