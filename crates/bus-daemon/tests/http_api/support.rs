//! A daemon on a free port with a store in memory, and ways to talk to it, polite and rude.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bus_client::{ClientBuilder, MessageBusClient};
use bus_daemon::{Daemon, DaemonConfig, RunningDaemon};
use bus_store::{MemoryStore, Store};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Long enough for the slowest machine; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Original size of a chunk in these tests.
pub(crate) const CHUNK: u32 = 64 << 10;

/// A daemon and a client of it.
pub(crate) struct TestDaemon {
    pub(crate) running: RunningDaemon,
    http: reqwest::Client,
}

/// A client of the bus over `store`, with small chunks.
pub(crate) fn bus_over(store: Arc<dyn Store>) -> ClientBuilder {
    MessageBusClient::builder().store(store).chunk_size(CHUNK)
}

/// A client of the bus over a store in memory.
pub(crate) fn bus() -> ClientBuilder {
    bus_over(Arc::new(MemoryStore::new()))
}

/// A daemon with a store in memory.
pub(crate) async fn daemon() -> TestDaemon {
    daemon_with(bus().build(), DaemonConfig::default()).await
}

/// A daemon that uses `client`, on a free port.
pub(crate) async fn daemon_with(client: MessageBusClient, config: DaemonConfig) -> TestDaemon {
    let config = DaemonConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..config
    };
    let running = Daemon::builder()
        .config(config)
        .client(client)
        .bind()
        .await
        .unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    TestDaemon { running, http }
}

impl TestDaemon {
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.local_addr()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.http
            .request(method, format!("http://{}{path}", self.address()))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    /// Publishes `body` as `txn` and expects that it is new.
    pub(crate) async fn put(&self, txn: &str, body: impl Into<reqwest::Body>) -> Value {
        let path = format!("/v1/messages/{txn}");
        let answer = self.request("PUT", &path).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json().await.unwrap()
    }

    /// A line of `/metrics`, by what comes before its value.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self
            .get("/metrics")
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = text.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Sends `head` (lines, `HOST` stands for the daemon's address) and `body` as they are, says
    /// that no more comes, and reads until the daemon hangs up.
    pub(crate) async fn raw(&self, head: &str, body: &[u8]) -> String {
        let mut socket = self.connect(head, body).await;
        let _ = socket.shutdown().await;
        read_all(&mut socket).await
    }

    /// The same, with the socket left open.
    pub(crate) async fn connect(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address()).await.unwrap();
        let head = head
            .replace("HOST", &self.address().to_string())
            .replace('\n', "\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body).await.unwrap();
        socket
    }
}

/// Everything until the other side hangs up, a reset included.
pub(crate) async fn read_all(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut bytes))
        .await
        .expect("the daemon hangs up");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The status of an answer that was read raw.
pub(crate) fn status_of(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    line.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("not an answer: {answer:?}"))
}

/// The header `name` of an answer.
pub(crate) fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("no header {name} in {:?}", answer.headers()))
        .to_str()
        .unwrap()
}

/// Expects a problem with `status` and `code`; its detail.
pub(crate) async fn expect_problem(answer: Response, status: u16, code: &str) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(header(&answer, "content-type"), "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], code, "{problem}");
    assert_eq!(problem["status"], status);
    assert!(!problem["action"].as_str().unwrap().is_empty());
    problem["detail"].as_str().unwrap().to_owned()
}
