//! Sessions with a daemon that misbehaves, is busy or goes away.

use std::time::Duration;

use bus_protocol::RequestId;
use bus_remote::{
    CallOptions, CallOutcome, DaemonUrl, Remote, RemoteConfig, RemoteError, RemoteErrorKind,
};
use rstest::rstest;
use serde_json::Map;

use crate::{
    fake_daemon::{greeted_with, pair},
    raw,
};

const RESULT: &str = r#""outputs":[{"type":"text","text":"done"}]"#;
const BUSY: &str = r#""error":{"code":"OVER_CAPACITY","message":"busy","retry_after":0.01}"#;

async fn call(remote: &Remote) -> Result<CallOutcome, RemoteError> {
    remote
        .call("tool", Map::new(), CallOptions::default())
        .await
}

fn text(outcome: CallOutcome) -> String {
    match outcome {
        CallOutcome::Inline(payload) => String::from_utf8(payload.into_payload().unwrap()).unwrap(),
        CallOutcome::Claim(claim, _) => panic!("{claim:?}"),
    }
}

#[rstest]
#[case(
    r#"{"op":"hello_ack","ok":false,"error":"unauthorized"}"#,
    RemoteErrorKind::Unauthorized,
    "set BUS_TOKEN"
)]
#[case(
    r#"{"op":"hello_ack","ok":false,"error":"invalid_hello"}"#,
    RemoteErrorKind::Protocol,
    "invalid_hello"
)]
#[case(
    r#"{"op":"hello_ack","ok":true}"#,
    RemoteErrorKind::Protocol,
    "named no session"
)]
#[case(
    r#"{"op":"health_res","ok":true}"#,
    RemoteErrorKind::Protocol,
    "is no bus daemon"
)]
#[case("hello", RemoteErrorKind::Protocol, "is no bus daemon")]
#[tokio::test]
async fn a_greeting_that_opens_no_session_says_why(
    #[case] ack: &str,
    #[case] kind: RemoteErrorKind,
    #[case] message: &str,
) {
    let error = greeted_with(ack).await.unwrap_err();
    assert_eq!(error.kind(), kind);
    assert!(error.to_string().contains(message), "{error}");
}

