//! Whatever happens to a stored body, the answer is an error: never a panic, never wrong bytes.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::io::Write as _;

use bus_codec::{
    BodyVerifier, DecodeError, MAX_CHUNK_SIZE, Manifest, decode::decode_unverified, decode_all,
    decode_chunk, encode_all,
};
use bus_model::{ChunkEntry, CompressionType, Digest};
use bytes::Bytes;
use proptest::prelude::*;
use rstest::rstest;
use support::{random, text};

const CHUNK: u32 = 500;

/// A body of five chunks, of which some are compressed and some stored.
fn body(encoding: CompressionType) -> (Bytes, Manifest, Vec<Bytes>) {
    let payload = Bytes::from([text(1200, 1), random(1100, 2)].concat());
    let (manifest, chunks) = encode_all(encoding, None, CHUNK, &payload).unwrap();
    let stored = chunks.into_iter().map(|chunk| chunk.bytes).collect();
    (payload, manifest, stored)
}

/// The manifest with other chunks and all else as it was.
fn with_chunks(manifest: &Manifest, chunks: Vec<ChunkEntry>) -> Manifest {
    Manifest::new(
        manifest.encoding(),
        manifest.chunk_size(),
        manifest.payload_size(),
        manifest.payload_digest(),
        manifest.encoded_digest(),
        chunks,
    )
    .unwrap()
}

fn entry(stored: &[u8]) -> ChunkEntry {
    ChunkEntry {
        stored_len: stored.len() as u64,
        digest: Digest::of(stored),
    }
}

