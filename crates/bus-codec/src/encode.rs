//! One chunk on its way in: original bytes to stored bytes.
//!
//! # What does not compress
//!
//! Media, archives and ciphertext gain nothing from a compressor and would cost its whole time.
//! So a sample of each chunk is compressed first; where that saves less than 3 %, the chunk is
//! stored in the encoding's own raw form (raw zstd blocks, stored deflate blocks), which costs a
//! copy and which every decoder reads. The same happens where the whole chunk turns out larger
//! than 97 % of its original. What the sample cannot see, and what is given up for its speed, is a
//! long repeat of bytes that are random in themselves.

use bus_model::{CompressionType, Digest};
use bytes::Bytes;

use crate::{EncodeError, Level, MAX_CHUNK_SIZE, gzip, zstandard};

/// How many pieces a sample has, spread evenly over the chunk.
const SAMPLE_PIECES: usize = 8;
/// Size of a piece in bytes.
const SAMPLE_PIECE: usize = 4 * 1024;
/// A chunk of this many bytes or less is compressed outright: sampling it would cost as much.
const SAMPLE_ABOVE: usize = 2 * SAMPLE_PIECES * SAMPLE_PIECE;

/// A chunk in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChunk {
    /// Number of the chunk, from 0.
    pub seq: u32,
    /// The stored bytes.
    pub bytes: Bytes,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
    /// Original size in bytes.
    pub original_len: u32,
}

/// Encodes chunks one after another with one compressor, whose memory it reuses.
pub struct ChunkEncoder {
    encoding: CompressionType,
    codec: Codec,
    sample: Vec<u8>,
    scratch: Vec<u8>,
}

enum Codec {
    Raw,
    Gzip(gzip::Compressor),
    Zstd(zstandard::Compressor),
}

impl std::fmt::Debug for ChunkEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkEncoder")
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

impl ChunkEncoder {
    /// An encoder of `encoding` at `level`, or at the encoding's default.
    ///
    /// # Errors
    /// [`EncodeError::Level`] for a level that the encoding does not have,
    /// [`EncodeError::Compressor`] where there is no memory for one.
    pub fn new(encoding: CompressionType, level: Option<i32>) -> Result<Self, EncodeError> {
        let level = Level::new(encoding, level)?;
        let codec = match encoding {
            CompressionType::Zstd => Codec::Zstd(zstandard::Compressor::new(level)?),
            CompressionType::Gzip => Codec::Gzip(gzip::Compressor::new(level)),
            _ => Codec::Raw,
        };
        Ok(Self {
            encoding,
            codec,
            sample: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// The stored form of `original` as chunk `seq`. With the encoding `none` that is the same
    /// bytes, not copied.
    ///
    /// # Errors
    /// [`EncodeError::ChunkSize`] above [`MAX_CHUNK_SIZE`], [`EncodeError::Compressor`] where the
    /// compressor has no memory.
    pub fn encode(&mut self, seq: u32, original: &Bytes) -> Result<EncodedChunk, EncodeError> {
        let original_len = u32::try_from(original.len())
            .ok()
            .filter(|len| *len <= MAX_CHUNK_SIZE)
            .ok_or(EncodeError::ChunkSize(original.len() as u64))?;
        let shrunk = self.shrinks(original)?;
        let bytes = match self.codec {
            Codec::Raw => original.clone(),
            _ if shrunk => Bytes::copy_from_slice(&self.scratch),
            Codec::Gzip(_) => gzip::store(original).into(),
            Codec::Zstd(_) => zstandard::store(original).into(),
        };
        Ok(EncodedChunk {
            seq,
            digest: Digest::of(&bytes),
            bytes,
            original_len,
        })
    }

    /// Compresses `original` into the scratch buffer; false where it does not pay.
    fn shrinks(&mut self, original: &[u8]) -> Result<bool, EncodeError> {
        if matches!(self.codec, Codec::Raw) {
            return Ok(false);
        }
        if original.len() > SAMPLE_ABOVE {
            let mut sample = std::mem::take(&mut self.sample);
            gather_sample(original, &mut sample);
            let promising = self.compress(&sample)?;
            self.sample = sample;
            if !promising {
                return Ok(false);
            }
        }
        self.compress(original)
    }

    /// Compresses `input` into the scratch buffer; false where that saves less than 3 %.
    fn compress(&mut self, input: &[u8]) -> Result<bool, EncodeError> {
        self.scratch.clear();
        let limit = input.len() - input.len() / 32;
        self.scratch.reserve_exact(limit);
        match &mut self.codec {
            Codec::Raw => Ok(false),
            Codec::Gzip(compressor) => compressor.compress(input, limit, &mut self.scratch),
            Codec::Zstd(compressor) => compressor.compress(input, limit, &mut self.scratch),
        }
    }
}

/// Fills `sample` with pieces from all over `original`.
fn gather_sample(original: &[u8], sample: &mut Vec<u8>) {
    sample.clear();
    for piece in 0..SAMPLE_PIECES {
        let start = (original.len() - SAMPLE_PIECE) / (SAMPLE_PIECES - 1) * piece;
        sample.extend_from_slice(&original[start..start + SAMPLE_PIECE]);
    }
}
