//! The manifest of a stored body: its encoding, its sizes and its ordered chunk digests.
//!
//! The manifest has one binary form ([`Manifest::to_bytes`]), whose SHA-256 is
//! [`Manifest::digest`]. All numbers are big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `BUSM` |
//! | 2 | format version |
//! | 1 | encoding: 0 none, 1 gzip, 2 zstd |
//! | 1 | reserved, 0 |
//! | 8 | chunk size |
//! | 8 | payload size |
//! | 32 | SHA-256 of the payload |
//! | 32 | SHA-256 of all stored chunks concatenated |
//! | 4 | number of chunks |
//! | 40 each | stored size (8) and SHA-256 (32) of each chunk |

use std::ops::Range;

use crate::{ByteSize, CompressionType, Digest};

/// The version of the stored form that this build writes.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: &[u8; 4] = b"BUSM";
const HEADER_LEN: usize = 92;
const ENTRY_LEN: usize = 40;

/// One stored chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkEntry {
    /// Size of the stored bytes.
    pub stored_len: u64,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
}

/// Why a manifest is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The bytes end too early, are too many, or do not begin with the magic.
    #[error("these {0} bytes are not a manifest")]
    Malformed(usize),
    /// Written by a newer bus.
    #[error(
        "the manifest has format version {found}, this build reads up to {FORMAT_VERSION}: upgrade bus"
    )]
    NewerFormat {
        /// The version that it has.
        found: u16,
    },
    /// An encoding that this build does not know.
    #[error("the manifest names the unknown encoding {0}")]
    UnknownEncoding(u8),
    /// The sizes contradict each other.
    #[error(
        "a payload of {payload_size} bytes in chunks of {chunk_size} does not have {chunks} chunks"
    )]
    Inconsistent {
        /// Declared size of the payload in bytes.
        payload_size: u64,
        /// Declared size of a chunk in bytes.
        chunk_size: u64,
        /// Number of chunks.
        chunks: usize,
    },
    /// A size is 2^63 or more, or the chunk size is 0.
    #[error("the manifest holds the impossible size {0}")]
    ImpossibleSize(u64),
}

/// A consistent manifest. One that exists has as many chunks as its sizes ask for, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    encoding: CompressionType,
    chunk_size: u64,
    payload_size: u64,
    payload_digest: Digest,
    encoded_digest: Digest,
    chunks: Vec<ChunkEntry>,
}

impl Manifest {
    /// A manifest of these parts; sizes are bytes, `chunk_size` is of the original bytes.
    ///
    /// # Errors
    /// [`ManifestError`] where the sizes are impossible or contradict the number of chunks.
    pub fn new(
        encoding: CompressionType,
        chunk_size: u64,
        payload_size: u64,
        payload_digest: Digest,
        encoded_digest: Digest,
        chunks: Vec<ChunkEntry>,
    ) -> Result<Self, ManifestError> {
        let limit = ByteSize::MAX.get();
        if chunk_size == 0 {
            return Err(ManifestError::ImpossibleSize(0));
        }
        let mut stored = 0_u64;
        for size in chunks.iter().map(|c| c.stored_len) {
            stored = stored.saturating_add(size);
        }
        if let Some(size) = [chunk_size, payload_size, stored]
            .into_iter()
            .find(|s| *s > limit)
        {
            return Err(ManifestError::ImpossibleSize(size));
        }
        let wanted = chunk_count(payload_size, chunk_size);
        if chunks.len() as u64 != wanted || u32::try_from(chunks.len()).is_err() {
            return Err(ManifestError::Inconsistent {
                payload_size,
                chunk_size,
                chunks: chunks.len(),
            });
        }
        Ok(Self {
            encoding,
            chunk_size,
            payload_size,
            payload_digest,
            encoded_digest,
            chunks,
        })
    }

    /// How the chunks are encoded.
    #[must_use]
    pub fn encoding(&self) -> CompressionType {
        self.encoding
    }

    /// Original size of every chunk but the last, in bytes.
    #[must_use]
    pub fn chunk_size(&self) -> u64 {
        self.chunk_size
    }

    /// Size of the payload in bytes.
    #[must_use]
    pub fn payload_size(&self) -> u64 {
        self.payload_size
    }

    /// SHA-256 of the payload.
    #[must_use]
    pub fn payload_digest(&self) -> Digest {
        self.payload_digest
    }

