//! Payloads that are the same for the same size and seed, on every machine.
//!
//! Their JSON looks like what tools return, since a compressor fed on repeated letters proves nothing: 45 % source
//! code, 35 % logs and 20 % float embeddings.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// Exactly `bytes` bytes of valid JSON (none at all for 0).
#[must_use]
pub fn json_payload(bytes: usize, seed: u64) -> Vec<u8> {
    in_memory(bytes, |out| write_json_payload(out, bytes as u64, seed))
}

/// Exactly `bytes` bytes that do not compress.
#[must_use]
pub fn random_payload(bytes: usize, seed: u64) -> Vec<u8> {
    in_memory(bytes, |out| write_random_payload(out, bytes as u64, seed))
}

/// Exactly `bytes` bytes of UTF-8 text, with characters of two to four bytes in it.
#[must_use]
pub fn text_payload(bytes: usize, seed: u64) -> Vec<u8> {
    in_memory(bytes, |out| write_text_payload(out, bytes as u64, seed))
}

/// [`json_payload`] for sizes that do not belong in memory.
///
/// # Errors
/// Those of the writer.
pub fn write_json_payload(out: &mut dyn Write, bytes: u64, seed: u64) -> io::Result<()> {
    const OPEN: &str = "{\"results\":[\n";
    const CLOSE: &str = "\"\"]}";
    let frame = (OPEN.len() + CLOSE.len()) as u64;
    match bytes {
        0 => return Ok(()),
        1 => return out.write_all(b"7"),
        _ if bytes < frame => return write_padded_string(out, bytes),
        _ => {}
    }
    out.write_all(OPEN.as_bytes())?;
    let mut left = bytes - frame;
    let mut random = Random::new(seed);
    let mut item = String::new();
    loop {
        item.clear();
        push_item(&mut item, &mut random);
        if item.len() as u64 > left {
            break;
        }
        out.write_all(item.as_bytes())?;
        left -= item.len() as u64;
    }
    write_padded_string(out, left + 2)?;
    out.write_all(b"]}")
}

/// [`random_payload`] for sizes that do not belong in memory.
///
/// # Errors
/// Those of the writer.
pub fn write_random_payload(out: &mut dyn Write, bytes: u64, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let mut block = [0_u8; 8192];
    let mut left = bytes;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_le_bytes());
        }
        let take = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        out.write_all(&block[..take])?;
        left -= take as u64;
    }
    Ok(())
}

/// [`text_payload`] for sizes that do not belong in memory.
///
/// # Errors
/// Those of the writer.
pub fn write_text_payload(out: &mut dyn Write, bytes: u64, seed: u64) -> io::Result<()> {
    let mut random = Random::new(seed);
    let mut left = bytes;
    let mut line = String::new();
    loop {
        line.clear();
        push_sentence(&mut line, &mut random);
        line.push('\n');
        if line.len() as u64 > left {
            break;
        }
        out.write_all(line.as_bytes())?;
        left -= line.len() as u64;
    }
    write_repeated(out, b'.', left)
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file in lower-case hex, in constant memory.
///
/// # Errors
/// Where the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut digest = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&block[..read]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn in_memory(bytes: usize, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes);
    write(&mut out).expect("a vector takes every write");
    out
}

fn write_padded_string(out: &mut dyn Write, bytes: u64) -> io::Result<()> {
    out.write_all(b"\"")?;
    write_repeated(out, b'.', bytes - 2)?;
    out.write_all(b"\"")
}

fn write_repeated(out: &mut dyn Write, byte: u8, times: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(byte).take(times), out).map(|_| ())
}

/// SplitMix64: small, and good enough to be incompressible.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        let index = self.below(words.len() as u64);
        words[usize::try_from(index).unwrap_or(0)]
    }
}

