//! Ranges of the decoded bytes, the odd ones too.

use bus_testkit::random_payload;
use rstest::rstest;

use crate::support::{TestDaemon, daemon, expect_problem, header};

/// Not a multiple of the chunk size, in several chunks.
const SIZE: usize = 200_001;

async fn stored() -> (TestDaemon, Vec<u8>, String) {
    let daemon = daemon().await;
    let payload = random_payload(SIZE, 11);
    daemon.put("m", payload.clone()).await;
    let answer = daemon.get("/v1/messages/m/payload").send().await.unwrap();
    assert_eq!(header(&answer, "accept-ranges"), "bytes");
    let etag = header(&answer, "etag").to_owned();
    (daemon, payload, etag)
}

#[rstest]
#[case("bytes=0-0", 0..1)]
#[case("bytes=0-65535", 0..65_536)]
#[case("bytes=65535-65536", 65_535..65_537)]
#[case("bytes=65536-131071", 65_536..131_072)]
#[case("bytes=1000-180000", 1000..180_001)]
#[case("bytes=200000-", 200_000..200_001)]
#[case("bytes=199999-999999999999999999999", 199_999..200_001)]
#[case("bytes=0-", 0..SIZE)]
#[case("bytes=-1", 200_000..200_001)]
#[case("bytes=-65536", 134_465..200_001)]
#[case("bytes=-999999", 0..SIZE)]
#[case("Bytes= 5-9 ", 5..10)]
#[tokio::test]
async fn a_range_is_a_part(#[case] range: &str, #[case] part: std::ops::Range<usize>) {
    let (daemon, payload, etag) = stored().await;
    let request = daemon.get("/v1/messages/m/payload").header("range", range);
    let request = request.header("accept-encoding", "zstd, gzip");
    let answer = request
        .header("bus-accept-frames", "zstd")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 206);
    let shown = format!("bytes {}-{}/{SIZE}", part.start, part.end - 1);
    assert_eq!(header(&answer, "content-range"), shown);
    assert_eq!(header(&answer, "content-length"), part.len().to_string());
    assert_eq!(header(&answer, "etag"), etag);
    assert!(!answer.headers().contains_key("content-encoding"));
    let whole = bus_model::Digest::of(&payload).to_repr_digest();
    assert_eq!(header(&answer, "repr-digest"), whole);
    assert_eq!(answer.bytes().await.unwrap(), payload[part]);
}

#[rstest]
#[case("bytes=0-1,5-6")]
#[case("bytes=7-6")]
#[case("bytes=")]
#[case("bytes=-")]
#[case("bytes=a-b")]
#[case("bytes=1-2-3")]
#[case("bytes: 1-2")]
#[case("lines=1-2")]
#[case("")]
#[tokio::test]
async fn what_is_not_one_range_is_the_whole(#[case] range: &str) {
    let (daemon, payload, _) = stored().await;
    let request = daemon.get("/v1/messages/m/payload").header("range", range);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.unwrap(), payload);
}

#[rstest]
#[case("bytes=200001-")]
#[case("bytes=200001-200002")]
#[case("bytes=99999999999999999999999-")]
#[case("bytes=-0")]
#[tokio::test]
async fn a_range_beyond_the_end_is_416(#[case] range: &str) {
    let (daemon, _, _) = stored().await;
    let request = daemon.get("/v1/messages/m/payload").header("range", range);
    let answer = request.send().await.unwrap();
    assert_eq!(header(&answer, "content-range"), format!("bytes */{SIZE}"));
    expect_problem(answer, 416, "BAD_RANGE").await;
}

#[tokio::test]
async fn of_an_empty_payload_every_range_is_beyond_the_end() {
    let daemon = daemon().await;
    daemon.put("empty", "").await;
    let get = |range| {
        daemon
            .get("/v1/messages/empty/payload")
            .header("range", range)
            .send()
    };
    let answer = get("bytes=0-").await.unwrap();
    assert_eq!(header(&answer, "content-range"), "bytes */0");
    assert_eq!(answer.status(), 416);
    assert_eq!(get("bytes=-5").await.unwrap().status(), 200);
}

#[tokio::test]
async fn if_range_lets_a_range_through_only_with_the_current_tag() {
    let (daemon, payload, etag) = stored().await;
    let weak = format!("W/{etag}");
    for (condition, status) in [
        (etag.as_str(), 206),
        (weak.as_str(), 200),
        ("\"another\"", 200),
        ("Sun, 22 Nov 2026 00:00:00 GMT", 200),
    ] {
        let request = daemon.get("/v1/messages/m/payload");
        let request = request.header("range", "bytes=5-9");
        let answer = request.header("if-range", condition).send().await.unwrap();
        assert_eq!(answer.status(), status, "If-Range: {condition}");
        let body = answer.bytes().await.unwrap();
        let expected = if status == 206 {
            &payload[5..10]
        } else {
            &payload[..]
        };
        assert_eq!(body, expected);
    }
}

#[tokio::test]
async fn a_range_of_a_copy_that_is_current_is_304() {
    let (daemon, _, etag) = stored().await;
    let request = daemon.get("/v1/messages/m/payload");
    let request = request.header("range", "bytes=5-9");
    let answer = request.header("if-none-match", etag).send().await.unwrap();
    assert_eq!(answer.status(), 304);
}

#[tokio::test]
async fn head_knows_no_range() {
    let (daemon, _, _) = stored().await;
    let request = daemon.request("HEAD", "/v1/messages/m/payload");
    let answer = request.header("range", "bytes=5-9").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-length"), SIZE.to_string());
}
