//! Hostile bytes as one zstd chunk.
#![no_main]

#[path = "../src/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::decode_zstd(input));
