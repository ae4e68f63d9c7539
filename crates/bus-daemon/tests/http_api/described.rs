//! Every path, method and status in `openapi.json` is made to happen, and every answer is held
//! against what the document says of it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bus_daemon::{DaemonConfig, Limits};
use bus_model::{ByteSize, Digest};
use bus_store::{ManualClock, MemoryStore, StoreErrorKind};
use bus_testkit::random_payload;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use reqwest::{Body, Response};
use serde_json::Value;

use crate::{
    faults::failing,
    support::{TestDaemon, bus, bus_over, daemon, daemon_with, status_of},
};

/// The document and what of it has been seen.
struct Described {
    document: Value,
    seen: BTreeSet<(String, String, u16)>,
}

/// One request: method, path in the document, path that is asked for, headers, body.
struct Ask<'a> {
    method: &'a str,
    template: &'a str,
    path: String,
    headers: &'a [(&'a str, &'a str)],
    body: Option<Body>,
}

fn ask<'a>(method: &'a str, template: &'a str, txn: &str) -> Ask<'a> {
    Ask {
        method,
        template,
        path: template.replace("{txn}", txn),
        headers: &[],
        body: None,
    }
}

impl<'a> Ask<'a> {
    fn with(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = headers;
        self
    }

    fn query(mut self, query: &str) -> Self {
        self.path.push_str(query);
        self
    }

    fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(body.into());
        self
    }
}

impl Described {
    async fn new() -> Self {
        let daemon = daemon().await;
        let answer = daemon.get("/openapi.json").send().await.unwrap();
        Self {
            document: answer.json().await.unwrap(),
            seen: BTreeSet::new(),
        }
    }

    /// `(METHOD, path)` of everything described; with `status`, only of what names it.
    fn operations(&self, status: Option<u16>) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = &operation["responses"];
                let named = status.is_none_or(|s| !responses[s.to_string()].is_null());
                if method != "parameters" && named {
                    all.push((method.to_uppercase(), path.clone()));
                }
            }
        }
        all
    }

    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node["$ref"].as_str() {
            Some(reference) => self
                .document
                .pointer(reference.strip_prefix('#').unwrap())
                .unwrap_or_else(|| panic!("{reference} leads nowhere")),
            None => node,
        }
    }

    /// Sends `asked` (a `GET` as `HEAD` too, where that may have the same status), expects `status`
    /// and an answer as described.
    async fn expect(&mut self, daemon: &TestDaemon, asked: Ask<'_>, status: u16) {
        let head = asked.method == "GET" && self.describes("HEAD", asked.template, status);
        let methods = if head {
            vec!["GET", "HEAD"]
        } else {
            vec![asked.method]
        };
        let (template, mut body) = (asked.template, asked.body);
        for method in methods {
            let mut request = daemon.request(method, &asked.path);
            for (name, value) in asked.headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = body.take() {
                request = request.body(body);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{method} {}", asked.path);
            self.check(method, template, answer).await;
        }
    }

    fn describes(&self, method: &str, template: &str, status: u16) -> bool {
        !self.response(method, template, status).is_null()
    }

    fn response(&self, method: &str, template: &str, status: u16) -> &Value {
        let operation = &self.document["paths"][template][method.to_lowercase()];
        self.resolve(&operation["responses"][status.to_string()])
    }

    async fn check(&mut self, method: &str, template: &str, answer: Response) {
        let status = answer.status().as_u16();
        let name = format!("{method} {template} {status}");
        let described = self.response(method, template, status).clone();
        assert!(!described.is_null(), "{name} is not described");
        if let Some(headers) = described["headers"].as_object() {
            for (header, node) in headers {
                self.check_header(&name, &answer, header, node);
            }
        }
        let kind = answer.headers().get("content-type").cloned();
        let kind = kind.as_ref().map_or("", |kind| kind.to_str().unwrap());
        let kind = kind.split(';').next().unwrap().to_owned();
        let body = answer.bytes().await.unwrap();
        match described["content"].as_object() {
            None => assert!(body.is_empty(), "{name} has a body"),
            Some(content) => {
                let media = content.get(&kind).or_else(|| content.get("*/*"));
                let media = media.unwrap_or_else(|| panic!("{name} is a {kind}"));
                self.check_body(&name, &kind, &media["schema"], &body);
            }
        }
        self.seen
            .insert((method.to_owned(), template.to_owned(), status));
    }

    /// `Content-Encoding` comes only with stored bytes; all others always.
    fn check_header(&self, name: &str, answer: &Response, header: &str, node: &Value) {
        let Some(value) = answer.headers().get(header) else {
            assert_eq!(header, "Content-Encoding", "{name} lacks it");
            return;
        };
        let text = value.to_str().unwrap();
        let schema = &self.resolve(node)["schema"];
        let value = match schema["type"].as_str() {
            Some("integer") => text.parse::<u64>().unwrap().into(),
            _ => Value::from(text),
        };
        self.validate(&format!("{name} {header}"), schema, &value);
    }

    fn check_body(&self, name: &str, kind: &str, schema: &Value, body: &Bytes) {
        let value = if kind.ends_with("json") {
            serde_json::from_slice(body).unwrap()
        } else if schema["type"] == "string" {
            Value::from(String::from_utf8(body.to_vec()).unwrap())
        } else {
            return;
        };
        self.validate(name, schema, &value);
    }

    fn validate(&self, name: &str, schema: &Value, value: &Value) {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        let errors: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?} in {value}");
    }

    fn never_seen(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (method, path) in self.operations(None) {
            let operation = &self.document["paths"][&path][method.to_lowercase()];
            for status in operation["responses"].as_object().unwrap().keys() {
                let key = (method.clone(), path.clone(), status.parse().unwrap());
                if !self.seen.contains(&key) {
                    missing.push(format!("{method} {path} {status}"));
                }
            }
        }
        missing
    }
}