const WORDS: &[&str] = &[
    "chunk", "claim", "payload", "record", "store", "lease", "token", "frame", "digest", "index",
    "buffer", "client", "server", "stream", "reader", "writer", "session", "result", "request",
    "limit", "offset", "length", "error", "status", "value", "key", "path", "entry", "count",
    "state", "time", "name", "größe", "naïve", "数据", "🚌",
];
const VERBS: &[&str] = &[
    "open", "read", "write", "close", "parse", "check", "send", "wait", "merge", "split", "find",
    "list", "drop", "fetch", "publish",
];
const LEVELS: &[&str] = &["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];

/// One element and its comma, a few hundred bytes to a few kilobytes.
fn push_item(out: &mut String, random: &mut Random) {
    // Chosen by the size of an average element, so that the shares of *bytes* come out as promised.
    match random.below(100) {
        0..10 => push_code(out, random),
        10..92 => push_log(out, random),
        _ => push_embedding(out, random),
    }
    out.push_str(",\n");
}

fn push_code(out: &mut String, random: &mut Random) {
    let (module, thing) = (random.pick(WORDS), random.pick(WORDS));
    let _ = write!(
        out,
        r#"{{"type":"file","path":"src/{module}/{thing}.rs","text":""#
    );
    for _ in 0..4 + random.below(12) {
        let (verb, noun, other) = (random.pick(VERBS), random.pick(WORDS), random.pick(WORDS));
        let (field, number) = (random.pick(WORDS), random.below(1 << 16));
        let _ = write!(
            out,
            "    pub fn {verb}_{noun}(&self, {other}: &str) -> Result<u64, Error> {{\\n        \
             let {field} = self.{noun}.{verb}({other})?;\\n        if {field} > {number} {{\\n            \
             return Err(Error::new(\\\"{verb} {noun}\\\", {field}));\\n        }}\\n        \
             Ok({field} + {number})\\n    }}\\n\\n"
        );
    }
    out.push_str("\"}");
}

fn push_log(out: &mut String, random: &mut Random) {
    let (level, verb, noun) = (random.pick(LEVELS), random.pick(VERBS), random.pick(WORDS));
    let (second, milli) = (random.below(86_400), random.below(1000));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = write!(
        out,
        r#"{{"ts":"2026-03-14T{hour:02}:{minute:02}:{second:02}.{milli:03}Z","level":"{level}","#
    );
    let _ = write!(
        out,
        r#""target":"bus::{noun}","id":"{:016x}","ms":{},"msg":""#,
        random.next(),
        random.below(5000)
    );
    let _ = write!(out, "{verb} ");
    push_sentence(out, random);
    out.push_str("\"}");
}

fn push_embedding(out: &mut String, random: &mut Random) {
    let _ = write!(out, r#"{{"id":{},"embedding":["#, random.below(1 << 20));
    for index in 0..128 {
        let comma = if index == 0 { "" } else { "," };
        let sign = if random.below(2) == 0 { "" } else { "-" };
        let _ = write!(out, "{comma}{sign}0.{:08}", random.below(100_000_000));
    }
    out.push_str("]}");
}

fn push_sentence(out: &mut String, random: &mut Random) {
    for index in 0..6 + random.below(10) {
        let space = if index == 0 { "" } else { " " };
        let _ = write!(out, "{space}{}", random.pick(WORDS));
    }
    let _ = write!(out, " {}", random.below(100_000));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn sizes_are_exact_and_json_is_valid() {
        for bytes in [0, 1, 2, 3, 16, 17, 18, 19, 100, 1000, 4096, 100_000] {
            let json = json_payload(bytes, 1);
            assert_eq!(json.len(), bytes);
            assert!(bytes == 0 || serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            let text = text_payload(bytes, 1);
            assert_eq!(text.len(), bytes);
            assert!(String::from_utf8(text).is_ok());
            assert_eq!(random_payload(bytes, 1).len(), bytes);
        }
    }

    #[test]
    fn same_seed_same_bytes_and_another_seed_others() {
        assert_eq!(json_payload(10_000, 5), json_payload(10_000, 5));
        assert_ne!(json_payload(10_000, 5), json_payload(10_000, 6));
        assert_ne!(random_payload(64, 5), random_payload(64, 6));
    }

    #[test]
    fn json_is_code_logs_and_floats_in_the_promised_shares() {
        let json = json_payload(1 << 20, 3);
        let mut shares = BTreeMap::new();
        for line in String::from_utf8(json).unwrap().lines() {
            let kind = ["\"type\":\"file\"", "\"level\"", "\"embedding\""]
                .into_iter()
                .find(|key| line.contains(key));
            *shares.entry(kind).or_insert(0.0) += line.len() as f64 / f64::from(1 << 20);
        }
        let expected = [
            ("\"type\":\"file\"", 0.45),
            ("\"level\"", 0.35),
            ("\"embedding\"", 0.20),
        ];
        for (kind, share) in expected {
            let actual: f64 = shares[&Some(kind)];
            assert!((actual - share).abs() < 0.06, "{kind}: {actual}");
        }
    }

    #[test]
    fn digests_agree() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
        assert_eq!(sha256_file(file.path()).unwrap(), expected);
    }
}
