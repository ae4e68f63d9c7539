//! The manifest: its binary form, its arithmetic, and what is not one.

use bus_model::{
    ByteSize, ChunkEntry, CompressionType, Digest, FORMAT_VERSION, Manifest, ManifestError,
};
use proptest::prelude::*;
use rstest::rstest;

fn entry(seed: u64) -> ChunkEntry {
    ChunkEntry {
        stored_len: seed,
        digest: Digest::of(&seed.to_be_bytes()),
    }
}

fn manifest(chunk_size: u64, payload_size: u64) -> Manifest {
    let count = payload_size.div_ceil(chunk_size).max(1);
    Manifest::new(
        CompressionType::Gzip,
        chunk_size,
        payload_size,
        Digest::of(b"payload"),
        Digest::of(b"encoded"),
        (0..count).map(entry).collect(),
    )
    .expect("consistent")
}

#[test]
fn the_binary_form_is_the_documented_one() {
    let bytes = manifest(10, 25).to_bytes();
    let mut wanted = b"BUSM\x00\x01\x01\x00".to_vec();
    wanted.extend(10_u64.to_be_bytes());
    wanted.extend(25_u64.to_be_bytes());
    wanted.extend(Digest::of(b"payload").as_bytes());
    wanted.extend(Digest::of(b"encoded").as_bytes());
    wanted.extend(3_u32.to_be_bytes());
    for seed in 0..3 {
        wanted.extend(entry(seed).stored_len.to_be_bytes());
        wanted.extend(entry(seed).digest.as_bytes());
    }
    assert_eq!(bytes, wanted);
    assert_eq!(manifest(10, 25).digest(), Digest::of(&wanted));
}

#[rstest]
#[case::empty(10, 0, 1)]
#[case::one_byte(10, 1, 1)]
#[case::one_below(10, 9, 1)]
#[case::exact(10, 10, 1)]
#[case::one_above(10, 11, 2)]
#[case::two(10, 20, 2)]
fn as_many_chunks_as_the_sizes_ask_for(
    #[case] chunk_size: u64,
    #[case] payload_size: u64,
    #[case] count: usize,
) {
    for chunks in 0..4_usize {
        let entries = (0..chunks as u64).map(entry).collect();
        let digest = Digest::of(b"");
        let encoding = CompressionType::None;
        let made = Manifest::new(encoding, chunk_size, payload_size, digest, digest, entries);
        let wanted = ManifestError::Inconsistent {
            payload_size,
            chunk_size,
            chunks,
        };
        assert_eq!(made.err(), (chunks != count).then_some(wanted));
    }
}

#[rstest]
#[case::no_chunk_size(0, 0, 0, 0)]
#[case::large_payload(1 << 40, 1 << 63, 0, 1 << 63)]
#[case::large_chunks(1 << 63, 0, 0, 1 << 63)]
#[case::large_body(1, 1, u64::MAX, u64::MAX)]
fn impossible_sizes(
    #[case] chunk_size: u64,
    #[case] payload_size: u64,
    #[case] stored_len: u64,
    #[case] named: u64,
) {
    let digest = Digest::of(b"");
    let chunk = ChunkEntry { stored_len, digest };
    let encoding = CompressionType::None;
    let made = Manifest::new(
        encoding,
        chunk_size,
        payload_size,
        digest,
        digest,
        vec![chunk],
    );
    assert_eq!(made, Err(ManifestError::ImpossibleSize(named)));
}

#[test]
fn sizes_that_add_up_to_too_much_are_impossible() {
    let digest = Digest::of(b"");
    let chunk = ChunkEntry {
        stored_len: ByteSize::MAX.get(),
        digest,
    };
    let made = Manifest::new(CompressionType::None, 1, 3, digest, digest, vec![chunk; 3]);
    assert_eq!(made, Err(ManifestError::ImpossibleSize(u64::MAX)));
}

/// What each damage to the binary form is told as.
#[rstest]
#[case::magic(0, b'X', "are not a manifest")]
#[case::version_zero(5, 0, "are not a manifest")]
#[case::newer(5, 2, "format version 2")]
#[case::much_newer(4, 255, "format version 65281")]
#[case::encoding(6, 9, "unknown encoding 9")]
#[case::reserved(7, 1, "are not a manifest")]
#[case::no_chunk_size(15, 0, "impossible size 0")]
#[case::other_size(23, 99, "does not have 3 chunks")]
#[case::count(91, 4, "are not a manifest")]
#[case::huge_count(88, 255, "are not a manifest")]
fn damage(#[case] at: usize, #[case] byte: u8, #[case] said: &str) {
    let mut bytes = manifest(10, 25).to_bytes();
    bytes[at] = byte;
    let error = Manifest::from_bytes(&bytes)
        .expect_err("damaged")
        .to_string();
    assert!(error.contains(said), "{error}");
}

