//! gzip members (RFC 1952): one member a chunk, without name and time.

use std::io::Read as _;

use bus_model::CompressionType;
use flate2::{Compress, Compression, Crc, FlushCompress, Status, bufread::GzDecoder};

use crate::{DecodeError, EncodeError, Level};

/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const TRAILER_LEN: usize = 8;
/// Largest stored deflate block in bytes.
const MAX_BLOCK: usize = 65_535;

/// A reusable compressor.
pub(crate) struct Compressor {
    level: Compression,
    deflate: Compress,
}

impl Compressor {
    pub(crate) fn new(level: Level) -> Self {
        let level = Compression::new(u32::try_from(level.get()).unwrap_or(0));
        Self {
            level,
            deflate: Compress::new(level, false),
        }
    }

    /// Compresses `input` into the empty `out`, which has room for `limit` bytes; false where the
    /// member does not fit.
    pub(crate) fn compress(
        &mut self,
        input: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, EncodeError> {
        if limit < HEADER.len() + TRAILER_LEN {
            return Ok(false);
        }
        out.extend_from_slice(&HEADER);
        self.deflate.reset();
        let status = self
            .deflate
            .compress_vec(input, out, FlushCompress::Finish)
            .map_err(|error| EncodeError::Compressor {
                encoding: CompressionType::Gzip,
                source: error.into(),
            })?;
        if status != Status::StreamEnd {
            // zlib-rs does not forget all of a stream that was given up when it is reset: its next
            // stream panics. A new one costs an allocation, and only here.
            self.deflate = Compress::new(self.level, false);
            return Ok(false);
        }
        if out.len() + TRAILER_LEN > limit {
            return Ok(false);
        }
        push_trailer(out, input);
        Ok(true)
    }
}

/// `input` as a member of stored blocks.
pub(crate) fn store(input: &[u8]) -> Vec<u8> {
    let blocks = input.len().div_ceil(MAX_BLOCK).max(1);
    let mut out = Vec::with_capacity(HEADER.len() + input.len() + 5 * blocks + TRAILER_LEN);
    out.extend_from_slice(&HEADER);
    let mut rest = input;
    loop {
        let (block, tail) = rest.split_at(rest.len().min(MAX_BLOCK));
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        // Bit 0: last block; bits 1-2: type, 0 is stored; then the size and its complement.
        out.push(u8::from(tail.is_empty()));
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&(!len).to_le_bytes());
        out.extend_from_slice(block);
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    push_trailer(&mut out, input);
    out
}

/// CRC-32 and size modulo 2^32 of the original.
fn push_trailer(out: &mut Vec<u8>, input: &[u8]) {
    let mut crc = Crc::new();
    crc.update(input);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
}

/// Decodes exactly one member of exactly `len` bytes.
pub(crate) fn decode(stored: &[u8], len: usize) -> Result<Vec<u8>, DecodeError> {
    let wrong_length = || DecodeError::OriginalLength {
        expected: len as u64,
    };
    let mut decoder = GzDecoder::new(stored);
    let mut out = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match decoder.read(&mut out[filled..]).map_err(malformed)? {
            0 => return Err(wrong_length()),
            more => filled += more,
        }
    }
    // One read more: it must find the end, and it is where the CRC is checked.
    if decoder.read(&mut [0]).map_err(malformed)? != 0 {
        return Err(wrong_length());
    }
    if !decoder.into_inner().is_empty() {
        return Err(malformed("there are bytes after the member"));
    }
    Ok(out)
}

fn malformed(reason: impl ToString) -> DecodeError {
    DecodeError::Malformed {
        encoding: CompressionType::Gzip,
        reason: reason.to_string(),
    }
}
