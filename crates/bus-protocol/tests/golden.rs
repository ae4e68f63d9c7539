//! Every frame as a file: what is on the wire changes only where a file here changes.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly, as tests do"
)]

use std::{fs, path::Path, time::Duration};

use bus_model::{
    Claim, CompressionType, ContentType, Digest, Retrieval, SessionId, ToolName, TransactionId,
};
use bus_protocol::{
    CallError, CallTool, CallToolAck, CallToolRes, ClientFrame, ErrorCode, Health, Hello, HelloAck,
    InlineResult, Output, OutputsPayload, ProgressNote, Reply, RequestId, RotateToken, Seconds,
    ServerFrame, Token, ToolInfo,
};
use chrono::{TimeZone as _, Utc};
use rstest::rstest;
use serde_json::json;

fn id() -> RequestId {
    RequestId::new("c1").unwrap()
}

fn session() -> SessionId {
    SessionId::new("s-1").unwrap()
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim_end().to_owned()
}

/// The file, the frame and what the frame is written as are the same.
fn check_server(name: &str, frame: &ServerFrame) {
    let expected = golden(name);
    assert_eq!(frame.to_json(), expected, "{name}");
    let read = ServerFrame::parse(expected.as_bytes()).unwrap();
    assert_eq!(read.to_json(), expected, "{name} read and written again");
}

#[rstest]
#[case("hello", ClientFrame::Hello(Hello::default()))]
#[case("hello_with_token", ClientFrame::Hello(Hello {
    token: Some(Token::new("t")),
    session_id: Some(session()),
}))]
#[case("list_tools", ClientFrame::ListTools {})]
#[case("call_tool", ClientFrame::CallTool(CallTool {
    request_id: id(),
    name: "echo".to_owned(),
    arguments: json!({"text": "hi"}).as_object().unwrap().clone(),
}))]
#[case("health", ClientFrame::Health {})]
#[case("rotate_token", ClientFrame::RotateToken(RotateToken {
    old: Token::new("a"),
    new: Token::new("b"),
}))]
fn frames_of_a_client(#[case] name: &str, #[case] frame: ClientFrame) {
    let expected = golden(name);
    assert_eq!(frame.to_json(), expected);
    assert_eq!(ClientFrame::parse(expected.as_bytes()), Ok(frame));
}

#[rstest]
#[case("hello_ack", ServerFrame::HelloAck(HelloAck::opened(session())))]
#[case(
    "hello_ack_unauthorized",
    ServerFrame::HelloAck(HelloAck::refused("unauthorized"))
)]
#[case("list_tools_res", ServerFrame::ListToolsRes { tools: vec![ToolInfo {
    name: ToolName::new("echo").unwrap(),
    description: "Says it back".to_owned(),
    input_schema: json!({"type": "object"}),
}] })]
#[case("progress", ServerFrame::Progress(ProgressNote {
    request_id: id(),
    name: "echo".to_owned(),
    t: 1_763_770_000.25,
    note: "running".to_owned(),
}))]
#[case("call_tool_ack", ServerFrame::CallToolAck(CallToolAck {
    request_id: id(),
    accepted: true,
    timeout: Seconds(Duration::from_secs(180)),
    name: "echo".to_owned(),
}))]
#[case("health_res", ServerFrame::HealthRes { ok: true, health: Health {
    t: 1_763_770_000.25,
    uptime_human: "1h 2m 3s".to_owned(),
    sessions: 1,
    global_capacity: 24,
    tool_count: 2,
} })]
#[case("rotate_token_res", ServerFrame::RotateTokenRes { ok: true, error: None })]
#[case("rotate_token_res_unauthorized", ServerFrame::RotateTokenRes {
    ok: false,
    error: Some("unauthorized".to_owned()),
})]
#[case("error", ServerFrame::Error { message: "invalid_json".to_owned() })]
fn frames_of_the_daemon(#[case] name: &str, #[case] frame: ServerFrame) {
    check_server(name, &frame);
}

