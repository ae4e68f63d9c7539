//! Publishing: what comes in, how it is named, and what is refused.

use bus_client::MessageBusClient;
use bus_daemon::DaemonConfig;
use bus_model::{ByteSize, Digest};
use bus_testkit::{json_payload, random_payload};
use bytes::Bytes;
use futures::stream;
use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{bus, daemon, daemon_with, expect_problem, header};

fn capped(bytes: u64) -> MessageBusClient {
    bus().max_payload(ByteSize::new(bytes).unwrap()).build()
}

#[tokio::test]
async fn a_post_mints_an_id_and_says_where_the_record_is() {
    let daemon = daemon().await;
    let payload = json_payload(300_000, 1);
    let answer = daemon
        .request("POST", "/v1/messages")
        .header("Bus-Session", "s-1")
        .header("Bus-Tool", "analyse")
        .header("Bus-Provider", "local")
        .header("Bus-Priority", "urgent")
        .header("Bus-Ttl-Hours", "1.5")
        .header("Bus-Metadata", r#"{"request_id":"r-9"}"#)
        .header("Content-Type", "application/json")
        .body(payload.clone())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    let place = header(&answer, "location").to_owned();
    let record: Value = answer.json().await.unwrap();
    assert!(place.starts_with("/v1/messages/txn_"), "{place}");
    assert_eq!(record["session_id"], "s-1");
    assert_eq!(record["tool_name"], "analyse");
    assert_eq!(record["provider_name"], "local");
    assert_eq!(record["priority"], "urgent");
    assert_eq!(record["metadata"], json!({"request_id": "r-9"}));
    assert_eq!(record["content_type"], "application/json");
    assert_eq!(record["payload_size_bytes"], 300_000);
    assert_eq!(record["checksum"], Digest::of(&payload).to_string());
    let shown: Value = daemon
        .get(&place)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown["id"], record["id"]);
    let back = daemon
        .get(&format!("{place}/payload"))
        .send()
        .await
        .unwrap();
    assert_eq!(back.bytes().await.unwrap(), payload);
}

#[rstest]
#[case(0)]
#[case(1)]
#[case(65_535)]
#[case(65_536)]
#[case(65_537)]
#[case(1_000_003)]
#[tokio::test]
async fn a_payload_of_any_size_comes_back(#[case] bytes: usize) {
    let daemon = daemon().await;
    let payload = random_payload(bytes, 7);
    let record = daemon.put("size", payload.clone()).await;
    assert_eq!(record["payload_size_bytes"], bytes);
    let back = daemon
        .get("/v1/messages/size/payload")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&back, "content-length"), bytes.to_string());
    assert_eq!(back.bytes().await.unwrap(), payload);
}

#[tokio::test]
async fn a_chunked_body_needs_no_length() {
    let daemon = daemon().await;
    let parts = (0..50_u8).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n; 10_000])));
    let body = reqwest::Body::wrap_stream(stream::iter(parts));
    let record = daemon.put("chunked", body).await;
    assert_eq!(record["payload_size_bytes"], 500_000);
}

#[tokio::test]
async fn the_same_bytes_again_succeed_and_other_bytes_conflict() {
    let daemon = daemon().await;
    let first = daemon.put("once", "the bytes").await;
    let put = |body: &'static str| daemon.request("PUT", "/v1/messages/once").body(body).send();
    let again = put("the bytes").await.unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(again.json::<Value>().await.unwrap()["id"], first["id"]);
    let detail = expect_problem(put("other bytes").await.unwrap(), 409, "CONFLICT").await;
    assert!(detail.contains("once"), "{detail}");
    let kept = daemon
        .get("/v1/messages/once/payload")
        .send()
        .await
        .unwrap();
    assert_eq!(kept.text().await.unwrap(), "the bytes");
}

