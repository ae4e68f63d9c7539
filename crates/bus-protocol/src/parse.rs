//! From text to frames: strict, with the answers of the original.

use std::borrow::Cow;

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

/// Why a message is not a frame. `Display` is what the daemon answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON at all.
    #[error("invalid_json")]
    InvalidJson,
    /// A frame of an unknown kind; the text is cut to 80 characters.
    #[error("Unknown op: {0}")]
    UnknownOp(String),
    /// A frame of a known kind that is badly built.
    #[error("invalid_message: {0}")]
    Invalid(String),
}

/// The part of a frame that says what it is.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    op: Option<Cow<'a, RawValue>>,
}

/// What kind of frame `message` is.
pub(crate) fn op_of(message: &[u8]) -> Result<String, FrameError> {
    let invalid = |text: &str| FrameError::Invalid(text.to_owned());
    if message.trim_ascii_start().first() != Some(&b'{') {
        // serde would take a list for a struct, so what is no object stops here.
        return Err(match serde_json::from_slice::<IgnoredAny>(message) {
            Ok(_) => invalid("a frame is a JSON object"),
            Err(_) => FrameError::InvalidJson,
        });
    }
    let envelope: Envelope<'_> = serde_json::from_slice(message).map_err(|error| {
        if error.is_data() {
            FrameError::Invalid(describe(&error))
        } else {
            FrameError::InvalidJson
        }
    })?;
    let op = envelope.op.ok_or_else(|| invalid("op is missing"))?;
    serde_json::from_str(op.get()).map_err(|_| unknown(op.get()))
}

/// The error for an op that nobody knows.
pub(crate) fn unknown(op: &str) -> FrameError {
    FrameError::UnknownOp(op.chars().take(80).collect())
}

/// The fields of a frame whose op is known.
pub(crate) fn fields<T: DeserializeOwned>(message: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(message).map_err(|error| FrameError::Invalid(describe(&error)))
}

/// What is wrong, cut to a length that fits a short answer.
fn describe(error: &serde_json::Error) -> String {
    error.to_string().chars().take(300).collect()
}
