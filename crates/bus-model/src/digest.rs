//! SHA-256 digests (FIPS 180-4) and an incremental hasher.

use std::{borrow::Cow, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

const MEMBER: &str = "sha-256=:BASE64: is expected, with the base64 of 32 bytes";

/// A SHA-256 digest. Shown, parsed and serialised as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct Digest([u8; 32]);

/// A text is not a digest in the form that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a SHA-256 digest: {expected}")]
pub struct DigestParseError {
    text: String,
    expected: &'static str,
}

impl DigestParseError {
    /// What is shown of the text is bounded: it may come from anywhere.
    fn new(text: &str, expected: &'static str) -> Self {
        let text = text.chars().take(80).collect();
        Self { text, expected }
    }
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes of the digest.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest as an RFC 9530 `Repr-Digest` member: `sha-256=:…base64…:`.
    #[must_use]
    pub fn to_repr_digest(&self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }

    /// The `sha-256` member of an RFC 9530 `Repr-Digest` or `Content-Digest` field; `None` where
    /// the field has none.
    ///
    /// # Errors
    /// [`DigestParseError`] where the field has a `sha-256` member that is not 32 bytes of base64.
    pub fn from_repr_digest(field: &str) -> Result<Option<Self>, DigestParseError> {
        for member in field.split(',') {
            let Some((name, value)) = member.trim().split_once('=') else {
                continue;
            };
            if name.trim() != "sha-256" {
                continue;
            }
            let refused = || DigestParseError::new(member.trim(), MEMBER);
            let inner = value
                .trim()
                .strip_prefix(':')
                .and_then(|v| v.strip_suffix(':'))
                .ok_or_else(refused)?;
            let bytes = STANDARD.decode(inner).map_err(|_| refused())?;
            return Ok(Some(Self(bytes.try_into().map_err(|_| refused())?)));
        }
        Ok(None)
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestParseError;
    fn from_str(text: &str) -> Result<Self, DigestParseError> {
        let refused = || DigestParseError::new(text, "64 hexadecimal digits are expected");
        if text.len() != 64 || !text.is_ascii() {
            return Err(refused());
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let nibble = |c: u8| char::from(c).to_digit(16);
            let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
                return Err(refused());
            };
            *byte = u8::try_from(high * 16 + low).map_err(|_| refused())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<Cow<'_, str>> for Digest {
    type Error = DigestParseError;
    fn try_from(text: Cow<'_, str>) -> Result<Self, DigestParseError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// An incremental SHA-256.
#[derive(Debug, Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
