//! The async way out, as its caller sees it.
#![cfg(feature = "tokio")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a helper that fails fails its test"
)]

mod support;

use std::{convert::Infallible, io, ops::Range, sync::Arc};

use bus_codec::{
    DecodeError, Manifest, chunks_to_read, encode_all,
    stream::{DecodeOptions, StreamDecodeError, decode},
};
use bus_model::{ChunkEntry, CompressionType, Digest};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rstest::rstest;
use support::{random, text};

const CHUNK: u32 = 1000;

fn body(encoding: CompressionType, payload: &Bytes) -> (Arc<Manifest>, Vec<Bytes>) {
    let (manifest, chunks) = encode_all(encoding, None, CHUNK, payload).unwrap();
    let stored = chunks.into_iter().map(|chunk| chunk.bytes).collect();
    (Arc::new(manifest), stored)
}

fn options(parallelism: usize) -> DecodeOptions {
    DecodeOptions {
        parallelism,
        check_whole: true,
    }
}

/// What comes out: the bytes before an error, and the error.
async fn read(
    manifest: &Arc<Manifest>,
    range: Range<u64>,
    options: DecodeOptions,
    stored: Vec<Bytes>,
) -> (Vec<u8>, Option<DecodeError>) {
    let stored = stream::iter(stored.into_iter().map(Ok::<_, Infallible>));
    let mut items = decode(Arc::clone(manifest), range, options, stored);
    let mut out = Vec::new();
    let mut failure = None;
    while let Some(item) = items.next().await {
        assert!(failure.is_none(), "something came after the error");
        match item {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(StreamDecodeError::Decode(error)) => failure = Some(error),
            Err(other) => panic!("{other}"),
        }
    }
    (out, failure)
}

#[rstest]
#[tokio::test]
async fn any_range_comes_back(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    encoding: CompressionType,
    #[values(1, 3)] parallelism: usize,
    #[values(0, 1, 999, 1000, 1001, 5500)] len: u64,
) {
    let payload = text(usize::try_from(len).unwrap(), 3);
    let (manifest, stored) = body(encoding, &payload);
    let ends = [
        0,
        1,
        999,
        1000,
        1001,
        2500,
        4999,
        5000,
        5500,
        9999,
        u64::MAX,
    ];
    for start in ends {
        for end in ends {
            let chunks = chunks_to_read(&manifest, start..end);
            let needed = stored[chunks.start as usize..chunks.end as usize].to_vec();
            let (found, failure) = read(&manifest, start..end, options(parallelism), needed).await;
            assert!(failure.is_none(), "{failure:?}");
            let from = start.min(len) as usize;
            let to = (end.min(len) as usize).max(from);
            assert_eq!(found, &payload[from..to], "{start}..{end}");
        }
    }
}

#[rstest]
#[case::missing(&[0, 1])]
#[case::extra(&[0, 1, 2, 2])]
#[case::swapped(&[0, 2, 1])]
#[case::repeated(&[0, 0, 2])]
#[case::nothing(&[])]
#[tokio::test]
async fn the_chunks_must_be_exactly_the_right_ones(#[case] order: &[usize]) {
    let payload = random(2500, 1);
    let (manifest, stored) = body(CompressionType::Zstd, &payload);
    let stored = order.iter().map(|index| stored[*index].clone()).collect();
    let (found, failure) = read(&manifest, 0..2500, options(2), stored).await;
    assert!(failure.is_some());
    assert!(found.len() < payload.len() && payload.starts_with(&found));
}

#[tokio::test]
async fn an_empty_payload_still_has_a_chunk_to_check() {
    let (manifest, stored) = body(CompressionType::Gzip, &Bytes::new());
    let (_, failure) = read(&manifest, 0..0, options(2), vec![]).await;
    assert!(matches!(failure, Some(DecodeError::MissingChunks { .. })));
    let (found, failure) = read(&manifest, 0..0, options(2), stored).await;
    assert!(found.is_empty() && failure.is_none());
}

