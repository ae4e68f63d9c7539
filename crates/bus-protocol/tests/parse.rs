//! Badly built frames get the original's answers; nothing makes the parser panic.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail loudly, as tests do"
)]

use bus_model::ContentType;
use bus_protocol::{
    ClientFrame, Hello, HelloError, InlineResult, Output, OutputsPayload, RequestId, ServerFrame,
    inline::escaped_bytes,
};
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case("", "invalid_json")]
#[case("{", "invalid_json")]
#[case("hello", "invalid_json")]
#[case(r#"{"op":"health"} x"#, "invalid_json")]
#[case("5", "invalid_message: a frame is a JSON object")]
#[case(r#"["health"]"#, "invalid_message: a frame is a JSON object")]
#[case("{}", "invalid_message: op is missing")]
#[case(r#"{"op":"dance"}"#, "Unknown op: dance")]
#[case(r#"{"op":7}"#, "Unknown op: 7")]
#[case(
    r#"{"op":"call_tool","name":"echo"}"#,
    "invalid_message: missing field `request_id`"
)]
#[case(
    r#"{"op":"call_tool","request_id":"a"}"#,
    "invalid_message: missing field `name`"
)]
#[case(
    r#"{"op":"call_tool","request_id":"","name":"echo"}"#,
    "invalid_message: a request_id has 1 to 256 bytes, not 0"
)]
#[case(
    r#"{"op":"call_tool","request_id":1,"name":"echo"}"#,
    "invalid_message: invalid type: integer `1`, expected a string"
)]
#[case(
    r#"{"op":"call_tool","request_id":"a","name":"echo","arguments":[]}"#,
    "invalid_message: invalid type: sequence, expected a map"
)]
#[case(
    r#"{"op":"rotate_token","old":"a"}"#,
    "invalid_message: missing field `new`"
)]
fn the_answer_to_a_bad_frame(#[case] message: &str, #[case] answer: &str) {
    let error = ClientFrame::parse(message.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(answer), "{error}");
}

#[test]
fn an_answer_to_a_long_op_is_short() {
    let message = format!(r#"{{"op":"{}"}}"#, "x".repeat(100_000));
    let error = ClientFrame::parse(message.as_bytes()).unwrap_err();
    assert!(error.to_string().len() < 200);
}

#[rstest]
#[case("nonsense", "invalid_hello", 4000)]
#[case(r#"{"op":"hello","session_id":5}"#, "invalid_hello", 4000)]
#[case(r#"{"op":"hello","session_id":""}"#, "invalid_hello", 4000)]
#[case(r#"{"op":"hello","token":{}}"#, "invalid_hello", 4000)]
#[case(r#"{"op":"list_tools"}"#, "missing_hello", 4001)]
#[case("{}", "missing_hello", 4001)]
#[case("[]", "missing_hello", 4001)]
fn a_bad_first_message(#[case] message: &str, #[case] reason: &str, #[case] code: u16) {
    let error: HelloError = Hello::parse(message.as_bytes()).unwrap_err();
    assert_eq!((error.reason(), error.close_code()), (reason, code));
}

#[test]
fn keys_of_newer_clients_are_ignored() {
    let hello = br#"{"op":"hello","token":"t","protocol":1,"encodings":["zstd"],"resume":{}}"#;
    assert_eq!(Hello::parse(hello).unwrap().token.unwrap().expose(), "t");
}

fn frame_like() -> impl Strategy<Value = String> {
    let op = prop_oneof![
        Just("hello"),
        Just("call_tool"),
        Just("call_tool_res"),
        Just("rotate_token"),
        Just("health_res"),
        Just("progress"),
    ];
    let key = prop_oneof![
        Just("request_id"),
        Just("name"),
        Just("arguments"),
        Just("token"),
        Just("session_id"),
        Just("outputs"),
        Just("timeout"),
        Just("error"),
        Just("retrieval"),
    ];
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("-1e308".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    (op, prop::collection::vec((key, value), 0..6)).prop_map(|(op, pairs)| {
        let pairs: String = pairs
            .iter()
            .map(|(k, v)| format!(r#","{k}":{v}"#))
            .collect();
        format!(r#"{{"op":"{op}"{pairs}}}"#)
    })
}

/// What a client wrote is what a tool gets; a float that is a hair off is another argument.
#[rstest]
#[case("0.38120423768821243")]
#[case("0.9925434121760651")]
#[case("1.7976931348623157e308")]
#[case("18446744073709551615")]
#[case("-9223372036854775808")]
fn numbers_in_arguments_are_kept(#[case] number: &str) {
    let text =
        format!(r#"{{"op":"call_tool","request_id":"a","name":"t","arguments":{{"n":{number}}}}}"#);
    let ClientFrame::CallTool(call) = ClientFrame::parse(text.as_bytes()).unwrap() else {
        panic!("{text} is no call");
    };
    assert_eq!(call.arguments["n"].to_string().replace("e+", "e"), number);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = ClientFrame::parse(&bytes);
        let _ = ServerFrame::parse(&bytes);
        let _ = Hello::parse(&bytes);
    }

    #[test]
    fn nothing_like_a_frame_makes_the_parser_panic(text in frame_like()) {
        let _ = ClientFrame::parse(text.as_bytes());
        let _ = Hello::parse(text.as_bytes());
        if let Ok(ServerFrame::CallToolRes(frame)) = ServerFrame::parse(text.as_bytes()) {
            let _ = bus_protocol::Reply::of(frame);
        }
    }

    #[test]
    fn escaping_is_measured_exactly(text in any::<String>()) {
        let written = serde_json::to_string(&text).unwrap().len() as u64;
        prop_assert_eq!(escaped_bytes(&text) + 2, written);
    }

    #[test]
    fn frames_are_measured_exactly(
        id in "\\PC{1,40}",
        texts in prop::collection::vec("[\\x00-\\x7fäé€\"\\\\]{0,200}", 0..4),
    ) {
        let id = RequestId::new(id).unwrap();
        let payload = OutputsPayload::new(texts.iter().map(Output::text).collect());
        let outputs = InlineResult::outputs(&id, &payload);
        let kind = ContentType::json();
        let text = texts.concat();
        let stream = InlineResult::stream(&id, &text, &kind);
        for result in [outputs, stream] {
            prop_assert_eq!(result.render(false).len() as u64, result.frame_bytes());
            prop_assert_eq!(result.render(true).len() as u64, result.frame_bytes_with_text());
            let value: serde_json::Value = serde_json::from_str(&result.render(true)).unwrap();
            prop_assert_eq!(&value["request_id"], id.as_str());
        }
    }
}
