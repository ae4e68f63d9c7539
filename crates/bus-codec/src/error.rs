//! What can go wrong, on the way in and on the way out.

use std::io;

use bus_model::{CompressionType, Digest, ManifestError};

use crate::MAX_CHUNK_SIZE;

/// Why a payload could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The level is not one of the encoding's.
    #[error("{level} is not a level of {encoding}: {allowed}")]
    Level {
        /// The encoding that was asked for.
        encoding: CompressionType,
        /// The level that was asked for.
        level: i32,
        /// What the encoding takes.
        allowed: &'static str,
    },
    /// The chunk size is 0 or above [`MAX_CHUNK_SIZE`].
    #[error("a chunk size of {0} bytes is not possible: 1 to {MAX_CHUNK_SIZE} are")]
    ChunkSize(u64),
    /// A chunk is longer than the chunk size, or one before it was shorter.
    #[error("chunk {seq} has {len} bytes, which does not fit chunks of {chunk_size} bytes")]
    ChunkLength {
        /// Number of the chunk, from 0.
        seq: u32,
        /// Its original size in bytes.
        len: u64,
        /// Original size of every chunk but the last, in bytes.
        chunk_size: u64,
    },
    /// Chunks came in another order than 0, 1, 2, ….
    #[error("chunk {found} came where chunk {expected} was due: push chunks in order")]
    OutOfOrder {
        /// The number that was due.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// The payload has more bytes than the caller allows.
    #[error("the payload is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The payload needs more chunks than can be numbered.
    #[error("the payload has too many chunks of {chunk_size} bytes: take larger chunks")]
    TooManyChunks {
        /// Original size of a chunk in bytes.
        chunk_size: u64,
    },
    /// The caller's reader or stream failed.
    #[error("reading the payload failed")]
    Source(#[source] io::Error),
    /// The compressor failed, which happens only where memory is short.
    #[error("the {encoding} compressor failed")]
    Compressor {
        /// The encoding.
        encoding: CompressionType,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The parts do not make a manifest.
    #[error("the encoded chunks do not make a manifest")]
    Manifest(#[source] ManifestError),
    /// `finish` was called before every chunk had been taken, or after a failure.
    #[error("the manifest was asked for before the last chunk was taken")]
    NotFinished,
    /// The runtime stopped while a chunk was being encoded.
    #[error("encoding was cut short: the runtime is shutting down")]
    Stopped,
}

/// Why stored bytes are not what their manifest says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The manifest is not the one that was expected.
    #[error("the manifest has the digest {found}, {expected} was expected")]
    ManifestDigest {
        /// What the claim or the record says.
        expected: Digest,
        /// What the manifest has.
        found: Digest,
    },
    /// The manifest asks for chunks larger than this build reads.
    #[error("a chunk of {len} bytes is too large: up to {MAX_CHUNK_SIZE} are read")]
    ChunkTooLarge {
        /// Declared original size of the chunk in bytes.
        len: u64,
    },
    /// The stored chunk has another length than the manifest says.
    #[error("the stored chunk has {found} bytes, the manifest says {expected}")]
    StoredLength {
        /// What the manifest says, in bytes.
        expected: u64,
        /// What was read, in bytes.
        found: u64,
    },
    /// The stored bytes do not have the digest that the manifest says.
    #[error("the stored chunk has the digest {found}, the manifest says {expected}")]
    StoredDigest {
        /// What the manifest says.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
    /// The stored bytes are not one frame or member of the encoding.
    #[error("the stored chunk is not one {encoding} {}: {reason}", unit(.encoding))]
    Malformed {
        /// The encoding that the manifest says.
        encoding: CompressionType,
        /// What is wrong with it.
        reason: String,
    },
    /// The chunk decodes to another length than the manifest says.
    #[error("the chunk does not decode to the {expected} bytes that the manifest says")]
    OriginalLength {
        /// What the manifest says, in bytes.
        expected: u64,
    },
    /// A chunk of a body is bad.
    #[error("chunk {seq} is damaged")]
    Chunk {
        /// Number of the chunk, from 0.
        seq: u32,
        /// What is wrong with it.
        #[source]
        source: Box<DecodeError>,
    },
    /// The body ended before its last chunk.
    #[error("the body ended before chunk {missing}, {expected} chunks were expected")]
    MissingChunks {
        /// The first chunk that did not come.
        missing: u32,
        /// How many were expected.
        expected: u32,
    },
    /// The body goes on after its last chunk.
    #[error("the body has more than the {expected} chunks that were expected")]
    TooManyChunks {
        /// How many were expected.
        expected: u32,
    },
    /// The payload does not have the digest that the manifest says.
    #[error("the payload has the digest {found}, the manifest says {expected}")]
    PayloadDigest {
        /// What the manifest says.
        expected: Digest,
        /// What was read.
        found: Digest,
    },
}

impl DecodeError {
    /// The same error, as that of chunk `seq`.
    pub(crate) fn in_chunk(self, seq: u32) -> Self {
        Self::Chunk {
            seq,
            source: Box::new(self),
        }
    }
}

/// What one encoded chunk is called.
fn unit(encoding: &CompressionType) -> &'static str {
    match encoding {
        CompressionType::Gzip => "member",
        CompressionType::Zstd => "frame",
        _ => "run",
    }
}
