//! Payloads that tests of several files use.
#![allow(dead_code, reason = "each test file uses some of it")]

use bytes::Bytes;

/// Bytes without any structure, the same for the same seed.
pub(crate) fn random(len: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        // xorshift64*: good enough that no compressor finds anything.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

/// Text with structure, the same for the same seed.
pub(crate) fn text(len: usize, seed: u64) -> Bytes {
    let noise = random(len / 16 + 16, seed);
    let mut out = Vec::with_capacity(len + 64);
    for (line, pair) in noise.chunks(2).cycle().enumerate() {
        if out.len() >= len {
            break;
        }
        let value = pair
            .iter()
            .fold(0_u32, |sum, byte| sum * 256 + u32::from(*byte));
        out.extend_from_slice(format!("{{\"line\":{line},\"value\":{value}}},\n").as_bytes());
    }
    out.truncate(len);
    out.into()
}
