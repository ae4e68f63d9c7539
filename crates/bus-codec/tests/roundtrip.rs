//! What goes in comes out, for every encoding, size and kind of content.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use bus_codec::{
    ChunkEncoder, EncodeError, Level, MAX_CHUNK_SIZE, ManifestBuilder, decode_all, decode_chunk,
    encode_all,
};
use bus_model::{ChunkEntry, CompressionType, Digest, Hasher};
use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use support::{random, text};

fn encodings() -> impl Strategy<Value = CompressionType> {
    prop::sample::select(&CompressionType::ALL[..])
}

/// Sizes from nothing to several chunks, most of them around a boundary.
fn sizes(chunk: usize) -> impl Strategy<Value = usize> {
    prop_oneof![
        0..4 * chunk,
        (0..5_usize, 0..3_usize)
            .prop_map(move |(n, around)| (n * chunk + around).saturating_sub(1)),
    ]
}

/// Text, noise, and both in turns.
fn content(len: usize, seed: u64) -> Bytes {
    match seed % 3 {
        0 => text(len, seed),
        1 => random(len, seed),
        _ => {
            let (a, b) = (text(len, seed), random(len, seed));
            let turns = (0..len).map(|i| if i / 3000 % 2 == 0 { a[i] } else { b[i] });
            turns.collect::<Vec<_>>().into()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_byte_comes_back(
        encoding in encodings(),
        chunk_size in prop::sample::select(vec![1_000_usize, 65_535, 65_536, 140_000]),
        size in sizes(1),
        scale in 1..4_usize,
        seed in any::<u64>(),
    ) {
        let len = size * chunk_size / scale + size;
        let payload = content(len, seed);
        let chunk_size = u32::try_from(chunk_size).unwrap();
        let (manifest, chunks) = encode_all(encoding, None, chunk_size, &payload).unwrap();
        let mut body = Hasher::new();
        chunks.iter().for_each(|chunk| body.update(&chunk.bytes));
        prop_assert_eq!(manifest.payload_digest(), Digest::of(&payload));
        prop_assert_eq!(manifest.encoded_digest(), body.finish());
        let stored = chunks.into_iter().map(|chunk| chunk.bytes);
        prop_assert_eq!(decode_all(&manifest, stored).unwrap(), payload);
    }

    #[test]
    fn every_boundary_comes_back(encoding in encodings(), len in sizes(97), seed in any::<u64>()) {
        let payload = content(len, seed);
        let (manifest, chunks) = encode_all(encoding, None, 97, &payload).unwrap();
        prop_assert_eq!(chunks.len(), len.div_ceil(97).max(1));
        let stored = chunks.into_iter().map(|chunk| chunk.bytes);
        prop_assert_eq!(decode_all(&manifest, stored).unwrap(), payload);
    }
}

#[rstest]
fn every_level_comes_back(
    #[values(CompressionType::Gzip, CompressionType::Zstd)] encoding: CompressionType,
    #[values(-7, -1, 0, 1, 6, 9, 19, 22)] level: i32,
) {
    let payload = text(300_000, 4);
    match encode_all(encoding, Some(level), 200_000, &payload) {
        Ok((manifest, chunks)) => {
            let stored = chunks.into_iter().map(|chunk| chunk.bytes);
            assert_eq!(decode_all(&manifest, stored).unwrap(), payload);
        }
        Err(error) => {
            assert_eq!(encoding, CompressionType::Gzip);
            assert!(!(0..=9).contains(&level), "{error}");
        }
    }
}

#[rstest]
#[case(CompressionType::None, 0)]
#[case(CompressionType::Gzip, 10)]
#[case(CompressionType::Gzip, -1)]
#[case(CompressionType::Zstd, 23)]
#[case(CompressionType::Zstd, -8)]
fn a_level_of_another_encoding_is_refused(#[case] encoding: CompressionType, #[case] level: i32) {
    let error = Level::new(encoding, Some(level)).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains(&level.to_string()) && told.contains(encoding.as_str()),
        "{told}"
    );
    assert!(ChunkEncoder::new(encoding, Some(level)).is_err());
}

#[test]
fn without_compression_nothing_is_copied() {
    let payload = random(5000, 1);
    let chunk = ChunkEncoder::new(CompressionType::None, None)
        .unwrap()
        .encode(0, &payload)
        .unwrap();
    assert_eq!(chunk.bytes.as_ptr(), payload.as_ptr());
    let entry = ChunkEntry {
        stored_len: 5000,
        digest: chunk.digest,
    };
    let plain = decode_chunk(CompressionType::None, &chunk.bytes, &entry, 5000).unwrap();
    assert_eq!(plain.as_ptr(), payload.as_ptr());
}

#[rstest]
fn what_does_not_compress_is_stored_at_next_to_its_size(
    #[values(CompressionType::Gzip, CompressionType::Zstd)] encoding: CompressionType,
    #[values(
        0, 1, 100, 255, 256, 65_535, 65_791, 65_792, 131_072, 131_073, 1_000_000
    )]
    len: usize,
) {
    let payload = random(len, 8);
    let chunk = ChunkEncoder::new(encoding, None)
        .unwrap()
        .encode(0, &payload)
        .unwrap();
    let most = len + 32 + len / 10_000;
    assert!(
        chunk.bytes.len() <= most,
        "{} bytes for {len}",
        chunk.bytes.len()
    );
}

