//! The ids and names of a message. Each is checked once, when it is made.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a legal id or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not legal: {expected}")]
pub struct IdError {
    /// Which kind of id was refused, such as `transaction id`.
    pub what: &'static str,
    /// The refused text, cut to 160 characters.
    pub value: String,
    /// What is allowed.
    pub expected: &'static str,
}

impl IdError {
    fn new(what: &'static str, value: &str, expected: &'static str) -> Self {
        Self {
            what,
            value: value.chars().take(160).collect(),
            expected,
        }
    }
}

/// Declares a checked text type with the usual conversions.
macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident, $what:literal, $expected:literal, $legal:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Cow<'_, str>", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`IdError`] naming the text and what is allowed.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                let text = text.as_ref();
                let legal: fn(&str) -> bool = $legal;
                if legal(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::new($what, text, $expected))
                }
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

        impl TryFrom<Cow<'_, str>> for $name {
            type Error = IdError;
            fn try_from(text: Cow<'_, str>) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// The idempotency key of a message within its principal: `[A-Za-z0-9._-]{1,128}`.
    ///
    /// Neither `.` nor `..`, which a URL could never name: clients take them for folders.
    ///
    /// The ones that we mint are `txn_` and 32 hexadecimal digits ([`TransactionId::mint`]).
    TransactionId,
    "transaction id",
    "1 to 128 characters of A-Z a-z 0-9 . _ -, and neither . nor ..",
    |text| {
        (1..=128).contains(&text.len())
            && !matches!(text, "." | "..")
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
);

impl TransactionId {
    /// A new id, `txn_` and 32 hexadecimal digits, as the original made them.
    #[must_use]
    pub fn mint() -> Self {
        Self(format!("txn_{}", Uuid::new_v4().simple()).into())
    }
}

text_id!(
    /// Who owns a message: `default` where there is one token or none.
    Principal,
    "principal",
    "1 to 128 visible ASCII characters",
    |text| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
);

impl Default for Principal {
    fn default() -> Self {
        Self("default".into())
    }
}

/// 1 to 256 bytes without control characters.
fn is_name(text: &str) -> bool {
    (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
}

text_id!(
    /// The session that a message belongs to, as its client named it.
    SessionId,
    "session id",
    "1 to 256 bytes without control characters",
    is_name
);

text_id!(
    /// The tool that produced a message.
    ToolName,
    "tool name",
    "1 to 256 bytes without control characters",
    is_name
);

text_id!(
    /// The provider behind the tool; `unknown` by default, as in the original.
    ProviderName,
    "provider name",
    "1 to 256 bytes without control characters",
    is_name
);

impl Default for ProviderName {
    fn default() -> Self {
        Self("unknown".into())
    }
}

text_id!(
    /// The media type of a payload, such as `application/json`.
    ContentType,
    "content type",
    "a media type of at most 256 visible ASCII characters, such as application/json",
    |text| {
        text.len() <= 256
            && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
            && text.split_once('/').is_some_and(|(kind, rest)| {
                let token = |t: &str| {
                    !t.is_empty()
                        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
                };
                token(kind) && token(rest.split(';').next().unwrap_or_default().trim_end())
            })
    }
);

impl ContentType {
    /// `application/json`.
    #[must_use]
    pub fn json() -> Self {
        Self("application/json".into())
    }

    /// `text/plain; charset=utf-8`.
    #[must_use]
    pub fn text() -> Self {
        Self("text/plain; charset=utf-8".into())
    }

    /// `application/octet-stream`.
    #[must_use]
    pub fn octets() -> Self {
        Self("application/octet-stream".into())
    }
}

impl Default for ContentType {
    fn default() -> Self {
        Self::octets()
    }
}

/// Our own id of a message, a UUIDv7: it names chunks and files, and sorts by time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new id.
    #[must_use]
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for MessageId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MessageId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| IdError::new("message id", text, "a UUID"))
    }
}

/// What a message is found by: its transaction id within its principal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageKey {
    /// Who owns the message.
    pub principal: Principal,
    /// The idempotency key.
    pub transaction_id: TransactionId,
}

impl MessageKey {
    /// The key of `transaction_id` within `principal`.
    #[must_use]
    pub fn new(principal: Principal, transaction_id: TransactionId) -> Self {
        Self {
            principal,
            transaction_id,
        }
    }
}

impl fmt::Display for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.principal, self.transaction_id)
    }
}
