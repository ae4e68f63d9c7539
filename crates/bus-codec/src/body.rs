//! Whole bodies, in order: for readers that go from the first chunk to the last, and for payloads
//! small enough to be held.

use std::ops::Range;

use bus_model::{CompressionType, Digest, Hasher, Manifest};
use bytes::Bytes;

use crate::{
    ChunkEncoder, DecodeError, EncodeError, EncodedChunk, ManifestBuilder, builder, decode_chunk,
};

/// Verifies and decodes the chunks of one body, from the first to the last.
///
/// The bytes of a chunk are released once its digest and its length are right. The body is whole
/// only once [`BodyVerifier::finish`] has said so.
///
/// The manifest's `encoded_digest` is not computed again: every chunk's own digest is, and the
/// manifest's digest covers both.
#[derive(Debug)]
pub struct BodyVerifier<'a> {
    manifest: &'a Manifest,
    next: u32,
    payload: Hasher,
}

impl<'a> BodyVerifier<'a> {
    /// A verifier of the body that `manifest` describes. With `expected_manifest_digest` (from a
    /// claim or a record) the manifest itself is verified first.
    ///
    /// # Errors
    /// [`DecodeError::ManifestDigest`] where it is not that manifest.
    pub fn new(
        manifest: &'a Manifest,
        expected_manifest_digest: Option<Digest>,
    ) -> Result<Self, DecodeError> {
        if let Some(expected) = expected_manifest_digest {
            let found = manifest.digest();
            if found != expected {
                return Err(DecodeError::ManifestDigest { expected, found });
            }
        }
        Ok(Self {
            manifest,
            next: 0,
            payload: Hasher::new(),
        })
    }

    /// The original bytes of the next chunk, whose stored bytes are `stored`.
    ///
    /// # Errors
    /// [`DecodeError::Chunk`] for a damaged one, [`DecodeError::TooManyChunks`] after the last.
    pub fn accept(&mut self, stored: Bytes) -> Result<Bytes, DecodeError> {
        let seq = self.next;
        let plain = decode_seq(self.manifest, seq, &stored)?;
        self.payload.update(&plain);
        self.next += 1;
        Ok(plain)
    }

    /// Says that the whole payload was there and is what the manifest says.
    ///
    /// # Errors
    /// [`DecodeError::MissingChunks`] or [`DecodeError::PayloadDigest`].
    pub fn finish(self) -> Result<(), DecodeError> {
        let expected = self.manifest.chunk_count();
        if self.next < expected {
            return Err(DecodeError::MissingChunks {
                missing: self.next,
                expected,
            });
        }
        check_payload(self.manifest, self.payload.finish())
    }
}

/// The chunks that a reader of `range` of the payload's bytes needs: those that hold it, and for an
/// empty payload its one empty chunk, so that an empty body is verified too.
#[must_use]
pub fn chunks_to_read(manifest: &Manifest, range: Range<u64>) -> Range<u32> {
    if manifest.payload_size() == 0 {
        0..manifest.chunk_count()
    } else {
        manifest.chunks_touching(range)
    }
}

/// Encodes a payload that is held in memory: its manifest and its chunks.
///
/// # Errors
/// [`EncodeError`] for a level or a chunk size that is not possible.
pub fn encode_all(
    encoding: CompressionType,
    level: Option<i32>,
    chunk_size: u32,
    payload: &Bytes,
) -> Result<(Manifest, Vec<EncodedChunk>), EncodeError> {
    builder::check_chunk_size(chunk_size)?;
    let mut encoder = ChunkEncoder::new(encoding, level)?;
    let mut builder = ManifestBuilder::new(encoding, chunk_size);
    let mut chunks = Vec::new();
    let mut rest = payload.clone();
    for seq in 0_u32.. {
        let size = usize::try_from(chunk_size).unwrap_or(usize::MAX);
        let original = rest.split_to(size.min(rest.len()));
        let chunk = encoder.encode(seq, &original)?;
        builder.push(&original, &chunk)?;
        chunks.push(chunk);
        if rest.is_empty() {
            break;
        }
    }
    Ok((builder.finish()?, chunks))
}

/// Decodes and verifies a whole body into memory.
///
/// # Errors
/// [`DecodeError`] where the body is not what the manifest says.
pub fn decode_all(
    manifest: &Manifest,
    stored: impl IntoIterator<Item = Bytes>,
) -> Result<Bytes, DecodeError> {
    let mut verifier = BodyVerifier::new(manifest, None)?;
    let mut payload = Vec::new();
    for chunk in stored {
        payload.extend_from_slice(&verifier.accept(chunk)?);
    }
    verifier.finish()?;
    Ok(payload.into())
}

/// Decodes chunk `seq`; the error names it.
pub(crate) fn decode_seq(
    manifest: &Manifest,
    seq: u32,
    stored: &Bytes,
) -> Result<Bytes, DecodeError> {
    let entry = usize::try_from(seq)
        .ok()
        .and_then(|index| manifest.chunks().get(index));
    let (Some(entry), Some(len)) = (entry, manifest.original_len(seq)) else {
        return Err(DecodeError::TooManyChunks {
            expected: manifest.chunk_count(),
        });
    };
    decode_chunk(manifest.encoding(), stored, entry, len).map_err(|error| error.in_chunk(seq))
}

/// Compares the payload's digest with what the manifest says.
pub(crate) fn check_payload(manifest: &Manifest, found: Digest) -> Result<(), DecodeError> {
    let expected = manifest.payload_digest();
    if found == expected {
        Ok(())
    } else {
        Err(DecodeError::PayloadDigest { expected, found })
    }
}
