//! What is sent: bytes that are the same every time.

use anyhow::{Context, Result};
use bus_testkit::{json_payload, random_payload, write_json_payload, write_random_payload};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// A kind of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Payload {
    /// JSON as tools return it
    Json,
    /// Bytes that do not compress
    Random,
}

impl Payload {
    pub(crate) const ALL: [Self; 2] = [Self::Json, Self::Random];

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Random => "random bytes",
        }
    }

    /// As it is on a command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Random => "random",
        }
    }

    /// Writes `bytes` of it to a file, in constant memory.
    pub(crate) fn write(self, path: &Path, bytes: u64) -> Result<()> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        match self {
            Self::Json => write_json_payload(&mut out, bytes, 1)?,
            Self::Random => write_random_payload(&mut out, bytes, 1)?,
        }
        Ok(out.flush()?)
    }

    /// `bytes` of it in memory.
    pub(crate) fn make(self, bytes: usize, seed: u64) -> Vec<u8> {
        match self {
            Self::Json => json_payload(bytes, seed),
            Self::Random => random_payload(bytes, seed),
        }
    }
}
