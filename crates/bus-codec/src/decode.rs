//! One chunk on its way out: stored bytes to original bytes, bounded and checked.

use bus_model::{ChunkEntry, CompressionType, Digest};
use bytes::Bytes;

use crate::{DecodeError, MAX_CHUNK_SIZE, gzip, zstandard};

/// The original bytes of a stored chunk, of which the manifest says `entry` and that it has
/// `original_len` bytes.
///
/// The digest is checked before anything is decoded. The stored bytes must be exactly one frame or
/// member that decodes to exactly `original_len` bytes; no more than that is allocated, whatever
/// the bytes claim. With the encoding `none` nothing is copied.
///
/// # Errors
/// [`DecodeError`] where the bytes are not what the manifest says.
pub fn decode_chunk(
    encoding: CompressionType,
    stored: &Bytes,
    entry: &ChunkEntry,
    original_len: u64,
) -> Result<Bytes, DecodeError> {
    verify_stored(stored, entry)?;
    decode_unverified(encoding, stored, original_len)
}

/// Checks the length and the digest of a stored chunk, without decoding it.
///
/// # Errors
/// [`DecodeError::StoredLength`] or [`DecodeError::StoredDigest`].
pub fn verify_stored(stored: &Bytes, entry: &ChunkEntry) -> Result<(), DecodeError> {
    if stored.len() as u64 != entry.stored_len {
        return Err(DecodeError::StoredLength {
            expected: entry.stored_len,
            found: stored.len() as u64,
        });
    }
    let found = Digest::of(stored);
    if found != entry.digest {
        return Err(DecodeError::StoredDigest {
            expected: entry.digest,
            found,
        });
    }
    Ok(())
}

/// Decodes a chunk whose digest somebody else has checked already. It is as safe against hostile
/// bytes as [`decode_chunk`], which is what the fuzz targets rely on.
///
/// # Errors
/// [`DecodeError::ChunkTooLarge`], [`DecodeError::Malformed`] or [`DecodeError::OriginalLength`].
pub fn decode_unverified(
    encoding: CompressionType,
    stored: &Bytes,
    original_len: u64,
) -> Result<Bytes, DecodeError> {
    let len = usize::try_from(original_len)
        .ok()
        .filter(|_| original_len <= u64::from(MAX_CHUNK_SIZE))
        .ok_or(DecodeError::ChunkTooLarge { len: original_len })?;
    match encoding {
        CompressionType::Gzip => gzip::decode(stored, len).map(Bytes::from),
        CompressionType::Zstd => zstandard::decode(stored, len).map(Bytes::from),
        _ if stored.len() == len => Ok(stored.clone()),
        _ => Err(DecodeError::OriginalLength {
            expected: original_len,
        }),
    }
}
