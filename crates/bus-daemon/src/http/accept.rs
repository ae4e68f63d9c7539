//! Which form of a payload a client gets: `Accept-Encoding` (RFC 9110, section 12.5.3) and our
//! own `Bus-Accept-Frames`, pure.
//!
//! A body of several chunks is several zstd frames or gzip members. Several HTTP clients stop
//! after the first one and report no error, so such a body is sent as it is stored only to a
//! client that says, by a header that nobody sends by accident, that it decodes all of them.

use bus_model::CompressionType;

/// The largest window that every decoder of the content coding zstd takes (RFC 9659): 8 MiB. The
/// window of a frame is never larger than what it holds.
const ZSTD_WINDOW: u64 = 8 << 20;

/// The form of a payload that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The payload's own bytes.
    Decoded,
    /// The stored bytes as they are, under `Content-Encoding`.
    Stored,
}

/// What the client said about encodings.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Accepts<'a> {
    /// The value of `Accept-Encoding`.
    pub(crate) encoding: Option<&'a str>,
    /// The value of `Bus-Accept-Frames`.
    pub(crate) frames: Option<&'a str>,
}

impl Accepts<'_> {
    /// The form for a payload of `size` bytes in `chunks` chunks stored as `stored`; `None` where
    /// the client refuses the decoded bytes and nothing else can be sent (406).
    pub(crate) fn choose(self, stored: CompressionType, chunks: u32, size: u64) -> Option<Form> {
        let Some(coding) = stored.content_coding() else {
            return self.takes_decoded().then_some(Form::Decoded);
        };
        if self.takes_frames(coding) {
            return Some(Form::Stored);
        }
        let wishes = Wishes::parse(self.encoding.unwrap_or_default());
        let identity = wishes.identity();
        let wished = match wishes.of(coding) {
            Some(weight) => weight > 0 && weight >= wishes.named("identity").unwrap_or(0),
            // Whoever takes anything gets the plain bytes, unless those are refused.
            None => identity == 0 && wishes.any.is_some_and(|weight| weight > 0),
        };
        let fits = stored != CompressionType::Zstd || size <= ZSTD_WINDOW;
        if wished && fits && chunks == 1 {
            Some(Form::Stored)
        } else {
            (identity > 0).then_some(Form::Decoded)
        }
    }

    /// Whether the client takes the payload's own bytes.
    pub(crate) fn takes_decoded(self) -> bool {
        Wishes::parse(self.encoding.unwrap_or_default()).identity() > 0
    }

    fn takes_frames(self, coding: &str) -> bool {
        self.frames.is_some_and(|list| {
            list.split(',')
                .any(|name| name.trim().eq_ignore_ascii_case(coding))
        })
    }
}

/// An `Accept-Encoding` field, weights in thousandths.
struct Wishes<'a> {
    named: Vec<(&'a str, u16)>,
    any: Option<u16>,
}

impl<'a> Wishes<'a> {
    /// Elements that are not well formed count as refused.
    fn parse(field: &'a str) -> Self {
        let mut wishes = Self {
            named: Vec::new(),
            any: None,
        };
        for element in field.split(',').map(str::trim).filter(|e| !e.is_empty()) {
            let mut parts = element.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight = parts.next().map_or(Some(1000), weight).unwrap_or(0);
            if name == "*" {
                wishes.any = Some(weight);
            } else {
                wishes.named.push((name, weight));
            }
        }
        wishes
    }

    /// The weight given to `coding` by name.
    fn named(&self, coding: &str) -> Option<u16> {
        self.named
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(coding))
            .map(|(_, weight)| *weight)
    }

    /// The same; `x-gzip` is gzip.
    fn of(&self, coding: &str) -> Option<u16> {
        self.named(coding)
            .or_else(|| (coding == "gzip").then(|| self.named("x-gzip")).flatten())
    }

    /// The weight of the plain bytes, which are acceptable unless refused by name or by `*`.
    fn identity(&self) -> u16 {
        self.named("identity").or(self.any).unwrap_or(1)
    }
}