const ALL: &str = "/v1/messages";
const ONE: &str = "/v1/messages/{txn}";
const PAYLOAD: &str = "/v1/messages/{txn}/payload";
const MANIFEST: &str = "/v1/messages/{txn}/manifest";
const ACK: &str = "/v1/messages/{txn}/ack";

#[tokio::test]
async fn every_described_answer_happens_as_it_is_described() {
    let mut described = Described::new().await;
    refused(&mut described).await;
    upgraded(&mut described).await;
    published(&mut described).await;
    read(&mut described).await;
    failed(&mut described).await;
    looked_at(&mut described).await;
    let missing = described.never_seen();
    assert!(missing.is_empty(), "never seen: {missing:#?}");
}

/// 401 and 403 come before everything else.
async fn refused(described: &mut Described) {
    let config = DaemonConfig {
        token: Some("secret".into()),
        ..DaemonConfig::default()
    };
    let locked = daemon_with(bus().build(), config).await;
    for (method, path) in described.operations(Some(401)) {
        let asked = ask(&method, &path, "m");
        described.expect(&locked, asked, 401).await;
    }
    let open = daemon().await;
    for (method, path) in described.operations(Some(403)) {
        let asked = ask(&method, &path, "m").with(&[("origin", "https://evil.example")]);
        described.expect(&open, asked, 403).await;
    }
}

async fn upgraded(described: &mut Described) {
    let open = daemon().await;
    let limits = Limits {
        max_sockets: 0,
        ..Limits::default()
    };
    let config = DaemonConfig {
        limits,
        ..DaemonConfig::default()
    };
    let full = daemon_with(bus().build(), config).await;
    for path in ["/", "/ws"] {
        // The HTTP client of these tests does not ask for upgrades of its own accord.
        let head = format!(
            "GET {path} HTTP/1.1\nHost: HOST\nConnection: Upgrade\nUpgrade: websocket\n\
             Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n\n"
        );
        for (daemon, status) in [(&open, 101), (&full, 503)] {
            assert_eq!(status_of(&daemon.raw(&head, b"").await), status);
            described.seen.insert(("GET".into(), path.into(), status));
        }
        let asked = ask("GET", path, "").with(&[("upgrade", "websocket")]);
        described.expect(&open, asked, 426).await;
    }
}

async fn published(described: &mut Described) {
    let limits = Limits {
        body_idle: Duration::from_millis(300),
        ..Limits::default()
    };
    let config = DaemonConfig {
        limits,
        ..DaemonConfig::default()
    };
    let client = bus().max_payload(ByteSize::new(300_000).unwrap()).build();
    let daemon = daemon_with(client, config).await;
    let wrong = Digest::of(b"other").to_repr_digest();
    for (method, template) in [("PUT", ONE), ("POST", ALL)] {
        let asked = || ask(method, template, "m").body("data");
        described.expect(&daemon, asked(), 201).await;
        let digest = [("repr-digest", wrong.as_str())];
        described.expect(&daemon, asked().with(&digest), 400).await;
        let coded = asked().with(&[("content-encoding", "gzip")]);
        described.expect(&daemon, coded, 415).await;
        let large = asked().body(random_payload(300_001, 1));
        described.expect(&daemon, large, 413).await;
        let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from("some"))]);
        let stalls = Body::wrap_stream(first.chain(stream::pending()));
        described.expect(&daemon, asked().body(stalls), 408).await;
    }
    described
        .expect(&daemon, ask("PUT", ONE, "m").body("data"), 200)
        .await;
    described
        .expect(&daemon, ask("PUT", ONE, "m").body("more"), 409)
        .await;
}

