//! zstd frames (RFC 8878): one frame a chunk, which always carries its content size.

use std::io;

use bus_model::CompressionType;
use zstd::{bulk, zstd_safe};

use crate::{DecodeError, EncodeError, Level};

const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Largest block of a frame in bytes.
const MAX_BLOCK: usize = 128 * 1024;
/// Frame header descriptor: the window is the content (single segment), sizes of 1, 2 or 4 bytes.
const SINGLE_SEGMENT: u8 = 0x20;

/// A reusable compressor.
pub(crate) struct Compressor {
    inner: bulk::Compressor<'static>,
}

impl Compressor {
    pub(crate) fn new(level: Level) -> Result<Self, EncodeError> {
        let inner = bulk::Compressor::new(level.get()).map_err(failed)?;
        Ok(Self { inner })
    }

    /// Compresses `input` into the empty `out`; false where the frame has more than `limit` bytes.
    /// The one-shot call writes the content size and gives up once the room is used up.
    pub(crate) fn compress(
        &mut self,
        input: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, EncodeError> {
        if out.capacity() == 0 {
            return Ok(false);
        }
        match self.inner.compress_to_buffer(input, out) {
            Ok(written) => Ok(written <= limit),
            Err(error) if is_too_small(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

/// `input` as a frame of raw blocks.
pub(crate) fn store(input: &[u8]) -> Vec<u8> {
    let blocks = input.len().div_ceil(MAX_BLOCK).max(1);
    let mut out = Vec::with_capacity(input.len() + 9 + 3 * blocks);
    out.extend_from_slice(&MAGIC);
    push_header(&mut out, input.len());
    let mut rest = input;
    loop {
        let (block, tail) = rest.split_at(rest.len().min(MAX_BLOCK));
        // Bit 0: last block; bits 1-2: type, 0 is raw; then the size.
        let header = (block.len() as u64) << 3 | u64::from(tail.is_empty());
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
        if tail.is_empty() {
            return out;
        }
        rest = tail;
    }
}

/// The frame header after the magic: single segment, content size, no checksum, no dictionary.
fn push_header(out: &mut Vec<u8>, len: usize) {
    let len = len as u64;
    match len {
        0..256 => {
            out.push(SINGLE_SEGMENT);
            out.extend_from_slice(&len.to_le_bytes()[..1]);
        }
        256..65_792 => {
            out.push(SINGLE_SEGMENT | 1 << 6);
            out.extend_from_slice(&(len - 256).to_le_bytes()[..2]);
        }
        _ => {
            out.push(SINGLE_SEGMENT | 2 << 6);
            out.extend_from_slice(&len.to_le_bytes()[..4]);
        }
    }
}

/// Decodes exactly one frame of exactly `len` bytes. Nothing beyond `len` bytes is allocated: the
/// one-shot decoder writes into the result, whatever window the frame asks for.
pub(crate) fn decode(stored: &[u8], len: usize) -> Result<Vec<u8>, DecodeError> {
    if !stored.starts_with(&MAGIC) {
        return Err(malformed("it does not begin with the magic of a frame"));
    }
    let end = zstd_safe::find_frame_compressed_size(stored)
        .map_err(|code| malformed(zstd_safe::get_error_name(code)))?;
    if end != stored.len() {
        return Err(malformed("there are bytes after the frame"));
    }
    match zstd_safe::get_frame_content_size(stored) {
        Ok(Some(size)) if size == len as u64 => {}
        Ok(Some(_)) => {
            return Err(DecodeError::OriginalLength {
                expected: len as u64,
            });
        }
        Ok(None) | Err(_) => return Err(malformed("it does not carry its content size")),
    }
    let mut out = Vec::with_capacity(len);
    bulk::Decompressor::new()
        .and_then(|mut decoder| decoder.decompress_to_buffer(stored, &mut out))
        .map_err(|error| malformed(error.to_string()))?;
    if out.len() != len {
        return Err(DecodeError::OriginalLength {
            expected: len as u64,
        });
    }
    Ok(out)
}

/// zstd answers "no room left" in the way of every other error: told apart by its name.
fn is_too_small(error: &io::Error) -> bool {
    error
        .to_string()
        .contains("Destination buffer is too small")
}

fn failed(source: io::Error) -> EncodeError {
    EncodeError::Compressor {
        encoding: CompressionType::Zstd,
        source,
    }
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed {
        encoding: CompressionType::Zstd,
        reason: reason.into(),
    }
}
