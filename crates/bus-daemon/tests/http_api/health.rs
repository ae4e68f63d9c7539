//! The daemon's own state: health, metrics, the page of a browser, request ids, unknown paths.

use std::sync::Arc;

use async_trait::async_trait;
use bus_daemon::{
    Daemon, DaemonConfig,
    tools::{Tool, ToolContext, ToolError, ToolOutput, ToolSpec},
};
use bus_testkit::random_payload;
use serde_json::{Value, json};

use crate::support::{bus, daemon, daemon_with, expect_problem, header};

#[tokio::test]
async fn a_daemon_that_works_says_so() {
    let daemon = daemon().await;
    let health = daemon.get("/healthz").send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok");
    let ready: Value = daemon
        .get("/readyz")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(ready["status"], "ready");
}

#[tokio::test]
async fn metrics_count_requests_bytes_and_store_time() {
    let daemon = daemon().await;
    daemon.put("m", random_payload(100_000, 1)).await;
    let back = daemon.get("/v1/messages/m/payload").send().await.unwrap();
    back.bytes().await.unwrap();
    daemon.get("/v1/messages/unknown").send().await.unwrap();
    daemon.get("/nowhere/at/all").send().await.unwrap();
    let record = "/v1/messages/{txn}";
    for (name, value) in [
        (
            format!("bus_http_requests_total{{route=\"{record}\",method=\"PUT\",status=\"201\"}}"),
            1.0,
        ),
        (
            format!("bus_http_requests_total{{route=\"{record}\",method=\"GET\",status=\"404\"}}"),
            1.0,
        ),
        (
            "bus_http_requests_total{route=\"other\",method=\"GET\",status=\"404\"}".into(),
            1.0,
        ),
        (
            "bus_http_payload_bytes_total{direction=\"in\"}".into(),
            100_000.0,
        ),
        (
            "bus_http_payload_bytes_total{direction=\"out\"}".into(),
            100_000.0,
        ),
        ("bus_store_seconds_count{op=\"publish\"}".into(), 1.0),
        ("bus_store_seconds_count{op=\"open\"}".into(), 1.0),
        ("bus_http_transfers_aborted_total".into(), 0.0),
        // This very request.
        ("bus_http_in_flight".into(), 1.0),
    ] {
        assert_eq!(daemon.metric(&name).await, Some(value), "{name}");
    }
}

#[tokio::test]
async fn metrics_are_in_the_form_that_prometheus_reads() {
    let daemon = daemon().await;
    let answer = daemon.get("/metrics").send().await.unwrap();
    let kind = header(&answer, "content-type").to_owned();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("bus_"), "{line}");
    }
}

#[tokio::test]
async fn a_browser_gets_a_page_without_scripts() {
    let daemon = daemon().await;
    let answer = daemon
        .get("/")
        .header("accept", "text/html")
        .send()
        .await
        .unwrap();
    assert!(header(&answer, "content-type").starts_with("text/html"));
    let policy = header(&answer, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("script-src"), "{policy}");
    let page = answer.text().await.unwrap();
    for word in [
        "sessions",
        "up for",
        env!("CARGO_PKG_VERSION"),
        "Store",
        "Tools",
    ] {
        assert!(page.contains(word), "{word} is not on the page");
    }
    assert!(!page.contains("<script"), "{page}");
}

struct Hostile(ToolSpec);

#[async_trait]
impl Tool for Hostile {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn call(&self, _context: ToolContext) -> Result<ToolOutput, ToolError> {
        Ok(ToolOutput::Outputs(Vec::new()))
    }
}

#[tokio::test]
async fn what_a_tool_says_of_itself_is_no_markup() {
    let markup = "<script>alert('x')</script>\"&";
    let spec = ToolSpec::new(
        "<b>bold".parse().unwrap(),
        markup,
        json!({"type": "object"}),
    );
    let running = Daemon::builder()
        .config(DaemonConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            ..DaemonConfig::default()
        })
        .client(bus().build())
        .tool(Arc::new(Hostile(spec)))
        .bind()
        .await
        .unwrap();
    let page = reqwest::get(format!("http://{}/", running.local_addr())).await;
    let page = page.unwrap().text().await.unwrap();
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
    assert!(page.contains("&lt;b&gt;bold"));
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
}

#[tokio::test]
async fn the_page_shows_no_token() {
    let config = DaemonConfig {
        token: Some("hunter2hunter2".into()),
        ..DaemonConfig::default()
    };
    let daemon = daemon_with(bus().build(), config).await;
    for path in ["/", "/metrics", "/openapi.json", "/readyz"] {
        let answer = daemon
            .get(path)
            .bearer_auth("hunter2hunter2")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.text().await.unwrap().contains("hunter2"), "{path}");
    }
}

#[tokio::test]
async fn a_request_id_comes_back_and_one_is_made_where_none_came() {
    let daemon = daemon().await;
    let answer = daemon
        .get("/healthz")
        .header("x-request-id", "abc-1")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&answer, "x-request-id"), "abc-1");
    let answer = daemon
        .get("/healthz")
        .header("x-request-id", "a b")
        .send()
        .await
        .unwrap();
    assert_eq!(header(&answer, "x-request-id").len(), 32);
}

#[tokio::test]
async fn an_unknown_path_and_an_unknown_method_say_what_to_do() {
    let daemon = daemon().await;
    let nowhere = daemon.get("/v2/<script>").send().await.unwrap();
    expect_problem(nowhere, 404, "NO_SUCH_PATH").await;
    let patch = daemon
        .request("PATCH", "/v1/messages/m")
        .send()
        .await
        .unwrap();
    let allow = header(&patch, "allow").to_owned();
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
    expect_problem(patch, 405, "NO_SUCH_METHOD").await;
}

#[tokio::test]
async fn a_daemon_that_shuts_down_finishes_what_it_has_begun() {
    let daemon = daemon().await;
    let payload = random_payload(3_000_000, 4);
    daemon.put("m", payload.clone()).await;
    let mut answer = daemon.get("/v1/messages/m/payload").send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    let state = Arc::clone(daemon.running.state());
    let ending = daemon.running.shutdown(std::time::Duration::from_secs(30));
    let reading = async {
        state.shutdown.cancelled().await;
        let mut read = first.to_vec();
        while let Some(bytes) = answer.chunk().await.unwrap() {
            read.extend_from_slice(&bytes);
        }
        read
    };
    let ((), read) = tokio::join!(ending, reading);
    assert!(read == payload, "{} bytes came", read.len());
}
