//! Conditional requests (RFC 9110, section 13): what a client says it has, or wants unchanged.

use bus_testkit::json_payload;
use reqwest::Response;
use rstest::rstest;

use crate::support::{TestDaemon, daemon, expect_problem, header};

const PAYLOAD: &str = "/v1/messages/m/payload";
const MANIFEST: &str = "/v1/messages/m/manifest";
const RECORD: &str = "/v1/messages/m";

async fn stored() -> TestDaemon {
    let daemon = daemon().await;
    daemon.put("m", json_payload(50_000, 5)).await;
    daemon
}

async fn send(daemon: &TestDaemon, line: &str, headers: &[(&str, &str)]) -> Response {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = daemon.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

async fn etag(daemon: &TestDaemon, path: &str) -> String {
    let answer = send(daemon, &format!("GET {path}"), &[]).await;
    header(&answer, "etag").to_owned()
}

#[rstest]
#[case(PAYLOAD)]
#[case(MANIFEST)]
#[tokio::test]
async fn a_copy_that_is_current_is_304(#[case] path: &str) {
    let daemon = stored().await;
    let tag = etag(&daemon, path).await;
    for method in ["GET", "HEAD"] {
        let headers = [("if-none-match", tag.as_str())];
        let answer = send(&daemon, &format!("{method} {path}"), &headers).await;
        assert_eq!(answer.status(), 304, "{method}");
        assert_eq!(header(&answer, "etag"), tag);
        assert_eq!(header(&answer, "cache-control"), "private, no-store");
    }
}

#[rstest]
#[case("\"a,*,b\"")]
#[case("\"a, * ,b\"")]
#[case("W/*")]
#[case("\"x\", *")]
#[tokio::test]
async fn a_star_that_does_not_stand_alone_names_nothing(#[case] tags: &str) {
    let daemon = stored().await;
    let answer = send(
        &daemon,
        &format!("GET {PAYLOAD}"),
        &[("if-none-match", tags)],
    )
    .await;
    assert_eq!(answer.status(), 200);
}

#[rstest]
#[case(PAYLOAD)]
#[case(MANIFEST)]
#[tokio::test]
async fn a_read_of_what_is_no_longer_there_is_412(#[case] path: &str) {
    let daemon = stored().await;
    let tag = etag(&daemon, path).await;
    let (weak, listed) = (format!("W/{tag}"), format!("\"x\", {tag}"));
    for (condition, status) in [
        ("*", 200),
        (tag.as_str(), 200),
        (listed.as_str(), 200),
        (weak.as_str(), 412),
        ("\"x\"", 412),
        ("", 412),
    ] {
        let answer = send(&daemon, &format!("GET {path}"), &[("if-match", condition)]).await;
        assert_eq!(answer.status(), status, "If-Match: {condition}");
    }
    let both = [("if-match", "\"x\""), ("if-none-match", tag.as_str())];
    let answer = send(&daemon, &format!("GET {path}"), &both).await;
    expect_problem(answer, 412, "PRECONDITION_FAILED").await;
}

#[tokio::test]
async fn a_part_is_served_only_of_the_tag_that_it_must_have() {
    let daemon = stored().await;
    let tag = etag(&daemon, PAYLOAD).await;
    for (condition, status) in [(tag.as_str(), 206), ("\"x\"", 412)] {
        let headers = [("if-match", condition), ("range", "bytes=0-9")];
        let answer = send(&daemon, &format!("GET {PAYLOAD}"), &headers).await;
        assert_eq!(answer.status(), status, "If-Match: {condition}");
    }
}

#[rstest]
#[case("DELETE /v1/messages/m")]
#[case("POST /v1/messages/m/ack")]
#[case("PUT /v1/messages/m")]
#[tokio::test]
async fn nothing_changes_under_a_condition_that_cannot_hold(#[case] line: &str) {
    let daemon = stored().await;
    let answer = send(&daemon, line, &[("if-match", "\"x\"")]).await;
    expect_problem(answer, 412, "PRECONDITION_FAILED").await;
    let record = send(&daemon, &format!("GET {RECORD}"), &[]).await;
    let record: serde_json::Value = record.json().await.unwrap();
    assert!(record["acknowledged_at"].is_null());
}

#[tokio::test]
async fn a_put_that_must_be_the_first_is_told_that_it_is_not() {
    let daemon = daemon().await;
    let put = |body| {
        let request = daemon.request("PUT", RECORD).header("if-none-match", "*");
        request.body(body).send()
    };
    assert_eq!(put("data").await.unwrap().status(), 201);
    expect_problem(put("data").await.unwrap(), 412, "PRECONDITION_FAILED").await;
    assert_eq!(put("other").await.unwrap().status(), 409);
    let kept = send(&daemon, &format!("GET {PAYLOAD}"), &[]).await;
    assert_eq!(kept.text().await.unwrap(), "data");
}
