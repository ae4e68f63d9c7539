//! What an entry says: pure, but for its id and its time.

use std::time::Duration;

use bus_model::{Principal, ProviderName, SessionId, ToolName, TransactionId};
use bus_protocol::{CallError, ErrorCode, RequestId};
use bus_store::records::{AuditEntry, AuditId, Outcome, RouteTaken, SkippedStep};
use chrono::{SubsecRound as _, Utc};

use crate::delivery::{Delivered, Origin};

/// Why a result travels as it does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Why {
    /// Why this way.
    pub(crate) reason: String,
    /// Why not the ways before it.
    pub(crate) skipped: Vec<SkippedStep>,
    /// The message that the result became.
    pub(crate) transaction_id: Option<TransactionId>,
    /// How long the store took.
    pub(crate) store: Option<Duration>,
    /// What the client is told where it is an error.
    pub(crate) error: Option<String>,
}

impl Why {
    /// Because of `reason`.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            ..Self::default()
        }
    }

    /// The call ended in `error`.
    pub(crate) fn failed(error: &CallError) -> Self {
        Self {
            error: Some(error.message.clone()),
            ..Self::new(because(error.code))
        }
    }

    /// And `step` was not taken before.
    pub(crate) fn not(mut self, step: RouteTaken, reason: impl Into<String>) -> Self {
        let reason = reason.into().into();
        self.skipped.push(SkippedStep { step, reason });
        self
    }
}

fn because(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::ToolNotFound | ErrorCode::InvalidArguments => "the call did not start",
        ErrorCode::OverCapacity | ErrorCode::Duplicate => "the call was refused",
        ErrorCode::Timeout => "the tool took too long and was stopped",
        ErrorCode::ExecError => "the tool failed",
        ErrorCode::TooLarge | ErrorCode::Undeliverable => "no way to deliver it is left",
        ErrorCode::ReplyLost => "the daemon shut down before the end",
        _ => "an error",
    }
}

/// How long a call took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Until the tool had answered or was stopped.
    pub(crate) tool: Duration,
    /// Until the answer was ready.
    pub(crate) total: Duration,
}

/// The entry of a call that started; nothing was delivered where the client is gone.
pub(crate) fn of_call(
    principal: &Principal,
    origin: &Origin,
    delivered: Option<&Delivered>,
    times: Times,
) -> AuditEntry {
    let gone = Why::new("the client is gone");
    let (route, outcome, bytes, frame, why) = match delivered {
        Some(d) => (d.route, d.outcome, d.payload_bytes, d.frame.len(), &d.why),
        None => ("none", "cancelled", 0, 0, &gone),
    };
    AuditEntry {
        id: AuditId::mint(),
        at: Utc::now().trunc_subsecs(3),
        principal: principal.clone(),
        session_id: origin.session_id.clone(),
        request_id: origin.request_id.as_str().into(),
        transaction_id: why.transaction_id.clone(),
        tool_name: origin.tool_name.clone(),
        provider_name: origin.provider_name.clone(),
        payload_size_bytes: bytes,
        frame_bytes: frame as u64,
        route: RouteTaken::known(route),
        reason: why.reason.as_str().into(),
        skipped: why.skipped.clone(),
        tool_ms: Some(ms(times.tool)),
        store_ms: why.store.map(ms),
        total_ms: ms(times.total),
        outcome: Outcome::known(outcome),
        error_message: why.error.as_deref().map(Into::into),
    }
}

/// The entry of a call that did not start.
pub(crate) fn of_refusal(
    principal: &Principal,
    session_id: &SessionId,
    request_id: &RequestId,
    tool: &str,
    error: &CallError,
) -> AuditEntry {
    AuditEntry {
        id: AuditId::mint(),
        at: Utc::now().trunc_subsecs(3),
        principal: principal.clone(),
        session_id: session_id.clone(),
        request_id: request_id.as_str().into(),
        transaction_id: None,
        tool_name: asked_for(tool),
        provider_name: ProviderName::default(),
        payload_size_bytes: 0,
        frame_bytes: 0,
        route: RouteTaken::NONE,
        reason: because(error.code).into(),
        skipped: Vec::new(),
        tool_ms: None,
        store_ms: None,
        total_ms: 0,
        outcome: Outcome::known(error.code.as_label()),
        error_message: Some(error.message.as_str().into()),
    }
}

/// The tool's name as the client wrote it, as far as it can be one.
fn asked_for(text: &str) -> ToolName {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    shown.truncate(shown.floor_char_boundary(256));
    let named = ToolName::new(shown).or_else(|_| ToolName::new("(none)"));
    named.expect("a short text without control characters is legal")
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_that_was_asked_for_can_be_kept() {
        assert_eq!(asked_for("echo").as_str(), "echo");
        assert_eq!(asked_for("").as_str(), "(none)");
        assert_eq!(asked_for("a\0b\n").as_str(), "a\u{fffd}b\u{fffd}");
        assert!(asked_for(&"ü".repeat(1000)).as_str().len() <= 256);
        assert!(asked_for(&"\0".repeat(1000)).as_str().len() <= 256);
    }
}
