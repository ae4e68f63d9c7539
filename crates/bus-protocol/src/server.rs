//! What the daemon sends.

use std::time::Duration;

use bus_model::{Claim, ContentType, Retrieval, SessionId, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    ErrorCode, Output, RequestId,
    parse::{FrameError, fields, op_of, unknown},
};

/// A frame from the daemon. A `call_tool_res` with outputs in it is written by
/// [`InlineResult`](crate::InlineResult), which knows its size beforehand.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "frames live one at a time and are not kept"
)]
pub enum ServerFrame {
    /// Answers `hello`.
    HelloAck(HelloAck),
    /// Answers `list_tools`.
    ListToolsRes {
        /// The tools, by name.
        tools: Vec<ToolInfo>,
    },
    /// A call is still running.
    Progress(ProgressNote),
    /// A call was accepted.
    CallToolAck(CallToolAck),
    /// How a call ended.
    CallToolRes(CallToolRes),
    /// Answers `health`.
    HealthRes {
        /// Always true.
        ok: bool,
        /// How the daemon is.
        health: Health,
    },
    /// Answers `rotate_token`.
    RotateTokenRes {
        /// Whether the token was replaced.
        ok: bool,
        /// Why not.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A message that could not be understood.
    Error {
        /// What is wrong with it.
        message: String,
    },
}

impl ServerFrame {
    /// The frame as text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames have string keys only")
    }

    /// Reads a frame, for clients. Keys that are not known are ignored.
    ///
    /// # Errors
    /// [`FrameError`] where it is none; a client may skip an unknown op.
    pub fn parse(message: &[u8]) -> Result<Self, FrameError> {
        let op = op_of(message)?;
        Ok(match op.as_str() {
            "hello_ack" => Self::HelloAck(fields(message)?),
            "list_tools_res" => {
                let Tools { tools } = fields(message)?;
                Self::ListToolsRes { tools }
            }
            "progress" => Self::Progress(fields(message)?),
            "call_tool_ack" => Self::CallToolAck(fields(message)?),
            "call_tool_res" => Self::CallToolRes(fields(message)?),
            "health_res" => {
                let HealthRes { ok, health } = fields(message)?;
                Self::HealthRes { ok, health }
            }
            "rotate_token_res" => {
                let Rotated { ok, error } = fields(message)?;
                Self::RotateTokenRes { ok, error }
            }
            "error" => {
                let Problem { message } = fields(message)?;
                Self::Error { message }
            }
            _ => return Err(unknown(&op)),
        })
    }
}

// What frames hold that have no type of their own.

#[derive(Deserialize)]
struct Tools {
    tools: Vec<ToolInfo>,
}

#[derive(Deserialize)]
struct HealthRes {
    ok: bool,
    health: Health,
}

#[derive(Deserialize)]
struct Rotated {
    ok: bool,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    message: String,
}

/// Answers `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAck {
    /// Whether the session is open.
    pub ok: bool,
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Why not: `invalid_hello`, `missing_hello`, `unauthorized`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl HelloAck {
    /// The session is open.
    #[must_use]
    pub fn opened(session_id: SessionId) -> Self {
        Self {
            ok: true,
            session_id: Some(session_id),
            error: None,
        }
    }

    /// No session, for `reason`.
    #[must_use]
    pub fn refused(reason: impl Into<String>) -> Self {
        Self {
            ok: false,
            session_id: None,
            error: Some(reason.into()),
        }
    }
}

/// A tool as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolInfo {
    /// The name it is called by.
    pub name: ToolName,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// JSON schema of its arguments.
    #[serde(rename = "inputSchema")]
    pub input_schema: Value,
}

/// A call is still running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressNote {
    /// The call.
    pub request_id: RequestId,
    /// The tool.
    pub name: String,
    /// When, in seconds since 1970, UTC.
    pub t: f64,
    /// What is going on.
    #[serde(default)]
    pub note: String,
}

/// A call was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallToolAck {
    /// The call.
    pub request_id: RequestId,
    /// Always true: a call that is not accepted gets its error at once.
    pub accepted: bool,
    /// How long it may take.
    pub timeout: Seconds,
    /// The tool.
    pub name: String,
}

/// How a call ended: with outputs, or with an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallToolRes {
    /// The call.
    pub request_id: RequestId,
    /// How the payload travels; `None` means in `outputs`, as in the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// The outputs, or one text that holds the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Box<RawValue>>,
    /// The outputs' texts, joined by blank lines, for old clients; left out where it does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The media type, where the payload is a stream: then the one text in `outputs` is the
    /// payload. Without it the payload is `{"outputs":[…]}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<ContentType>,
    /// How to redeem the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// Why there are no outputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CallError>,
}

impl CallToolRes {
    /// The result is stored; `claim` travels in its place.
    #[must_use]
    pub fn reference(request_id: RequestId, claim: &Claim, retrieval: Retrieval) -> Self {
        let claim = serde_json::to_string(claim).expect("a claim has string keys only");
        let outputs = serde_json::value::to_raw_value(&[Output::text(claim)])
            .expect("outputs have string keys only");
        Self {
            request_id,
            delivery: Some(Delivery::Reference),
            outputs: Some(outputs),
            text: None,
            content_type: None,
            retrieval: Some(retrieval),
            error: None,
        }
    }

    /// The call failed.
    #[must_use]
    pub fn failed(request_id: RequestId, error: CallError) -> Self {
        Self {
            request_id,
            delivery: None,
            outputs: None,
            text: None,
            content_type: None,
            retrieval: None,
            error: Some(error),
        }
    }
}

/// How a payload travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Delivery {
    /// By claim.
    Reference,
}

/// Why a call did not end in outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what failed, with which value, and what to do.
    pub message: String,
    /// When to try again, with OVER_CAPACITY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Seconds>,
    /// The request id that is taken, with DUPLICATE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_request_id: Option<RequestId>,
}

impl CallError {
    /// An error of `code`.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            original_request_id: None,
        }
    }
}

/// How the daemon is. Keys that the original does not have may be added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Now, in seconds since 1970, UTC.
    pub t: f64,
    /// How long it has been running, for people.
    pub uptime_human: String,
    /// Number of sessions.
    pub sessions: u64,
    /// Number of calls that could start now, over all sessions.
    pub global_capacity: u64,
    /// Number of tools.
    pub tool_count: u64,
}

/// A time in seconds, written as a whole number where it is one, as the original does.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Seconds(pub Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        Duration::try_from_secs_f64(seconds)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}
