//! How a body is encoded.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How the chunks of a body are encoded: raw, gzip members (RFC 1952) or zstd frames (RFC 8878).
///
/// One body has one encoding throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CompressionType {
    /// The original bytes.
    None,
    /// One gzip member a chunk.
    Gzip,
    /// One zstd frame a chunk.
    #[default]
    Zstd,
}

/// A text is not one of `none`, `gzip`, `zstd`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a compression: none, gzip or zstd are expected")]
pub struct EncodingParseError(String);

impl CompressionType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// The name in settings, records and frames.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The HTTP content coding of the stored bytes; `None` for raw bytes.
    #[must_use]
    pub fn content_coding(self) -> Option<&'static str> {
        (self != Self::None).then(|| self.as_str())
    }

    /// The number that stands for it in stored forms.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Zstd => 2,
        }
    }

    /// The encoding that `code` stands for.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.code() == code)
    }
}

impl fmt::Display for CompressionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CompressionType {
    type Err = EncodingParseError;
    fn from_str(text: &str) -> Result<Self, EncodingParseError> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| EncodingParseError(text.chars().take(80).collect()))
    }
}