#[test]
fn a_cut_or_lengthened_manifest_is_refused() {
    let bytes = manifest(10, 25).to_bytes();
    for len in 0..bytes.len() {
        assert!(Manifest::from_bytes(&bytes[..len]).is_err(), "{len} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(
        Manifest::from_bytes(&longer),
        Err(ManifestError::Malformed(longer.len()))
    );
    let twice = [&bytes[..], &bytes[..]].concat();
    assert!(Manifest::from_bytes(&twice).is_err());
}

#[test]
fn a_newer_manifest_is_told_as_newer_whatever_follows() {
    let mut bytes = b"BUSM".to_vec();
    bytes.extend((FORMAT_VERSION + 1).to_be_bytes());
    let newer = ManifestError::NewerFormat {
        found: FORMAT_VERSION + 1,
    };
    assert_eq!(Manifest::from_bytes(&bytes), Err(newer.clone()));
    assert!(newer.to_string().contains("upgrade bus"), "{newer}");
}

#[rstest]
#[case::all(0..25, 0..3)]
#[case::beyond(0..u64::MAX, 0..3)]
#[case::first_byte(0..1, 0..1)]
#[case::last_byte(24..25, 2..3)]
#[case::one_chunk(10..20, 1..2)]
#[case::across(9..11, 0..2)]
#[case::nothing(5..5, 0..0)]
#[case::behind_the_end(25..30, 0..0)]
fn chunks_of_a_range(#[case] range: std::ops::Range<u64>, #[case] chunks: std::ops::Range<u32>) {
    assert_eq!(manifest(10, 25).chunks_touching(range), chunks);
}

#[test]
fn an_empty_payload_has_one_empty_chunk() {
    let empty = manifest(10, 0);
    assert_eq!((empty.chunk_count(), empty.original_len(0)), (1, Some(0)));
    assert_eq!(empty.original_len(1), None);
    assert_eq!(empty.chunks_touching(0..u64::MAX), 0..0);
}

proptest! {
    #[test]
    fn a_manifest_reads_back(
        chunk_size in 1..=1_000_u64,
        payload_size in 0..=20_000_u64,
        code in 0..3_u8,
        seed in any::<u32>(),
    ) {
        let count = payload_size.div_ceil(chunk_size).max(1);
        let encoding = CompressionType::from_code(code).expect("known");
        let chunks = (0..count).map(|i| entry(i + u64::from(seed))).collect();
        let digest = Digest::of(&seed.to_be_bytes());
        let other = Digest::of(&payload_size.to_be_bytes());
        let manifest =
            Manifest::new(encoding, chunk_size, payload_size, digest, other, chunks)
                .expect("consistent");
        let read = Manifest::from_bytes(&manifest.to_bytes()).expect("a manifest");
        prop_assert_eq!(read.digest(), manifest.digest());
        prop_assert_eq!(read, manifest);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Manifest::from_bytes(&bytes);
        let _ = Manifest::from_bytes(&[b"BUSM\x00\x01\x02\x00", &bytes[..]].concat());
    }

    #[test]
    fn one_flipped_bit_gives_another_manifest_or_none(at in 0..212_usize, bit in 0..8_u8) {
        let manifest = manifest(10, 25);
        let mut bytes = manifest.to_bytes();
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Manifest::from_bytes(&bytes) {
            prop_assert_eq!(other.to_bytes(), bytes);
            prop_assert_ne!(other.digest(), manifest.digest());
        }
    }

    #[test]
    fn original_lengths_add_up(chunk_size in 1..100_u64, payload_size in 0..2_000_u64) {
        let manifest = manifest(chunk_size, payload_size);
        let lengths: Vec<_> = (0..).map_while(|seq| manifest.original_len(seq)).collect();
        prop_assert_eq!(lengths.len(), manifest.chunks().len());
        prop_assert_eq!(lengths.iter().sum::<u64>(), payload_size);
        prop_assert!(lengths.iter().rev().skip(1).all(|len| *len == chunk_size));
    }

    #[test]
    fn exactly_the_chunks_that_hold_a_byte_are_touched(
        chunk_size in 1..50_u64,
        payload_size in 0..500_u64,
        start in 0..600_u64,
        len in 0..600_u64,
    ) {
        let manifest = manifest(chunk_size, payload_size);
        let touched = manifest.chunks_touching(start..start + len);
        for seq in 0..manifest.chunk_count() {
            let begin = u64::from(seq) * chunk_size;
            let end = begin + manifest.original_len(seq).expect("a chunk");
            let holds = begin.max(start) < end.min(start + len);
            prop_assert_eq!(touched.contains(&seq), holds, "chunk {}", seq);
        }
    }
}
