//! A gateway as hosted Supabase has one: prefix, keys, roles. It streams both ways and keeps count.
//!
//! It lives in the process of the test, so that a test can ask it what was called and make it answer what no server
//! here can be made to: 429, 503, a stray 413.

mod access;
mod octets;

pub(crate) use access::Rules;
pub(crate) use octets::Database;

use super::background;
use anyhow::{Context, Result};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use futures::StreamExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Headers that concern one connection only.
const HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// The gateway in front of one project.
#[derive(Debug)]
pub struct Gateway {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// An answer that the gateway gives itself, without asking the server.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values of headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A status with a `message` as JSON.
    #[must_use]
    pub fn new(status: u16, message: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: json!({ "message": message }).to_string().into_bytes(),
        }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    rules: Rules,
    client: Client<HttpConnector, Body>,
    counts: Mutex<BTreeMap<String, u64>>,
    planned: Mutex<VecDeque<Planned>>,
    octet_stream: AtomicBool,
    database: Database,
}

#[derive(Debug)]
struct Planned {
    path: String,
    answer: Answer,
}

impl Gateway {
    pub(crate) async fn start(
        port: u16,
        upstream: SocketAddr,
        rules: Rules,
        database: Database,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .with_context(|| format!("listening on port {port} for the gateway"))?;
        let addr = listener.local_addr()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let shared = Arc::new(Shared {
            upstream,
            rules,
            client: Client::builder(TokioExecutor::new()).build(connector),
            counts: Mutex::default(),
            planned: Mutex::default(),
            octet_stream: AtomicBool::new(false),
            database,
        });
        let app = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let task = background::runtime().spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            addr,
            shared,
            task: task.abort_handle(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many requests have come for paths that end with `path` (`rpc/bus_put`, say), refused ones included.
    #[must_use]
    pub fn count(&self, path: &str) -> u64 {
        let counts = self.shared.counts.lock();
        let matching = counts.iter().filter(|(seen, _)| seen.ends_with(path));
        matching.map(|(_, count)| count).sum()
    }

    /// How many requests have come for each path.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.counts.lock().clone()
    }

    /// Counts anew from nothing.
    pub fn reset_counts(&self) {
        self.shared.counts.lock().clear();
    }

    /// Answers the next `times` requests for paths that end with `path` (`""`: all) with `answer`, once their bodies
    /// have been read. The server does not see them.
    pub fn answer_next(&self, times: usize, path: &str, answer: &Answer) {
        let planned = (0..times).map(|_| Planned {
            path: path.to_owned(),
            answer: answer.clone(),
        });
        self.shared.planned.lock().extend(planned);
    }

    /// Forgets the answers of [`Self::answer_next`] that nobody has got yet; how many there were.
    pub fn clear_answers(&self) -> usize {
        self.shared.planned.lock().drain(..).count()
    }

    /// Whether a POST of `application/octet-stream` reaches a function with one unnamed bytea parameter, as PostgREST
    /// documents. Off at first: neither server can do it, so the gateway asks the database itself.
    pub fn octet_stream(&self, on: bool) {
        self.shared.octet_stream.store(on, Ordering::Relaxed);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let path = request.uri().path().to_owned();
    *shared.counts.lock().entry(path.clone()).or_default() += 1;
    if let Some(answer) = shared.planned_for(&path) {
        // What sends a long body must be able to end before it reads the answer.
        let mut body = request.into_body().into_data_stream();
        while body.next().await.is_some() {}
        return answer;
    }
    let granted = match shared.rules.admit(request.headers()) {
        Ok(granted) => granted,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(bearer) = granted {
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
    }
    if shared.octet_stream.load(Ordering::Relaxed) && octets::meant(&request) {
        return shared.database.call(request).await;
    }
    shared.forward(request, &path).await
}

impl Shared {
    fn planned_for(&self, path: &str) -> Option<Response> {
        let mut planned = self.planned.lock();
        let at = planned
            .iter()
            .position(|planned| path.ends_with(&planned.path))?;
        let answer = planned.remove(at)?.answer;
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        let mut response = (status, answer.body).into_response();
        response.headers_mut().clear();
        for (name, value) in answer.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        Some(response)
    }

    async fn forward(&self, request: Request, path: &str) -> Response {
        let Some(path) = self.rules.upstream_path(path) else {
            let message = "no Route matched with those values";
            return (StatusCode::NOT_FOUND, Json(json!({ "message": message }))).into_response();
        };
        let query = request
            .uri()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let target = format!("http://{}{path}{query}", self.upstream);
        let Ok(target) = target.parse::<Uri>() else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let (mut parts, body) = request.into_parts();
        parts.uri = target;
        without_hop_headers(&mut parts.headers);
        match self.client.request(Request::from_parts(parts, body)).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                without_hop_headers(&mut parts.headers);
                Response::from_parts(parts, Body::new(body))
            }
            Err(error) => {
                tracing::debug!(%error, "the server did not answer");
                let message = "An invalid response was received from the upstream server";
                (StatusCode::BAD_GATEWAY, Json(json!({ "message": message }))).into_response()
            }
        }
    }
}

fn without_hop_headers(headers: &mut HeaderMap) {
    for name in HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Reads until what has come ends with `end`.
    async fn read_to(stream: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        let mut buffer = [0; 1024];
        while !text.ends_with(end) {
            let read = stream.read(&mut buffer).await.unwrap();
            assert!(read > 0, "the end comes after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn bodies_pass_both_ways_as_they_come() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let gateway = Gateway::start(0, addr, Rules::Open, Database::new(0, "")).await;
        let gateway = gateway.unwrap();
        let mut client = TcpStream::connect(gateway.addr()).await.unwrap();
        let head = "POST /put HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nfirst";
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut server, _) = server.accept().await.unwrap();
        // The other half is not even sent yet.
        let head = read_to(&mut server, "\r\n\r\nfirst").await;
        assert!(head.starts_with("POST /put HTTP/1.1"), "{head}");
        assert!(head.contains("content-length: 10"), "{head}");
        client.write_all(b"other").await.unwrap();
        read_to(&mut server, "other").await;

        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst";
        server.write_all(head.as_bytes()).await.unwrap();
        read_to(&mut client, "\r\n\r\nfirst").await;
        server.write_all(b"other").await.unwrap();
        read_to(&mut client, "other").await;
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_is_cut_for_the_client() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = server.local_addr().unwrap();
        let gateway = Gateway::start(0, addr, Rules::Open, Database::new(0, "")).await;
        let gateway = gateway.unwrap();
        let mut client = TcpStream::connect(gateway.addr()).await.unwrap();
        let head = "GET /get HTTP/1.1\r\nhost: x\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut server, _) = server.accept().await.unwrap();
        read_to(&mut server, "\r\n\r\n").await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst";
        server.write_all(head.as_bytes()).await.unwrap();
        let answer = read_to(&mut client, "first").await;
        assert!(answer.contains("content-length: 10"), "{answer}");
        drop(server);
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "nothing is made up for what is missing");
    }
}