#[tokio::test]
async fn chunks_before_a_damaged_one_come_out_and_nothing_after() {
    let payload = random(4500, 1);
    let (manifest, mut stored) = body(CompressionType::None, &payload);
    let mut damaged = stored[2].to_vec();
    damaged[17] ^= 4;
    stored[2] = damaged.into();
    let (found, failure) = read(&manifest, 0..4500, options(4), stored).await;
    assert_eq!(found, &payload[..2000]);
    assert!(matches!(failure, Some(DecodeError::Chunk { seq: 2, .. })));
}

/// Two chunks swapped together with their digests: only the whole's digest can tell.
fn swapped_with_digests(payload: &Bytes) -> (Arc<Manifest>, Vec<Bytes>) {
    let (manifest, mut stored) = body(CompressionType::Zstd, payload);
    let mut entries: Vec<ChunkEntry> = manifest.chunks().to_vec();
    entries.swap(0, 1);
    stored.swap(0, 1);
    let forged = Manifest::new(
        manifest.encoding(),
        manifest.chunk_size(),
        manifest.payload_size(),
        manifest.payload_digest(),
        manifest.encoded_digest(),
        entries,
    );
    (Arc::new(forged.unwrap()), stored)
}

#[tokio::test]
async fn the_last_chunk_waits_for_the_digest_of_the_whole() {
    let payload = random(2500, 9);
    let (manifest, stored) = swapped_with_digests(&payload);
    let (found, failure) = read(&manifest, 0..2500, options(2), stored.clone()).await;
    assert_eq!(
        found.len(),
        2000,
        "a whole that is wrong must not look complete"
    );
    assert!(matches!(failure, Some(DecodeError::PayloadDigest { .. })));

    let unchecked = DecodeOptions {
        check_whole: false,
        ..options(2)
    };
    let (found, failure) = read(&manifest, 0..2500, unchecked, stored).await;
    assert_eq!(found.len(), 2500);
    assert!(failure.is_none());
}

#[tokio::test]
async fn an_error_of_the_source_comes_after_the_chunks_before_it() {
    let payload = random(2500, 1);
    let (manifest, stored) = body(CompressionType::Zstd, &payload);
    let items = vec![
        Ok(stored[0].clone()),
        Err(io::Error::other("the disk is gone")),
        Ok(stored[2].clone()),
    ];
    let mut items = decode(manifest, 0..2500, options(3), stream::iter(items));
    assert_eq!(items.try_next().await.unwrap().unwrap(), &payload[..1000]);
    match items.try_next().await {
        Err(StreamDecodeError::Source(error)) => assert_eq!(error.to_string(), "the disk is gone"),
        other => panic!("{other:?}"),
    }
    assert!(items.next().await.is_none());
}

#[tokio::test]
async fn no_more_chunks_are_taken_than_may_be_in_flight() {
    let payload = random(50_000, 1);
    let (manifest, stored) = body(CompressionType::Zstd, &payload);
    let taken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let source = stream::iter(stored).map(move |chunk| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, Infallible>(chunk)
    });
    let mut items = decode(manifest, 0..50_000, options(3), source);
    for read in 1..=50 {
        items.try_next().await.unwrap().unwrap();
        let taken = taken.load(std::sync::atomic::Ordering::SeqCst);
        assert!(
            taken <= read + 3,
            "{taken} chunks taken for {read} that were read"
        );
    }
    assert!(items.next().await.is_none());
}

#[tokio::test]
async fn dropping_it_drops_the_source() {
    let payload = random(50_000, 1);
    let (manifest, stored) = body(CompressionType::Gzip, &payload);
    let alive = Arc::new(Digest::of(b""));
    let held = Arc::clone(&alive);
    let source = stream::iter(stored).map(move |chunk| {
        let _ = &held;
        Ok::<_, Infallible>(chunk)
    });
    let mut items = decode(manifest, 0..50_000, options(3), source);
    items.try_next().await.unwrap();
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(items);
    assert_eq!(Arc::strong_count(&alive), 1);
}
