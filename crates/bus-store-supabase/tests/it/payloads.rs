//! What broke the original comes back as it was, through the client.

use bus_client::{Message, Source};
use bus_model::{CompressionType, Metadata};
use bus_store_supabase::SupabaseStore;
use bus_testkit::{Project, Server};
use rstest::rstest;

use crate::support::{
    config,
    writing::{client, published},
};

/// JSON texts that a parser on the way would change, refuse or reorder.
const TEXTS: &[&str] = &[
    r#"{"outputs":[{"type":"text","text":"x"}]}"#,
    r#"{"b":1,"a":{"d":2,"c":3}}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"a":"\u0000"}"#,
    r#"{"a":"\ud800","b":"\udc00\ud83d"}"#,
    r#"{"a":1.0,"b":1,"c":-0.0,"d":1e2}"#,
    r#"[9223372036854775808,18446744073709551616,-9223372036854775809]"#,
    r#"{ "a" : "\u00fc\/" , "b":[ ] }"#,
    "\u{feff}{}",
    "null",
    "",
];

fn payloads() -> Vec<Vec<u8>> {
    let mut payloads: Vec<Vec<u8>> = TEXTS.iter().map(|text| text.as_bytes().to_vec()).collect();
    payloads.push(format!(r#"{{"a":1{}}}"#, "0".repeat(400)).into_bytes());
    payloads.push(b"\xff\xfe\x00\xc3\x28\xed\xa0\x80".to_vec());
    payloads.push((0..=255).collect());
    payloads.push(vec![0; 300_000]);
    payloads
}

#[rstest]
#[tokio::test]
async fn what_broke_the_original_comes_back_byte_for_byte(
    #[values(Server::Postrust, Server::Lite)] server: Server,
    #[values(CompressionType::Zstd, CompressionType::Gzip, CompressionType::None)]
    compression: CompressionType,
) {
    let project = Project::take(server).await.unwrap();
    let store = std::sync::Arc::new(SupabaseStore::new(config(&project)).unwrap());
    let client = bus_client::MessageBusClient::builder()
        .store(store)
        .compression(compression)
        .chunk_size(100_000)
        .build();
    for (number, payload) in payloads().into_iter().enumerate() {
        let message = published(&format!("m{number}"));
        let id = message.transaction_id.clone().unwrap();
        let source = Source::bytes(payload.clone());
        let stored = client.publish(message, source).await.unwrap();
        assert_eq!(stored.record.payload_size_bytes, payload.len() as u64);
        let fetched = client.fetch(&id).await.unwrap();
        assert_eq!(fetched.record().checksum, stored.record.checksum);
        assert!(
            fetched.bytes().await.unwrap() == payload,
            "payload {number} differs"
        );
    }
}

/// Metadata is JSON that was parsed once, so it is compared as such.
#[rstest]
#[tokio::test]
async fn metadata_comes_back_as_it_was(#[values(Server::Postrust, Server::Lite)] server: Server) {
    let project = Project::take(server).await.unwrap();
    let store = std::sync::Arc::new(SupabaseStore::new(config(&project)).unwrap());
    let client = client(store);
    let metadata: Metadata = serde_json::from_str(
        r#"{"b":1.0,"a":1,"nul":"\u0000","big":18446744073709551615,"low":-9223372036854775808,
            "tiny":5e-324,"huge":1.7976931348623157e308,"third":0.3333333333333333,"":[{}],
            "emoji":"\ud83d\ude00","outcome":"ok","quote":"\"\\"}"#,
    )
    .unwrap();
    let message = Message {
        metadata: metadata.clone(),
        ..published("m")
    };
    let id = message.transaction_id.clone().unwrap();
    client.publish(message, Source::bytes("x")).await.unwrap();
    assert_eq!(client.record(&id).await.unwrap().metadata, metadata);
    let query = bus_store::ListQuery::new(client.principal().clone());
    let listed = client.list(&query).await.unwrap();
    assert_eq!(listed.records[0].metadata, metadata);
}
