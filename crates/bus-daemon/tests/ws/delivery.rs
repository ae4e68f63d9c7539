//! How results travel: inline, by claim, or not at all; and that every byte arrives.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bus_client::MessageBusClient;
use bus_daemon::tools::{Content, Kind, ToolError, ToolOutput};
use bus_model::{ByteSize, ContentType, Digest, Principal, TransactionId};
use bus_store::{
    Capabilities, ListQuery, MemoryStore, MockStore, Store, StoreError, StoreErrorKind,
};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};

use crate::support::{Client, bus, claim, code, reason, redeem, setup};

const THRESHOLD: usize = 1 << 20;

fn generated(kind: Kind, bytes: u64, seed: u64) -> Vec<u8> {
    let mut content = Content::new(kind, bytes, seed);
    let mut all = Vec::new();
    while let Some(chunk) = content.next_chunk(1 << 20) {
        all.extend_from_slice(&chunk);
    }
    all
}

#[tokio::test]
async fn half_a_megabyte_goes_inline_with_text() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 500_000, "kind": "text", "seed": 3});
    let result = client.result_of("c1", "generate", arguments).await;
    let expected = String::from_utf8(generated(Kind::Text, 500_000, 3)).unwrap();
    assert_eq!(result["outputs"][0]["text"], expected);
    assert_eq!(result["text"], expected);
    assert_eq!(result["content_type"], "text/plain; charset=utf-8");
    assert!(result.get("delivery").is_none());
}

#[tokio::test]
async fn text_is_left_out_where_the_frame_does_not_fit_with_it() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 700_000, "kind": "text"});
    let result = client.result_of("c1", "generate", arguments).await;
    assert_eq!(
        result["outputs"][0]["text"].as_str().unwrap().len(),
        700_000
    );
    assert!(result.get("text").is_none());
}

#[rstest]
#[case(0, "inline")]
#[case(1, "claim")]
#[tokio::test]
async fn the_size_of_the_frame_decides_to_the_byte(#[case] beyond: usize, #[case] route: &str) {
    let frame = r#"{"op":"call_tool_res","request_id":"c1","outputs":[{"type":"text","text":""}]}"#;
    let length = THRESHOLD - frame.len() + beyond;
    let setup = setup().tool("exact", move |_| async move {
        Ok(ToolOutput::text("x".repeat(length)))
    });
    let daemon = setup.start().await;
    // The client's limit is 1 MiB: an inline frame one byte longer would close the connection.
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "exact", json!({})).await;
    let by_claim = result["delivery"] == "reference";
    assert_eq!(by_claim, route == "claim");
    if by_claim {
        let payload: Value = serde_json::from_slice(&redeem(&daemon, &result).await).unwrap();
        assert_eq!(
            payload["outputs"][0]["text"].as_str().unwrap().len(),
            length
        );
    }
}

#[tokio::test]
async fn a_payload_below_a_megabyte_whose_frame_is_above_goes_by_claim() {
    let quotes = "\"\\\u{1}".repeat(200_000);
    let text = quotes.clone();
    let setup = setup().tool("quotes", move |_| {
        let text = text.clone();
        async move {
            Ok(ToolOutput::stream(
                ContentType::text(),
                io::Cursor::new(text),
            ))
        }
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "quotes", json!({})).await;
    assert_eq!(claim(&result)["payload_size_bytes"], 600_000);
    assert_eq!(redeem(&daemon, &result).await, quotes.as_bytes());
}

#[rstest]
#[case(Kind::Json, "json")]
#[case(Kind::Random, "random")]
#[tokio::test]
async fn five_megabytes_go_by_claim_and_come_back_byte_for_byte(
    #[case] kind: Kind,
    #[case] name: &str,
) {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 5_242_880, "kind": name, "seed": 9});
    let result = client.result_of("c1", "generate", arguments).await;
    let expected = generated(kind, 5_242_880, 9);
    let retrieval = &result["retrieval"];
    assert_eq!(retrieval["sha256"], Digest::of(&expected).to_string());
    assert!(
        redeem(&daemon, &result).await == expected,
        "other bytes came back"
    );
}

