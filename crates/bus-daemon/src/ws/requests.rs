//! The frames of an open session and their answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::Utf8Bytes;
use bus_protocol::{
    CallError, CallTool, CallToolAck, CallToolRes, ClientFrame, ErrorCode, Health, ProgressNote,
    RequestId, RotateToken, Seconds, ServerFrame,
};
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::{
    call::{self, Call},
    session::Session,
    writer::Gone,
};
use crate::{
    audit,
    delivery::unix_seconds,
    results::{CallKey, Fingerprint},
    state::AppState,
    tools::Tool,
};

/// Messages of more bytes than this are understood on a blocking thread.
const LARGE: usize = 256 << 10;

/// Answers one message. Every message gets an answer, whatever is in it.
pub(crate) async fn answer(
    state: &Arc<AppState>,
    session: &Arc<Session>,
    message: Bytes,
) -> Result<(), Gone> {
    let understood = if message.len() <= LARGE {
        understand(state, &message)
    } else {
        let state = Arc::clone(state);
        // This fails only where the runtime is ending, and every session with it.
        spawn_blocking(move || understand(&state, &message))
            .await
            .map_err(|_| Gone)?
    };
    let frame = match understood {
        Request::Call(call) => return call_tool(state, session, *call).await,
        Request::ListTools => ServerFrame::ListToolsRes {
            tools: state.tools.describe(),
        },
        Request::Health => health(state),
        Request::RotateToken(rotate) => rotate_token(state, &rotate),
        Request::Bad(message) => ServerFrame::Error { message },
    };
    session.outbox.send(frame.to_json()).await
}

/// A message, understood as far as that takes the processor only.
enum Request {
    Call(Box<Asked>),
    ListTools,
    Health,
    RotateToken(RotateToken),
    Bad(String),
}

/// A call that is asked for.
struct Asked {
    request_id: RequestId,
    name: String,
    fingerprint: Fingerprint,
    /// The tool and its checked arguments, or why there is nothing to start.
    work: Result<(Arc<dyn Tool>, Value), CallError>,
}

fn understand(state: &AppState, message: &[u8]) -> Request {
    match ClientFrame::parse(message) {
        Ok(ClientFrame::CallTool(call)) => Request::Call(Box::new(Asked::of(state, call))),
        Ok(ClientFrame::ListTools {}) => Request::ListTools,
        Ok(ClientFrame::Health {}) => Request::Health,
        Ok(ClientFrame::RotateToken(rotate)) => Request::RotateToken(rotate),
        Ok(ClientFrame::Hello(_)) => Request::Bad(
            "invalid_message: the session is open, a second hello changes nothing".to_owned(),
        ),
        Err(error) => Request::Bad(error.to_string()),
    }
}

impl Asked {
    fn of(state: &AppState, call: CallTool) -> Self {
        let CallTool {
            request_id,
            name,
            arguments,
        } = call;
        let fingerprint = Fingerprint::of(&name, &arguments);
        let work = match state.tools.get(&name) {
            Some(tool) => {
                let arguments = Value::Object(arguments);
                let checked = state.tools.check_arguments(&tool.spec().name, &arguments);
                match checked {
                    Ok(()) => Ok((tool, arguments)),
                    Err(message) => Err(CallError::new(ErrorCode::InvalidArguments, message)),
                }
            }
            None => Err(no_such_tool(&name)),
        };
        Self {
            request_id,
            name,
            fingerprint,
            work,
        }
    }
}

fn no_such_tool(name: &str) -> CallError {
    let shown: String = name.chars().take(120).collect();
    let message = format!("there is no tool {shown:?}: list_tools names the tools there are");
    CallError::new(ErrorCode::ToolNotFound, message)
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
    asked: Asked,
) -> Result<(), Gone> {
    if let Some(frame) = earlier(state, session, &asked) {
        return session.outbox.send(frame).await;
    }
    let places = asked
        .work
        .and_then(|work| Ok((work, call::places(state, session)?)));
    let ((tool, arguments), places) = match places {
        Ok(ready) => ready,
        Err(error) => {
            refused(state, session, &asked.request_id, &asked.name, &error);
            return session.outbox.send(failed(asked.request_id, error)).await;
        }
    };
    let timeout = tool
        .spec()
        .timeout
        .unwrap_or(state.config.limits.call_timeout);
    let ack = ServerFrame::CallToolAck(CallToolAck {
        request_id: asked.request_id.clone(),
        accepted: true,
        timeout: Seconds(timeout),
        name: asked.name,
    });
    let (request_id, fingerprint) = (asked.request_id, asked.fingerprint);
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
        places,
    };
    session
        .calls
        .spawn(call::run(Arc::clone(state), Arc::clone(session), call));
    Ok(())
}

/// The audit entry of a call that does not start.
fn refused(
    state: &AppState,
    session: &Session,
    request_id: &RequestId,
    name: &str,
    error: &CallError,
) {
    state.audit.offer(&state.metrics, || {
        let principal = state.client.principal();
        audit::of_refusal(principal, &session.id, request_id, name, error)
    });
}

/// The answer to a call whose request id was used before.
fn earlier(state: &AppState, session: &Session, asked: &Asked) -> Option<Utf8Bytes> {
    // A call moves from the running ones to the results under this lock, so that a look in between
    // finds it.
    let running = session.running.lock();
    let (known, result) = match running.get(&asked.request_id) {
        Some(known) => (*known, None),
        None => {
            let key = CallKey {
                session_id: session.id.clone(),
                request_id: asked.request_id.clone(),
            };
            let (known, frame) = state.results.lock().find(&key, Instant::now())?;
            (known, Some(frame))
        }
    };
    Some(if known != asked.fingerprint {
        let error = taken(&asked.request_id);
        refused(state, session, &asked.request_id, &asked.name, &error);
        failed(asked.request_id.clone(), error).into()
    } else if let Some(frame) = result {
        frame
    } else {
        let note = "duplicate request; still processing";
        progress(&asked.request_id, &asked.name, note).into()
    })
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

fn failed(id: RequestId, error: CallError) -> String {
    ServerFrame::CallToolRes(CallToolRes::failed(id, error)).to_json()
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
