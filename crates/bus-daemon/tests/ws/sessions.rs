//! Opening a session, frames that are no calls, and frames that are no frames.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::support::{Client, Heard, setup};

#[rstest]
#[case("")]
#[case("/")]
#[case("/ws")]
#[tokio::test]
async fn a_session_opens_at_each_path(#[case] path: &str) {
    let daemon = setup().start().await;
    let mut client = Client::connect_path(daemon.local_addr(), path)
        .await
        .unwrap();
    client
        .send(&json!({"op": "hello", "session_id": "mine"}))
        .await;
    let ack = json!({"op": "hello_ack", "ok": true, "session_id": "mine"});
    assert_eq!(client.frame().await, ack);
}

#[tokio::test]
async fn there_is_no_session_elsewhere() {
    let daemon = setup().start().await;
    let refused = Client::connect_path(daemon.local_addr(), "/v1/messages").await;
    assert!(matches!(refused, Err(Error::Http(_))));
}

#[tokio::test]
async fn a_session_without_a_name_gets_one() {
    let daemon = setup().start().await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(daemon.local_addr()).await;
        client.send(&json!({"op": "hello"})).await;
        names.push(
            client.frame().await["session_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_ne!(names[0], names[1]);
}

#[rstest]
#[case("nonsense", "invalid_hello", 4000)]
#[case("{\"op\":\"hello\",", "invalid_hello", 4000)]
#[case("{\"op\":\"hello\",\"session_id\":7}", "invalid_hello", 4000)]
#[case("{\"op\":\"hello\",\"session_id\":\"\"}", "invalid_hello", 4000)]
#[case("{\"op\":\"list_tools\"}", "missing_hello", 4001)]
#[case("{}", "missing_hello", 4001)]
#[case("5", "missing_hello", 4001)]
#[tokio::test]
async fn a_session_without_a_hello_is_closed(
    #[case] first: &str,
    #[case] error: &str,
    #[case] code: u16,
) {
    let daemon = setup().start().await;
    let mut client = Client::connect(daemon.local_addr()).await;
    client.send_text(first).await;
    let ack = json!({"op": "hello_ack", "ok": false, "error": error});
    assert_eq!(client.frame().await, ack);
    assert_eq!(client.hear().await, Heard::Closed(Some(code)));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let setup = setup().config(|c| c.limits.hello_timeout = Duration::from_millis(50));
    let daemon = setup.start().await;
    let mut client = Client::connect(daemon.local_addr()).await;
    assert_eq!(client.hear().await, Heard::Closed(Some(4002)));
}

#[rstest]
#[case(json!({"op": "hello"}))]
#[case(json!({"op": "hello", "token": ""}))]
#[case(json!({"op": "hello", "token": "wrong"}))]
#[tokio::test]
async fn a_wrong_token_is_refused(#[case] hello: Value) {
    let daemon = setup()
        .config(|c| c.token = Some("right".into()))
        .start()
        .await;
    let mut client = Client::connect(daemon.local_addr()).await;
    client.send(&hello).await;
    let ack = json!({"op": "hello_ack", "ok": false, "error": "unauthorized"});
    assert_eq!(client.frame().await, ack);
    assert_eq!(client.hear().await, Heard::Closed(Some(4003)));
}

#[tokio::test]
async fn the_token_can_be_replaced() {
    let daemon = setup()
        .config(|c| c.token = Some("one".into()))
        .start()
        .await;
    let mut client = Client::connect(daemon.local_addr()).await;
    client.send(&json!({"op": "hello", "token": "one"})).await;
    assert_eq!(client.frame().await["ok"], true);

    client
        .send(&json!({"op": "rotate_token", "old": "bad", "new": "two"}))
        .await;
    let refused = json!({"op": "rotate_token_res", "ok": false, "error": "unauthorized"});
    assert_eq!(client.frame().await, refused);
    client
        .send(&json!({"op": "rotate_token", "old": "one", "new": "two"}))
        .await;
    assert_eq!(
        client.frame().await,
        json!({"op": "rotate_token_res", "ok": true})
    );

    for (token, ok) in [("one", false), ("two", true)] {
        let mut next = Client::connect(daemon.local_addr()).await;
        next.send(&json!({"op": "hello", "token": token})).await;
        assert_eq!(next.frame().await["ok"], ok, "{token}");
    }
}

#[tokio::test]
async fn tools_are_listed_with_their_schemas() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    client.send(&json!({"op": "list_tools"})).await;
    let frame = client.frame().await;
    assert_eq!(frame["op"], "list_tools_res");
    let tools = frame["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|t| t["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["echo", "generate"],
        "read_file exists only with a root"
    );
    for tool in tools {
        assert_eq!(tool["inputSchema"]["type"], "object");
        assert!(!tool["description"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn health_tells_how_the_daemon_is() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    client.send(&json!({"op": "health"})).await;
    let frame = client.frame().await;
    assert_eq!(
        (&frame["op"], &frame["ok"]),
        (&json!("health_res"), &json!(true))
    );
    let health = &frame["health"];
    assert!(health["t"].as_f64().unwrap() > 1.7e9);
    assert!(health["uptime_human"].as_str().unwrap().ends_with('s'));
    assert_eq!(health["sessions"], 1);
    assert_eq!(health["global_capacity"], 24);
    assert_eq!(health["tool_count"], 2);
}

#[rstest]
#[case("nonsense", "invalid_json")]
#[case("{\"op\":\"health\"", "invalid_json")]
#[case("{\"op\":\"dance\"}", "Unknown op: dance")]
#[case("[]", "invalid_message: a frame is a JSON object")]
#[case("{}", "invalid_message: op is missing")]
#[case(
    "{\"op\":\"call_tool\"}",
    "invalid_message: missing field `request_id`"
)]
#[case(
    "{\"op\":\"call_tool\",\"request_id\":\"a\",\"name\":\"echo\",\"arguments\":3}",
    "invalid_message: "
)]
#[case("{\"op\":\"hello\"}", "invalid_message: the session is open")]
#[tokio::test]
async fn a_bad_frame_is_answered_and_the_connection_kept(
    #[case] message: &str,
    #[case] answer: &str,
) {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    client.send_text(message).await;
    let frame = client.frame().await;
    assert_eq!(frame["op"], "error");
    let text = frame["message"].as_str().unwrap();
    assert!(text.starts_with(answer), "{text}");
    client.send(&json!({"op": "health"})).await;
    assert_eq!(client.frame().await["op"], "health_res");
}

