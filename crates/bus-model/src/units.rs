//! Byte sizes and times to live.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// Why a number or a text is not a legal size or time to live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a legal {what}: {expected}")]
pub struct UnitError {
    what: &'static str,
    value: String,
    expected: &'static str,
}

impl UnitError {
    fn size(value: impl ToString) -> Self {
        let expected = "a number of bytes below 2^63, such as 1048576, 64 KiB or 5 MB";
        Self {
            what: "byte size",
            value: value.to_string(),
            expected,
        }
    }

    fn ttl(value: impl ToString) -> Self {
        let expected = "more than 0 and at most 87600 hours (ten years)";
        Self {
            what: "time to live",
            value: value.to_string(),
            expected,
        }
    }
}

/// A number of bytes that fits a signed 64-bit column.
///
/// Texts may carry a unit; `MB` and `MiB` both mean 1,048,576 bytes, as everywhere in bus.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct ByteSize(u64);

impl ByteSize {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest legal size.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// `bytes` bytes.
    ///
    /// # Errors
    /// [`UnitError`] from 2^63 on.
    pub fn new(bytes: u64) -> Result<Self, UnitError> {
        if bytes <= Self::MAX.0 {
            Ok(Self(bytes))
        } else {
            Err(UnitError::size(bytes))
        }
    }

    /// The size of something in memory, which is always legal.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(bytes.len() as u64)
    }

    /// `n` times 1,048,576 bytes; the largest legal size where that is less.
    #[must_use]
    pub const fn mib(n: u32) -> Self {
        Self((n as u64) << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for ByteSize {
    type Error = UnitError;
    fn try_from(bytes: u64) -> Result<Self, UnitError> {
        Self::new(bytes)
    }
}

impl From<ByteSize> for u64 {
    fn from(size: ByteSize) -> u64 {
        size.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let refused = || UnitError::size(text.chars().take(80).collect::<String>());
        let trimmed = text.trim();
        let digits = trimmed
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        let bytes = number.checked_mul(1 << shift).ok_or_else(refused)?;
        Self::new(bytes).map_err(|_| refused())
    }
}

impl fmt::Display for ByteSize {
    /// For people: `512 B`, `1.0 MiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

/// How long a message lives after its commit: more than nothing, at most ten years, whole
/// milliseconds. Serialised as milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Ttl(u64);

impl Ttl {
    /// Ten years of 365 days, in milliseconds.
    const MAX_MS: u64 = 87_600 * 3_600_000;

    /// `ms` milliseconds.
    ///
    /// # Errors
    /// [`UnitError`] for 0 and for more than ten years.
    pub fn from_millis(ms: u64) -> Result<Self, UnitError> {
        if (1..=Self::MAX_MS).contains(&ms) {
            Ok(Self(ms))
        } else {
            Err(UnitError::ttl(format!("{ms} ms")))
        }
    }

    /// `hours` hours, fractions allowed; rounded to a millisecond.
    ///
    /// # Errors
    /// [`UnitError`] where that is not a legal time.
    pub fn from_hours(hours: f64) -> Result<Self, UnitError> {
        Duration::try_from_secs_f64(hours * 3600.0)
            .ok()
            .and_then(|time| u64::try_from(time.as_micros().div_ceil(1000)).ok())
            .and_then(|ms| Self::from_millis(ms).ok())
            .ok_or_else(|| UnitError::ttl(hours))
    }

    /// The time in milliseconds.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The time as a duration.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Default for Ttl {
    /// 48 hours, the default of `MESSAGE_BUS_TTL_HOURS`.
    fn default() -> Self {
        Self(48 * 3_600_000)
    }
}

impl TryFrom<u64> for Ttl {
    type Error = UnitError;
    fn try_from(ms: u64) -> Result<Self, UnitError> {
        Self::from_millis(ms)
    }
}

impl From<Ttl> for u64 {
    fn from(ttl: Ttl) -> u64 {
        ttl.0
    }
}

impl FromStr for Ttl {
    type Err = UnitError;
    /// A number of hours, such as `48` or `0.5`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let hours: f64 = text
            .trim()
            .parse()
            .map_err(|_| UnitError::ttl(text.chars().take(80).collect::<String>()))?;
        Self::from_hours(hours)
    }
}
