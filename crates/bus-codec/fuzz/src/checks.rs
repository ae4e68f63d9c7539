//! What must hold for any input. The fuzz targets call these, and so does `tests/corpora.rs`, which
//! replays the corpora wherever the other tests run.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use bus_codec::{BodyVerifier, Manifest, decode::decode_unverified};
use bus_model::{CompressionType, Digest};
use bytes::Bytes;

/// A manifest that reads back is written to the same bytes, and its sizes agree.
pub(crate) fn manifest(input: &[u8]) {
    let Ok(manifest) = Manifest::from_bytes(input) else {
        return;
    };
    assert_eq!(manifest.to_bytes(), input);
    assert_eq!(manifest.digest(), Digest::of(input));
    let lens = (0..manifest.chunk_count()).map_while(|seq| manifest.original_len(seq));
    assert_eq!(lens.sum::<u64>(), manifest.payload_size());
    assert_eq!(manifest.original_len(manifest.chunk_count()), None);
    let all = manifest.chunks_touching(0..u64::MAX);
    assert!(manifest.payload_size() == 0 || all == (0..manifest.chunk_count()));
}

/// A frame decodes to the declared length or not at all.
pub(crate) fn decode_zstd(input: &[u8]) {
    decode(CompressionType::Zstd, input);
}

/// A member decodes to the declared length or not at all.
pub(crate) fn decode_gzip(input: &[u8]) {
    decode(CompressionType::Gzip, input);
}

/// The first three bytes are the declared length, the others the stored bytes.
fn decode(encoding: CompressionType, input: &[u8]) {
    let Some(([a, b, c], stored)) = input.split_first_chunk::<3>() else {
        return;
    };
    let declared = u64::from(u32::from_be_bytes([0, *a, *b, *c]));
    let stored = Bytes::copy_from_slice(stored);
    if let Ok(plain) = decode_unverified(encoding, &stored, declared) {
        assert_eq!(plain.len() as u64, declared);
    }
}

/// A manifest (after its length in two bytes) and a body: what is released is what the manifest
/// says, and only a body that is whole passes.
pub(crate) fn body(input: &[u8]) {
    let Some((len, rest)) = input.split_first_chunk::<2>() else {
        return;
    };
    let Some((manifest, body)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
    else {
        return;
    };
    let Ok(manifest) = Manifest::from_bytes(manifest) else {
        return;
    };
    let Ok(mut verifier) = BodyVerifier::new(&manifest, None) else {
        return;
    };
    let mut body = Bytes::copy_from_slice(body);
    let mut payload = Vec::new();
    for entry in manifest.chunks() {
        let len = usize::try_from(entry.stored_len).unwrap_or(usize::MAX);
        let stored = body.split_to(len.min(body.len()));
        match verifier.accept(stored) {
            Ok(plain) => payload.extend_from_slice(&plain),
            Err(_) => return,
        }
    }
    assert_eq!(payload.len() as u64, manifest.payload_size());
    if verifier.finish().is_ok() {
        assert_eq!(Digest::of(&payload), manifest.payload_digest());
    }
}
