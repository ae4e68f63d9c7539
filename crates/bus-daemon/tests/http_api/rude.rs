//! Clients that are not polite: cut bodies, stalls, heads without end. Spoken by hand over TCP.

use std::time::Duration;

use bus_daemon::{DaemonConfig, Limits};
use bus_model::ByteSize;
use rstest::rstest;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::faults::embedded;
use crate::support::{
    TestDaemon, bus, daemon, daemon_with, expect_problem, header, read_all, status_of,
};

/// Larger than a chunk, so that an upload has really begun.
const SENT: usize = 200_000;

async fn expect_nothing(daemon: &TestDaemon, txn: &str) {
    let path = format!("/v1/messages/{txn}/payload");
    let answer = daemon.get(&path).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    let listed = daemon.get("/v1/messages").send().await.unwrap();
    assert!(!listed.text().await.unwrap().contains(txn));
}

/// The status in the record of `txn`; empty where there is none.
async fn record_status(daemon: &TestDaemon, txn: &str) -> String {
    let path = format!("/v1/messages/{txn}");
    let answer = daemon.get(&path).send().await.unwrap();
    let record: Value = answer.json().await.unwrap();
    record["status"].as_str().unwrap_or_default().to_owned()
}

#[rstest]
#[case("Content-Length: 400000", "", "")]
#[case("Content-Length: 200001", "", "")]
#[case("Transfer-Encoding: chunked", "30d40\r\n", "\r\n")]
#[case("Transfer-Encoding: chunked", "30d41\r\n", "")]
#[case("Transfer-Encoding: chunked", "30d40\r\n", "\r\n0")]
#[case("Transfer-Encoding: chunked", "30d40\r\n", "\r\nzz\r\n")]
#[tokio::test]
async fn a_body_that_is_cut_off_never_commits(
    #[case] framing: &str,
    #[case] before: &str,
    #[case] after: &str,
) {
    let daemon = daemon().await;
    let head = format!("PUT /v1/messages/cut HTTP/1.1\nHost: HOST\n{framing}\n\n");
    let body = [before.as_bytes(), &[b'x'; SENT], after.as_bytes()].concat();
    let answer = daemon.raw(&head, &body).await;
    // A client that only stopped sending still reads why.
    assert_eq!(status_of(&answer), 400, "{answer}");
    assert!(answer.contains("BODY_TRUNCATED"), "{answer}");
    expect_nothing(&daemon, "cut").await;
    // The id is free again at once.
    daemon.put("cut", "whole").await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing() {
    let daemon = daemon().await;
    let head = "PUT /v1/messages/gone HTTP/1.1\nHost: HOST\nContent-Length: 400000\n\n";
    let socket = daemon.connect(head, &[b'x'; SENT]).await;
    // It has begun once it has a record; then its writer goes away.
    while record_status(&daemon, "gone").await != "pending" {}
    drop(socket);
    while record_status(&daemon, "gone").await == "pending" {}
    expect_nothing(&daemon, "gone").await;
    daemon.put("gone", "whole").await;
}

#[rstest]
#[case("GET /v1/messages/m/payload", "", 200)]
#[case("GET /v1/messages", "", 200)]
#[case("PUT /v1/messages/other", "data", 201)]
#[tokio::test]
async fn a_client_that_says_that_no_more_comes_still_reads_its_answer(
    #[case] line: &str,
    #[case] body: &str,
    #[case] status: u16,
) {
    // A store with files does not answer at once, so the end of the stream comes first.
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon_with(embedded(folder.path()).build(), DaemonConfig::default()).await;
    daemon.put("m", "data").await;
    let length = body.len();
    let head = format!("{line} HTTP/1.1\nHost: HOST\nContent-Length: {length}\n\n");
    let answer = daemon.raw(&head, body.as_bytes()).await;
    assert_eq!(status_of(&answer), status, "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_continue_is_told_before_it_sends() {
    let client = bus().max_payload(ByteSize::new(1000).unwrap()).build();
    let daemon = daemon_with(client, DaemonConfig::default()).await;
    let head = "PUT /v1/messages/big HTTP/1.1\nHost: HOST\nContent-Length: 1001\n\
                Expect: 100-continue\n\n";
    let mut socket = daemon.connect(head, b"").await;
    let answer = read_all(&mut socket).await;
    assert_eq!(status_of(&answer), 413, "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_continue_gets_it_where_its_body_is_wanted() {
    let daemon = daemon().await;
    let head = "PUT /v1/messages/ok HTTP/1.1\nHost: HOST\nContent-Length: 4\n\
                Expect: 100-continue\nConnection: close\n\n";
    let mut socket = daemon.connect(head, b"").await;
    let mut first = [0_u8; 25];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"data").await.unwrap();
    assert_eq!(status_of(&read_all(&mut socket).await), 201);
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_reads_why() {
    let client = bus().max_payload(ByteSize::new(1000).unwrap()).build();
    let daemon = daemon_with(client, DaemonConfig::default()).await;
    let head = "PUT /v1/messages/big HTTP/1.1\nHost: HOST\nContent-Length: 4000000\n\
                Connection: close\n\n";
    // All of it is sent before the first byte of the answer is read.
    let mut socket = daemon.connect(head, &vec![b'x'; 4_000_000]).await;
    assert_eq!(status_of(&read_all(&mut socket).await), 413);
}

#[rstest]
#[case("PUT /v1/messages/m", "", 401)]
#[case("PUT /v1/messages/m", "Origin: https://evil.example\n", 403)]
#[case("PUT /v1/messages/a%20b", "Authorization: Bearer secret\n", 400)]
#[case("PUT /nowhere", "Authorization: Bearer secret\n", 404)]
#[case("PUT /v1/messages", "Authorization: Bearer secret\n", 405)]
#[case("GET /healthz", "", 200)]
#[tokio::test]
async fn whoever_is_answered_before_the_body_was_looked_at_still_reads_it(
    #[case] line: &str,
    #[case] more: &str,
    #[case] status: u16,
) {
    let config = DaemonConfig {
        token: Some("secret".into()),
        ..DaemonConfig::default()
    };
    let daemon = daemon_with(bus().build(), config).await;
    let head = format!(
        "{line} HTTP/1.1\nHost: HOST\n{more}Content-Length: 8000000\nConnection: close\n\n"
    );
    // Most clients send all of it before they read, and give up where they cannot.
    let mut socket = daemon.connect(&head, &vec![b'x'; 8_000_000]).await;
    assert_eq!(status_of(&read_all(&mut socket).await), status);
}

#[rstest]
#[case("Transfer-Encoding: gzip, chunked")]
#[case("Transfer-Encoding: chunked, chunked")]
#[case("Transfer-Encoding: chunked\nTransfer-Encoding: chunked")]
#[tokio::test]
async fn a_body_of_unclear_length_is_refused_and_nothing_after_it_is_read(#[case] framing: &str) {
    let daemon = daemon().await;
    let head = format!("PUT /v1/messages/m HTTP/1.1\nHost: HOST\n{framing}\n\n");
    let next = "4\r\ndata\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut socket = daemon.connect(&head, next.as_bytes()).await;
    let answer = read_all(&mut socket).await;
    assert_eq!(status_of(&answer), 400, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    expect_nothing(&daemon, "m").await;
}

#[rstest]
#[case("Content-Length: 3\nTransfer-Encoding: chunked")]
#[case("Transfer-Encoding: chunked\nContent-Length: 3")]
#[tokio::test]
async fn of_two_ends_the_chunks_count_and_nothing_after_them_is_read(#[case] framing: &str) {
    let daemon = daemon().await;
    let head = format!("PUT /v1/messages/m HTTP/1.1\nHost: HOST\n{framing}\n\n");
    let next = "4\r\ndata\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut socket = daemon.connect(&head, next.as_bytes()).await;
    let answer = read_all(&mut socket).await;
    assert_eq!(status_of(&answer), 201, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    let path = "/v1/messages/m/payload";
    let kept = daemon.get(path).send().await.unwrap();
    assert_eq!(kept.text().await.unwrap(), "data");
}

fn hasty() -> DaemonConfig {
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        max_header_bytes: 8192,
        ..Limits::default()
    };
    DaemonConfig {
        limits,
        ..DaemonConfig::default()
    }
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let daemon = daemon_with(bus().build(), hasty()).await;
    let head = "PUT /v1/messages/slow HTTP/1.1\nHost: HOST\nContent-Length: 400000\n\n";
    let mut socket = daemon.connect(head, &[b'x'; SENT]).await;
    let answer = read_all(&mut socket).await;
    assert_eq!(status_of(&answer), 408, "{answer}");
    assert!(answer.contains("BODY_STALLED"), "{answer}");
    expect_nothing(&daemon, "slow").await;
}

#[tokio::test]
async fn a_payload_too_many_waits_its_turn_and_is_told_to_come_back() {
    let limits = Limits {
        transfers: 1,
        transfer_wait: Duration::from_millis(100),
        ..Limits::default()
    };
    let config = DaemonConfig {
        limits,
        ..DaemonConfig::default()
    };
    let daemon = daemon_with(bus().build(), config).await;
    daemon.put("before", "data").await;
    let head = "PUT /v1/messages/slow HTTP/1.1\nHost: HOST\nContent-Length: 200001\n\
                Connection: close\n\n";
    let mut slow = daemon.connect(head, &[b'x'; SENT]).await;
    // What has begun holds the only place; whether it has shows in the record.
    while daemon
        .get("/v1/messages/slow")
        .send()
        .await
        .unwrap()
        .status()
        != 200
    {}
    for (method, path) in [
        ("PUT", "/v1/messages/other"),
        ("GET", "/v1/messages/before/payload"),
    ] {
        let answer = daemon.request(method, path).send().await.unwrap();
        assert_eq!(header(&answer, "retry-after"), "1");
        expect_problem(answer, 503, "OVER_CAPACITY").await;
    }
    slow.write_all(b"x").await.unwrap();
    assert_eq!(status_of(&read_all(&mut slow).await), 201);
    daemon.put("other", "data").await;
}

#[rstest]
#[case("")]
#[case("GET /healthz HTTP/1.1\n")]
#[case("GET /healthz HTTP/1.1\nHost: HO")]
#[tokio::test]
async fn a_head_that_does_not_end_is_hung_up_on(#[case] head: &str) {
    let daemon = daemon_with(bus().build(), hasty()).await;
    let mut socket = daemon.connect(head, b"").await;
    let answer = read_all(&mut socket).await;
    assert!(answer.is_empty() || status_of(&answer) == 408, "{answer}");
}

#[tokio::test]
async fn a_daemon_may_wait_without_end() {
    let mut config = hasty();
    config.limits.header_timeout = Duration::MAX;
    config.limits.body_idle = Duration::MAX;
    let daemon = daemon_with(bus().build(), config).await;
    daemon.put("m", "data").await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let daemon = daemon_with(bus().build(), hasty()).await;
    let long = "x".repeat(20_000);
    let head = format!("GET /healthz HTTP/1.1\nHost: HOST\nX-Long: {long}\n\n");
    assert_eq!(status_of(&daemon.raw(&head, b"").await), 431);
}

#[rstest]
#[case("nonsense\n\n", 400)]
#[case("GET  /healthz HTTP/1.1\nHost: HOST\n\n", 400)]
#[case("PUT /v1/messages/m HTTP/1.1\nHost: HOST\nContent-Length: x\n\n", 400)]
#[case(
    "PUT /v1/messages/m HTTP/1.1\nHost: HOST\nContent-Length: 1\nContent-Length: 2\n\n",
    400
)]
#[case(
    "PUT /v1/messages/m HTTP/1.1\nHost: HOST\nTransfer-Encoding: gzip\n\n",
    400
)]
#[tokio::test]
async fn what_is_not_http_is_refused(#[case] head: &str, #[case] status: u16) {
    let daemon = daemon().await;
    let answer = daemon.raw(head, b"").await;
    assert_eq!(status_of(&answer), status, "{answer}");
    expect_nothing(&daemon, "m").await;
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let daemon = daemon().await;
    let one = "GET /healthz HTTP/1.1\nHost: HOST\n\n";
    let last = "GET /healthz HTTP/1.1\nHost: HOST\nConnection: close\n\n";
    let answer = daemon.raw(&format!("{one}{one}{last}"), b"").await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
}
