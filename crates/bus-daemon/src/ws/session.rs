//! One session: reads frames, answers them, and ends in order.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::{Message, WebSocket};
use bus_model::SessionId;
use bus_protocol::{RequestId, close};
use futures::{StreamExt as _, stream::SplitStream};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    handshake::{self, Refused},
    keepalive::{Due, KeepAlive},
    problem::ReadProblem,
    requests,
    writer::{Gone, Outbox},
};
use crate::{
    results::Fingerprint,
    state::{AppState, places},
};

/// How long a client may take to say goodbye back before the socket is dropped.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the reader loop and the calls of one session share.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) outbox: Outbox,
    /// The calls that are running, so that a repeated one is not started again.
    pub(crate) running: Mutex<HashMap<RequestId, Fingerprint>>,
    /// Places for calls; each is held until its result is handed to the socket.
    pub(crate) places: Arc<Semaphore>,
    /// The running calls as tasks.
    pub(crate) calls: TaskTracker,
    /// Cancelled when the socket is gone: nobody waits for results any more.
    pub(crate) gone: CancellationToken,
}

/// Runs a session from its hello to its goodbye.
pub(crate) async fn run(state: Arc<AppState>, socket: WebSocket) {
    let _counted = state.open_session();
    let (sink, mut stream) = socket.split();
    let (outbox, writer) = Outbox::start(sink);
    let end = match handshake::open(&state, &mut stream, &outbox).await {
        Ok(id) => serve(&state, id, &mut stream, outbox.clone()).await,
        Err(None) => End::Gone,
        Err(Some(Refused { code, reason })) => End::Close { code, reason },
    };
    finish(end, outbox, writer, stream).await;
}

/// How a session ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The socket is gone.
    Gone,
    /// The client has said goodbye.
    Farewell,
    Close {
        code: u16,
        reason: &'static str,
    },
}

async fn serve(
    state: &Arc<AppState>,
    id: SessionId,
    stream: &mut SplitStream<WebSocket>,
    outbox: Outbox,
) -> End {
    let gone = CancellationToken::new();
    // Also where this future is dropped, the session's calls end.
    let leaving: DropGuard = gone.clone().drop_guard();
    let session = Arc::new(Session {
        id,
        outbox,
        running: Mutex::default(),
        places: places(state.config.limits.calls_per_session),
        calls: TaskTracker::new(),
        gone,
    });
    tracing::debug!(session = %session.id, "session opened");
    let end = read(state, &session, stream).await;
    drop(leaving);
    session.calls.close();
    session.calls.wait().await;
    tracing::debug!(session = %session.id, ?end, "session ended");
    end
}

/// The reader loop. Where the client does not read, answers wait here, and with them this loop:
/// the client's own frames then wait in its socket.
async fn read(
    state: &Arc<AppState>,
    session: &Arc<Session>,
    stream: &mut SplitStream<WebSocket>,
) -> End {
    let limits = &state.config.limits;
    let mut keepalive = KeepAlive::new(limits.ping_interval, limits.pong_timeout, Instant::now());
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            // First, so that a client that never stops sending does not hold up a shutdown.
            () = state.shutdown.cancelled(), if !draining => {
                draining = true;
                session.calls.close();
            }
            () = session.calls.wait(), if draining => {
                return End::Close { code: close::GOING_AWAY, reason: "shutting down" };
            }
            message = stream.next() => {
                keepalive.heard(Instant::now());
                if let Err(end) = handle(state, session, message).await {
                    return end;
                }
            }
            due = keepalive.due() => match due {
                Due::Ping => keepalive.sent(session.outbox.ping()),
                Due::Nothing => {}
                Due::Dead => {
                    return End::Close { code: close::POLICY, reason: "no answer to a ping" };
                }
            },
        }
    }
}

async fn handle(
    state: &Arc<AppState>,
    session: &Arc<Session>,
    message: Option<Result<Message, axum::Error>>,
) -> Result<(), End> {
    let data = match message {
        Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message.into_data(),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
        Some(Ok(Message::Close(_))) => return Err(End::Farewell),
        None => return Err(End::Gone),
        Some(Err(error)) => {
            return Err(match ReadProblem::of(error) {
                ReadProblem::Gone => End::Gone,
                ReadProblem::Broken { code, reason } => End::Close { code, reason },
            });
        }
    };
    requests::answer(state, session, data)
        .await
        .map_err(|Gone| End::Gone)
}

/// Writes what is queued, says goodbye and gives the client a moment to say it back: a socket that
/// is dropped with unread bytes in it resets the connection, and the goodbye is lost.
async fn finish(
    end: End,
    outbox: Outbox,
    writer: JoinHandle<()>,
    mut stream: SplitStream<WebSocket>,
) {
    if let End::Close { code, reason } = end {
        outbox.close(code, reason).await;
        drop(outbox);
        // A panicked writer has written nothing more, which is all that matters here.
        let _ = writer.await;
    } else {
        drop(outbox);
        // Nobody reads what it may still have.
        writer.abort();
        if matches!(end, End::Gone) {
            return;
        }
    }
    // Reading on also sends our half of a goodbye that the client said first.
    let farewell = async {
        while let Some(message) = stream.next().await {
            if message.is_err() {
                // The reader is stuck at a message that is too big, but the client may still read.
                sleep(GOODBYE).await;
            }
        }
    };
    let _ = timeout(GOODBYE, farewell).await;
}
