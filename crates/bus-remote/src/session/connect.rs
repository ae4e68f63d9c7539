//! Opening a session: the WebSocket and the greeting.

use std::io;

use bus_model::SessionId;
use bus_protocol::{ClientFrame, Hello, HelloAck, ServerFrame, Token};
use futures::{SinkExt as _, StreamExt as _};
use secrecy::ExposeSecret as _;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Error as WsError, Message, protocol::WebSocketConfig},
};

use super::driver;
use crate::{RemoteConfig, RemoteError, RemoteErrorKind};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Connects and says hello.
pub(super) async fn open(config: &RemoteConfig) -> Result<(Socket, SessionId), RemoteError> {
    if config.token.is_some() && !config.url.is_private() {
        tracing::warn!(daemon = %config.url, "the token and all results travel unencrypted");
    }
    let opened = timeout(config.connect_timeout, async {
        let mut socket = connect(config).await?;
        let session = greet(&mut socket, config).await?;
        Ok((socket, session))
    });
    opened.await.unwrap_or_else(|_| {
        let waited = config.connect_timeout;
        Err(RemoteError::new(
            RemoteErrorKind::Timeout,
            format!(
                "the daemon at {} did not greet within {waited:?}",
                config.url
            ),
        ))
    })
}

async fn connect(config: &RemoteConfig) -> Result<Socket, RemoteError> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(config.max_message))
        .max_frame_size(Some(config.max_message));
    match connect_async_with_config(config.url.websocket(), Some(limits), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(not_connected(config, error)),
    }
}

fn not_connected(config: &RemoteConfig, error: WsError) -> RemoteError {
    let url = &config.url;
    match &error {
        WsError::Http(answer) => {
            let status = answer.status();
            let kind = match status.as_u16() {
                401 => RemoteErrorKind::Unauthorized,
                403 => RemoteErrorKind::Forbidden,
                500..=599 => RemoteErrorKind::Unavailable,
                _ => RemoteErrorKind::Protocol,
            };
            let message = format!("{url} answered {status} instead of opening a session");
            RemoteError::new(kind, message).with_code(status.as_str())
        }
        WsError::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => RemoteError::new(
            RemoteErrorKind::Unavailable,
            format!(
                "no daemon answers at {url}: start one with bus serve, or name another with --url"
            ),
        )
        .with_source(error),
        WsError::Io(_) | WsError::Tls(_) => RemoteError::new(
            RemoteErrorKind::Unavailable,
            format!("{url} cannot be reached"),
        )
        .with_source(error),
        _ => RemoteError::new(RemoteErrorKind::Protocol, format!("{url} is no bus daemon"))
            .with_source(error),
    }
}

async fn greet(socket: &mut Socket, config: &RemoteConfig) -> Result<SessionId, RemoteError> {
    let hello = ClientFrame::Hello(Hello {
        token: config
            .token
            .as_ref()
            .map(|token| Token::new(token.expose_secret())),
        session_id: config.session_id.clone(),
    });
    let lost = |error: WsError| driver::Ended::of(&error).error().with_source(error);
    socket
        .send(Message::text(hello.to_json()))
        .await
        .map_err(lost)?;
    while let Some(message) = socket.next().await {
        match message.map_err(lost)? {
            Message::Text(text) => return session_of(text.as_bytes(), config),
            Message::Close(frame) => return Err(driver::Ended::closed(frame.as_ref()).error()),
            _ => {}
        }
    }
    Err(driver::Ended::closed(None).error())
}

fn session_of(frame: &[u8], config: &RemoteConfig) -> Result<SessionId, RemoteError> {
    let strange = |why: &str| {
        let message = format!("{} is no bus daemon: {why}", config.url);
        RemoteError::new(RemoteErrorKind::Protocol, message)
    };
    match ServerFrame::parse(frame) {
        Ok(ServerFrame::HelloAck(HelloAck {
            ok: true,
            session_id,
            ..
        })) => session_id.ok_or_else(|| strange("it named no session")),
        Ok(ServerFrame::HelloAck(HelloAck { error, .. })) => {
            Err(refused(&error.unwrap_or_default(), config))
        }
        Ok(_) => Err(strange("it answered the hello with something else")),
        Err(error) => Err(strange("its greeting cannot be read").with_source(error)),
    }
}

fn refused(reason: &str, config: &RemoteConfig) -> RemoteError {
    if reason != "unauthorized" {
        let message = format!("the daemon refused the session: {reason}");
        return RemoteError::new(RemoteErrorKind::Protocol, message);
    }
    let message = match config.token {
        Some(_) => "the daemon does not accept this token: check --token or BUS_TOKEN",
        None => "the daemon asks for a token: set BUS_TOKEN",
    };
    RemoteError::new(RemoteErrorKind::Unauthorized, message).with_code("4003")
}