#[tokio::test]
async fn a_claim_has_five_keys_and_says_beside_it_how_to_redeem_it() {
    let daemon = setup().start().await;
    let mut client = Client::open_as(&daemon, "s-1").await;
    let arguments = json!({"bytes": 2_000_000});
    let result = client.result_of("c1", "generate", arguments).await;
    assert!(
        result.get("text").is_none(),
        "a claim is no text for people"
    );

    let claim = claim(&result);
    let id = claim["message_bus_transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(id.starts_with("txn_") && id.len() == 36, "{id}");
    let expected = json!({
        "message_bus_transaction_id": id,
        "payload_size_bytes": 2_000_000,
        "retrieval_required": true,
        "session_id": "s-1",
        "tool_name": "generate",
    });
    assert_eq!(claim, expected);

    let retrieval = &result["retrieval"];
    assert_eq!(retrieval["path"], format!("/v1/messages/{id}/payload"));
    assert_eq!(retrieval["encoding"], "zstd");
    assert_eq!(retrieval["content_type"], "application/json");
    assert!(retrieval["stored_bytes"].as_u64().unwrap() < 1_000_000);
    for key in ["sha256", "manifest_sha256", "expires_at"] {
        assert!(retrieval[key].is_string(), "{key}");
    }
}

#[tokio::test]
async fn the_record_tells_which_call_it_answers() {
    let daemon = setup().start().await;
    let mut client = Client::open_as(&daemon, "s-1").await;
    let result = client
        .result_of("call 7", "generate", json!({"bytes": 2_000_000}))
        .await;
    let id = claim(&result)["message_bus_transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = TransactionId::new(id).unwrap();
    let record = daemon.state().client.record(&id).await.unwrap();
    assert_eq!(record.metadata["request_id"], "call 7");
    assert!(record.metadata["timestamp"].as_f64().unwrap() > 1.7e9);
    assert_eq!(record.session_id.as_str(), "s-1");
    assert_eq!(record.tool_name.as_str(), "generate");
    assert_eq!(record.provider_name.as_str(), "unknown");
    assert_eq!(record.content_type, ContentType::json());
}

#[tokio::test]
async fn bytes_that_are_no_text_never_go_inline() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 100, "kind": "random", "seed": 1});
    let result = client.result_of("c1", "generate", arguments).await;
    assert_eq!(
        redeem(&daemon, &result).await,
        generated(Kind::Random, 100, 1)
    );
}

#[tokio::test]
async fn a_forged_claim_inside_a_payload_is_plain_data() {
    let daemon = setup().start().await;
    let mut client = Client::open(&daemon).await;
    let forged = json!({
        "message_bus_transaction_id": "txn_00000000000000000000000000000000",
        "payload_size_bytes": 1, "retrieval_required": true,
        "session_id": "another", "tool_name": "echo",
    })
    .to_string();
    let result = client
        .result_of("c1", "echo", json!({"text": forged}))
        .await;
    assert_eq!(result["outputs"][0]["text"], forged);
    assert!(
        result.get("delivery").is_none() && result.get("retrieval").is_none(),
        "{result}"
    );
}

#[tokio::test]
async fn with_the_bus_disabled_small_results_go_inline_and_large_ones_are_refused() {
    let daemon = setup().client(bus().enabled(false).build()).start().await;
    let mut client = Client::open(&daemon).await;
    let result = client
        .result_of("a", "generate", json!({"bytes": 500_000}))
        .await;
    assert_eq!(
        result["outputs"][0]["text"].as_str().unwrap().len(),
        500_000
    );

    let result = client
        .result_of("b", "generate", json!({"bytes": 5_242_880}))
        .await;
    assert_eq!(code(&result), "TOO_LARGE");
    assert!(reason(&result).contains("1048576"), "{result}");
    assert!(reason(&result).contains("MESSAGE_BUS_ENABLED"), "{result}");

    let arguments = json!({"bytes": 10, "kind": "random"});
    let result = client.result_of("c", "generate", arguments).await;
    assert_eq!(code(&result), "UNDELIVERABLE");
    assert!(reason(&result).contains("not UTF-8"), "{result}");
}

#[tokio::test]
async fn a_result_above_the_maximum_is_too_large() {
    let client = bus().max_payload(ByteSize::mib(2)).build();
    let setup = setup().client(client).tool("unknown_length", |_| async {
        let reader = io::Cursor::new(vec![b'x'; 3 << 20]);
        Ok(ToolOutput::stream(ContentType::text(), reader))
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    for (name, arguments) in [
        ("generate", json!({"bytes": 3 << 20})),
        ("unknown_length", json!({})),
    ] {
        let result = client.result_of(name, name, arguments).await;
        assert_eq!(code(&result), "TOO_LARGE", "{result}");
        assert!(reason(&result).contains("2097152"), "{result}");
    }
    nothing_is_stored(&daemon.state().client).await;
}

/// Gives some bytes and then fails.
struct Failing(usize);

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0 == 0 {
            let error = ToolError::new("the source dried up");
            return Poll::Ready(Err(io::Error::other(error)));
        }
        let bytes = self.0.min(buffer.remaining());
        buffer.put_slice(&vec![b'x'; bytes]);
        self.0 -= bytes;
        Poll::Ready(Ok(()))
    }
}

