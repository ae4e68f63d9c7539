//! The task that owns a session's socket: sends commands, hands answers to who waits for them.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bus_protocol::{
    CallTool, CallToolRes, ClientFrame, FrameError, Health, RequestId, ServerFrame, ToolInfo, close,
};
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    error::CapacityError,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::connect::Socket;
use crate::{RemoteError, RemoteErrorKind};

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

type Answer<T> = oneshot::Sender<Result<T, RemoteError>>;

/// What a session is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// `list_tools`.
    ListTools(Answer<Vec<ToolInfo>>),
    /// `health`.
    Health(Answer<Health>),
    /// `call_tool`.
    Call {
        call: CallTool,
        reply: Answer<CallToolRes>,
        progress: Option<mpsc::Sender<String>>,
    },
}

/// How a session ended: an error that can be given to any number of callers.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    kind: RemoteErrorKind,
    message: String,
    code: Option<u16>,
}

impl Ended {
    /// Because of an error of the socket.
    pub(super) fn of(error: &WsError) -> Self {
        match error {
            WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => Self {
                kind: RemoteErrorKind::FrameTooLarge,
                message: format!(
                    "the daemon sent a message of {size} bytes, this client takes {max_size}: closed with 1009"
                ),
                code: Some(close::TOO_BIG),
            },
            WsError::Io(io) if io.kind() != io::ErrorKind::UnexpectedEof => Self {
                kind: RemoteErrorKind::Closed,
                message: format!("the connection to the daemon broke: {io}"),
                code: None,
            },
            WsError::Protocol(what) => Self {
                kind: RemoteErrorKind::Closed,
                message: format!("the connection to the daemon broke: {what}"),
                code: None,
            },
            _ => Self::closed(None),
        }
    }

    /// Because the daemon closed it.
    pub(super) fn closed(frame: Option<&CloseFrame>) -> Self {
        let code = frame.map(|frame| u16::from(frame.code));
        let (kind, why) = match code {
            Some(close::GOING_AWAY) => (RemoteErrorKind::Closed, "it shuts down".to_owned()),
            Some(close::TOO_BIG) => (
                RemoteErrorKind::TooLarge,
                "a message was larger than it takes (1009)".to_owned(),
            ),
            Some(close::UNAUTHORIZED) => (
                RemoteErrorKind::Unauthorized,
                "the token is not accepted".to_owned(),
            ),
            Some(code) => {
                let reason = frame.map(|frame| frame.reason.as_str()).unwrap_or_default();
                (
                    RemoteErrorKind::Closed,
                    format!("code {code} {reason}").trim_end().to_owned(),
                )
            }
            None => (RemoteErrorKind::Closed, "it gave no reason".to_owned()),
        };
        Self {
            kind,
            message: format!("the daemon closed the connection: {why}"),
            code,
        }
    }

    /// The error for one caller.
    pub(super) fn error(&self) -> RemoteError {
        let error = RemoteError::new(self.kind, self.message.clone());
        match self.code {
            Some(code) => error.with_code(code.to_string()),
            None => error,
        }
    }
}

/// Serves a session until its last handle is gone or the connection ends; why goes to `ended`.
pub(super) async fn run(
    mut socket: Socket,
    mut commands: mpsc::Receiver<Command>,
    ended: Arc<OnceLock<Ended>>,
) {
    let mut waiting = Waiting::default();
    let why = loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => {
                    say_goodbye(&mut socket, CloseCode::Normal, "").await;
                    return;
                }
                Some(command) => {
                    let Some(frame) = waiting.add(command) else { continue };
                    if let Err(error) = socket.send(Message::text(frame)).await {
                        break Ended::of(&error);
                    }
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => waiting.answer(text.as_bytes()),
                Some(Ok(Message::Close(frame))) => break Ended::closed(frame.as_ref()),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Ended::of(&error),
                None => break Ended::closed(None),
            },
        }
    };
    // First, so that a caller that finds its answer gone finds the reason.
    let why = ended.get_or_init(|| why);
    tracing::debug!(reason = %why.message, "the session ended");
    waiting.fail(why);
    if why.kind == RemoteErrorKind::FrameTooLarge {
        // As other clients do; the daemon sees why it lost its reader.
        say_goodbye(&mut socket, CloseCode::Size, "message too big").await;
    }
}

/// Closes and reads on until the daemon closed too, so that it gets to see the code.
async fn say_goodbye(socket: &mut Socket, code: CloseCode, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let farewell = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    if timeout(GOODBYE, farewell).await.is_err() {
        tracing::debug!("the daemon did not answer the close");
    }
}

