//! One call of a tool, from its acceptance to its result.

use std::{
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::extract::ws::Utf8Bytes;
use bus_protocol::{CallError, ErrorCode, RequestId, Seconds};
use futures::FutureExt as _;
use serde_json::Value;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{requests::progress, session::Session};
use crate::{
    audit::{self, Times},
    delivery::{Delivered, Delivery, Origin, tool_failed},
    results::{CallKey, Fingerprint},
    state::AppState,
    tools::{Progress, Tool, ToolContext},
};

/// An accepted call.
pub(crate) struct Call {
    pub(crate) request_id: RequestId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) tool: Arc<dyn Tool>,
    pub(crate) arguments: Value,
    pub(crate) timeout: Duration,
    pub(crate) places: Places,
}

/// The places that a call takes.
#[derive(Debug)]
pub(crate) struct Places {
    /// Among all sessions: free once the tool has ended and its result is delivered or stored.
    all: OwnedSemaphorePermit,
    /// In its session: free once the result is handed to the socket.
    session: OwnedSemaphorePermit,
}

/// Takes the places of a call, or says when to try again.
pub(crate) fn places(state: &AppState, session: &Session) -> Result<Places, CallError> {
    let limits = &state.config.limits;
    let refused = |message: String| CallError {
        retry_after: Some(Seconds(limits.retry_after)),
        ..CallError::new(ErrorCode::OverCapacity, message)
    };
    if state.shutdown.is_cancelled() {
        return Err(refused("the daemon is shutting down".to_owned()));
    }
    let Ok(own) = Arc::clone(&session.places).try_acquire_owned() else {
        let most = limits.calls_per_session;
        let message = format!("{most} calls of this session are in flight, and no more may be");
        return Err(refused(message));
    };
    let Some(all) = state.try_start_call() else {
        let most = limits.calls_total;
        let message = format!("{most} calls of all sessions are in flight, and no more may be");
        return Err(refused(message));
    };
    Ok(Places { all, session: own })
}

/// How the work of a call ended.
enum Ended {
    Delivered(Delivered),
    /// The client is gone: nobody is told.
    Unwanted,
    TimedOut,
    ShutDown,
}

/// Runs the call and sends its result.
pub(crate) async fn run(state: Arc<AppState>, session: Arc<Session>, call: Call) {
    let start = Instant::now();
    state.metrics.call_started();
    let Call {
        request_id,
        fingerprint,
        tool,
        arguments,
        timeout,
        places,
    } = call;
    let spec = tool.spec();
    let origin = Origin {
        session_id: session.id.clone(),
        request_id,
        tool_name: spec.name.clone(),
        provider_name: spec.provider.clone(),
    };
    let context = context(&session, &origin, arguments);
    // Whichever way the work ends, what the tool left running elsewhere is told.
    let ended = context.cancel.clone().drop_guard();
    let tool_took = OnceLock::new();
    let work = deliver(&state, &*tool, context, &origin, &tool_took);
    let (delivered, keep) = match limited(work, timeout, &state, &session, &origin).await {
        Ended::Delivered(delivered) => (Some(delivered), true),
        Ended::Unwanted => (None, false),
        Ended::TimedOut => (Some(timed_out(&origin, timeout)), true),
        Ended::ShutDown => (Some(lost(&origin)), false),
    };
    drop(ended);
    drop(places.all);
    let total = start.elapsed();
    let times = Times {
        tool: tool_took.get().copied().unwrap_or(total),
        total,
    };
    record(&state, &origin, delivered.as_ref(), times);
    let frame = delivered.map(|delivered| Utf8Bytes::from(delivered.frame));
    let kept = frame.clone().filter(|_| keep);
    end(&state, &session, origin.request_id, fingerprint, kept);
    if let Some(frame) = frame {
        tokio::select! {
            // Where the socket is gone the result is kept, as far as results are.
            _ = session.outbox.send_result(frame, places.session) => {}
            () = session.gone.cancelled() => {}
        }
    }
}

