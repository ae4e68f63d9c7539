//! Close codes and error codes.

use serde::{Deserialize, Serialize};

/// Close codes of the daemon; those below 4000 are the WebSocket protocol's own (RFC 6455, 7.4.1).
pub mod close {
    /// The client said goodbye, or the daemon has no more to say.
    pub const NORMAL: u16 = 1000;
    /// The daemon shuts down.
    pub const GOING_AWAY: u16 = 1001;
    /// The client broke the WebSocket protocol.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// A text message was not UTF-8.
    pub const INVALID_TEXT: u16 = 1007;
    /// A ping was not answered in time.
    pub const POLICY: u16 = 1008;
    /// A message was larger than the daemon takes.
    pub const TOO_BIG: u16 = 1009;
    /// The first message was not JSON, or not a well built hello.
    pub const INVALID_HELLO: u16 = 4000;
    /// The first message was not a hello.
    pub const MISSING_HELLO: u16 = 4001;
    /// Nothing came within the hello timeout.
    pub const HELLO_TIMEOUT: u16 = 4002;
    /// The token is wrong.
    pub const UNAUTHORIZED: u16 = 4003;
}

/// Why a call did not end in outputs. The first five are the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum ErrorCode {
    /// There is no tool of that name.
    ToolNotFound,
    /// Too many calls are in flight; `retry_after` says when to try again. The call did not start.
    OverCapacity,
    /// The request id was used before, for another tool or other arguments. The call did not start.
    Duplicate,
    /// The tool took too long and was stopped.
    Timeout,
    /// The tool failed.
    ExecError,
    /// The arguments do not match the tool's schema. The call did not start.
    InvalidArguments,
    /// The result is larger than may be sent or stored.
    TooLarge,
    /// The result could be neither sent nor stored.
    Undeliverable,
    /// The daemon shut down before the call ended. Its result is lost.
    ReplyLost,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Every code but [`ErrorCode::Unknown`].
    pub const ALL: [Self; 9] = [
        Self::ToolNotFound,
        Self::OverCapacity,
        Self::Duplicate,
        Self::Timeout,
        Self::ExecError,
        Self::InvalidArguments,
        Self::TooLarge,
        Self::Undeliverable,
        Self::ReplyLost,
    ];

    /// The code as it stands in a frame.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolNotFound => "TOOL_NOT_FOUND",
            Self::OverCapacity => "OVER_CAPACITY",
            Self::Duplicate => "DUPLICATE",
            Self::Timeout => "TIMEOUT",
            Self::ExecError => "EXEC_ERROR",
            Self::InvalidArguments => "INVALID_ARGUMENTS",
            Self::TooLarge => "TOO_LARGE",
            Self::Undeliverable => "UNDELIVERABLE",
            Self::ReplyLost => "REPLY_LOST",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The code as a label of logs and metrics: lower case.
    #[must_use]
    pub fn as_label(self) -> &'static str {
        match self {
            Self::ToolNotFound => "tool_not_found",
            Self::OverCapacity => "over_capacity",
            Self::Duplicate => "duplicate",
            Self::Timeout => "timeout",
            Self::ExecError => "exec_error",
            Self::InvalidArguments => "invalid_arguments",
            Self::TooLarge => "too_large",
            Self::Undeliverable => "undeliverable",
            Self::ReplyLost => "reply_lost",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_serde_writes() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(code.as_label(), code.as_str().to_lowercase());
        }
    }

    #[test]
    fn a_code_of_a_newer_daemon_is_unknown_and_no_error() {
        let code: ErrorCode = serde_json::from_str("\"BREAKER_OPEN\"").unwrap();
        assert_eq!(code, ErrorCode::Unknown);
    }
}