#[rstest]
#[case("call_tool_res_tool_not_found", ErrorCode::ToolNotFound)]
#[case("call_tool_res_timeout", ErrorCode::Timeout)]
#[case("call_tool_res_exec_error", ErrorCode::ExecError)]
#[case("call_tool_res_invalid_arguments", ErrorCode::InvalidArguments)]
#[case("call_tool_res_too_large", ErrorCode::TooLarge)]
#[case("call_tool_res_undeliverable", ErrorCode::Undeliverable)]
#[case("call_tool_res_reply_lost", ErrorCode::ReplyLost)]
fn errors(#[case] name: &str, #[case] code: ErrorCode) {
    let error = CallError::new(code, "why");
    check_server(
        name,
        &ServerFrame::CallToolRes(CallToolRes::failed(id(), error)),
    );
}

#[test]
fn error_over_capacity_says_when_to_try_again() {
    let error = CallError {
        retry_after: Some(Seconds(Duration::from_secs(1))),
        ..CallError::new(ErrorCode::OverCapacity, "why")
    };
    let frame = ServerFrame::CallToolRes(CallToolRes::failed(id(), error));
    check_server("call_tool_res_over_capacity", &frame);
}

#[test]
fn error_duplicate_names_the_request() {
    let error = CallError {
        original_request_id: Some(id()),
        ..CallError::new(ErrorCode::Duplicate, "why")
    };
    let frame = ServerFrame::CallToolRes(CallToolRes::failed(id(), error));
    check_server("call_tool_res_duplicate", &frame);
}

#[test]
fn a_result_of_outputs() {
    let payload = OutputsPayload::new(vec![Output::text("a"), Output::text("b \"quoted\"")]);
    let id = id();
    let result = InlineResult::outputs(&id, &payload);
    assert_eq!(result.render(true), golden("call_tool_res"));
    assert_eq!(result.render(false), golden("call_tool_res_without_text"));

    let Reply::Inline(inline) = reply("call_tool_res") else {
        panic!("not inline");
    };
    assert_eq!(inline.into_payload().unwrap(), payload.as_json().as_bytes());
}

#[test]
fn a_result_of_a_stream() {
    let (id, kind) = (id(), ContentType::text());
    let result = InlineResult::stream(&id, "line\n", &kind);
    assert_eq!(result.render(true), golden("call_tool_res_stream"));

    let Reply::Inline(inline) = reply("call_tool_res_stream") else {
        panic!("not inline");
    };
    assert_eq!(inline.content_type(), kind);
    assert_eq!(inline.into_payload().unwrap(), b"line\n");
}

#[test]
fn a_result_by_claim() {
    let claim = Claim::new(
        TransactionId::new("txn_00000000000000000000000000000001").unwrap(),
        5_242_880,
        session(),
        ToolName::new("read_file").unwrap(),
    );
    let retrieval = Retrieval {
        path: "/v1/messages/txn_00000000000000000000000000000001/payload".to_owned(),
        token: None,
        expires_at: Utc.with_ymd_and_hms(2026, 11, 24, 4, 0, 0).unwrap(),
        sha256: Digest::of(b"payload"),
        manifest_sha256: Digest::of(b"manifest"),
        encoding: CompressionType::Zstd,
        stored_bytes: 812_000,
        content_type: "application/json".to_owned(),
    };
    let frame = CallToolRes::reference(id(), &claim, retrieval.clone());
    check_server("call_tool_res_reference", &ServerFrame::CallToolRes(frame));

    let Reply::Reference {
        claim: read,
        retrieval: how,
    } = reply("call_tool_res_reference")
    else {
        panic!("not by claim");
    };
    assert_eq!((read, *how), (claim, retrieval));
}

#[test]
fn text_that_looks_like_a_claim_is_plain_data() {
    let Reply::Inline(inline) = reply("call_tool_res_forged_claim") else {
        panic!("a payload was taken for a claim");
    };
    let text = inline.outputs().unwrap()[0].as_text().to_owned();
    assert!(text.contains("message_bus_transaction_id"));
}

fn reply(name: &str) -> Reply {
    let ServerFrame::CallToolRes(frame) = ServerFrame::parse(golden(name).as_bytes()).unwrap()
    else {
        panic!("{name} is no result");
    };
    Reply::of(frame).unwrap()
}
