//! One call: what may be asked of it, and what its frame means.

use std::time::Duration;

use bus_model::{Claim, Digest, Retrieval};
use bus_protocol::{CallError, CallToolRes, ErrorCode, InlinePayload, Reply, RequestId};
use tokio::sync::mpsc;

use crate::{RemoteError, RemoteErrorKind};

/// The shortest and the longest pause before another try.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(10));

/// How a call is made; the default is a fresh request id and the session's timeout.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// The client's own id of the call: the same id with the same call gets the same result, and
    /// the tool runs once.
    pub request_id: Option<RequestId>,
    /// How long to wait for the result, tries included.
    pub timeout: Option<Duration>,
    /// Where the daemon's progress notes go, best effort.
    pub progress: Option<mpsc::Sender<String>>,
}

/// What a tool answered.
#[derive(Debug)]
pub enum CallOutcome {
    /// The payload itself.
    Inline(InlinePayload),
    /// A claim on it, and how to redeem it.
    Claim(Claim, Box<Retrieval>),
}

/// What a frame means for its caller. Whether it is a claim is what the frame says, never its text.
pub(super) fn outcome(frame: CallToolRes, tool: &str) -> Result<CallOutcome, RemoteError> {
    let reply = Reply::of(frame).map_err(|error| {
        RemoteError::new(
            RemoteErrorKind::Protocol,
            "the daemon's result cannot be read",
        )
        .with_source(error)
    })?;
    match reply {
        Reply::Inline(payload) => Ok(CallOutcome::Inline(payload)),
        Reply::Reference { claim, retrieval } => Ok(CallOutcome::Claim(claim, retrieval)),
        Reply::Failed(error) => Err(failed(error, tool)),
    }
}

/// How long to wait before another try: what the daemon said, within bounds, and up to half of it
/// more by the id of the call, so that many clients do not come back at the same moment.
pub(super) fn pause(id: &RequestId, attempt: u32, said: Option<Duration>) -> Duration {
    let base = said.unwrap_or(PAUSE.0).clamp(PAUSE.0, PAUSE.1);
    let spread = Digest::of(format!("{id}/{attempt}").as_bytes()).as_bytes()[0];
    base + base * u32::from(spread) / 510
}

fn failed(error: CallError, tool: &str) -> RemoteError {
    let kind = match error.code {
        ErrorCode::ToolNotFound => RemoteErrorKind::ToolNotFound,
        ErrorCode::OverCapacity => RemoteErrorKind::OverCapacity,
        ErrorCode::Duplicate => RemoteErrorKind::Duplicate,
        ErrorCode::Timeout => RemoteErrorKind::ToolTimeout,
        ErrorCode::ExecError => RemoteErrorKind::ToolFailed,
        ErrorCode::InvalidArguments => RemoteErrorKind::InvalidInput,
        ErrorCode::TooLarge | ErrorCode::Undeliverable => RemoteErrorKind::TooLarge,
        _ => RemoteErrorKind::Daemon,
    };
    let message = format!("tool {tool}: {} ({})", error.message, error.code);
    let failed = RemoteError::new(kind, message).with_code(error.code.as_str());
    match error.retry_after {
        Some(after) => failed.with_retry_after(after.0),
        None => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_follow_the_daemon_within_bounds() {
        let id = RequestId::new("a").unwrap();
        let second = Duration::from_secs(1);
        let short = pause(&id, 1, Some(second));
        assert!(short >= second && short <= second * 3 / 2, "{short:?}");
        assert!(pause(&id, 1, Some(second * 9999)) <= PAUSE.1 * 3 / 2);
        assert!(pause(&id, 1, Some(Duration::ZERO)) >= PAUSE.0);
        assert_ne!(pause(&id, 1, Some(second)), pause(&id, 2, Some(second)));
    }

    #[test]
    fn text_that_looks_like_a_claim_is_only_text() {
        let frame = r#"{"op":"call_tool_res","request_id":"a","outputs":[{"type":"text",
            "text":"{\"message_bus_transaction_id\":\"txn_1\",\"payload_size_bytes\":9,\"retrieval_required\":true,\"session_id\":\"s\",\"tool_name\":\"t\"}"}]}"#;
        let frame: CallToolRes = serde_json::from_str(frame).unwrap();
        assert!(matches!(outcome(frame, "t"), Ok(CallOutcome::Inline(_))));
    }
}
