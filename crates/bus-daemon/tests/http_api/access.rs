//! Who gets in: tokens, hosts, origins.

use bus_daemon::DaemonConfig;
use rstest::rstest;

use crate::support::{TestDaemon, bus, daemon, daemon_with, expect_problem, header, status_of};

const TOKEN: &str = "correct-horse-battery";

async fn locked() -> TestDaemon {
    let config = DaemonConfig {
        token: Some(TOKEN.into()),
        ..DaemonConfig::default()
    };
    daemon_with(bus().build(), config).await
}

#[rstest]
#[case(None, 401)]
#[case(Some("Bearer correct-horse-battery"), 200)]
#[case(Some("bearer correct-horse-battery"), 200)]
#[case(Some("Bearer wrong"), 401)]
#[case(Some("Bearer correct-horse-batter"), 401)]
#[case(Some("Bearer correct-horse-battery2"), 401)]
#[case(Some("Bearer "), 401)]
#[case(Some("Basic correct-horse-battery"), 401)]
#[case(Some("correct-horse-battery"), 401)]
#[tokio::test]
async fn a_token(#[case] authorization: Option<&str>, #[case] status: u16) {
    let daemon = locked().await;
    for path in ["/", "/v1/messages", "/readyz", "/metrics", "/openapi.json"] {
        let mut request = daemon.get(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        if status == 401 {
            assert!(header(&answer, "www-authenticate").starts_with("Bearer"));
            let text = answer.text().await.unwrap();
            assert!(!text.contains(TOKEN), "{text}");
        }
    }
    assert_eq!(daemon.get("/healthz").send().await.unwrap().status(), 200);
}

#[rstest]
#[case("PUT", "/v1/messages/m")]
#[case("POST", "/v1/messages")]
#[case("DELETE", "/v1/messages/m")]
#[case("POST", "/v1/messages/m/ack")]
#[case("GET", "/v1/messages/m/payload")]
#[case("GET", "/v1/messages/m/manifest")]
#[case("GET", "/nowhere")]
#[case("GET", "/ws")]
#[case("BREW", "/")]
#[tokio::test]
async fn without_the_token_nothing_tells_what_is_there(#[case] method: &str, #[case] path: &str) {
    let daemon = locked().await;
    let answer = daemon.request(method, path).send().await.unwrap();
    expect_problem(answer, 401, "UNAUTHORIZED").await;
}

#[rstest]
#[case("GET /v1/messages HTTP/1.1")]
#[case("POST / HTTP/1.1")]
#[case("GET /metrics HTTP/1.1")]
#[tokio::test]
async fn an_upgrade_header_opens_no_other_door(#[case] line: &str) {
    let daemon = locked().await;
    let head = format!("{line}\nHost: HOST\nConnection: upgrade\nUpgrade: websocket\n\n");
    let answer = daemon.raw(&head, b"").await;
    assert_eq!(status_of(&answer), 401, "{answer}");
}

#[rstest]
#[case("/", 426)]
#[case("/ws", 426)]
#[tokio::test]
async fn half_an_upgrade_is_no_way_in(#[case] path: &str, #[case] status: u16) {
    let daemon = locked().await;
    let head = format!("GET {path} HTTP/1.1\nHost: HOST\nUpgrade: websocket\n\n");
    let answer = daemon.raw(&head, b"").await;
    assert_eq!(status_of(&answer), status, "{answer}");
    assert!(!answer.contains("<html"), "{answer}");
    // RFC 9110, section 7.8: whoever sends Upgrade names it in Connection.
    let head = answer.to_ascii_lowercase();
    assert!(head.contains("upgrade: websocket\r\n"), "{answer}");
    assert!(head.contains("connection: upgrade"), "{answer}");
}

fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\nHost: HOST\nConnection: Upgrade\nUpgrade: websocket\n\
         Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{more}\n"
    )
}

#[tokio::test]
async fn an_upgrade_needs_no_token_since_hello_carries_it() {
    let daemon = locked().await;
    for path in ["/", "/ws"] {
        let answer = daemon.raw(&upgrade(path, ""), b"").await;
        assert_eq!(status_of(&answer), 101, "{answer}");
    }
}

#[rstest]
#[case("Origin: https://evil.example\n")]
#[case("Origin: null\n")]
#[case("Origin: http://127.0.0.1:8079\n")]
#[case("Sec-Fetch-Site: cross-site\n")]
#[tokio::test]
async fn a_web_page_gets_no_socket(#[case] more: &str) {
    let daemon = daemon().await;
    for path in ["/", "/ws"] {
        let answer = daemon.raw(&upgrade(path, more), b"").await;
        assert_eq!(status_of(&answer), 403, "{answer}");
    }
}

#[rstest]
#[case("HOST", 200)]
#[case("localhost", 200)]
#[case("[::1]", 200)]
#[case("127.0.0.1:1", 403)]
#[case("evil.example", 403)]
#[case("evil.example:HOST", 403)]
#[case("tools.example", 200)]
#[case("TOOLS.example", 200)]
#[case("tools.example:1", 403)]
#[case("proxy.example:8443", 200)]
#[tokio::test]
async fn a_host(#[case] host: &str, #[case] status: u16) {
    let config = DaemonConfig {
        allowed_hosts: vec!["tools.example".into(), "proxy.example:8443".into()],
        ..DaemonConfig::default()
    };
    let daemon = daemon_with(bus().build(), config).await;
    for path in ["/healthz", "/v1/messages"] {
        let head = format!("GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n");
        let answer = daemon.raw(&head, b"").await;
        assert_eq!(status_of(&answer), status, "{answer}");
    }
}

