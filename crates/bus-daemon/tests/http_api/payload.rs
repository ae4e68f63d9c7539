//! Redeeming: which form a client gets, what the headers say of it, and what a copy saves.

use bus_codec::decode_all;
use bus_daemon::DaemonConfig;
use bus_model::{CompressionType, Digest, Manifest};
use bus_testkit::json_payload;
use bytes::Bytes;
use reqwest::Response;
use rstest::rstest;
use serde_json::Value;

use crate::support::{TestDaemon, bus, daemon, daemon_with, expect_problem, header};

const ONE_CHUNK: usize = 50_000;
const SEVERAL: usize = 300_000;

async fn daemon_storing(compression: CompressionType) -> TestDaemon {
    daemon_with(
        bus().compression(compression).build(),
        DaemonConfig::default(),
    )
    .await
}

async fn payload(daemon: &TestDaemon, txn: &str, headers: &[(&str, &str)]) -> Response {
    let path = format!("/v1/messages/{txn}/payload");
    let mut request = daemon.get(&path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[rstest]
#[case(CompressionType::Zstd, ONE_CHUNK, &[("accept-encoding", "zstd")], Some("zstd"))]
#[case(CompressionType::Zstd, ONE_CHUNK, &[("accept-encoding", "gzip, br")], None)]
#[case(CompressionType::Zstd, ONE_CHUNK, &[], None)]
#[case(CompressionType::Gzip, ONE_CHUNK, &[("accept-encoding", "gzip, deflate")], Some("gzip"))]
#[case(CompressionType::Gzip, ONE_CHUNK, &[("accept-encoding", "gzip;q=0")], None)]
#[case(CompressionType::Gzip, ONE_CHUNK, &[("accept-encoding", "*, identity;q=0")], Some("gzip"))]
#[case(CompressionType::None, ONE_CHUNK, &[("accept-encoding", "zstd, gzip")], None)]
#[case(CompressionType::Zstd, SEVERAL, &[("accept-encoding", "zstd")], None)]
#[case(CompressionType::Gzip, SEVERAL, &[("accept-encoding", "gzip")], None)]
#[case(CompressionType::Zstd, SEVERAL, &[("bus-accept-frames", "zstd, gzip")], Some("zstd"))]
#[case(CompressionType::Gzip, SEVERAL, &[("bus-accept-frames", "zstd, gzip")], Some("gzip"))]
#[case(CompressionType::Gzip, SEVERAL, &[("bus-accept-frames", "zstd")], None)]
#[case(CompressionType::None, SEVERAL, &[("bus-accept-frames", "zstd, gzip")], None)]
#[tokio::test]
async fn the_form_that_a_client_gets(
    #[case] stored: CompressionType,
    #[case] bytes: usize,
    #[case] headers: &[(&str, &str)],
    #[case] coding: Option<&str>,
) {
    let daemon = daemon_storing(stored).await;
    let original = json_payload(bytes, 5);
    let record = daemon.put("m", original.clone()).await;
    let answer = payload(&daemon, "m", headers).await;
    assert_eq!(answer.status(), 200);
    let sent = answer.headers().get("content-encoding").cloned();
    assert_eq!(sent.as_ref().map(|v| v.to_str().unwrap()), coding);
    let digest = header(&answer, "repr-digest").to_owned();
    let length: usize = header(&answer, "content-length").parse().unwrap();
    let body = answer.bytes().await.unwrap();
    assert_eq!(body.len(), length);
    assert_eq!(digest, Digest::of(&body).to_repr_digest());
    if coding.is_some() {
        assert_eq!(record["encoded_sha256"], Digest::of(&body).to_string());
        assert_eq!(decoded(&daemon, "m", &body).await, original);
    } else {
        assert_eq!(body, original);
    }
}

#[rstest]
#[case("accept-encoding", None)]
#[case("bus-accept-frames", Some("zstd"))]
#[tokio::test]
async fn a_frame_with_a_window_that_browsers_refuse_is_decoded(
    #[case] name: &str,
    #[case] coding: Option<&str>,
) {
    // RFC 9659: a decoder of the content coding need not take a window beyond 8 MiB.
    let client = bus().chunk_size(16 << 20).build();
    let daemon = daemon_with(client, DaemonConfig::default()).await;
    let record = daemon.put("m", vec![b'x'; (8 << 20) + 1]).await;
    assert_eq!(record["chunk_count"], 1);
    let answer = payload(&daemon, "m", &[(name, "zstd")]).await;
    let sent = answer.headers().get("content-encoding");
    assert_eq!(sent.map(|v| v.to_str().unwrap()), coding);
}

/// The payload, decoded frame by frame as the manifest cuts them.
async fn decoded(daemon: &TestDaemon, txn: &str, stored: &Bytes) -> Bytes {
    let path = format!("/v1/messages/{txn}/manifest");
    let bytes = daemon
        .get(&path)
        .send()
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let manifest = Manifest::from_bytes(&bytes).unwrap();
    let mut rest = stored.clone();
    let frames: Vec<Bytes> = manifest
        .chunks()
        .iter()
        .map(|entry| rest.split_to(usize::try_from(entry.stored_len).unwrap()))
        .collect();
    assert!(rest.is_empty());
    decode_all(&manifest, frames).unwrap()
}

#[rstest]
#[case(ONE_CHUNK, &[("accept-encoding", "identity;q=0")])]
#[case(SEVERAL, &[("accept-encoding", "zstd, identity;q=0")])]
#[case(SEVERAL, &[("accept-encoding", "zstd, *;q=0"), ("bus-accept-frames", "gzip")])]
#[tokio::test]
async fn nothing_that_the_client_takes_is_406(
    #[case] bytes: usize,
    #[case] headers: &[(&str, &str)],
) {
    let daemon = daemon().await;
    daemon.put("m", json_payload(bytes, 5)).await;
    let answer = payload(&daemon, "m", headers).await;
    expect_problem(answer, 406, "NOT_ACCEPTABLE").await;
}

#[tokio::test]
async fn a_stored_page_cannot_run_on_the_daemons_origin() {
    let daemon = daemon().await;
    let page = "<script>fetch('/v1/messages')</script>";
    let request = daemon.request("PUT", "/v1/messages/page");
    let request = request.header("Content-Type", "text/html; charset=utf-8");
    assert_eq!(request.body(page).send().await.unwrap().status(), 201);
    let answer = payload(&daemon, "page", &[]).await;
    assert_eq!(header(&answer, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    let disposition = header(&answer, "content-disposition");
    assert_eq!(disposition, "attachment; filename=\"page\"");
    assert!(header(&answer, "content-security-policy").contains("sandbox"));
    assert_eq!(header(&answer, "cache-control"), "private, no-store");
    assert_eq!(
        header(&answer, "cross-origin-resource-policy"),
        "same-origin"
    );
    assert_eq!(
        header(&answer, "vary"),
        "Accept-Encoding, Bus-Accept-Frames"
    );
    assert_eq!(answer.text().await.unwrap(), page);
}

#[tokio::test]
async fn each_encoding_has_a_tag_of_its_own_and_a_copy_is_304() {
    let daemon = daemon().await;
    daemon.put("m", json_payload(ONE_CHUNK, 5)).await;
    let mut tags = Vec::new();
    for headers in [&[("accept-encoding", "zstd")][..], &[]] {
        let answer = payload(&daemon, "m", headers).await;
        let tag = header(&answer, "etag").to_owned();
        assert!(tag.starts_with('"'), "{tag} is a strong one");
        let with = [headers, &[("if-none-match", tag.as_str())]].concat();
        let again = payload(&daemon, "m", &with).await;
        assert_eq!(again.status(), 304);
        assert_eq!(header(&again, "etag"), tag);
        assert!(again.bytes().await.unwrap().is_empty());
        tags.push(tag);
    }
    assert_ne!(tags[0], tags[1]);
    let other = payload(&daemon, "m", &[("if-none-match", tags[0].as_str())]).await;
    assert_eq!(other.status(), 200, "the tag of another encoding");
    let list = format!("\"x\", W/{}", tags[1]);
    let listed = payload(&daemon, "m", &[("if-none-match", list.as_str())]).await;
    assert_eq!(listed.status(), 304);
    let any = payload(&daemon, "m", &[("if-none-match", "*")]).await;
    assert_eq!(any.status(), 304);
}

#[rstest]
#[case("/v1/messages/m/payload", &[])]
#[case("/v1/messages/m/payload", &[("bus-accept-frames", "zstd")])]
#[case("/v1/messages/m/manifest", &[])]
#[case("/v1/messages/m", &[])]
#[case("/v1/messages", &[])]
#[case("/healthz", &[])]
#[case("/readyz", &[])]
#[case("/openapi.json", &[])]
#[tokio::test]
async fn head_has_the_headers_of_get(#[case] path: &str, #[case] headers: &[(&str, &str)]) {
    let daemon = daemon().await;
    daemon.put("m", json_payload(SEVERAL, 5)).await;
    let mut answers = Vec::new();
    for method in ["GET", "HEAD"] {
        let mut request = daemon.request(method, path).header("x-request-id", "same");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let mut sent = answer.headers().clone();
        sent.remove("date");
        answers.push((answer.status(), sent));
        let body = answer.bytes().await.unwrap();
        assert_eq!(body.is_empty(), method == "HEAD");
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn the_manifest_is_the_one_that_the_record_names() {
    let daemon = daemon().await;
    let record = daemon.put("m", json_payload(SEVERAL, 5)).await;
    let answer = daemon.get("/v1/messages/m/manifest").send().await.unwrap();
    assert_eq!(
        header(&answer, "content-type"),
        "application/vnd.bus.manifest"
    );
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(record["manifest_sha256"], Digest::of(&bytes).to_string());
    let manifest = Manifest::from_bytes(&bytes).unwrap();
    assert_eq!(record["chunk_count"], manifest.chunk_count());
    assert_eq!(manifest.chunk_count(), 5);
}

#[tokio::test]
async fn an_acknowledgement_keeps_its_first_time() {
    let daemon = daemon().await;
    daemon.put("m", "data").await;
    let ack = || daemon.request("POST", "/v1/messages/m/ack").send();
    let first: Value = ack().await.unwrap().json().await.unwrap();
    let second: Value = ack().await.unwrap().json().await.unwrap();
    assert_eq!(first, second);
    let record: Value = daemon
        .get("/v1/messages/m")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(record["acknowledged_at"], first["acknowledged_at"]);
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    let daemon = daemon().await;
    daemon.put("m", json_payload(SEVERAL, 1)).await;
    let delete = || daemon.request("DELETE", "/v1/messages/m").send();
    let answer = delete().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert!(answer.bytes().await.unwrap().is_empty());
    expect_problem(delete().await.unwrap(), 404, "NOT_FOUND").await;
    expect_problem(payload(&daemon, "m", &[]).await, 404, "NOT_FOUND").await;
}
