//! The JSON that travels: the only module that knows its keys.
//!
//! `request` is a text that holds a JSON object, and so is every answer; nothing on the way looks
//! inside. Numbers in there are never made floats, times are milliseconds since 1970, UTC.

mod answered;
mod asked;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bus_store::{StoreError, StoreErrorKind as Kind};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use self::{
    answered::{Answer, CheckRow, Outcome, PurgedRow, StatsRow, lacking, time},
    asked::{IdRow, KeyRow, KeysRow, ListRow, NewRow, PurgeRow, WriterRow},
};
use crate::errors::Call;

/// `{"request": "..."}`.
pub(crate) fn body_of(request: &str) -> Result<Bytes, StoreError> {
    #[derive(Serialize)]
    struct Body<'a> {
        request: &'a str,
    }
    Ok(serde_json::to_vec(&Body { request })
        .map_err(unsendable)?
        .into())
}

/// `{"request": "...", "body": "base64 of bytes"}`, made in one buffer. CPU work.
pub(crate) fn body_with(request: &str, bytes: &[u8]) -> Result<Bytes, StoreError> {
    let encoded = base64::encoded_len(bytes.len(), true).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(encoded.saturating_add(request.len() * 2 + 64));
    out.extend_from_slice(br#"{"request":"#);
    serde_json::to_writer(&mut out, request).map_err(unsendable)?;
    out.extend_from_slice(br#","body":""#);
    let start = out.len();
    out.resize(start + encoded, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut out[start..])
        .map_err(|error| {
            StoreError::new(Kind::Internal, "a chunk could not be encoded").with_source(error)
        })?;
    out.truncate(start + written);
    out.extend_from_slice(br#""}"#);
    Ok(out.into())
}

/// The text of a request.
pub(crate) fn text_of(request: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(request).map_err(unsendable)
}

/// The object inside the text that a function answered.
pub(crate) fn answer_of<T: DeserializeOwned>(call: Call, body: &[u8]) -> Result<T, StoreError> {
    let text: String = serde_json::from_slice(body).map_err(|error| unreadable(call, error))?;
    serde_json::from_str(&text).map_err(|error| unreadable(call, error))
}

/// The text that a function answered.
pub(crate) fn text_in(call: Call, body: &[u8]) -> Result<String, StoreError> {
    serde_json::from_slice(body).map_err(|error| unreadable(call, error))
}

fn unsendable(error: serde_json::Error) -> StoreError {
    StoreError::new(Kind::Internal, "a request could not be written").with_source(error)
}

fn unreadable(call: Call, error: serde_json::Error) -> StoreError {
    StoreError::new(
        Kind::Internal,
        format!(
            "the answer to {call} is not one of bus's functions: run `bus migrate` and `bus doctor`"
        ),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_whatever_it_holds() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in [0, 1, 2, 3, 255] {
            let body = body_with(r#"{"a":"\u0000 \" ü"}"#, &bytes[..len]).expect("a body");
            let back: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(back["request"], r#"{"a":"\u0000 \" ü"}"#);
            let text = back["body"].as_str().expect("a text");
            assert_eq!(STANDARD.decode(text).expect("base64"), &bytes[..len]);
        }
    }
}
