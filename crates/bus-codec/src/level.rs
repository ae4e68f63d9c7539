//! Compression levels, checked per encoding.

use bus_model::CompressionType;

use crate::EncodeError;

/// A level that is legal for its encoding. Higher is smaller and slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    encoding: CompressionType,
    value: i32,
}

impl Level {
    /// The level `wanted` of `encoding`, or its default: 1 for zstd and for gzip, since compression
    /// is what a payload's way costs, and higher levels gain little on results of tools.
    ///
    /// zstd takes -7 to 22, gzip 0 to 9. `none` has no levels: only `None` is legal.
    ///
    /// # Errors
    /// [`EncodeError::Level`] for any other.
    pub fn new(encoding: CompressionType, wanted: Option<i32>) -> Result<Self, EncodeError> {
        let (legal, default, allowed) = match encoding {
            CompressionType::Zstd => (Some(-7..=22), 1, "-7 to 22 are"),
            CompressionType::Gzip => (Some(0..=9), 1, "0 to 9 are"),
            _ => (None, 0, "it has none, leave the level out"),
        };
        match wanted {
            Some(level) if !legal.is_some_and(|levels| levels.contains(&level)) => {
                Err(EncodeError::Level {
                    encoding,
                    level,
                    allowed,
                })
            }
            _ => Ok(Self {
                encoding,
                value: wanted.unwrap_or(default),
            }),
        }
    }

    /// The encoding that it is a level of.
    #[must_use]
    pub fn encoding(self) -> CompressionType {
        self.encoding
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> i32 {
        self.value
    }
}