#[test]
fn a_compressor_that_gave_up_once_still_works() {
    for encoding in [CompressionType::Gzip, CompressionType::Zstd] {
        let mut encoder = ChunkEncoder::new(encoding, None).unwrap();
        for (seq, len) in (0_u32..).zip([10_000, 100_000, 300_000, 10_000, 200_000]) {
            for payload in [random(len, 6), text(len, 6)] {
                let chunk = encoder.encode(seq, &payload).unwrap();
                let entry = ChunkEntry {
                    stored_len: chunk.bytes.len() as u64,
                    digest: chunk.digest,
                };
                let plain = decode_chunk(encoding, &chunk.bytes, &entry, len as u64).unwrap();
                assert_eq!(plain, payload);
            }
        }
    }
}

#[test]
fn a_manifest_takes_chunks_in_order_and_only_the_last_may_be_short() {
    let mut encoder = ChunkEncoder::new(CompressionType::Zstd, None).unwrap();
    let (full, short) = (text(100, 1), text(50, 1));
    let mut chunk = |seq, original: &Bytes| encoder.encode(seq, original).unwrap();

    let mut builder = ManifestBuilder::new(CompressionType::Zstd, 100);
    let refused = builder.push(&full, &chunk(1, &full)).unwrap_err();
    assert!(matches!(
        refused,
        EncodeError::OutOfOrder {
            expected: 0,
            found: 1
        }
    ));
    builder.push(&full, &chunk(0, &full)).unwrap();
    builder.push(&short, &chunk(1, &short)).unwrap();
    let refused = builder.push(&full, &chunk(2, &full)).unwrap_err();
    assert!(matches!(refused, EncodeError::ChunkLength { seq: 2, .. }));

    let long = text(101, 1);
    let mut builder = ManifestBuilder::new(CompressionType::Zstd, 100);
    assert!(builder.push(&long, &chunk(0, &long)).is_err());
    assert!(builder.push(&short, &chunk(0, &full)).is_err());
    assert!(builder.finish().is_err(), "a manifest without a chunk");
}

#[test]
fn sizes_of_chunks_are_bounded() {
    let payload = Bytes::from_static(b"x");
    for size in [0, MAX_CHUNK_SIZE + 1, u32::MAX] {
        let refused = encode_all(CompressionType::None, None, size, &payload);
        assert!(matches!(refused, Err(EncodeError::ChunkSize(s)) if s == u64::from(size)));
    }
    assert!(encode_all(CompressionType::None, None, MAX_CHUNK_SIZE, &payload).is_ok());
}
