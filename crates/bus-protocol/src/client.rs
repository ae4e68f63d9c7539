//! What a client sends.

use std::{borrow::Cow, fmt};

use bus_model::SessionId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    codes::close,
    parse::{FrameError, fields, op_of, unknown},
};

/// A frame from a client. Keys that are not known are ignored, so that newer clients may say more.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Opens a session; must come first.
    Hello(Hello),
    /// Asks for the tools.
    ListTools {},
    /// Calls a tool.
    CallTool(CallTool),
    /// Asks how the daemon is.
    Health {},
    /// Replaces the token.
    RotateToken(RotateToken),
}

impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`], whose `Display` is what the original answers. The connection is kept.
    pub fn parse(message: &[u8]) -> Result<Self, FrameError> {
        let op = op_of(message)?;
        Ok(match op.as_str() {
            "hello" => Self::Hello(fields(message)?),
            "list_tools" => Self::ListTools {},
            "call_tool" => Self::CallTool(fields(message)?),
            "health" => Self::Health {},
            "rotate_token" => Self::RotateToken(fields(message)?),
            _ => return Err(unknown(&op)),
        })
    }

    /// The frame as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames have string keys only")
    }
}

/// Opens a session.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hello {
    /// The daemon's token, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The name that the client gives its session; the daemon makes one up where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
}

impl Hello {
    /// Reads the first message of a connection, which must be a hello.
    ///
    /// # Errors
    /// [`HelloError`], which names the answer and the close code.
    pub fn parse(message: &[u8]) -> Result<Self, HelloError> {
        match op_of(message) {
            Ok(op) if op == "hello" => {
                fields(message).map_err(|error| HelloError::Invalid(error.to_string()))
            }
            Err(FrameError::InvalidJson) => Err(HelloError::Invalid("not JSON".to_owned())),
            _ => Err(HelloError::Missing),
        }
    }
}

/// Why a first message opens no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It is not JSON, or a hello that is badly built.
    #[error("the hello cannot be read: {0}")]
    Invalid(String),
    /// It is another frame.
    #[error("the first message is not a hello")]
    Missing,
}

impl HelloError {
    /// What `error` of the `hello_ack` says.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_hello",
            Self::Missing => "missing_hello",
        }
    }

    /// What the connection is closed with.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Invalid(_) => close::INVALID_HELLO,
            Self::Missing => close::MISSING_HELLO,
        }
    }
}

/// Calls a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallTool {
    /// The client's own id of the call, which makes repeating it safe.
    pub request_id: RequestId,
    /// The tool.
    pub name: String,
    /// Its arguments; none where the key is missing or null.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub arguments: Map<String, Value>,
}

fn null_is_empty<'de, D>(deserializer: D) -> Result<Map<String, Value>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Replaces the token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RotateToken {
    /// The token until now.
    pub old: Token,
    /// The token from now on.
    pub new: Token,
}

/// A token in a frame. A secret: not in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A client's own id of a call: 1 to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Cow<'_, str>", into = "String")]
pub struct RequestId(Box<str>);

/// A text is empty or too long for a request id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a request_id has 1 to 256 bytes, not {bytes}")]
pub struct RequestIdError {
    bytes: usize,
}

impl RequestId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`RequestIdError`] for an empty text and for one of more than 256 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, RequestIdError> {
        let text = text.as_ref();
        if (1..=256).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(RequestIdError { bytes: text.len() })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<Cow<'_, str>> for RequestId {
    type Error = RequestIdError;
    fn try_from(text: Cow<'_, str>) -> Result<Self, RequestIdError> {
        Self::new(text)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> String {
        id.0.into()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_token() {
        let hello = Hello::parse(br#"{"op":"hello","token":"hunter2"}"#).unwrap();
        assert_eq!(hello.token.as_ref().unwrap().expose(), "hunter2");
        assert!(!format!("{hello:?}").contains("hunter2"));
    }

    #[test]
    fn arguments_may_be_missing_or_null() {
        for text in [
            r#"{"op":"call_tool","request_id":"a","name":"echo"}"#,
            r#"{"op":"call_tool","request_id":"a","name":"echo","arguments":null}"#,
        ] {
            let ClientFrame::CallTool(call) = ClientFrame::parse(text.as_bytes()).unwrap() else {
                panic!("{text} is no call");
            };
            assert!(call.arguments.is_empty());
        }
    }
}
