//! The first message of a session, which must be a hello.

use axum::extract::ws::{Message, WebSocket};
use bus_model::SessionId;
use bus_protocol::{Hello, HelloAck, ServerFrame, Token, close};
use futures::{StreamExt as _, stream::SplitStream};
use tokio::time::timeout;
use uuid::Uuid;

use super::{problem::ReadProblem, writer::Outbox};
use crate::state::AppState;

/// How a session that does not open ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

/// Waits for the hello and answers it.
///
/// `Err(None)` means that the socket is gone.
pub(crate) async fn open(
    state: &AppState,
    stream: &mut SplitStream<WebSocket>,
    outbox: &Outbox,
) -> Result<SessionId, Option<Refused>> {
    let wait = state.config.limits.hello_timeout;
    let first = tokio::select! {
        first = timeout(wait, first_message(stream)) => first,
        () = state.shutdown.cancelled() => return refuse(close::GOING_AWAY, "shutting down"),
    };
    let message = match first {
        Err(_) => return refuse(close::HELLO_TIMEOUT, "hello timeout"),
        Ok(Err(ReadProblem::Gone)) => return Err(None),
        Ok(Err(ReadProblem::Broken { code, reason })) => return refuse(code, reason),
        Ok(Ok(message)) => message,
    };
    let hello = match Hello::parse(&message.into_data()) {
        Ok(hello) => hello,
        Err(error) => {
            answer(outbox, HelloAck::refused(error.reason())).await?;
            return refuse(error.close_code(), error.reason());
        }
    };
    if !state.token.accepts(hello.token.as_ref().map(Token::expose)) {
        answer(outbox, HelloAck::refused("unauthorized")).await?;
        return refuse(close::UNAUTHORIZED, "unauthorized");
    }
    let session_id = match hello.session_id {
        Some(named) => named,
        None => minted(),
    };
    answer(outbox, HelloAck::opened(session_id.clone())).await?;
    Ok(session_id)
}

/// The first message with data in it.
async fn first_message(stream: &mut SplitStream<WebSocket>) -> Result<Message, ReadProblem> {
    loop {
        match stream.next().await {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => return Ok(message),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(ReadProblem::Gone),
            Some(Err(error)) => return Err(ReadProblem::of(error)),
        }
    }
}

async fn answer(outbox: &Outbox, ack: HelloAck) -> Result<(), Option<Refused>> {
    let frame = ServerFrame::HelloAck(ack).to_json();
    outbox.send(frame).await.map_err(|_| None)
}

fn refuse<T>(code: u16, reason: &'static str) -> Result<T, Option<Refused>> {
    Err(Some(Refused { code, reason }))
}

fn minted() -> SessionId {
    let id = Uuid::new_v4().to_string();
    SessionId::new(id).expect("a UUID is a legal session id")
}
