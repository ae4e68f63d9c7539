//! What the log says of calls: the original's lines, and one event for every routed call.

use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Client, setup};

/// Collects JSON lines.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    /// The fields of every event with `message`.
    pub(crate) fn events(&self, message: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let fields = events.map(|event: Value| event["fields"].clone());
        fields
            .filter(|fields| fields["message"] == message)
            .collect()
    }
}

#[tokio::test]
async fn every_routed_call_is_one_event_beside_the_lines_of_the_original() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(log.clone())
        .finish();
    // The test's runtime has one thread, so this covers the daemon's tasks too.
    let _guard = tracing::subscriber::set_default(subscriber);
    let daemon = setup()
        .config(|c| c.token = Some("hunter2".into()))
        .start()
        .await;
    let mut client = Client::connect(daemon.local_addr()).await;
    client
        .send(&json!({"op": "hello", "token": "hunter2", "session_id": "s-1"}))
        .await;
    client.frame().await;
    client
        .result_of("small", "echo", json!({"text": "hi"}))
        .await;
    client
        .result_of("large", "generate", json!({"bytes": 2_000_000}))
        .await;
    client.result_of("bad", "nope", json!({})).await;

    assert_eq!(log.events("below threshold").len(), 1);
    assert_eq!(log.events("storing large payload").len(), 1);
    let routed = log.events("call routed");
    let told: Vec<_> = routed
        .iter()
        .map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            (
                text("request_id"),
                text("tool"),
                text("route"),
                text("outcome"),
            )
        })
        .collect();
    let expected = [
        ("small", "echo", "inline", "ok"),
        ("large", "generate", "claim", "ok"),
    ]
    .map(|(id, tool, route, outcome)| (id.into(), tool.into(), route.into(), outcome.into()));
    assert_eq!(told, expected);
    assert_eq!(routed[1]["bytes"], 2_000_000);
    assert_eq!(routed[1]["session"], "s-1");
    assert!(routed[1]["ms"].is_u64());
    let all = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!all.contains("hunter2"), "the token is in the log");
}

#[tokio::test]
async fn an_id_that_looks_like_a_line_of_the_log_makes_none() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let forged = "c1\n1999-12-31T00:00:00Z  INFO all is well";
    client
        .result_of(forged, "echo", json!({"text": "hi"}))
        .await;
    let all = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(all.contains("all is well"), "{all}");
    assert!(
        all.lines().all(|line| !line.starts_with("1999")),
        "a client wrote a line of the log: {all}"
    );
}