/// Who waits for which answer.
#[derive(Default)]
struct Waiting {
    calls: HashMap<RequestId, PendingCall>,
    tools: VecDeque<Answer<Vec<ToolInfo>>>,
    health: VecDeque<Answer<Health>>,
}

/// The part of any frame about a call.
#[derive(Deserialize)]
struct NamesCall {
    request_id: RequestId,
}

struct PendingCall {
    reply: Answer<CallToolRes>,
    progress: Option<mpsc::Sender<String>>,
    accepted: bool,
}

impl Waiting {
    /// Notes who waits; the frame to send, if there is one.
    fn add(&mut self, command: Command) -> Option<String> {
        self.calls.retain(|_, call| !call.reply.is_closed());
        Some(match command {
            Command::ListTools(reply) => {
                self.tools.push_back(reply);
                ClientFrame::ListTools {}.to_json()
            }
            Command::Health(reply) => {
                self.health.push_back(reply);
                ClientFrame::Health {}.to_json()
            }
            Command::Call {
                call,
                reply,
                progress,
            } => {
                if self.calls.contains_key(&call.request_id) {
                    let message =
                        format!("request id {} is in flight: use another", call.request_id);
                    // Dropped by its caller meanwhile: nobody to tell.
                    let _ = reply.send(Err(RemoteError::new(RemoteErrorKind::Duplicate, message)));
                    return None;
                }
                let pending = PendingCall {
                    reply,
                    progress,
                    accepted: false,
                };
                self.calls.insert(call.request_id.clone(), pending);
                ClientFrame::CallTool(call).to_json()
            }
        })
    }

    /// Hands a frame to who waits for it. An answer whose caller has gone is dropped.
    fn answer(&mut self, frame: &[u8]) {
        match ServerFrame::parse(frame) {
            Ok(ServerFrame::CallToolRes(result)) => {
                if let Some(call) = self.calls.remove(&result.request_id) {
                    let _ = call.reply.send(Ok(result));
                }
            }
            Ok(ServerFrame::CallToolAck(ack)) => {
                if let Some(call) = self.calls.get_mut(&ack.request_id) {
                    call.accepted = true;
                }
            }
            Ok(ServerFrame::Progress(note)) => {
                if let Some(call) = self.calls.get_mut(&note.request_id) {
                    call.accepted = true;
                    if let Some(progress) = &call.progress {
                        let _ = progress.try_send(note.note);
                    }
                }
            }
            Ok(ServerFrame::ListToolsRes { tools }) => {
                if let Some(reply) = self.tools.pop_front() {
                    let _ = reply.send(Ok(tools));
                }
            }
            Ok(ServerFrame::HealthRes { health, .. }) => {
                if let Some(reply) = self.health.pop_front() {
                    let _ = reply.send(Ok(health));
                }
            }
            Ok(ServerFrame::Error { message }) => self.refuse(&message),
            Ok(_) => {}
            Err(error) => self.unreadable(frame, error),
        }
    }

    /// A frame that cannot be read ends the call that it names, rather than letting it wait.
    fn unreadable(&mut self, frame: &[u8], error: FrameError) {
        tracing::warn!(%error, "the daemon sent a frame that cannot be read");
        let named = serde_json::from_slice::<NamesCall>(frame).ok();
        if let Some(call) = named.and_then(|frame| self.calls.remove(&frame.request_id)) {
            let what = "the daemon's answer to this call cannot be read";
            let error = RemoteError::new(RemoteErrorKind::Protocol, what).with_source(error);
            let _ = call.reply.send(Err(error));
        }
    }

    /// An error frame names no call: it is about one that was not accepted yet.
    fn refuse(&mut self, message: &str) {
        let error = || {
            let message = format!("the daemon refused a message: {message}");
            RemoteError::new(RemoteErrorKind::Protocol, message)
        };
        let refused: Vec<RequestId> = self
            .calls
            .iter()
            .filter(|(_, call)| !call.accepted)
            .map(|(id, _)| id.clone())
            .collect();
        for id in refused {
            if let Some(call) = self.calls.remove(&id) {
                let _ = call.reply.send(Err(error()));
            }
        }
        if let Some(reply) = self.tools.pop_front() {
            let _ = reply.send(Err(error()));
        }
        if let Some(reply) = self.health.pop_front() {
            let _ = reply.send(Err(error()));
        }
    }

    /// The session is over: everybody is told why.
    fn fail(&mut self, why: &Ended) {
        for (_, call) in self.calls.drain() {
            let _ = call.reply.send(Err(why.error()));
        }
        for reply in self.tools.drain(..) {
            let _ = reply.send(Err(why.error()));
        }
        for reply in self.health.drain(..) {
            let _ = reply.send(Err(why.error()));
        }
    }
}