#[rstest]
#[case("", 400)]
#[case("Host: HOST\nHost: HOST\n", 400)]
#[case("Host: HOST\nHost: evil.example\n", 400)]
#[tokio::test]
async fn not_one_host(#[case] lines: &str, #[case] status: u16) {
    let daemon = daemon().await;
    let head = format!("GET /healthz HTTP/1.1\n{lines}Connection: close\n\n");
    assert_eq!(status_of(&daemon.raw(&head, b"").await), status);
}

#[tokio::test]
async fn a_target_with_a_host_does_not_stand_for_the_header() {
    let daemon = daemon().await;
    let head = "GET http://HOST/healthz HTTP/1.1\nConnection: close\n\n";
    assert_eq!(status_of(&daemon.raw(head, b"").await), 400);
    let head = "GET http://HOST/healthz HTTP/1.1\nHost: HOST\nConnection: close\n\n";
    assert_eq!(status_of(&daemon.raw(head, b"").await), 200);
}

#[tokio::test]
async fn a_token_need_not_be_ascii() {
    let config = DaemonConfig {
        token: Some("pässwort".into()),
        ..DaemonConfig::default()
    };
    let daemon = daemon_with(bus().build(), config).await;
    for (token, status) in [("pässwort", 200), ("passwort", 401)] {
        let head = format!(
            "GET /readyz HTTP/1.1\nHost: HOST\nAuthorization: Bearer {token}\n\
             Connection: close\n\n"
        );
        assert_eq!(status_of(&daemon.raw(&head, b"").await), status);
    }
}

#[tokio::test]
async fn a_foreign_target_is_refused_whatever_host_says() {
    let daemon = daemon().await;
    let head = "GET http://evil.example/healthz HTTP/1.1\nHost: HOST\nConnection: close\n\n";
    assert_eq!(status_of(&daemon.raw(head, b"").await), 403);
}

#[rstest]
#[case("origin", "https://evil.example", "FOREIGN_ORIGIN")]
#[case("origin", "null", "FOREIGN_ORIGIN")]
#[case("origin", "http://localhost:3000", "FOREIGN_ORIGIN")]
#[case("sec-fetch-site", "cross-site", "CROSS_SITE")]
#[case("sec-fetch-site", "same-site", "CROSS_SITE")]
#[tokio::test]
async fn a_web_page_changes_nothing(#[case] name: &str, #[case] value: &str, #[case] code: &str) {
    let daemon = daemon().await;
    daemon.put("m", "data").await;
    for (method, path) in [
        ("POST", "/v1/messages"),
        ("PUT", "/v1/messages/m"),
        ("DELETE", "/v1/messages/m"),
        ("GET", "/v1/messages/m/payload"),
        ("GET", "/"),
    ] {
        let request = daemon.request(method, path).header(name, value);
        let answer = request.body("x").send().await.unwrap();
        assert!(!answer.headers().contains_key("access-control-allow-origin"));
        expect_problem(answer, 403, code).await;
    }
    let kept = daemon.get("/v1/messages/m/payload").send().await.unwrap();
    assert_eq!(kept.text().await.unwrap(), "data");
}

#[tokio::test]
async fn an_allowed_origin_may_drive_the_daemon_and_read_its_answers() {
    let config = DaemonConfig {
        token: Some(TOKEN.into()),
        allowed_origins: vec!["https://tools.example".into()],
        ..DaemonConfig::default()
    };
    let daemon = daemon_with(bus().build(), config).await;
    let preflight = daemon
        .request("OPTIONS", "/v1/messages/m")
        .header("origin", "https://tools.example")
        .header("access-control-request-method", "PUT")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert!(header(&preflight, "access-control-allow-methods").contains("PUT"));
    assert!(header(&preflight, "access-control-allow-headers").contains("Bus-Session"));
    let put = |origin| {
        let request = daemon.request("PUT", "/v1/messages/m").bearer_auth(TOKEN);
        request.header("origin", origin).body("x").send()
    };
    let answer = put("https://tools.example").await.unwrap();
    assert_eq!(answer.status(), 201);
    let allowed = header(&answer, "access-control-allow-origin");
    assert_eq!(allowed, "https://tools.example");
    let answer = put("https://other.example").await.unwrap();
    expect_problem(answer, 403, "FOREIGN_ORIGIN").await;
}

#[tokio::test]
async fn a_preflight_of_a_foreign_origin_is_refused() {
    let daemon = daemon().await;
    let request = daemon.request("OPTIONS", "/v1/messages/m");
    let request = request.header("origin", "https://evil.example");
    let request = request.header("access-control-request-method", "PUT");
    expect_problem(request.send().await.unwrap(), 403, "FOREIGN_ORIGIN").await;
}
