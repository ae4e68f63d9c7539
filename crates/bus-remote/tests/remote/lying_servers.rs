//! Redeeming a claim where the server, or the frame, does not tell the truth.

use std::{net::SocketAddr, time::Duration};

use bus_model::{Claim, CompressionType, Digest, Retrieval};
use bus_remote::{DaemonUrl, HttpApi, RemoteConfig, RemoteErrorKind};
use rstest::rstest;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, header, method, path},
};

use crate::raw;

const PAYLOAD: &[u8] = b"the very bytes that the tool made";

fn claim() -> Claim {
    Claim::new(
        "txn_1".parse().unwrap(),
        PAYLOAD.len() as u64,
        "s".parse().unwrap(),
        "t".parse().unwrap(),
    )
}

fn retrieval(path: &str) -> Retrieval {
    Retrieval {
        path: path.to_owned(),
        token: None,
        expires_at: chrono::DateTime::UNIX_EPOCH,
        sha256: Digest::of(PAYLOAD),
        manifest_sha256: Digest::of(b""),
        encoding: CompressionType::None,
        stored_bytes: PAYLOAD.len() as u64,
        content_type: "text/plain".to_owned(),
    }
}

fn api(address: SocketAddr) -> HttpApi {
    let mut config = RemoteConfig::new(DaemonUrl::of(address));
    config.token = Some("mine".into());
    config.idle_timeout = Duration::from_millis(500);
    HttpApi::new(config).unwrap()
}

/// Redeems from a server that sends `body`; the kind of error, or the bytes.
async fn redeem(headers: &[&str], body: &[u8]) -> Result<Vec<u8>, RemoteErrorKind> {
    let address = raw::serve(raw::answer(headers, body), false).await;
    let redeemed = async {
        let payload = api(address).redeem(&claim(), &retrieval("/p")).await?;
        payload.bytes().await
    };
    redeemed
        .await
        .map(|bytes| bytes.to_vec())
        .map_err(|error| error.kind())
}

#[tokio::test]
async fn what_matches_is_handed_out() {
    let length = format!("Content-Length: {}", PAYLOAD.len());
    assert_eq!(redeem(&[&length], PAYLOAD).await.unwrap(), PAYLOAD);
    assert_eq!(
        redeem(&["Connection: close"], PAYLOAD).await.unwrap(),
        PAYLOAD
    );
}

#[rstest]
#[case::other_bytes(b"the very bytes that the tool mode", RemoteErrorKind::Mismatch)]
#[case::too_many(
    b"the very bytes that the tool made, and more",
    RemoteErrorKind::Mismatch
)]
#[case::too_few(b"the very bytes", RemoteErrorKind::Truncated)]
#[case::none(b"", RemoteErrorKind::Truncated)]
#[tokio::test]
async fn other_bytes_are_never_handed_out(#[case] body: &[u8], #[case] kind: RemoteErrorKind) {
    let length = format!("Content-Length: {}", body.len());
    assert_eq!(redeem(&[&length], body).await, Err(kind));
    assert_eq!(redeem(&["Connection: close"], body).await, Err(kind));
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_told() {
    let length = format!("Content-Length: {}", PAYLOAD.len());
    assert_eq!(
        redeem(&[&length], &PAYLOAD[..9]).await,
        Err(RemoteErrorKind::Truncated)
    );
}

#[tokio::test]
async fn a_file_appears_only_once_it_verified() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    std::fs::write(&file, "old").unwrap();
    let wrong = raw::serve(raw::answer(&["Connection: close"], b"lies"), false).await;
    let payload = api(wrong).redeem(&claim(), &retrieval("/p")).await.unwrap();
    let error = payload.to_file(&file).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Truncated);
    assert_eq!(std::fs::read(&file).unwrap(), b"old");

    let right = raw::serve(raw::answer(&["Connection: close"], PAYLOAD), false).await;
    let payload = api(right).redeem(&claim(), &retrieval("/p")).await.unwrap();
    assert_eq!(payload.to_file(&file).await.unwrap(), PAYLOAD.len() as u64);
    assert_eq!(std::fs::read(&file).unwrap(), PAYLOAD);
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let length = format!("Content-Length: {}", PAYLOAD.len());
    let head = raw::serve(raw::answer(&[&length], &PAYLOAD[..9]), true).await;
    let payload = api(head).redeem(&claim(), &retrieval("/p")).await.unwrap();
    assert_eq!(
        payload.bytes().await.unwrap_err().kind(),
        RemoteErrorKind::Timeout
    );

    let nothing = raw::serve(Vec::new(), true).await;
    let error = api(nothing)
        .redeem(&claim(), &retrieval("/p"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Timeout);
}

