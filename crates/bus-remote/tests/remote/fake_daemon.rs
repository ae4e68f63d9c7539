//! A WebSocket server that says what a test wants it to say.

use std::net::SocketAddr;

use bus_remote::{DaemonUrl, Remote, RemoteConfig, RemoteError};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// One connection, past the greeting.
pub(crate) struct Session(WebSocketStream<TcpStream>);

/// Where a fake daemon waits for one connection.
pub(crate) struct FakeDaemon(TcpListener);

impl FakeDaemon {
    pub(crate) async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self(listener), address)
    }

    /// Takes a connection, answers its hello with `ack`.
    pub(crate) async fn greet(self, ack: &str) -> Session {
        let (socket, _) = self.0.accept().await.unwrap();
        let mut session = Session(accept_async(socket).await.unwrap());
        assert_eq!(session.receive().await["op"], "hello");
        session.send(ack).await;
        session
    }
}

impl Session {
    /// The next frame of the client.
    pub(crate) async fn receive(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    pub(crate) async fn send(&mut self, frame: &str) {
        self.0.send(Message::text(frame.to_owned())).await.unwrap();
    }

    /// Answers a call with `rest` behind its id.
    pub(crate) async fn answer(&mut self, call: &Value, rest: &str) {
        let id = &call["request_id"];
        self.send(&format!(
            r#"{{"op":"call_tool_res","request_id":{id},{rest}}}"#
        ))
        .await;
    }

    /// Reads until the client closes; its close frame.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        while let Some(Ok(message)) = self.0.next().await {
            if let Message::Close(frame) = message {
                return frame;
            }
        }
        None
    }

    /// Closes with a code.
    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.0.close(Some(frame)).await.unwrap();
        self.closed().await;
    }
}

pub(crate) const ACK: &str = r#"{"op":"hello_ack","ok":true,"session_id":"s-1"}"#;

/// A client and the fake daemon that it talks to.
pub(crate) async fn pair(change: impl FnOnce(&mut RemoteConfig)) -> (Remote, Session) {
    let (daemon, address) = FakeDaemon::start().await;
    let mut config = RemoteConfig::new(DaemonUrl::of(address));
    change(&mut config);
    let (remote, session) = tokio::join!(Remote::connect(config), daemon.greet(ACK));
    (remote.unwrap(), session)
}

/// What a client makes of this greeting.
pub(crate) async fn greeted_with(ack: &str) -> Result<Remote, RemoteError> {
    let (daemon, address) = FakeDaemon::start().await;
    let connecting = Remote::connect(RemoteConfig::new(DaemonUrl::of(address)));
    let (remote, _session) = tokio::join!(connecting, daemon.greet(ack));
    remote
}