/// `q=0.5` in thousandths; `None` where it is not a weight.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match (whole, thousandths) {
        ("0", t) => Some(t),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const DECODED: Option<Form> = Some(Form::Decoded);
    const STORED: Option<Form> = Some(Form::Stored);

    #[rstest]
    #[case(None, DECODED)]
    #[case(Some(""), DECODED)]
    #[case(Some("zstd"), STORED)]
    #[case(Some("ZSTD"), STORED)]
    #[case(Some("gzip, zstd;q=0.001"), STORED)]
    #[case(Some("gzip, deflate, br"), DECODED)]
    #[case(Some("zstd;q=0"), DECODED)]
    #[case(Some("zstd;q=0.0"), DECODED)]
    #[case(Some("zstd;q=0.000"), DECODED)]
    #[case(Some("zstd;q=0.5, identity"), DECODED)]
    #[case(Some("zstd, identity;q=0.5"), STORED)]
    #[case(Some("*"), DECODED)]
    #[case(Some("identity;q=0, *"), STORED)]
    #[case(Some("*;q=0"), None)]
    #[case(Some("zstd, *;q=0"), STORED)]
    #[case(Some("identity;q=0"), None)]
    #[case(Some("identity;q=0, gzip"), None)]
    #[case(Some("zstd;q=nonsense"), DECODED)]
    #[case(Some("zstd;q=1.5"), DECODED)]
    #[case(Some("zstd;level=3"), DECODED)]
    fn one_zstd_chunk(#[case] encoding: Option<&str>, #[case] form: Option<Form>) {
        let accepts = Accepts {
            encoding,
            frames: None,
        };
        assert_eq!(accepts.choose(CompressionType::Zstd, 1, 4000), form);
    }

    #[rstest]
    #[case(Some("zstd"), None, DECODED)]
    #[case(Some("zstd, identity;q=0"), None, None)]
    #[case(None, Some("zstd, gzip"), STORED)]
    #[case(Some("identity"), Some("ZSTD"), STORED)]
    #[case(None, Some("gzip"), DECODED)]
    #[case(None, Some(""), DECODED)]
    fn several_zstd_chunks(
        #[case] encoding: Option<&str>,
        #[case] frames: Option<&str>,
        #[case] form: Option<Form>,
    ) {
        let accepts = Accepts { encoding, frames };
        assert_eq!(accepts.choose(CompressionType::Zstd, 3, 4000), form);
    }

    #[rstest]
    #[case("x-gzip", STORED)]
    #[case("gzip", STORED)]
    #[case("zstd", DECODED)]
    fn one_gzip_chunk(#[case] field: &str, #[case] form: Option<Form>) {
        let accepts = Accepts {
            encoding: Some(field),
            frames: None,
        };
        assert_eq!(accepts.choose(CompressionType::Gzip, 1, 4000), form);
    }

    #[test]
    fn raw_bytes_have_one_form() {
        let all = Accepts {
            encoding: Some("zstd, gzip"),
            frames: Some("zstd, gzip"),
        };
        assert_eq!(all.choose(CompressionType::None, 4, 4000), DECODED);
        let none = Accepts {
            encoding: Some("identity;q=0"),
            frames: None,
        };
        assert_eq!(none.choose(CompressionType::None, 1, 4000), None);
    }

    proptest! {
        #[test]
        fn no_field_makes_it_panic(encoding in ".{0,80}", frames in ".{0,40}", chunks in 1_u32..9) {
            let accepts = Accepts { encoding: Some(&encoding), frames: Some(&frames) };
            for stored in CompressionType::ALL {
                let _ = accepts.choose(stored, chunks, 4000);
            }
        }

        #[test]
        fn nothing_but_our_header_sends_several_frames(encoding in "[a-z0-9*;=., -]{0,60}") {
            let accepts = Accepts { encoding: Some(&encoding), frames: None };
            prop_assert_ne!(accepts.choose(CompressionType::Zstd, 2, 4000), Some(Form::Stored));
        }
    }
}