#[tokio::test]
async fn a_frame_may_come_as_a_binary_message() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let frame = Message::binary(br#"{"op":"health"}"#.as_slice());
    client.socket.send(frame).await.unwrap();
    assert_eq!(client.frame().await["op"], "health_res");
}

#[tokio::test]
async fn a_message_beyond_the_limit_closes_with_1009() {
    let setup = setup().config(|c| c.limits.max_inbound_message = 10_000);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let fits = json!({"op": "dance", "with": "x".repeat(9_000)});
    client.send(&fits).await;
    assert_eq!(client.frame().await["op"], "error");
    client
        .send(&json!({"op": "dance", "with": "x".repeat(10_000)}))
        .await;
    assert_eq!(client.closed().await, Some(1009));
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let bad = Frame::message(vec![0xff, 0xfe], OpCode::Data(Data::Text), true);
    client.socket.send(Message::Frame(bad)).await.unwrap();
    assert_eq!(client.closed().await, Some(1007));
}

#[tokio::test]
async fn a_frame_with_reserved_bits_closes_with_1002() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let mut bad = Frame::message(vec![b'x'], OpCode::Data(Data::Text), true);
    bad.header_mut().rsv1 = true;
    client.socket.send(Message::Frame(bad)).await.unwrap();
    assert_eq!(client.closed().await, Some(1002));
}

#[tokio::test]
async fn a_client_that_answers_pings_stays_and_a_dead_one_goes() {
    let setup = setup().config(|c| {
        c.limits.ping_interval = Duration::from_millis(30);
        c.limits.pong_timeout = Duration::from_millis(150);
    });
    let daemon = setup.start().await;
    let mut alive = Client::open(&daemon).await;
    let dead = dead_client(daemon.local_addr()).await;
    // The dead client reads the bytes and answers nothing; the living one answers by reading.
    let (code, ()) = tokio::join!(dead, async {
        for _ in 0..10 {
            alive.send(&json!({"op": "health"})).await;
            assert_eq!(alive.frame().await["op"], "health_res");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(code, 1008);
}

/// A client on a bare socket that says hello and then only reads; gives the close code.
async fn dead_client(address: std::net::SocketAddr) -> impl Future<Output = u16> {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    // A masked text frame whose mask is zero.
    let hello = br#"{"op":"hello"}"#;
    let mut frame = vec![0x81, 0x80 | u8::try_from(hello.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(hello);
    socket.write_all(&frame).await.unwrap();
    async move {
        let mut heard = Vec::new();
        socket.read_to_end(&mut heard).await.unwrap();
        let close = heard
            .windows(2)
            .rposition(|w| w[0] == 0x88)
            .expect("a close frame");
        u16::from_be_bytes([heard[close + 2], heard[close + 3]])
    }
}

#[tokio::test]
async fn sessions_are_counted_while_they_last() {
    let daemon = setup().start().await;
    let one = Client::open(&daemon).await;
    let two = Client::open(&daemon).await;
    assert_eq!(daemon.state().sessions(), 2);
    drop((one, two));
    crate::support::eventually("the end of both sessions", || {
        daemon.state().sessions() == 0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_says_goodbye_hears_it_back() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    client.socket.close(None).await.unwrap();
    assert_eq!(client.hear().await, Heard::Closed(None), "an empty goodbye");
    // Only a finished closing handshake ends like this; a cut connection is an error.
    assert!(client.socket.next().await.is_none());
    crate::support::eventually("the end of the session", || daemon.state().sessions() == 0).await;
}

#[tokio::test]
async fn a_large_frame_is_understood_too() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let result = client
        .result_of("c1", "echo", json!({"text": "x".repeat(400_000)}))
        .await;
    assert_eq!(result["text"].as_str().unwrap().len(), 400_000);
    client
        .send(&json!({"op": "dance", "with": "x".repeat(400_000)}))
        .await;
    assert_eq!(client.frame().await["message"], "Unknown op: dance");
}