async fn read(described: &mut Described) {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::with_clock(clock.clone()));
    let daemon = daemon_with(bus_over(store).build(), DaemonConfig::default()).await;
    daemon.put("m", random_payload(200_000, 1)).await;
    for template in [ALL, ONE, PAYLOAD, MANIFEST] {
        described
            .expect(&daemon, ask("GET", template, "m"), 200)
            .await;
    }
    described.expect(&daemon, ask("POST", ACK, "m"), 200).await;
    described
        .expect(&daemon, ask("GET", ALL, "").query("?limit=0"), 400)
        .await;
    let asked = || ask("GET", PAYLOAD, "m");
    let frames = asked().with(&[("bus-accept-frames", "zstd")]);
    described.expect(&daemon, frames, 200).await;
    let part = asked().with(&[("range", "bytes=5-70000")]);
    described.expect(&daemon, part, 206).await;
    let beyond = asked().with(&[("range", "bytes=200000-")]);
    described.expect(&daemon, beyond, 416).await;
    for template in [PAYLOAD, MANIFEST] {
        let asked = || ask("GET", template, "m");
        let current = asked().with(&[("if-none-match", "*")]);
        described.expect(&daemon, current, 304).await;
    }
    for (method, template) in described.operations(Some(412)) {
        let stale = ask(&method, &template, "m").with(&[("if-match", "\"x\"")]);
        described.expect(&daemon, stale, 412).await;
    }
    let picky = asked().with(&[("accept-encoding", "identity;q=0")]);
    described.expect(&daemon, picky, 406).await;
    for (method, template) in reads() {
        described
            .expect(&daemon, ask(method, template, "a%20b"), 400)
            .await;
        described
            .expect(&daemon, ask(method, template, "unknown"), 404)
            .await;
    }
    clock.advance(Duration::from_secs(3600 * 48));
    for (method, template) in [("GET", PAYLOAD), ("GET", MANIFEST), ("POST", ACK)] {
        described
            .expect(&daemon, ask(method, template, "m"), 410)
            .await;
    }
    described.expect(&daemon, ask("GET", ONE, "m"), 200).await;
    described
        .expect(&daemon, ask("DELETE", ONE, "m"), 204)
        .await;
}

/// Whatever goes wrong in the store, the answer is one that the document knows.
#[tokio::test]
async fn no_failure_of_the_store_has_an_answer_that_is_not_described() {
    let mut described = Described::new().await;
    for kind in [
        StoreErrorKind::Denied,
        StoreErrorKind::Damaged,
        StoreErrorKind::NewerFormat,
        StoreErrorKind::Overloaded,
        StoreErrorKind::Unavailable,
        StoreErrorKind::Timeout,
        StoreErrorKind::Internal,
    ] {
        let client = bus_over(Arc::new(failing(kind))).build();
        let daemon = daemon_with(client, DaemonConfig::default()).await;
        for (method, template) in described.operations(None) {
            if template == "/ws" {
                continue;
            }
            let path = template.replace("{txn}", "m");
            let answer = daemon.request(&method, &path).send().await.unwrap();
            described.check(&method, &template, answer).await;
        }
    }
}

fn reads() -> [(&'static str, &'static str); 5] {
    [
        ("GET", ONE),
        ("DELETE", ONE),
        ("GET", PAYLOAD),
        ("GET", MANIFEST),
        ("POST", ACK),
    ]
}

async fn failed(described: &mut Described) {
    for (kind, status) in [
        (StoreErrorKind::Unavailable, 503),
        (StoreErrorKind::Full, 507),
        (StoreErrorKind::Damaged, 500),
        (StoreErrorKind::Internal, 500),
        (StoreErrorKind::NewerFormat, 500),
    ] {
        let client = bus_over(Arc::new(failing(kind))).build();
        let daemon = daemon_with(client, DaemonConfig::default()).await;
        for (method, path) in described.operations(Some(status)) {
            // These two do not ask the store; `upgraded` makes their 503 happen.
            if matches!(&*path, "/" | "/ws") {
                continue;
            }
            described
                .expect(&daemon, ask(&method, &path, "m"), status)
                .await;
        }
    }
}

async fn looked_at(described: &mut Described) {
    let daemon = daemon().await;
    for path in ["/", "/healthz", "/readyz", "/metrics", "/openapi.json"] {
        described.expect(&daemon, ask("GET", path, ""), 200).await;
    }
}