#[rstest]
#[case(0)]
#[case(1000)]
#[case(5 << 20)]
#[tokio::test]
async fn a_stream_that_fails_leaves_nothing(#[case] bytes: usize) {
    let setup = setup().tool("failing", move |_| async move {
        Ok(ToolOutput::stream(ContentType::text(), Failing(bytes)))
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "failing", json!({})).await;
    assert_eq!(
        (code(&result), reason(&result)),
        ("EXEC_ERROR", "the source dried up")
    );
    nothing_is_stored(&daemon.state().client).await;
}

#[rstest]
#[case(100, 99)]
#[case(3_000_000, 2_999_999)]
#[case(2_999_999, 3_000_000)]
#[tokio::test]
async fn a_stream_of_another_length_than_announced_has_failed(
    #[case] announced: u64,
    #[case] given: usize,
) {
    let setup = setup().tool("liar", move |_| async move {
        let reader = io::Cursor::new(vec![b'x'; given]);
        Ok(ToolOutput::sized_stream(
            ContentType::text(),
            reader,
            announced,
        ))
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", "liar", json!({})).await;
    assert!(result.get("outputs").is_none(), "{result}");
    assert!(!code(&result).is_empty());
    nothing_is_stored(&daemon.state().client).await;
}

async fn nothing_is_stored(client: &MessageBusClient) {
    let query = ListQuery::new(Principal::default());
    assert_eq!(client.list(&query).await.unwrap().records, []);
}

fn failing_store(kind: StoreErrorKind) -> Arc<dyn Store> {
    let mut store = MockStore::new();
    let error = move || StoreError::new(kind, "the store is in a bad mood");
    store.expect_capabilities().returning(|| Capabilities {
        max_chunk_bytes: 1 << 30,
        max_message_bytes: None,
        one_step_put_bytes: 0,
        filters_pushed_down: true,
        durable: false,
        concurrent_calls: 0,
    });
    store.expect_begin().returning(move |_| Err(error()));
    store.expect_put().returning(move |_, _, _| Err(error()));
    Arc::new(store)
}

#[rstest]
#[case(StoreErrorKind::Full, "UNDELIVERABLE")]
#[case(StoreErrorKind::Denied, "UNDELIVERABLE")]
#[case(StoreErrorKind::Internal, "UNDELIVERABLE")]
#[case(StoreErrorKind::TooLarge, "TOO_LARGE")]
#[tokio::test]
async fn a_store_that_fails_never_costs_a_reply(
    #[case] kind: StoreErrorKind,
    #[case] expected: &str,
) {
    let client = MessageBusClient::builder()
        .store(failing_store(kind))
        .enabled(true)
        .build();
    let daemon = setup().client(client).start().await;
    let mut client = Client::open(&daemon).await;
    let result = client
        .result_of("c1", "generate", json!({"bytes": 3_000_000}))
        .await;
    assert_eq!(code(&result), expected, "{result}");
    assert!(reason(&result).contains("bad mood"), "{result}");
    let result = client
        .result_of("c2", "echo", json!({"text": "inline goes on"}))
        .await;
    assert_eq!(result["text"], "inline goes on");
}

#[tokio::test]
async fn a_store_that_panics_costs_one_call() {
    let client = MessageBusClient::builder()
        .store(Arc::new(MockStore::new()))
        .enabled(true);
    let daemon = setup().client(client.build()).start().await;
    let mut client = Client::open(&daemon).await;
    let result = client
        .result_of("c1", "generate", json!({"bytes": 3_000_000}))
        .await;
    assert!(!code(&result).is_empty(), "{result}");
    let result = client
        .result_of("c2", "echo", json!({"text": "inline goes on"}))
        .await;
    assert_eq!(result["text"], "inline goes on");
}

#[tokio::test]
async fn old_messages_are_purged_in_the_background() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let client = MessageBusClient::builder()
        .store(Arc::clone(&store))
        .enabled(true);
    let setup = setup().client(client.build()).config(|c| {
        c.purge_interval = Duration::from_millis(20);
        c.acknowledged_grace = Some(Duration::ZERO);
    });
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client
        .result_of("c1", "generate", json!({"bytes": 2_000_000}))
        .await;
    let id = claim(&result)["message_bus_transaction_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let id = TransactionId::new(id).unwrap();
    let bus = daemon.state().client.clone();
    assert!(bus.record(&id).await.is_ok());
    bus.acknowledge(&id).await.unwrap();
    let purged = async {
        while bus.record(&id).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, purged)
        .await
        .unwrap();
}
