//! Values of flags that need more than a `FromStr` of the model.

use std::{ops::Range, path::Path, str::FromStr};

use bus_model::{Digest, MessageStatus, Metadata};
use chrono::{DateTime, Utc};

/// `A-B`, `A-` or `-N`: bytes A to B, both included; from A on; the last N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InclusiveRange {
    /// From the first to the last byte, both included.
    FromTo(u64, u64),
    /// From this byte on.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

/// A text is not a range, or the payload ends before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RangeError {
    /// Not of one of the three forms.
    #[error(
        "A-B, A- or -N are expected: bytes A to B with both included, from A on, or the last N"
    )]
    Malformed,
    /// B lies before A.
    #[error("the range ends before it begins: {0}-{1}")]
    Backwards(u64, u64),
    /// Nothing of the payload lies in it.
    #[error("range {range} lies beyond the payload, which has {size} bytes")]
    Beyond {
        /// The range as it was typed.
        range: String,
        /// Size of the payload.
        size: u64,
    },
}

impl InclusiveRange {
    /// The half-open range within a payload of `size` bytes, cut at its end.
    ///
    /// # Errors
    /// [`RangeError::Beyond`] where no byte of the payload lies in it.
    pub(crate) fn within(self, size: u64) -> Result<Range<u64>, RangeError> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(size),
            Self::From(first) => first..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        if range.start < range.end {
            Ok(range)
        } else {
            Err(RangeError::Beyond {
                range: self.to_string(),
                size,
            })
        }
    }
}

impl std::fmt::Display for InclusiveRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FromTo(first, last) => write!(f, "{first}-{last}"),
            Self::From(first) => write!(f, "{first}-"),
            Self::Last(count) => write!(f, "-{count}"),
        }
    }
}

impl FromStr for InclusiveRange {
    type Err = RangeError;
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (first, last) = text.split_once('-').ok_or(RangeError::Malformed)?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits
                .then(|| text.parse().ok())
                .flatten()
                .ok_or(RangeError::Malformed)
        };
        match (first, last) {
            ("", last) => match number(last)? {
                0 => Err(RangeError::Malformed),
                count => Ok(Self::Last(count)),
            },
            (first, "") => Ok(Self::From(number(first)?)),
            (first, last) => match (number(first)?, number(last)?) {
                (first, last) if last < first => Err(RangeError::Backwards(first, last)),
                (first, last) => Ok(Self::FromTo(first, last)),
            },
        }
    }
}

/// Which statuses `ls` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusFilter {
    /// Only this one.
    Only(MessageStatus),
    /// Every one.
    All,
}

impl StatusFilter {
    /// As a query takes it.
    pub(crate) fn status(self) -> Option<MessageStatus> {
        match self {
            Self::Only(status) => Some(status),
            Self::All => None,
        }
    }
}

/// A status that is not known.
#[derive(Debug, thiserror::Error)]
#[error("complete, pending, error, expired or all are expected")]
pub(crate) struct StatusFilterError;

impl FromStr for StatusFilter {
    type Err = StatusFilterError;
    fn from_str(text: &str) -> Result<Self, StatusFilterError> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.parse().map(Self::Only).map_err(|_| StatusFilterError)
    }
}

/// The file that output goes to; `None` for stdout, which `-` names too.
pub(super) fn named_file(output: Option<&Path>) -> Option<&Path> {
    output.filter(|path| path.as_os_str() != "-")
}

/// A JSON object.
pub(super) fn parse_metadata(text: &str) -> Result<Metadata, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("a JSON object such as {{\"job\":7}} is expected: {error}"))
}

/// A time such as `2026-01-31T12:00:00Z`.
pub(super) fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|_| "a time such as 2026-01-31T12:00:00Z is expected".to_owned())
}

/// An origin as browsers send it: `https://tools.example`, with a port where it is not the usual.
pub(super) fn parse_origin(text: &str) -> Result<String, String> {
    let refused = || "an origin such as https://tools.example[:PORT] is expected".to_owned();
    let (scheme, authority) = text.split_once("://").ok_or_else(refused)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    // Of an IPv6 address the colons are not the port's.
    let after_name = authority.rfind(']').unwrap_or(0);
    let (name, port) = match authority[after_name..].find(':') {
        Some(colon) => authority.split_at(after_name + colon),
        None => (authority, ""),
    };
    let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        && !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b))
        && port
            .strip_prefix(':')
            .is_none_or(|port| port.parse::<u16>().is_ok());
    legal.then(|| text.to_owned()).ok_or_else(refused)
}

/// A SHA-256 in hexadecimal.
pub(super) fn parse_digest(text: &str) -> Result<Digest, String> {
    text.to_ascii_lowercase()
        .parse()
        .map_err(|_| "64 hexadecimal digits are expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_a_scheme_and_a_host() {
        for good in [
            "https://tools.example",
            "http://127.0.0.1:3000/",
            "http://[::1]:80",
            "moz-extension://a-b",
        ] {
            assert_eq!(parse_origin(good).as_deref(), Ok(good));
        }
        for bad in [
            "foo",
            "foo:80",
            "://x",
            "http://",
            "http://x/y",
            "http://x:y",
            "*",
        ] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        let within = |text: &str, size| text.parse::<InclusiveRange>().unwrap().within(size);
        assert_eq!(within("0-0", 10), Ok(0..1));
        assert_eq!(within("0-9", 10), Ok(0..10));
        assert_eq!(within("3-99", 10), Ok(3..10));
        assert_eq!(within("9-", 10), Ok(9..10));
        assert_eq!(within("-4", 10), Ok(6..10));
        assert_eq!(within("-99", 10), Ok(0..10));
        assert_eq!(within("0-18446744073709551615", 10), Ok(0..10));
    }

    #[test]
    fn a_range_beyond_the_end_says_so() {
        let error = "10-12"
            .parse::<InclusiveRange>()
            .unwrap()
            .within(10)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "range 10-12 lies beyond the payload, which has 10 bytes"
        );
        assert!("-1".parse::<InclusiveRange>().unwrap().within(0).is_err());
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for bad in [
            "",
            "-",
            "5",
            "a-b",
            "1-b",
            "+1-2",
            "1--2",
            "-0",
            "1 - 2",
            "99999999999999999999-",
        ] {
            assert_eq!(
                bad.parse::<InclusiveRange>(),
                Err(RangeError::Malformed),
                "{bad:?}"
            );
        }
        assert_eq!(
            "5-4".parse::<InclusiveRange>(),
            Err(RangeError::Backwards(5, 4))
        );
    }
}
