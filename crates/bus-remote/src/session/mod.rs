//! A session with a daemon over WebSocket: list its tools, call them, redeem what they answer.

mod call;
mod connect;
mod driver;

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bus_model::{Claim, Retrieval, SessionId};
use bus_protocol::{CallTool, Health, RequestId, ToolInfo};
use serde_json::{Map, Value};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

pub use self::call::{CallOptions, CallOutcome};
use self::driver::{Command, Ended};
use crate::{HttpApi, Payload, RemoteConfig, RemoteError, RemoteErrorKind};

/// How many commands may wait for the socket before a caller waits too.
const QUEUE: usize = 32;

/// A session with a daemon. Cheap to clone; calls of all clones share the connection, which ends
/// with the last of them.
///
/// # Cancellation
/// Every future may be dropped. A call that is dropped runs on at the daemon; calling again with
/// the same request id gets its result.
#[derive(Clone)]
pub struct Remote {
    commands: mpsc::Sender<Command>,
    ended: Arc<OnceLock<Ended>>,
    session_id: SessionId,
    http: HttpApi,
    call_timeout: Duration,
    max_attempts: u32,
}

impl Remote {
    /// Connects and opens a session.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Unavailable`] where the daemon cannot be reached,
    /// [`RemoteErrorKind::Timeout`], [`RemoteErrorKind::Unauthorized`] for a wrong token,
    /// [`RemoteErrorKind::Protocol`] where it is no daemon.
    pub async fn connect(config: RemoteConfig) -> Result<Self, RemoteError> {
        let http = HttpApi::new(config.clone())?;
        let (socket, session_id) = connect::open(&config).await?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let ended = Arc::new(OnceLock::new());
        tokio::spawn(driver::run(socket, queue, Arc::clone(&ended)));
        Ok(Self {
            commands,
            ended,
            session_id,
            http,
            call_timeout: config.call_timeout,
            max_attempts: config.max_attempts.max(1),
        })
    }

    /// The session, as the daemon named it.
    #[must_use]
    pub fn session_id(&self) -> &SessionId {
        &self.session_id
    }

    /// The daemon over HTTP.
    #[must_use]
    pub fn http(&self) -> &HttpApi {
        &self.http
    }

    /// The daemon's tools, by name.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub async fn list_tools(&self) -> Result<Vec<ToolInfo>, RemoteError> {
        self.ask(Command::ListTools, after(self.call_timeout)).await
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub async fn health(&self) -> Result<Health, RemoteError> {
        self.ask(Command::Health, after(self.call_timeout)).await
    }

    /// Calls a tool. A daemon without capacity is asked again after the time that it names, a
    /// bounded number of times and until the timeout; such a call has not started.
    ///
    /// # Errors
    /// [`RemoteErrorKind::ToolNotFound`], [`RemoteErrorKind::ToolFailed`],
    /// [`RemoteErrorKind::ToolTimeout`], [`RemoteErrorKind::InvalidInput`] for arguments that the
    /// tool does not take, [`RemoteErrorKind::OverCapacity`], [`RemoteErrorKind::TooLarge`],
    /// [`RemoteErrorKind::FrameTooLarge`], [`RemoteErrorKind::Timeout`],
    /// [`RemoteErrorKind::Closed`], [`RemoteErrorKind::Protocol`].
    pub async fn call(
        &self,
        name: impl Into<String>,
        arguments: Map<String, Value>,
        options: CallOptions,
    ) -> Result<CallOutcome, RemoteError> {
        let deadline = after(options.timeout.unwrap_or(self.call_timeout));
        let call = CallTool {
            request_id: options.request_id.unwrap_or_else(mint_request_id),
            name: name.into(),
            arguments,
        };
        let mut attempt = 1;
        loop {
            let progress = options.progress.clone();
            let sent = call.clone();
            let frame = self
                .ask(
                    |reply| Command::Call {
                        call: sent,
                        reply,
                        progress,
                    },
                    deadline,
                )
                .await?;
            let error = match call::outcome(frame, &call.name) {
                Err(error) if error.kind() == RemoteErrorKind::OverCapacity => error,
                done => return done,
            };
            let pause = call::pause(&call.request_id, attempt, error.retry_after());
            if attempt >= self.max_attempts || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(attempt, ?pause, tool = %call.name, "the daemon is over capacity");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Redeems a claim at the daemon that sent it.
    ///
    /// The path is joined to the daemon's own origin; a frame that names anything else is refused
    /// before a byte is sent. Nothing counts as received before its SHA-256 is what the frame said.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Protocol`] for a path that is none, [`RemoteErrorKind::NotFound`],
    /// [`RemoteErrorKind::Expired`], [`RemoteErrorKind::Unauthorized`],
    /// [`RemoteErrorKind::Unavailable`]; then those of [`Payload`].
    pub async fn redeem(
        &self,
        claim: &Claim,
        retrieval: &Retrieval,
    ) -> Result<Payload, RemoteError> {
        self.http.redeem(claim, retrieval).await
    }

    /// Sends one command and waits for its answer.
    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, RemoteError>>) -> Command,
        deadline: Instant,
    ) -> Result<T, RemoteError> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands
                .send(command(reply))
                .await
                .map_err(|_| self.why_ended())?;
            answer.await.map_err(|_| self.why_ended())?
        };
        timeout_at(deadline, exchange).await.unwrap_or_else(|_| {
            Err(RemoteError::new(
                RemoteErrorKind::Timeout,
                "the daemon did not answer in time: wait longer, or ask again with the same request id",
            ))
        })
    }

    fn why_ended(&self) -> RemoteError {
        self.ended.get().map_or_else(
            || {
                RemoteError::new(
                    RemoteErrorKind::Closed,
                    "the connection to the daemon is closed",
                )
            },
            Ended::error,
        )
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("session_id", &self.session_id)
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

/// The moment that lies `wait` ahead; as good as never where the clock has no such moment.
fn after(wait: Duration) -> Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(wait).unwrap_or_else(|| now + NEVER)
}

fn mint_request_id() -> RequestId {
    let id = bus_model::MessageId::mint();
    RequestId::new(id.to_string()).expect("a UUID has 36 characters")
}
