//! The frames of an open session and their answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bus_protocol::{
    CallError, CallTool, CallToolAck, CallToolRes, ClientFrame, ErrorCode, Health, ProgressNote,
    RequestId, RotateToken, Seconds, ServerFrame,
};
use secrecy::SecretString;
use serde_json::Value;

use super::{
    call::{self, Call},
    session::Session,
    writer::Gone,
};
use crate::{
    delivery::unix_seconds,
    results::{CallKey, Fingerprint},
    state::AppState,
};

/// Answers one message. Every message gets an answer, whatever is in it.
pub(crate) async fn answer(
    state: &Arc<AppState>,
    session: &Arc<Session>,
    message: &[u8],
) -> Result<(), Gone> {
    let frame = match ClientFrame::parse(message) {
        Ok(ClientFrame::CallTool(call)) => return call_tool(state, session, call).await,
        Ok(ClientFrame::ListTools {}) => ServerFrame::ListToolsRes {
            tools: state.tools.describe(),
        },
        Ok(ClientFrame::Health {}) => health(state),
        Ok(ClientFrame::RotateToken(rotate)) => rotate_token(state, &rotate),
        Ok(ClientFrame::Hello(_)) => ServerFrame::Error {
            message: "invalid_message: the session is open, a second hello changes nothing"
                .to_owned(),
        },
        Err(error) => ServerFrame::Error {
            message: error.to_string(),
        },
    };
    session.outbox.send(frame.to_json()).await
}

fn health(state: &AppState) -> ServerFrame {
    ServerFrame::HealthRes {
        ok: true,
        health: Health {
            t: unix_seconds(),
            uptime_human: human(state.uptime()),
            sessions: state.sessions() as u64,
            global_capacity: state.free_capacity() as u64,
            tool_count: state.tools.len() as u64,
        },
    }
}

/// `1d 2h 3m 4s`, without the leading zeros.
fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|part| part.0 > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    shown.join(" ")
}

fn rotate_token(state: &AppState, rotate: &RotateToken) -> ServerFrame {
    let new = SecretString::from(rotate.new.expose());
    let error = state.token.rotate(rotate.old.expose(), new).err();
    tracing::info!(ok = error.is_none(), "token rotation");
    ServerFrame::RotateTokenRes {
        ok: error.is_none(),
        error: error.map(|error| error.to_string()),
    }
}

/// Starts a call, or says why it does not start.
async fn call_tool(
    state: &Arc<AppState>,
    session: &Arc<Session>,
    request: CallTool,
) -> Result<(), Gone> {
    let fingerprint = Fingerprint::of(&request.name, &request.arguments);
    match earlier(state, session, &request, fingerprint) {
        Some(Earlier::Answered(frame)) => return session.outbox.send(frame).await,
        Some(Earlier::Running) => return session.outbox.send(still_running(&request)).await,
        Some(Earlier::Other) => {
            let error = taken(&request.request_id);
            return refuse(session, request.request_id, error).await;
        }
        None => {}
    }
    let CallTool {
        request_id,
        name,
        arguments,
    } = request;
    let Some(tool) = state.tools.get(&name) else {
        let shown: String = name.chars().take(120).collect();
        let message = format!("there is no tool {shown:?}: list_tools names the tools there are");
        let error = CallError::new(ErrorCode::ToolNotFound, message);
        return refuse(session, request_id, error).await;
    };
    let arguments = Value::Object(arguments);
    if let Err(message) = state.tools.check_arguments(&tool.spec().name, &arguments) {
        let error = CallError::new(ErrorCode::InvalidArguments, message);
        return refuse(session, request_id, error).await;
    }
    let places = match call::places(state, session) {
        Ok(places) => places,
        Err(error) => return refuse(session, request_id, error).await,
    };
    let timeout = tool
        .spec()
        .timeout
        .unwrap_or(state.config.limits.call_timeout);
    let ack = ServerFrame::CallToolAck(CallToolAck {
        request_id: request_id.clone(),
        accepted: true,
        timeout: Seconds(timeout),
        name,
    });
    session
        .running
        .lock()
        .insert(request_id.clone(), fingerprint);
    session.outbox.send(ack.to_json()).await?;
    let call = Call {
        request_id,
        fingerprint,
        tool,
        arguments,
        timeout,
    };
    let task = call::run(Arc::clone(state), Arc::clone(session), call, places);
    session.calls.spawn(task);
    Ok(())
}

/// What became of an earlier call with the same request id.
enum Earlier {
    Answered(axum::extract::ws::Utf8Bytes),
    Running,
    /// It was another call.
    Other,
}

fn earlier(
    state: &AppState,
    session: &Session,
    request: &CallTool,
    fingerprint: Fingerprint,
) -> Option<Earlier> {
    // One after the other: a call moves from the first to the second when it ends, and a look in
    // between finds it in one of them, since both are held then.
    let running = session.running.lock();
    if let Some(known) = running.get(&request.request_id) {
        let same = *known == fingerprint;
        return Some(if same {
            Earlier::Running
        } else {
            Earlier::Other
        });
    }
    let key = CallKey {
        session_id: session.id.clone(),
        request_id: request.request_id.clone(),
    };
    let (known, frame) = state.results.lock().find(&key, Instant::now())?;
    let same = known == fingerprint;
    Some(if same {
        Earlier::Answered(frame)
    } else {
        Earlier::Other
    })
}

fn still_running(request: &CallTool) -> String {
    progress(
        &request.request_id,
        &request.name,
        "duplicate request; still processing",
    )
}

/// A `progress` frame.
pub(crate) fn progress(request_id: &RequestId, name: &str, note: &str) -> String {
    ServerFrame::Progress(ProgressNote {
        request_id: request_id.clone(),
        name: name.to_owned(),
        t: unix_seconds(),
        note: note.to_owned(),
    })
    .to_json()
}

fn taken(request_id: &RequestId) -> CallError {
    CallError {
        original_request_id: Some(request_id.clone()),
        ..CallError::new(
            ErrorCode::Duplicate,
            "this request_id was used for another tool or other arguments: use a new one",
        )
    }
}

async fn refuse(session: &Session, id: RequestId, error: CallError) -> Result<(), Gone> {
    let frame = ServerFrame::CallToolRes(CallToolRes::failed(id, error));
    session.outbox.send(frame.to_json()).await
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, "0s")]
    #[case(59, "59s")]
    #[case(3600, "1h 0m 0s")]
    #[case(90_061, "1d 1h 1m 1s")]
    fn uptime_for_people(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(human(Duration::from_secs(seconds)), expected);
    }
}
