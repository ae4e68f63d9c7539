//! `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14.2), pure.
//!
//! Only a single range of bytes is served as a part. What a server may answer in full is answered
//! in full: several ranges at once, an unknown unit, a field that is not well formed.

use std::ops::Range;

/// What a `Range` field asks of a representation of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The whole representation: there is no range, or none that is served as a part.
    Whole,
    /// These bytes; never empty, never beyond the end.
    Part(Range<u64>),
    /// Well formed, and wholly beyond the end: 416.
    Unsatisfiable,
}

/// Reads the value of a `Range` field for a representation of `size` bytes.
pub(crate) fn parse(field: &str, size: u64) -> Wanted {
    let Some((unit, set)) = field.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut specs = set.split(',').map(str::trim).filter(|s| !s.is_empty());
    match (specs.next(), specs.next()) {
        (Some(only), None) => one(only, size),
        _ => Wanted::Whole,
    }
}

/// Whether `If-Range` lets the range through: the strong tag must be the current one. A weak tag
/// or a date never does, since no date is ever sent.
pub(crate) fn if_range_holds(field: Option<&str>, etag: &str) -> bool {
    field.is_none_or(|field| field.trim() == etag)
}

/// The value of `Content-Range` for `part` of `size` bytes.
pub(crate) fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

/// The value of `Content-Range` beside a 416.
pub(crate) fn unsatisfied_range(size: u64) -> String {
    format!("bytes */{size}")
}

fn one(spec: &str, size: u64) -> Wanted {
    let Some((first, last)) = spec.split_once('-') else {
        return Wanted::Whole;
    };
    let (first, last) = match (first, last) {
        ("", tail) => return number(tail).map_or(Wanted::Whole, |tail| suffix(tail, size)),
        (first, "") => (number(first), Some(u64::MAX)),
        (first, last) => (number(first), number(last)),
    };
    match (first, last) {
        (Some(first), Some(last)) if first > last => Wanted::Whole,
        (Some(first), Some(_)) if first >= size => Wanted::Unsatisfiable,
        (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
        _ => Wanted::Whole,
    }
}

/// The last `tail` bytes.
fn suffix(tail: u64, size: u64) -> Wanted {
    match (tail, size) {
        (0, _) => Wanted::Unsatisfiable,
        // The tail of nothing is all of it: an empty part cannot be written down.
        (_, 0) => Wanted::Whole,
        _ => Wanted::Part(size.saturating_sub(tail)..size),
    }
}

/// A number of digits only; one too large for 64 bits is the largest there is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("bytes=0-0", 10, Wanted::Part(0..1))]
    #[case("bytes=0-9", 10, Wanted::Part(0..10))]
    #[case("bytes=3-", 10, Wanted::Part(3..10))]
    #[case("bytes=-3", 10, Wanted::Part(7..10))]
    #[case("bytes=-30", 10, Wanted::Part(0..10))]
    #[case("bytes=5-500", 10, Wanted::Part(5..10))]
    #[case("BYTES= 5-6 ", 10, Wanted::Part(5..7))]
    #[case("bytes=5-99999999999999999999999", 10, Wanted::Part(5..10))]
    #[case("bytes=,4-5,", 10, Wanted::Part(4..6))]
    #[case("bytes=10-", 10, Wanted::Unsatisfiable)]
    #[case("bytes=10-12", 10, Wanted::Unsatisfiable)]
    #[case("bytes=99999999999999999999999-", 10, Wanted::Unsatisfiable)]
    #[case("bytes=-0", 10, Wanted::Unsatisfiable)]
    #[case("bytes=0-", 0, Wanted::Unsatisfiable)]
    #[case("bytes=-5", 0, Wanted::Whole)]
    #[case("bytes=0-1,3-4", 10, Wanted::Whole)]
    #[case("bytes=6-5", 10, Wanted::Whole)]
    #[case("bytes=-", 10, Wanted::Whole)]
    #[case("bytes=", 10, Wanted::Whole)]
    #[case("bytes", 10, Wanted::Whole)]
    #[case("", 10, Wanted::Whole)]
    #[case("bytes=a-b", 10, Wanted::Whole)]
    #[case("bytes=1-b", 10, Wanted::Whole)]
    #[case("bytes=+1-2", 10, Wanted::Whole)]
    #[case("bytes=0x1-2", 10, Wanted::Whole)]
    #[case("bytes=--5", 10, Wanted::Whole)]
    #[case("bytes=1 - 2", 10, Wanted::Whole)]
    #[case("lines=0-1", 10, Wanted::Whole)]
    fn a_range_field(#[case] field: &str, #[case] size: u64, #[case] wanted: Wanted) {
        assert_eq!(parse(field, size), wanted);
    }

    #[rstest]
    #[case(None, true)]
    #[case(Some("\"a\""), true)]
    #[case(Some("W/\"a\""), false)]
    #[case(Some("\"b\""), false)]
    #[case(Some("Sun, 22 Nov 2026 00:00:00 GMT"), false)]
    fn if_range(#[case] field: Option<&str>, #[case] holds: bool) {
        assert_eq!(if_range_holds(field, "\"a\""), holds);
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic_or_leave_the_payload(field in ".{0,60}", size: u64) {
            if let Wanted::Part(part) = parse(&field, size) {
                prop_assert!(part.start < part.end && part.end <= size);
            }
        }

        #[test]
        fn every_legal_range_is_what_it_says(size in 1_u64.., a: u64, b: u64) {
            let (first, last) = (a.min(b), a.max(b));
            let wanted = parse(&format!("bytes={first}-{last}"), size);
            if first >= size {
                prop_assert_eq!(wanted, Wanted::Unsatisfiable);
            } else {
                let end = last.saturating_add(1).min(size);
                prop_assert_eq!(wanted, Wanted::Part(first..end));
            }
        }
    }
}
