//! The names and texts that the records are made of. Each is checked once, when it is made.

use std::{borrow::Cow, fmt, str::FromStr};

use bus_model::IdError;
use serde::{Deserialize, Serialize};

/// Declares a checked text type with the usual conversions.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident, $what:literal, $most:literal, $expected:literal, $legal:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Cow<'static, str>);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`IdError`] naming the text and what is allowed.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                let legal: fn(u8) -> bool = $legal;
                if (1..=$most).contains(&text.len()) && text.bytes().all(legal) {
                    return Ok(Self(Cow::Owned(text.to_owned())));
                }
                Err(IdError {
                    what: $what,
                    value: text.chars().take(160).collect(),
                    expected: $expected,
                })
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into_owned()
            }
        }
    };
}

fn is_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

name!(
    /// A client's own id of a history entry, which makes appending it again harmless. Unique within
    /// its conversation.
    EntryId,
    "entry id",
    128,
    "1 to 128 characters of A-Z a-z 0-9 . _ -",
    is_id
);

impl EntryId {
    /// A new id, `ent_` and 32 hexadecimal digits.
    #[must_use]
    pub fn mint() -> Self {
        Self(Cow::Owned(format!("ent_{}", uuid::Uuid::new_v4().simple())))
    }
}

name!(
    /// Who said something: an open set, with the usual ones as constants.
    Role,
    "role",
    64,
    "1 to 64 characters of A-Z a-z 0-9 _ -, such as user or assistant",
    is_word
);

impl Role {
    /// The person.
    pub const USER: Self = Self(Cow::Borrowed("user"));
    /// The model.
    pub const ASSISTANT: Self = Self(Cow::Borrowed("assistant"));
    /// Whoever set the conversation up.
    pub const SYSTEM: Self = Self(Cow::Borrowed("system"));
    /// A tool.
    pub const TOOL: Self = Self(Cow::Borrowed("tool"));
}

name!(
    /// The name of a preference.
    PreferenceName,
    "preference name",
    128,
    "1 to 128 characters of A-Z a-z 0-9 . _ -",
    is_id
);

name!(
    /// How a result travelled, or a step that was tried or skipped on the way: an open set.
    RouteTaken,
    "route",
    64,
    "1 to 64 characters of A-Z a-z 0-9 _ -, such as inline or claim",
    is_word
);

impl RouteTaken {
    /// In one frame.
    pub const INLINE: Self = Self(Cow::Borrowed("inline"));
    /// As a claim on the store.
    pub const CLAIM: Self = Self(Cow::Borrowed("claim"));
    /// As a claim on the spool beside the store.
    pub const SPOOL: Self = Self(Cow::Borrowed("spool"));
    /// In chunks, as messages of their own.
    pub const CHUNKED: Self = Self(Cow::Borrowed("chunked"));
    /// Not at all: an error was answered, or nobody was there any more.
    pub const NONE: Self = Self(Cow::Borrowed("none"));

    /// A route that is known when the program is written; `none` where the word is not legal.
    #[must_use]
    pub fn known(word: &'static str) -> Self {
        Self::new(word).unwrap_or(Self::NONE)
    }
}

name!(
    /// What came of a call: `ok`, or an error code.
    Outcome,
    "outcome",
    64,
    "1 to 64 characters of A-Z a-z 0-9 _ -, such as ok or EXEC_ERROR",
    is_word
);

impl Outcome {
    /// The call succeeded and was answered.
    pub const OK: Self = Self(Cow::Borrowed("ok"));

    /// An outcome that is known when the program is written; `unknown` where it is not legal.
    #[must_use]
    pub fn known(word: &'static str) -> Self {
        Self::new(word).unwrap_or(Self(Cow::Borrowed("unknown")))
    }

    /// Whether the call succeeded.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.0 == "ok"
    }
}

/// A text of an audit entry: any characters, cut to [`AuditText::MAX_BYTES`], so that writing one
/// never fails for its length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(from = "String", into = "String")]
pub struct AuditText(String);

impl AuditText {
    /// The longest text, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 2048;

    /// `text`, cut at a character where it is too long.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(Self::MAX_BYTES));
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for AuditText {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for AuditText {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<AuditText> for String {
    fn from(text: AuditText) -> String {
        text.0
    }
}

impl fmt::Display for AuditText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character() {
        let long = "é".repeat(AuditText::MAX_BYTES);
        let cut = AuditText::new(format!("x{long}"));
        assert_eq!(cut.as_str().len(), AuditText::MAX_BYTES - 1);
        assert_eq!(AuditText::new("a\0b").as_str(), "a\0b");
    }

    #[test]
    fn names_say_what_is_allowed() {
        assert!(PreferenceName::new("ui.theme-2_x").is_ok());
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(PreferenceName::new(bad).is_err(), "{bad}");
        }
        let error = Role::new("the user").unwrap_err().to_string();
        assert!(error.contains("such as user"), "{error}");
        assert_eq!(Role::new("user").unwrap(), Role::USER);
    }

    #[test]
    fn the_known_routes_are_legal() {
        for route in [
            RouteTaken::INLINE,
            RouteTaken::CLAIM,
            RouteTaken::SPOOL,
            RouteTaken::CHUNKED,
            RouteTaken::NONE,
        ] {
            assert_eq!(RouteTaken::new(route.as_str()).unwrap(), route);
        }
    }
}