#[rstest]
#[tokio::test]
async fn a_frame_that_names_another_address_is_not_followed(
    #[values(
        "http://{}/p",
        "//{}/p",
        "https://{}/p",
        "@{}/p",
        "/\\{}/p",
        "p",
        "",
        "/p#x",
        "ws://{}/p"
    )]
    path: &str,
) {
    let (mine, other) = (MockServer::start().await, MockServer::start().await);
    let path = path.replace("{}", &other.address().to_string());
    let error = api(*mine.address())
        .redeem(&claim(), &retrieval(&path))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Protocol, "{error}");
    for server in [mine, other] {
        assert!(
            server.received_requests().await.unwrap().is_empty(),
            "nothing was sent"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (mine, other) = (MockServer::start().await, MockServer::start().await);
    let elsewhere = ResponseTemplate::new(302).insert_header("Location", other.uri());
    Mock::given(any())
        .respond_with(elsewhere)
        .mount(&mine)
        .await;
    let error = api(*mine.address())
        .redeem(&claim(), &retrieval("/p"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Protocol, "{error}");
    assert!(other.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_capability_is_shown_in_place_of_the_token() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/p"))
        .and(header("authorization", "Bearer capability"))
        .and(header("accept-encoding", "identity"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes(PAYLOAD))
        .expect(1)
        .mount(&server)
        .await;
    let mut retrieval = retrieval("/p");
    retrieval.token = Some("capability".to_owned());
    let payload = api(*server.address())
        .redeem(&claim(), &retrieval)
        .await
        .unwrap();
    assert_eq!(payload.bytes().await.unwrap(), PAYLOAD);
}

#[tokio::test]
async fn a_part_is_not_taken_for_the_whole() {
    let server = MockServer::start().await;
    let part = ResponseTemplate::new(206).set_body_bytes(&PAYLOAD[..4]);
    Mock::given(any()).respond_with(part).mount(&server).await;
    let error = api(*server.address())
        .redeem(&claim(), &retrieval("/p"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Protocol);
}

#[rstest]
#[case(401, "{}", RemoteErrorKind::Unauthorized, "does not accept the token")]
#[case(
    404,
    r#"{"code":"NOT_FOUND","detail":"no message x","action":"check the id"}"#,
    RemoteErrorKind::NotFound,
    "no message x (check the id)"
)]
#[case(
    410,
    r#"{"code":"EXPIRED","detail":"gone"}"#,
    RemoteErrorKind::Expired,
    "gone"
)]
#[case(503, "<html>busy</html>", RemoteErrorKind::Unavailable, "503")]
#[case(500, "", RemoteErrorKind::Daemon, "500")]
#[tokio::test]
async fn a_refusal_is_told_in_the_daemons_words(
    #[case] status: u16,
    #[case] body: &str,
    #[case] kind: RemoteErrorKind,
    #[case] message: &str,
) {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(status)
        .insert_header("Retry-After", "7")
        .set_body_raw(body, "application/problem+json");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let error = api(*server.address())
        .get(&"t".parse().unwrap(), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), kind);
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    assert!(!format!("{error:?}").contains("mine"), "{error:?}");
}

#[tokio::test]
async fn a_whole_payload_without_a_digest_is_not_trusted() {
    let server = MockServer::start().await;
    let bare = ResponseTemplate::new(200).set_body_bytes(PAYLOAD);
    Mock::given(any()).respond_with(bare).mount(&server).await;
    let error = api(*server.address())
        .get(&"t".parse().unwrap(), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Repr-Digest"), "{error}");
}

#[tokio::test]
async fn the_daemons_own_digest_is_checked() {
    let server = MockServer::start().await;
    let lie = ResponseTemplate::new(200)
        .insert_header("Repr-Digest", Digest::of(b"other").to_repr_digest())
        .set_body_bytes(PAYLOAD);
    Mock::given(any()).respond_with(lie).mount(&server).await;
    let payload = api(*server.address())
        .get(&"t".parse().unwrap(), None)
        .await
        .unwrap();
    assert_eq!(
        payload.bytes().await.unwrap_err().kind(),
        RemoteErrorKind::Mismatch
    );
}
