//! Results that travel inside their frame: measured first, built once.
//!
//! What decides about the route is the frame as it would be sent, and escaping can make it far
//! bigger than the payload. So the size is computed from the parts, exactly, without building the
//! frame; [`InlineResult::render`] then builds it once.

use bus_model::ContentType;
use serde::Serialize;

use crate::{Output, RequestId};

/// The payload of a tool that returns outputs: `{"outputs":[…]}`, serialised once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputsPayload {
    json: String,
    text_bytes: u64,
    outputs: Vec<Output>,
}

const OPEN: &str = r#"{"outputs":"#;

impl OutputsPayload {
    /// Serialises `outputs`.
    #[must_use]
    pub fn new(outputs: Vec<Output>) -> Self {
        #[derive(Serialize)]
        struct Payload<'a> {
            outputs: &'a [Output],
        }
        let json = serde_json::to_string(&Payload { outputs: &outputs })
            .expect("outputs have string keys only");
        let texts = outputs.iter().map(|output| escaped_bytes(output.as_text()));
        let separators = 4 * (outputs.len() as u64).saturating_sub(1);
        Self {
            json,
            text_bytes: texts.sum::<u64>() + separators,
            outputs,
        }
    }

    /// The payload.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The payload, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.json.into_bytes()
    }

    fn outputs_json(&self) -> &str {
        &self.json[OPEN.len()..self.json.len() - 1]
    }

    fn joined(&self) -> String {
        let texts: Vec<&str> = self.outputs.iter().map(Output::as_text).collect();
        texts.join("\n\n")
    }
}

/// A `call_tool_res` with the payload inside.
#[derive(Debug)]
pub struct InlineResult<'a> {
    request_id: &'a RequestId,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    Outputs(&'a OutputsPayload),
    Stream {
        text: &'a str,
        text_bytes: u64,
        content_type: &'a ContentType,
    },
}

impl<'a> InlineResult<'a> {
    /// The result of a tool that returned outputs.
    #[must_use]
    pub fn outputs(request_id: &'a RequestId, payload: &'a OutputsPayload) -> Self {
        Self {
            request_id,
            body: Body::Outputs(payload),
        }
    }

    /// The result of a tool that returned a stream whose bytes are `text`.
    #[must_use]
    pub fn stream(request_id: &'a RequestId, text: &'a str, content_type: &'a ContentType) -> Self {
        Self {
            request_id,
            body: Body::Stream {
                text,
                text_bytes: escaped_bytes(text),
                content_type,
            },
        }
    }

    /// Exact size of the frame without `text`, in bytes.
    #[must_use]
    pub fn frame_bytes(&self) -> u64 {
        let head = (HEAD.len() + OUTPUTS.len() + 1) as u64;
        let id = quoted_bytes(self.request_id.as_str());
        head + id
            + match &self.body {
                Body::Outputs(payload) => payload.outputs_json().len() as u64,
                Body::Stream {
                    text_bytes,
                    content_type,
                    ..
                } => {
                    let fixed = (TEXT_OPEN.len() + TEXT_CLOSE.len() + CONTENT_TYPE.len()) as u64;
                    fixed + text_bytes + 2 + quoted_bytes(content_type.as_str())
                }
            }
    }

    /// Exact size of the frame with `text`, in bytes.
    #[must_use]
    pub fn frame_bytes_with_text(&self) -> u64 {
        let text = match &self.body {
            Body::Outputs(payload) => payload.text_bytes,
            Body::Stream { text_bytes, .. } => *text_bytes,
        };
        self.frame_bytes() + TEXT.len() as u64 + text + 2
    }

    /// Builds the frame.
    #[must_use]
    pub fn render(&self, with_text: bool) -> String {
        let bytes = if with_text {
            self.frame_bytes_with_text()
        } else {
            self.frame_bytes()
        };
        let mut frame = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        frame.extend_from_slice(HEAD.as_bytes());
        push_quoted(&mut frame, self.request_id.as_str());
        frame.extend_from_slice(OUTPUTS.as_bytes());
        match &self.body {
            Body::Outputs(payload) => frame.extend_from_slice(payload.outputs_json().as_bytes()),
            Body::Stream {
                text, content_type, ..
            } => {
                frame.extend_from_slice(TEXT_OPEN.as_bytes());
                push_quoted(&mut frame, text);
                frame.extend_from_slice(TEXT_CLOSE.as_bytes());
                frame.extend_from_slice(CONTENT_TYPE.as_bytes());
                push_quoted(&mut frame, content_type.as_str());
            }
        }
        if with_text {
            frame.extend_from_slice(TEXT.as_bytes());
            match &self.body {
                Body::Outputs(payload) => push_quoted(&mut frame, &payload.joined()),
                Body::Stream { text, .. } => push_quoted(&mut frame, text),
            }
        }
        frame.push(b'}');
        debug_assert_eq!(frame.len() as u64, bytes);
        String::from_utf8(frame).expect("made of texts only")
    }
}

const HEAD: &str = r#"{"op":"call_tool_res","request_id":"#;
const OUTPUTS: &str = r#","outputs":"#;
const TEXT_OPEN: &str = r#"[{"type":"text","text":"#;
const TEXT_CLOSE: &str = r#"}]"#;
const CONTENT_TYPE: &str = r#","content_type":"#;
const TEXT: &str = r#","text":"#;

fn push_quoted(frame: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(frame, text).expect("writing to memory does not fail");
}

fn quoted_bytes(text: &str) -> u64 {
    escaped_bytes(text) + 2
}

/// Size of `text` as a JSON string without its quotes, in bytes.
#[must_use]
pub fn escaped_bytes(text: &str) -> u64 {
    text.bytes()
        .map(|byte| u64::from(ESCAPED[usize::from(byte)]))
        .sum()
}

/// Bytes that each byte of a text takes in a JSON string (RFC 8259, 7), as serde_json writes it.
const ESCAPED: [u8; 256] = {
    let mut table = [1; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = 6;
        control += 1;
    }
    let short = b"\x08\t\n\x0c\r\"\\";
    let mut i = 0;
    while i < short.len() {
        table[short[i] as usize] = 2;
        i += 1;
    }
    table
};