    /// SHA-256 of all stored chunks concatenated.
    #[must_use]
    pub fn encoded_digest(&self) -> Digest {
        self.encoded_digest
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> &[ChunkEntry] {
        &self.chunks
    }

    /// Number of chunks, at least one: an empty payload is one empty chunk.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.chunks.len()).unwrap_or(u32::MAX)
    }

    /// Size of the stored body in bytes.
    #[must_use]
    pub fn encoded_size(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.stored_len).sum()
    }

    /// Original size of chunk `seq` in bytes; `None` beyond the last chunk.
    #[must_use]
    pub fn original_len(&self, seq: u32) -> Option<u64> {
        let count = self.chunk_count();
        if seq >= count {
            return None;
        }
        let start = u64::from(seq) * self.chunk_size;
        Some(self.chunk_size.min(self.payload_size - start))
    }

    /// The chunks that hold `range` of the payload's bytes, cut at the payload's end.
    /// An empty range touches no chunk.
    #[must_use]
    pub fn chunks_touching(&self, range: Range<u64>) -> Range<u32> {
        let end = range.end.min(self.payload_size);
        if range.start >= end {
            return 0..0;
        }
        let seq = |offset: u64| u32::try_from(offset / self.chunk_size).unwrap_or(u32::MAX);
        seq(range.start)..seq(end - 1) + 1
    }

    /// The one binary form, as the module describes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + ENTRY_LEN * self.chunks.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        out.push(self.encoding.code());
        out.push(0);
        out.extend_from_slice(&self.chunk_size.to_be_bytes());
        out.extend_from_slice(&self.payload_size.to_be_bytes());
        out.extend_from_slice(self.payload_digest.as_bytes());
        out.extend_from_slice(self.encoded_digest.as_bytes());
        out.extend_from_slice(&self.chunk_count().to_be_bytes());
        for chunk in &self.chunks {
            out.extend_from_slice(&chunk.stored_len.to_be_bytes());
            out.extend_from_slice(chunk.digest.as_bytes());
        }
        out
    }

    /// Reads the binary form. Memory is bounded by the length of `bytes`.
    ///
    /// # Errors
    /// [`ManifestError`] where the bytes are not exactly one consistent manifest of a known
    /// version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let malformed = || ManifestError::Malformed(bytes.len());
        let mut rest = bytes;
        if take::<4>(&mut rest).ok_or_else(malformed)? != *MAGIC {
            return Err(malformed());
        }
        let version = u16::from_be_bytes(take(&mut rest).ok_or_else(malformed)?);
        if version > FORMAT_VERSION {
            return Err(ManifestError::NewerFormat { found: version });
        }
        let [code, reserved] = take(&mut rest).ok_or_else(malformed)?;
        if version == 0 || reserved != 0 {
            return Err(malformed());
        }
        let encoding =
            CompressionType::from_code(code).ok_or(ManifestError::UnknownEncoding(code))?;
        let chunk_size = u64::from_be_bytes(take(&mut rest).ok_or_else(malformed)?);
        let payload_size = u64::from_be_bytes(take(&mut rest).ok_or_else(malformed)?);
        let payload_digest = Digest::from(take::<32>(&mut rest).ok_or_else(malformed)?);
        let encoded_digest = Digest::from(take::<32>(&mut rest).ok_or_else(malformed)?);
        let count = u32::from_be_bytes(take(&mut rest).ok_or_else(malformed)?);
        if (rest.len() as u64) != u64::from(count) * ENTRY_LEN as u64 {
            return Err(malformed());
        }
        let mut chunks = Vec::with_capacity(rest.len() / ENTRY_LEN);
        while !rest.is_empty() {
            chunks.push(ChunkEntry {
                stored_len: u64::from_be_bytes(take(&mut rest).ok_or_else(malformed)?),
                digest: Digest::from(take::<32>(&mut rest).ok_or_else(malformed)?),
            });
        }
        Self::new(
            encoding,
            chunk_size,
            payload_size,
            payload_digest,
            encoded_digest,
            chunks,
        )
    }

    /// SHA-256 of [`Manifest::to_bytes`], which a claim carries.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }
}

/// How many chunks a payload has: at least one.
fn chunk_count(payload_size: u64, chunk_size: u64) -> u64 {
    payload_size.div_ceil(chunk_size).max(1)
}

/// Takes the next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