#[tokio::test]
async fn of_many_writers_of_the_same_bytes_one_is_the_first() {
    let daemon = daemon().await;
    let payload = random_payload(500_000, 9);
    let puts = (0..8).map(|_| {
        let request = daemon.request("PUT", "/v1/messages/race");
        request.body(payload.clone()).send()
    });
    let mut statuses = Vec::new();
    for answer in futures::future::join_all(puts).await {
        statuses.push(answer.unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
}

#[tokio::test]
async fn of_two_writers_of_different_bytes_one_wins_whole() {
    let daemon = daemon().await;
    let payloads = [random_payload(500_000, 1), random_payload(500_000, 2)];
    let puts = payloads.iter().map(|payload| {
        let request = daemon.request("PUT", "/v1/messages/race");
        request.body(payload.clone()).send()
    });
    let answers = futures::future::join_all(puts).await;
    let won: Vec<bool> = answers
        .iter()
        .map(|answer| answer.as_ref().unwrap().status() == 201)
        .collect();
    assert_eq!(won.iter().filter(|won| **won).count(), 1, "{answers:?}");
    let kept = daemon
        .get("/v1/messages/race/payload")
        .send()
        .await
        .unwrap();
    let winner = won.iter().position(|won| *won).unwrap();
    assert!(kept.bytes().await.unwrap() == payloads[winner]);
}

#[tokio::test]
async fn a_digest_that_fits_is_taken_and_one_that_does_not_keeps_nothing() {
    let daemon = daemon().await;
    for (txn, bytes) in [("small", 1_000), ("large", 500_000)] {
        let payload = random_payload(bytes, 3);
        let path = format!("/v1/messages/{txn}");
        let put = |digest: Digest| {
            let request = daemon.request("PUT", &path);
            let request = request.header("Repr-Digest", digest.to_repr_digest());
            request.body(payload.clone()).send()
        };
        let wrong = put(Digest::of(b"something else")).await.unwrap();
        let detail = expect_problem(wrong, 400, "DIGEST_MISMATCH").await;
        assert!(
            detail.contains(&Digest::of(&payload).to_string()),
            "{detail}"
        );
        let nothing = daemon.get(&format!("{path}/payload")).send().await.unwrap();
        assert_eq!(nothing.status(), 404);
        assert_eq!(put(Digest::of(&payload)).await.unwrap().status(), 201);
    }
}

#[tokio::test]
async fn a_length_above_the_maximum_is_refused_with_the_limit() {
    let daemon = daemon_with(capped(100_000), DaemonConfig::default()).await;
    let put = |bytes: usize| {
        let request = daemon.request("PUT", &format!("/v1/messages/of-{bytes}"));
        request.body(random_payload(bytes, 1)).send()
    };
    let detail = expect_problem(put(100_001).await.unwrap(), 413, "TOO_LARGE").await;
    assert!(
        detail.contains("100001") && detail.contains("100000"),
        "{detail}"
    );
    assert_eq!(put(100_000).await.unwrap().status(), 201);
}

#[tokio::test]
async fn a_chunked_body_is_cut_at_the_maximum() {
    let daemon = daemon_with(capped(100_000), DaemonConfig::default()).await;
    let parts = (0..40_u8).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n; 10_000])));
    let body = reqwest::Body::wrap_stream(stream::iter(parts));
    let answer = daemon
        .request("PUT", "/v1/messages/grows")
        .body(body)
        .send()
        .await
        .unwrap();
    expect_problem(answer, 413, "TOO_LARGE").await;
    let nothing = daemon
        .get("/v1/messages/grows/payload")
        .send()
        .await
        .unwrap();
    assert_eq!(nothing.status(), 404);
}

#[rstest]
#[case("Bus-Session", "", 400)]
#[case("Bus-Ttl-Hours", "soon", 400)]
#[case("Bus-Ttl-Hours", "-3", 400)]
#[case("Bus-Priority", "highest", 400)]
#[case("Bus-Metadata", "[1]", 400)]
#[case("Content-Type", "no media type", 400)]
#[case("Repr-Digest", "sha-256=:short:", 400)]
#[case("Repr-Digest", "md5=:AA==:", 400)]
#[case("Content-Range", "bytes 0-3/4", 400)]
#[case("Content-Encoding", "gzip", 415)]
#[tokio::test]
async fn a_header_that_is_not_legal_is_named(
    #[case] name: &str,
    #[case] value: &str,
    #[case] status: u16,
) {
    let daemon = daemon().await;
    let request = daemon.request("PUT", "/v1/messages/never");
    let answer = request
        .header(name, value)
        .body("data")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), status);
    let problem: Value = answer.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap().to_lowercase();
    assert!(detail.contains(&name.to_lowercase()), "{detail}");
    let nothing = daemon.get("/v1/messages/never").send().await.unwrap();
    assert_eq!(nothing.status(), 404);
}

#[rstest]
#[case("a%2Fb", 400)]
#[case("a%20b", 400)]
#[case("%00", 400)]
#[case("%FF", 400)]
#[case("a:b", 400)]
#[case("%C3%A4", 400)]
#[case("a/b", 404)]
#[case("..%2F..%2Fetc", 400)]
#[tokio::test]
async fn an_id_that_is_not_legal_is_refused(#[case] txn: &str, #[case] status: u16) {
    let daemon = daemon().await;
    for (method, tail) in [
        ("PUT", ""),
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/payload"),
    ] {
        let path = format!("/v1/messages/{txn}{tail}");
        let answer = daemon.request(method, &path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
    }
    let long = format!("/v1/messages/{}", "x".repeat(129));
    let answer = daemon.get(&long).send().await.unwrap();
    expect_problem(answer, 400, "BAD_TRANSACTION_ID").await;
}

#[tokio::test]
async fn a_disabled_bus_reads_and_does_not_publish() {
    let store = std::sync::Arc::new(bus_store::MemoryStore::new());
    let writer = crate::support::bus_over(store.clone()).build();
    let writing = daemon_with(writer, DaemonConfig::default()).await;
    writing.put("kept", "data").await;
    let reader = crate::support::bus_over(store).enabled(false).build();
    let reading = daemon_with(reader, DaemonConfig::default()).await;
    let answer = reading
        .request("PUT", "/v1/messages/new")
        .body("x")
        .send()
        .await
        .unwrap();
    expect_problem(answer, 403, "DISABLED").await;
    let kept = reading
        .get("/v1/messages/kept/payload")
        .send()
        .await
        .unwrap();
    assert_eq!(kept.text().await.unwrap(), "data");
}