fn encodings() -> impl Strategy<Value = CompressionType> {
    prop::sample::select(&CompressionType::ALL[..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_flipped_bit_is_an_error(encoding in encodings(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (_, manifest, mut stored) = body(encoding);
        let total: usize = stored.iter().map(Bytes::len).sum();
        let mut at = at.index(total);
        for chunk in &mut stored {
            if at < chunk.len() {
                let mut damaged = chunk.to_vec();
                damaged[at] ^= 1 << bit;
                *chunk = damaged.into();
                break;
            }
            at -= chunk.len();
        }
        let found = decode_all(&manifest, stored);
        prop_assert!(matches!(found, Err(DecodeError::Chunk { .. })), "{:?}", found);
    }

    /// With the digest made to match the damage only the decoder's own checks are left: they may
    /// miss what does not change the payload, and nothing else.
    #[test]
    fn a_flipped_bit_with_its_digest_is_an_error_or_harmless(
        encoding in encodings(),
        chunk in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let (payload, manifest, mut stored) = body(encoding);
        let chunk = chunk.index(stored.len());
        let mut damaged = stored[chunk].to_vec();
        let at = at.index(damaged.len());
        damaged[at] ^= 1 << bit;
        let mut chunks = manifest.chunks().to_vec();
        chunks[chunk] = entry(&damaged);
        stored[chunk] = damaged.into();
        let forged = with_chunks(&manifest, chunks);
        if let Ok(found) = decode_all(&forged, stored) {
            prop_assert_eq!(found, payload);
        }
        let refused = BodyVerifier::new(&forged, Some(manifest.digest()));
        let told = matches!(refused, Err(DecodeError::ManifestDigest { .. }));
        prop_assert!(told);
    }

    #[test]
    fn a_flipped_bit_of_the_manifest_is_an_error(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (_, manifest, _) = body(CompressionType::Zstd);
        let mut bytes = manifest.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(damaged) = Manifest::from_bytes(&bytes) {
            prop_assert!(BodyVerifier::new(&damaged, Some(manifest.digest())).is_err());
        }
    }

    #[test]
    fn a_chunk_cut_or_extended_is_an_error(
        encoding in encodings(),
        chunk in any::<prop::sample::Index>(),
        keep in any::<prop::sample::Index>(),
        extra in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let (_, manifest, stored) = body(encoding);
        let chunk = chunk.index(stored.len());
        let whole = &stored[chunk];
        let cut = whole.slice(..keep.index(whole.len()));
        let long = Bytes::from([whole.as_ref(), &extra].concat());
        for damaged in [cut, long] {
            let mut stored = stored.clone();
            stored[chunk] = damaged.clone();
            prop_assert!(decode_all(&manifest, stored.clone()).is_err());
            // And where the digest was made to match.
            let mut chunks = manifest.chunks().to_vec();
            chunks[chunk] = entry(&damaged);
            prop_assert!(decode_all(&with_chunks(&manifest, chunks), stored).is_err());
        }
    }

    #[test]
    fn any_other_order_is_an_error(encoding in encodings(), order in Just((0..5_usize).collect::<Vec<_>>()).prop_shuffle()) {
        prop_assume!(!order.is_sorted());
        let (_, manifest, stored) = body(encoding);
        let moved: Vec<_> = order.iter().map(|i| stored[*i].clone()).collect();
        let found = decode_all(&manifest, moved.clone());
        let told = matches!(found, Err(DecodeError::Chunk { .. }));
        prop_assert!(told);

        // Moved together with their digests: the whole's digest tells, and the manifest's.
        let chunks = order.iter().map(|i| manifest.chunks()[*i]).collect();
        let forged = with_chunks(&manifest, chunks);
        prop_assert!(decode_all(&forged, moved).is_err());
        prop_assert!(BodyVerifier::new(&forged, Some(manifest.digest())).is_err());
    }

    #[test]
    fn any_bytes_decode_to_the_declared_length_or_not_at_all(
        encoding in encodings(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        len in 0..2000_u64,
    ) {
        let stored = Bytes::from(bytes);
        if let Ok(plain) = decode_chunk(encoding, &stored, &entry(&stored), len) {
            prop_assert_eq!(plain.len() as u64, len);
        }
    }
}

#[rstest]
fn missing_and_surplus_chunks_are_errors(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    encoding: CompressionType,
) {
    let (_, manifest, stored) = body(encoding);
    let short = decode_all(&manifest, stored[..4].to_vec());
    assert!(matches!(
        short,
        Err(DecodeError::MissingChunks {
            missing: 4,
            expected: 5
        })
    ));
    let none = decode_all(&manifest, []);
    assert!(matches!(
        none,
        Err(DecodeError::MissingChunks { missing: 0, .. })
    ));
    let mut long = stored.clone();
    long.push(stored[4].clone());
    assert!(matches!(
        decode_all(&manifest, long),
        Err(DecodeError::TooManyChunks { expected: 5 })
    ));
}

#[rstest]
fn a_wrong_declared_size_is_an_error(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    encoding: CompressionType,
    #[values(0, 1, 999, 1001, 5_000, u64::MAX)] declared: u64,
    #[values(true, false)] compressible: bool,
) {
    let payload = if compressible {
        text(1000, 1)
    } else {
        random(1000, 1)
    };
    let (_, chunks) = encode_all(encoding, None, 1000, &payload).unwrap();
    let stored = &chunks[0].bytes;
    assert!(decode_chunk(encoding, stored, &entry(stored), 1000).is_ok());
    assert!(decode_chunk(encoding, stored, &entry(stored), declared).is_err());
}

/// 1 GiB of zeros, as small as the encoding makes it.
fn bomb(encoding: CompressionType) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let blocks = 1024;
    match encoding {
        CompressionType::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            (0..blocks).for_each(|_| out.write_all(&zeros).unwrap());
            out.finish().unwrap()
        }
        _ => {
            let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
            out.set_pledged_src_size(Some(blocks << 20)).unwrap();
            out.include_contentsize(true).unwrap();
            (0..blocks).for_each(|_| out.write_all(&zeros).unwrap());
            out.finish().unwrap()
        }
    }
}

#[rstest]
fn a_bomb_is_an_error(
    #[values(CompressionType::Gzip, CompressionType::Zstd)] encoding: CompressionType,
) {
    let bomb = Bytes::from(bomb(encoding));
    for declared in [0, 1, 1000, u64::from(MAX_CHUNK_SIZE)] {
        let found = decode_chunk(encoding, &bomb, &entry(&bomb), declared);
        assert!(
            matches!(found, Err(DecodeError::OriginalLength { .. })),
            "{found:?}"
        );
    }
    let found = decode_chunk(encoding, &bomb, &entry(&bomb), 1 << 30);
    assert!(matches!(found, Err(DecodeError::ChunkTooLarge { len }) if len == 1 << 30));
}

#[test]
fn a_zstd_bomb_that_lies_about_its_size_is_an_error() {
    // A frame of 1 MiB of zeros whose header says 1,000 bytes: magic, single segment, 2-byte size.
    let honest = zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap();
    let (_, blocks) = honest.split_at(4 + 1 + 4);
    let mut lying = honest[..4].to_vec();
    lying.push(0x60);
    lying.extend_from_slice(&(1000_u16 - 256).to_le_bytes());
    lying.extend_from_slice(blocks);
    let lying = Bytes::from(lying);
    assert!(decode_unverified(CompressionType::Zstd, &lying, 1000).is_err());
    assert!(decode_unverified(CompressionType::Zstd, &lying, 1 << 20).is_err());
}

#[rstest]
fn two_in_one_chunk_are_an_error(
    #[values(CompressionType::Gzip, CompressionType::Zstd)] encoding: CompressionType,
) {
    let (_, chunks) = encode_all(encoding, None, 1000, &text(2000, 1)).unwrap();
    let both = Bytes::from([chunks[0].bytes.as_ref(), &chunks[1].bytes].concat());
    for declared in [1000, 2000] {
        assert!(decode_unverified(encoding, &both, declared).is_err());
    }
    // An empty one behind it adds nothing to the length, and is still one too many.
    let (_, empty) = encode_all(encoding, None, 1000, &Bytes::new()).unwrap();
    let both = Bytes::from([chunks[0].bytes.as_ref(), &empty[0].bytes].concat());
    let found = decode_unverified(encoding, &both, 1000);
    assert!(
        matches!(found, Err(DecodeError::Malformed { .. })),
        "{found:?}"
    );
}

#[test]
fn a_skippable_frame_is_not_a_frame() {
    let skippable = Bytes::from_static(b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc");
    let found = decode_unverified(CompressionType::Zstd, &skippable, 0);
    assert!(matches!(found, Err(DecodeError::Malformed { .. })));
    let (_, chunks) = encode_all(CompressionType::Zstd, None, 1000, &text(1000, 1)).unwrap();
    for mixed in [
        [&skippable, chunks[0].bytes.as_ref()].concat(),
        [chunks[0].bytes.as_ref(), &skippable].concat(),
    ] {
        assert!(decode_unverified(CompressionType::Zstd, &mixed.into(), 1000).is_err());
    }
}

#[test]
fn a_frame_without_its_size_is_an_error() {
    let streamed = zstd::encode_all(&text(1000, 1)[..], 1).unwrap();
    let found = decode_unverified(CompressionType::Zstd, &streamed.into(), 1000);
    assert!(
        matches!(found, Err(DecodeError::Malformed { .. })),
        "{found:?}"
    );
}

#[test]
fn one_encoding_is_not_taken_for_another() {
    let payload = text(1000, 1);
    for written in CompressionType::ALL {
        let (_, chunks) = encode_all(written, None, 1000, &payload).unwrap();
        for read in CompressionType::ALL.into_iter().filter(|e| *e != written) {
            assert!(decode_unverified(read, &chunks[0].bytes, 1000).is_err());
        }
    }
}

#[test]
fn an_error_says_what_and_where() {
    let (_, manifest, mut stored) = body(CompressionType::None);
    stored[3] = random(500, 77);
    let error = decode_all(&manifest, stored).unwrap_err();
    assert_eq!(error.to_string(), "chunk 3 is damaged");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.starts_with("the stored chunk has the digest "),
        "{source}"
    );
}
