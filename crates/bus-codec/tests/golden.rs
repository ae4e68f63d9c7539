//! Bodies written by format version 1, kept as files: every later build must read them.
//!
//! They are decoded and never compared with fresh output, since zstd's bytes change between its
//! versions. `tests/golden/README.md` says what they are.
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{fs, path::PathBuf};

use bus_codec::{BodyVerifier, Manifest, encode_all};
use bus_model::{CompressionType, FORMAT_VERSION};
use bytes::Bytes;
use rstest::rstest;

/// Chunk size of the golden bodies in bytes.
const CHUNK: u32 = 4096;

fn golden(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    PathBuf::from(folder).join(name)
}

fn read(name: &str) -> Bytes {
    let path = golden(name);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes.into()
}

/// The body cut into its chunks, as a store keeps them.
fn chunks(manifest: &Manifest, mut body: Bytes) -> Vec<Bytes> {
    let lens = manifest.chunks().iter().map(|chunk| chunk.stored_len);
    let chunks = lens.map(|len| body.split_to(usize::try_from(len).unwrap()));
    let chunks = chunks.collect();
    assert!(body.is_empty(), "the body goes on after its last chunk");
    chunks
}

#[rstest]
fn version_1_is_still_read(
    #[values(CompressionType::None, CompressionType::Gzip, CompressionType::Zstd)]
    encoding: CompressionType,
    #[values("mixed", "empty")] payload: &str,
) {
    let expected = read(&format!("{payload}.payload"));
    let manifest = read(&format!("{payload}.{encoding}.manifest"));
    let body = read(&format!("{payload}.{encoding}.body"));
    let manifest = Manifest::from_bytes(&manifest).unwrap();
    assert_eq!(manifest.encoding(), encoding);
    assert_eq!(manifest.chunk_size(), u64::from(CHUNK));

    let digests = String::from_utf8(read("manifests.sha256").to_vec()).unwrap();
    let name = format!("{payload}.{encoding}.manifest");
    let line = digests.lines().find(|line| line.ends_with(&name)).unwrap();
    let digest = line[..64].parse().unwrap();
    let mut verifier = BodyVerifier::new(&manifest, Some(digest)).unwrap();
    let mut found = Vec::new();
    for chunk in chunks(&manifest, body) {
        found.extend_from_slice(&verifier.accept(chunk).unwrap());
    }
    verifier.finish().unwrap();
    assert_eq!(found, expected);
}

/// Writes the files of a new format version where they are missing; files that are there are never
/// touched. `BUS_WRITE_GOLDEN=1 cargo test -p bus-codec --test golden` after the version went up.
#[test]
fn no_golden_file_is_missing() {
    let write = std::env::var_os("BUS_WRITE_GOLDEN").is_some();
    for payload in ["mixed", "empty"] {
        for encoding in CompressionType::ALL {
            let name = format!("{payload}.{encoding}");
            let missing = !golden(&format!("{name}.manifest")).exists();
            if missing && write {
                write_golden(encoding, payload, &name);
            } else {
                assert!(
                    !missing,
                    "{name} of format version {FORMAT_VERSION} is missing: see tests/golden/README.md"
                );
            }
        }
    }
}

fn write_golden(encoding: CompressionType, payload: &str, name: &str) {
    let payload = read(&format!("{payload}.payload"));
    let (manifest, chunks) = encode_all(encoding, None, CHUNK, &payload).unwrap();
    let body: Vec<u8> = chunks
        .iter()
        .flat_map(|c| c.bytes.iter().copied())
        .collect();
    fs::write(golden(&format!("{name}.manifest")), manifest.to_bytes()).unwrap();
    fs::write(golden(&format!("{name}.body")), body).unwrap();
}