/// Runs `work` under every limit. What is not finished when a limit is reached is dropped, and
/// dropping ends it.
async fn limited(
    work: impl Future<Output = Delivered>,
    timeout: Duration,
    state: &AppState,
    session: &Session,
    origin: &Origin,
) -> Ended {
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let mut deadline = pin!(sleep(timeout));
    let every = progress_interval(state);
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = session.gone.cancelled() => return Ended::Unwanted,
            ended = work.as_mut() => {
                return Ended::Delivered(ended.unwrap_or_else(|_| panicked(origin)));
            }
            () = deadline.as_mut() => return Ended::TimedOut,
            () = state.grace_over.cancelled() => return Ended::ShutDown,
            _ = ticks.tick() => {
                let name = origin.tool_name.as_str();
                session.outbox.offer(progress(&origin.request_id, name, "running"));
            }
        }
    }
}

/// Neither so short that nothing else is sent, nor so long that no instant is that far away.
fn progress_interval(state: &AppState) -> Duration {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(86_400));
    state.config.limits.progress_interval.clamp(least, most)
}

/// Tool, then delivery.
async fn deliver(
    state: &AppState,
    tool: &dyn Tool,
    context: ToolContext,
    origin: &Origin,
    tool_took: &OnceLock<Duration>,
) -> Delivered {
    let delivery = Delivery {
        client: &state.client,
        metrics: &state.metrics,
        origin,
    };
    let start = Instant::now();
    let answered = tool.call(context).await;
    tool_took.get_or_init(|| start.elapsed());
    match answered {
        Ok(output) => delivery.deliver(output).await,
        Err(error) => Delivered::failed(origin, tool_failed(&error), 0),
    }
}

/// What the tool gets.
fn context(session: &Session, origin: &Origin, arguments: Value) -> ToolContext {
    ToolContext {
        arguments,
        session_id: origin.session_id.clone(),
        request_id: origin.request_id.as_str().to_owned(),
        cancel: CancellationToken::new(),
        progress: teller(session, origin),
    }
}

/// What a tool tells goes to the client as `progress`.
fn teller(session: &Session, origin: &Origin) -> Progress {
    let outbox = session.outbox.clone();
    let (request_id, name) = (origin.request_id.clone(), origin.tool_name.clone());
    Progress::new(move |note| {
        let note: String = note.chars().take(1000).collect();
        outbox.offer(progress(&request_id, name.as_str(), &note));
    })
}

fn timed_out(origin: &Origin, limit: Duration) -> Delivered {
    let message = format!(
        "{} did not end within {} seconds and was stopped",
        origin.tool_name,
        limit.as_secs_f64()
    );
    Delivered::failed(origin, CallError::new(ErrorCode::Timeout, message), 0)
}

fn lost(origin: &Origin) -> Delivered {
    let message = "the daemon shut down before the call ended; its result is lost";
    Delivered::failed(origin, CallError::new(ErrorCode::ReplyLost, message), 0)
}

fn panicked(origin: &Origin) -> Delivered {
    let tool = &origin.tool_name;
    tracing::error!(%tool, "a tool panicked");
    let message = format!("{tool} failed with a bug of its own: see the daemon's log");
    Delivered::failed(origin, CallError::new(ErrorCode::ExecError, message), 0)
}

/// The one event, the counts and the audit entry of a call.
fn record(state: &AppState, origin: &Origin, delivered: Option<&Delivered>, times: Times) {
    let took = times.total;
    state.audit.offer(&state.metrics, || {
        audit::of_call(state.client.principal(), origin, delivered, times)
    });
    let (route, outcome, bytes) = delivered.map_or(("none", "cancelled", 0), |delivered| {
        (delivered.route, delivered.outcome, delivered.payload_bytes)
    });
    state
        .metrics
        .call_finished(route, outcome, bytes, took.as_secs_f64());
    tracing::info!(
        route,
        outcome,
        bytes,
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        session = %origin.session_id,
        tool = %origin.tool_name,
        // The client's own text: no line break of it ends a line of the log.
        request_id = %origin.request_id.as_str().escape_debug(),
        "call routed"
    );
}

/// The call is not running any more; from now on its kept result answers a repeated one.
fn end(
    state: &AppState,
    session: &Session,
    request_id: RequestId,
    fingerprint: Fingerprint,
    keep: Option<Utf8Bytes>,
) {
    let mut running = session.running.lock();
    running.remove(&request_id);
    if let Some(frame) = keep {
        let session_id = session.id.clone();
        let key = CallKey {
            session_id,
            request_id,
        };
        let mut results = state.results.lock();
        results.keep(key, fingerprint, frame, Instant::now());
    }
}