#[tokio::test]
async fn what_is_no_websocket_is_told() {
    let address = raw::serve(raw::answer(&["Content-Length: 2"], b"hi"), false).await;
    let error = Remote::connect(RemoteConfig::new(DaemonUrl::of(address)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Protocol, "{error}");

    let silent = raw::serve(Vec::new(), true).await;
    let mut config = RemoteConfig::new(DaemonUrl::of(silent));
    config.connect_timeout = Duration::from_millis(200);
    let error = Remote::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn a_busy_daemon_is_asked_again_with_the_same_id() {
    let (remote, mut daemon) = pair(|_| {}).await;
    let played = async {
        let first = daemon.receive().await;
        daemon.answer(&first, BUSY).await;
        let second = daemon.receive().await;
        assert_eq!(second, first);
        daemon.answer(&second, RESULT).await;
    };
    let (outcome, ()) = tokio::join!(call(&remote), played);
    assert!(text(outcome.unwrap()).contains("done"));
}

#[tokio::test]
async fn a_daemon_that_stays_busy_is_given_up() {
    let (remote, mut daemon) = pair(|config| config.max_attempts = 3).await;
    let played = async {
        for _ in 0..3 {
            let call = daemon.receive().await;
            daemon.answer(&call, BUSY).await;
        }
    };
    let (outcome, ()) = tokio::join!(call(&remote), played);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::OverCapacity);
    assert_eq!(error.code(), Some("OVER_CAPACITY"));
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_pause_beyond_the_timeout_is_not_waited_for() {
    let (remote, mut daemon) = pair(|config| config.call_timeout = Duration::from_secs(5)).await;
    let played = async {
        let call = daemon.receive().await;
        let later = r#""error":{"code":"OVER_CAPACITY","message":"busy","retry_after":60}"#;
        daemon.answer(&call, later).await;
    };
    let (outcome, ()) = tokio::join!(call(&remote), played);
    assert_eq!(outcome.unwrap_err().kind(), RemoteErrorKind::OverCapacity);
}

#[tokio::test]
async fn a_message_beyond_the_clients_limit_closes_with_1009() {
    let (remote, mut daemon) = pair(|config| config.max_message = 1 << 20).await;
    let played = async {
        let call = daemon.receive().await;
        let text = "x".repeat(1 << 20);
        let big = format!(r#""outputs":[{{"type":"text","text":"{text}"}}]"#);
        daemon.answer(&call, &big).await;
        daemon.closed().await.unwrap()
    };
    let (outcome, frame) = tokio::join!(call(&remote), played);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::FrameTooLarge);
    assert_eq!(error.code(), Some("1009"));
    assert_eq!(u16::from(frame.code), 1009);
    // Whoever calls next is told the same, at once.
    assert_eq!(call(&remote).await.unwrap_err().code(), Some("1009"));
}

#[tokio::test]
async fn a_daemon_that_shuts_down_ends_the_calls_in_flight() {
    let (remote, mut daemon) = pair(|_| {}).await;
    let played = async {
        daemon.receive().await;
        daemon.close(1001).await;
    };
    let (outcome, ()) = tokio::join!(call(&remote), played);
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (RemoteErrorKind::Closed, Some("1001"))
    );
}

#[tokio::test]
async fn a_connection_that_breaks_ends_the_calls_in_flight() {
    let (remote, mut daemon) = pair(|_| {}).await;
    let played = async {
        daemon.receive().await;
        drop(daemon);
    };
    let (outcome, ()) = tokio::join!(call(&remote), played);
    assert_eq!(outcome.unwrap_err().kind(), RemoteErrorKind::Closed);
}

#[tokio::test]
async fn a_daemon_that_never_answers_times_out() {
    let (remote, _daemon) = pair(|config| config.call_timeout = Duration::from_millis(100)).await;
    assert_eq!(
        call(&remote).await.unwrap_err().kind(),
        RemoteErrorKind::Timeout
    );
}

#[tokio::test]
async fn a_timeout_beyond_every_clock_waits_without_end() {
    let (remote, mut daemon) = pair(|config| config.call_timeout = Duration::MAX).await;
    let played = async {
        let call = daemon.receive().await;
        daemon.answer(&call, RESULT).await;
    };
    let (outcome, ()) = tokio::join!(call(&remote), played);
    assert!(text(outcome.unwrap()).contains("done"));
}

#[rstest]
#[case::nothing_in_it(r#""x":1"#)]
#[case::outputs_that_are_none(r#""outputs":7,"delivery":"reference""#)]
#[case::claim_without_retrieval(
    r#""delivery":"reference","outputs":[{"type":"text","text":"{\"message_bus_transaction_id\":\"t\",\"payload_size_bytes\":1,\"retrieval_required\":true,\"session_id\":\"s\",\"tool_name\":\"t\"}"}]"#
)]
#[case::unknown_delivery(r#""delivery":"pigeon","outputs":[]"#)]
#[tokio::test]
async fn a_result_that_cannot_be_read_fails_its_own_call_only(#[case] rest: &str) {
    let (remote, mut daemon) = pair(|_| {}).await;
    let played = async {
        let first = daemon.receive().await;
        daemon.answer(&first, rest).await;
        let second = daemon.receive().await;
        daemon.send("not even JSON").await;
        daemon.send(r#"{"op":"news","from":"the future"}"#).await;
        daemon.answer(&second, RESULT).await;
    };
    let calls = async { (call(&remote).await, call(&remote).await) };
    let ((first, second), ()) = tokio::join!(calls, played);
    assert_eq!(first.unwrap_err().kind(), RemoteErrorKind::Protocol);
    assert!(text(second.unwrap()).contains("done"));
}

#[tokio::test]
async fn answers_out_of_order_find_their_calls() {
    let (remote, mut daemon) = pair(|_| {}).await;
    let played = async {
        let calls = [
            daemon.receive().await,
            daemon.receive().await,
            daemon.receive().await,
        ];
        for call in calls.iter().rev() {
            let id = call["request_id"].as_str().unwrap();
            let result = format!(r#""outputs":[{{"type":"text","text":"for {id}"}}]"#);
            daemon.answer(call, &result).await;
        }
    };
    let named = |id: &str| {
        let options = CallOptions {
            request_id: Some(RequestId::new(id).unwrap()),
            ..Default::default()
        };
        remote.call("tool", Map::new(), options)
    };
    let (a, b, c, ()) = tokio::join!(named("a"), named("b"), named("c"), played);
    for (outcome, id) in [(a, "a"), (b, "b"), (c, "c")] {
        assert!(text(outcome.unwrap()).contains(&format!("for {id}")));
    }
}

#[tokio::test]
async fn one_id_is_not_in_flight_twice() {
    let (remote, mut daemon) = pair(|_| {}).await;
    let options = CallOptions {
        request_id: Some(RequestId::new("a").unwrap()),
        ..Default::default()
    };
    let played = async {
        let call = daemon.receive().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        daemon.answer(&call, RESULT).await;
    };
    let (first, second, ()) = tokio::join!(
        remote.call("tool", Map::new(), options.clone()),
        remote.call("tool", Map::new(), options),
        played
    );
    assert!(first.is_ok());
    assert_eq!(second.unwrap_err().kind(), RemoteErrorKind::Duplicate);
}

#[tokio::test]
async fn the_last_handle_says_goodbye() {
    let (remote, mut daemon) = pair(|_| {}).await;
    drop(remote);
    assert_eq!(u16::from(daemon.closed().await.unwrap().code), 1000);
}

#[tokio::test]
async fn progress_is_passed_on() {
    let (remote, mut daemon) = pair(|_| {}).await;
    let (sender, mut notes) = tokio::sync::mpsc::channel(4);
    let options = CallOptions {
        progress: Some(sender),
        ..Default::default()
    };
    let played = async {
        let call = daemon.receive().await;
        let id = &call["request_id"];
        daemon
            .send(&format!(
                r#"{{"op":"progress","request_id":{id},"name":"tool","t":1.5,"note":"half"}}"#
            ))
            .await;
        daemon.answer(&call, RESULT).await;
    };
    let (outcome, ()) = tokio::join!(remote.call("tool", Map::new(), options), played);
    assert!(outcome.is_ok());
    assert_eq!(notes.recv().await.as_deref(), Some("half"));
}
