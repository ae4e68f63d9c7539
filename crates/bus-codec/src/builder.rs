//! The manifest of chunks as they are encoded.

use bus_model::{ChunkEntry, CompressionType, Digest, Hasher, Manifest};
use bytes::Bytes;

use crate::{EncodeError, EncodedChunk, MAX_CHUNK_SIZE};

/// Takes chunks in order and makes their manifest.
///
/// It hashes what it is given: call it off the reactor. Every hash that equals one already known
/// is left out: without compression the body is the payload, and a body of one chunk is that chunk.
#[derive(Debug)]
pub struct ManifestBuilder {
    tally: Tally,
    payload: Hasher,
    encoded: Hasher,
    held: Option<Bytes>,
}

impl ManifestBuilder {
    /// A manifest without chunks yet; `chunk_size` is the original size of every chunk but the
    /// last, in bytes.
    #[must_use]
    pub fn new(encoding: CompressionType, chunk_size: u32) -> Self {
        Self {
            tally: Tally::new(encoding, chunk_size),
            payload: Hasher::new(),
            encoded: Hasher::new(),
            held: None,
        }
    }

    /// Adds the next chunk; `original` is what it was made from.
    ///
    /// # Errors
    /// [`EncodeError::OutOfOrder`], [`EncodeError::ChunkLength`] or [`EncodeError::ChunkSize`].
    pub fn push(&mut self, original: &Bytes, chunk: &EncodedChunk) -> Result<(), EncodeError> {
        if original.len() as u64 != u64::from(chunk.original_len) {
            return Err(EncodeError::ChunkLength {
                seq: chunk.seq,
                len: original.len() as u64,
                chunk_size: u64::from(chunk.original_len),
            });
        }
        self.tally.add(chunk)?;
        self.payload.update(original);
        if self.tally.needs_encoded_hash() {
            if let Some(first) = self.held.take() {
                self.encoded.update(&first);
            }
            self.encoded.update(&chunk.bytes);
        } else {
            self.held = Some(chunk.bytes.clone());
        }
        Ok(())
    }

    /// The manifest.
    ///
    /// # Errors
    /// [`EncodeError::Manifest`] where no chunk was added: an empty payload has one, which is empty.
    pub fn finish(self) -> Result<Manifest, EncodeError> {
        let encoded = self
            .tally
            .needs_encoded_hash()
            .then(|| self.encoded.finish());
        self.tally.finish(self.payload.finish(), encoded)
    }
}

/// The part of a manifest that needs no hashing.
#[derive(Debug)]
pub(crate) struct Tally {
    encoding: CompressionType,
    chunk_size: u32,
    payload_size: u64,
    entries: Vec<ChunkEntry>,
    ended: bool,
}

impl Tally {
    pub(crate) fn new(encoding: CompressionType, chunk_size: u32) -> Self {
        Self {
            encoding,
            chunk_size,
            payload_size: 0,
            entries: Vec::new(),
            ended: false,
        }
    }

    /// Adds the next chunk. Only the last may be shorter than the chunk size.
    pub(crate) fn add(&mut self, chunk: &EncodedChunk) -> Result<(), EncodeError> {
        check_chunk_size(self.chunk_size)?;
        let chunk_size = u64::from(self.chunk_size);
        let expected = u32::try_from(self.entries.len())
            .map_err(|_| EncodeError::TooManyChunks { chunk_size })?;
        if chunk.seq != expected {
            return Err(EncodeError::OutOfOrder {
                expected,
                found: chunk.seq,
            });
        }
        if self.ended || chunk.original_len > self.chunk_size {
            return Err(EncodeError::ChunkLength {
                seq: chunk.seq,
                len: u64::from(chunk.original_len),
                chunk_size,
            });
        }
        self.ended = chunk.original_len < self.chunk_size;
        self.payload_size += u64::from(chunk.original_len);
        self.entries.push(ChunkEntry {
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        });
        Ok(())
    }

    /// Whether the digest of the stored bytes is one that nothing else has said yet.
    pub(crate) fn needs_encoded_hash(&self) -> bool {
        self.encoding != CompressionType::None && self.entries.len() > 1
    }

    /// The manifest; `encoded` is looked at only where [`Tally::needs_encoded_hash`].
    pub(crate) fn finish(
        self,
        payload: Digest,
        encoded: Option<Digest>,
    ) -> Result<Manifest, EncodeError> {
        let known = match (self.encoding, self.entries.as_slice()) {
            (CompressionType::None, _) => payload,
            (_, [only]) => only.digest,
            _ => payload,
        };
        Manifest::new(
            self.encoding,
            u64::from(self.chunk_size),
            self.payload_size,
            payload,
            encoded.unwrap_or(known),
            self.entries,
        )
        .map_err(EncodeError::Manifest)
    }
}

/// Refuses a chunk size of 0 or above the largest.
pub(crate) fn check_chunk_size(chunk_size: u32) -> Result<(), EncodeError> {
    if (1..=MAX_CHUNK_SIZE).contains(&chunk_size) {
        Ok(())
    } else {
        Err(EncodeError::ChunkSize(u64::from(chunk_size)))
    }
}
