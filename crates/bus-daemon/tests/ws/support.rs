//! A daemon on a free port, and a WebSocket client that speaks the original's frames.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bus_client::{ClientBuilder, MessageBusClient};
use bus_daemon::{
    Daemon, DaemonConfig, RunningDaemon,
    tools::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec},
};
use bus_model::ToolName;
use bus_store::MemoryStore;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};

/// Long enough for the slowest machine; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the bus over a fresh store in memory.
pub(crate) fn bus() -> ClientBuilder {
    MessageBusClient::builder()
        .store(Arc::new(MemoryStore::new()))
        .enabled(true)
}

/// A daemon that is being put together.
pub(crate) struct Setup {
    pub(crate) config: DaemonConfig,
    client: MessageBusClient,
    tools: Vec<Arc<dyn Tool>>,
}

pub(crate) fn setup() -> Setup {
    Setup {
        config: DaemonConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..DaemonConfig::default()
        },
        client: bus().build(),
        tools: Vec::new(),
    }
}

impl Setup {
    pub(crate) fn client(mut self, client: MessageBusClient) -> Self {
        self.client = client;
        self
    }

    pub(crate) fn config(mut self, change: impl FnOnce(&mut DaemonConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Adds a tool made of a closure.
    pub(crate) fn tool<F, R>(mut self, name: &str, run: F) -> Self
    where
        F: Fn(ToolContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
    {
        let spec = ToolSpec::new(ToolName::new(name).unwrap(), "", json!({"type": "object"}));
        let run = Box::new(move |context| run(context).boxed());
        self.tools.push(Arc::new(ClosureTool { spec, run }));
        self
    }

    pub(crate) async fn start(self) -> RunningDaemon {
        let mut builder = Daemon::builder().config(self.config).client(self.client);
        for tool in self.tools {
            builder = builder.tool(tool);
        }
        builder.bind().await.unwrap()
    }
}

type Run =
    Box<dyn Fn(ToolContext) -> BoxFuture<'static, Result<ToolOutput, ToolError>> + Send + Sync>;

struct ClosureTool {
    spec: ToolSpec,
    run: Run,
}

#[async_trait]
impl Tool for ClosureTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, context: ToolContext) -> Result<ToolOutput, ToolError> {
        (self.run)(context).await
    }
}

/// What comes from the daemon.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Frame(Value),
    Closed(Option<u16>),
}

/// A client with the limit of Python's `websockets`: 1 MiB a message.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Connects, as the original's clients do: without a path.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let url = format!("ws://{address}");
        let limits = WebSocketConfig::default().max_message_size(Some(1 << 20));
        let limits = limits.max_frame_size(Some(1 << 20));
        let connected = tokio_tungstenite::connect_async_with_config(url, Some(limits), true).await;
        Self {
            socket: connected.unwrap().0,
        }
    }

    pub(crate) async fn connect_path(address: SocketAddr, path: &str) -> Result<Self, Error> {
        let (socket, _) = connect_async(format!("ws://{address}{path}")).await?;
        Ok(Self { socket })
    }

    /// Connects and says hello.
    pub(crate) async fn open(daemon: &RunningDaemon) -> Self {
        let mut client = Self::connect(daemon.local_addr()).await;
        client.send(&json!({"op": "hello"})).await;
        let ack = client.frame().await;
        assert_eq!(ack["ok"], true, "{ack}");
        client
    }

    /// The same, in the session `id`.
    pub(crate) async fn open_as(daemon: &RunningDaemon, id: &str) -> Self {
        let mut client = Self::connect(daemon.local_addr()).await;
        client.send(&json!({"op": "hello", "session_id": id})).await;
        let ack = client.frame().await;
        assert_eq!(ack["session_id"], id, "{ack}");
        client
    }

    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_text(&frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn call(&mut self, id: &str, name: &str, arguments: Value) {
        let frame =
            json!({"op": "call_tool", "request_id": id, "name": name, "arguments": arguments});
        self.send(&frame).await;
    }

    /// Calls and waits for the result.
    pub(crate) async fn result_of(&mut self, id: &str, name: &str, arguments: Value) -> Value {
        self.call(id, name, arguments).await;
        self.result(id).await
    }

    /// Frames until the result of `id` comes.
    pub(crate) async fn result(&mut self, id: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["op"] == "call_tool_res" && frame["request_id"] == id {
                return frame;
            }
        }
    }

    /// Frames until one with `op` comes.
    pub(crate) async fn until(&mut self, op: &str) -> Value {
        loop {
            let frame = self.frame().await;
            if frame["op"] == op {
                return frame;
            }
        }
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            Heard::Closed(code) => panic!("closed with {code:?}"),
        }
    }

    /// Frames until the connection closes; the code.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await;
            match next.expect("the daemon said nothing") {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Frame(serde_json::from_str(&text).unwrap());
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map(|frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }
}

/// The code of a failed call.
pub(crate) fn code(result: &Value) -> &str {
    result["error"]["code"].as_str().unwrap_or_default()
}

/// The message of a failed call.
pub(crate) fn reason(result: &Value) -> &str {
    result["error"]["message"].as_str().unwrap_or_default()
}

/// The claim in a result by reference.
pub(crate) fn claim(result: &Value) -> Value {
    assert_eq!(result["delivery"], "reference", "{result}");
    serde_json::from_str(result["outputs"][0]["text"].as_str().unwrap()).unwrap()
}

/// What the daemon's own client fetches for the claim in `result`.
pub(crate) async fn redeem(daemon: &RunningDaemon, result: &Value) -> Vec<u8> {
    let claim = claim(result);
    let id = claim["message_bus_transaction_id"].as_str().unwrap();
    let id = bus_model::TransactionId::new(id).unwrap();
    let fetched = daemon.state().client.fetch(&id).await.unwrap();
    fetched.bytes().await.unwrap().to_vec()
}

/// Waits until `check` holds; a test whose condition never comes true fails.
pub(crate) async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let all = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all)
        .await
        .unwrap_or_else(|_| panic!("{what} never happened"));
}
