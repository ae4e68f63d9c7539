//! Payload bytes to checked, compressed chunks and back.
//!
//! A payload is cut into chunks of equal original size (the last may be shorter; an empty payload
//! is one empty chunk). Each chunk is a complete zstd frame, gzip member or raw run, and has the
//! SHA-256 of its stored bytes in the [`Manifest`]. So chunks compress, travel and verify on their
//! own, and all of them concatenated decode with `zstd -d` and `gzip -d`.
//!
//! The core is pure: bytes in, bytes out, no threads, no clock. The module `stream`, behind the
//! feature `tokio`, does the same async, in parallel on blocking threads.
//!
//! | module | holds |
//! |---|---|
//! | [`level`] | compression levels, checked per encoding |
//! | [`encode`] | one chunk: original bytes to stored bytes |
//! | [`decode`] | one chunk: stored bytes to original bytes, bounded and checked |
//! | [`builder`] | the manifest of chunks as they are encoded |
//! | [`body`] | whole bodies, in order |
//! | [`error`] | what can go wrong |
//! | `stream` | the async way in and out (feature `tokio`) |
//!
//! ```
//! use bus_codec::{decode_all, encode_all, DEFAULT_CHUNK_SIZE};
//! use bus_model::CompressionType;
//! use bytes::Bytes;
//!
//! let payload = Bytes::from_static(b"every byte comes back");
//! let (manifest, chunks) = encode_all(CompressionType::Zstd, None, DEFAULT_CHUNK_SIZE, &payload)?;
//! let stored = chunks.into_iter().map(|chunk| chunk.bytes);
//! assert_eq!(decode_all(&manifest, stored)?, payload);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod body;
pub mod builder;
pub mod decode;
pub mod encode;
pub mod error;
mod gzip;
pub mod level;
#[cfg(feature = "tokio")]
pub mod stream;
mod zstandard;

pub use body::{BodyVerifier, chunks_to_read, decode_all, encode_all};
pub use builder::ManifestBuilder;
pub use decode::decode_chunk;
pub use encode::{ChunkEncoder, EncodedChunk};
pub use error::{DecodeError, EncodeError};
pub use level::Level;

pub use bus_model::Manifest;

/// Original size of a chunk unless the caller says otherwise: 2 MiB.
pub const DEFAULT_CHUNK_SIZE: u32 = 2 * 1024 * 1024;

/// Largest original size of a chunk, in either direction: 64 MiB. It bounds what one chunk can
/// make a reader allocate.
pub const MAX_CHUNK_SIZE: u32 = 64 * 1024 * 1024;
