//! What a store that fails, is full, is damaged or has forgotten looks like from outside.

use std::{path::Path, sync::Arc, time::Duration};

use bus_client::{ClientBuilder, MessageBusClient, settings::StoreSpec};
use bus_daemon::DaemonConfig;
use bus_model::{Attributes, CompressionType, MessageKey, Principal};
use bus_store::{
    Begin, ManualClock, MemoryStore, MockStore, NewMessage, Plan, Store as _, StoreError,
    StoreErrorKind,
};
use bus_testkit::{Tmpfs, random_payload};
use rstest::rstest;
use serde_json::Value;

use crate::support::{CHUNK, TestDaemon, bus_over, daemon, daemon_with, expect_problem, header};

fn down(kind: StoreErrorKind) -> impl Fn() -> StoreError + Clone + Send + Sync + 'static {
    move || {
        StoreError::new(kind, "the store does not answer")
            .with_retry_after(Duration::from_millis(2500))
            .with_source("connect to 10.0.0.1 with key sk-secret")
    }
}

/// A store whose every call fails with `kind`.
pub(crate) fn failing(kind: StoreErrorKind) -> MockStore {
    let error = down(kind);
    let mut store = MockStore::new();
    let e = error.clone();
    store.expect_begin().returning(move |_| Err(e()));
    let e = error.clone();
    store.expect_put().returning(move |_, _, _| Err(e()));
    let e = error.clone();
    store.expect_record().returning(move |_| Err(e()));
    let e = error.clone();
    store.expect_open().returning(move |_| Err(e()));
    let e = error.clone();
    store.expect_list().returning(move |_| Err(e()));
    let e = error.clone();
    store.expect_acknowledge().returning(move |_| Err(e()));
    let e = error.clone();
    store.expect_delete().returning(move |_| Err(e()));
    let e = error.clone();
    store.expect_stats().returning(move || Err(e()));
    let e = error;
    store.expect_check().returning(move || Err(e()));
    store
}

async fn daemon_over(store: MockStore) -> TestDaemon {
    let client = bus_over(Arc::new(store)).build();
    daemon_with(client, DaemonConfig::default()).await
}

#[rstest]
#[case(StoreErrorKind::Unavailable)]
#[case(StoreErrorKind::Timeout)]
#[case(StoreErrorKind::Overloaded)]
#[tokio::test]
async fn a_store_out_of_reach_is_503_and_never_404(#[case] kind: StoreErrorKind) {
    let daemon = daemon_over(failing(kind)).await;
    for (method, path) in [
        ("GET", "/v1/messages"),
        ("GET", "/v1/messages/m"),
        ("GET", "/v1/messages/m/payload"),
        ("GET", "/v1/messages/m/manifest"),
        ("POST", "/v1/messages/m/ack"),
        ("DELETE", "/v1/messages/m"),
        ("PUT", "/v1/messages/m"),
        ("POST", "/v1/messages"),
    ] {
        let answer = daemon.request(method, path).send().await.unwrap();
        assert_eq!(header(&answer, "retry-after"), "3", "{method} {path}");
        let detail = expect_problem(answer, 503, "STORE_UNAVAILABLE").await;
        assert!(!detail.contains("sk-secret"), "{detail}");
    }
}

#[tokio::test]
async fn a_daemon_without_its_store_is_alive_and_not_ready() {
    let daemon = daemon_over(failing(StoreErrorKind::Unavailable)).await;
    assert_eq!(daemon.get("/healthz").send().await.unwrap().status(), 200);
    let answer = daemon.get("/readyz").send().await.unwrap();
    let detail = expect_problem(answer, 503, "NOT_READY").await;
    assert!(detail.contains("does not answer"), "{detail}");
    let page = daemon.get("/").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(
        page.contains("out of reach") && !page.contains("sk-secret"),
        "{page}"
    );
}

#[rstest]
#[case(StoreErrorKind::Full, 507, "STORE_FULL")]
#[case(StoreErrorKind::Denied, 403, "DENIED")]
#[case(StoreErrorKind::Internal, 500, "INTERNAL")]
#[case(StoreErrorKind::NewerFormat, 500, "NEWER_FORMAT")]
#[case(StoreErrorKind::LeaseLost, 503, "BUSY")]
#[case(StoreErrorKind::TooLarge, 413, "TOO_LARGE")]
#[tokio::test]
async fn a_publish_that_the_store_refuses(
    #[case] kind: StoreErrorKind,
    #[case] status: u16,
    #[case] code: &str,
) {
    let daemon = daemon_over(failing(kind)).await;
    for bytes in [10, 500_000] {
        let request = daemon.request("PUT", "/v1/messages/m");
        let answer = request.body(random_payload(bytes, 1)).send().await.unwrap();
        let detail = expect_problem(answer, status, code).await;
        assert!(!detail.contains("sk-secret"), "{detail}");
    }
}

#[tokio::test]
async fn a_store_that_is_full_keeps_nothing_and_goes_on() {
    let store = Arc::new(MemoryStore::with_capacity(300_000));
    let daemon = daemon_with(bus_over(store).build(), DaemonConfig::default()).await;
    let request = daemon.request("PUT", "/v1/messages/large");
    let answer = request
        .body(random_payload(1_000_000, 1))
        .send()
        .await
        .unwrap();
    expect_problem(answer, 507, "STORE_FULL").await;
    daemon.put("small", random_payload(100_000, 2)).await;
}

#[tokio::test]
async fn what_is_unknown_is_404() {
    let daemon = daemon().await;
    for (method, path) in [
        ("GET", "/v1/messages/m"),
        ("GET", "/v1/messages/m/payload"),
        ("GET", "/v1/messages/m/manifest"),
        ("POST", "/v1/messages/m/ack"),
        ("DELETE", "/v1/messages/m"),
    ] {
        let answer = daemon.request(method, path).send().await.unwrap();
        expect_problem(answer, 404, "NOT_FOUND").await;
    }
}

#[tokio::test]
async fn what_has_expired_is_410_and_its_id_may_be_used_again() {
    let clock = Arc::new(ManualClock::default());
    let store = Arc::new(MemoryStore::with_clock(clock.clone()));
    let daemon = daemon_with(bus_over(store).build(), DaemonConfig::default()).await;
    let put = || {
        let request = daemon.request("PUT", "/v1/messages/m");
        request.header("Bus-Ttl-Hours", "0.5").body("data").send()
    };
    assert_eq!(put().await.unwrap().status(), 201);
    clock.advance(Duration::from_secs(1799));
    let path = "/v1/messages/m/payload";
    assert_eq!(daemon.get(path).send().await.unwrap().status(), 200);
    clock.advance(Duration::from_secs(1));
    for (method, path) in [
        ("GET", path),
        ("GET", "/v1/messages/m/manifest"),
        ("POST", "/v1/messages/m/ack"),
    ] {
        let answer = daemon.request(method, path).send().await.unwrap();
        expect_problem(answer, 410, "EXPIRED").await;
    }
    let shown: Value = daemon
        .get("/v1/messages/m")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown["status"], "expired");
    assert_eq!(put().await.unwrap().status(), 201);
}

#[tokio::test]
async fn what_is_not_whole_has_a_record_and_no_payload() {
    let store = Arc::new(MemoryStore::new());
    let client = bus_over(store.clone()).build();
    let daemon = daemon_with(client, DaemonConfig::default()).await;
    let session = "s".parse().unwrap();
    let new = NewMessage {
        key: MessageKey::new(Principal::default(), "m".parse().unwrap()),
        attributes: Attributes::new(session, "t".parse().unwrap()),
        plan: Plan {
            encoding: CompressionType::None,
            chunk_size: 1024,
            expected_digest: None,
            expected_size: None,
            lease: Duration::from_secs(60),
        },
    };
    let Begin::New(upload) = store.begin(&new).await.unwrap() else {
        panic!("the key is free");
    };
    expect_not_whole(&daemon, "pending").await;
    store.abort(&upload.token, "gave up").await.unwrap();
    let record = expect_not_whole(&daemon, "error").await;
    assert_eq!(record["error_message"], "gave up");
    daemon.put("m", "whole").await;
}

async fn expect_not_whole(daemon: &TestDaemon, status: &str) -> Value {
    for path in ["/v1/messages/m/payload", "/v1/messages/m/manifest"] {
        let answer = daemon.get(path).send().await.unwrap();
        expect_problem(answer, 404, "NOT_COMPLETE").await;
    }
    let answer = daemon.get("/v1/messages/m").send().await.unwrap();
    let record: Value = answer.json().await.unwrap();
    assert_eq!(record["status"], status);
    record
}

#[tokio::test]
async fn a_full_disk_is_507_and_leaves_the_daemon_working() {
    let disk = Tmpfs::mount(3 << 20).unwrap();
    let daemon = daemon_with(embedded(disk.path()).build(), DaemonConfig::default()).await;
    daemon.put("before", random_payload(300_000, 1)).await;
    let request = daemon.request("PUT", "/v1/messages/large");
    let answer = request
        .body(random_payload(8_000_000, 2))
        .send()
        .await
        .unwrap();
    expect_problem(answer, 507, "STORE_FULL").await;
    let nothing = daemon
        .get("/v1/messages/large/payload")
        .send()
        .await
        .unwrap();
    assert_eq!(nothing.status(), 404);
    daemon.put("after", random_payload(300_000, 3)).await;
    let kept = daemon
        .get("/v1/messages/before/payload")
        .send()
        .await
        .unwrap();
    assert!(kept.bytes().await.unwrap() == random_payload(300_000, 1));
}

/// A client of the bus over a store in `folder`.
pub(crate) fn embedded(folder: &Path) -> ClientBuilder {
    MessageBusClient::builder()
        .chunk_size(CHUNK)
        .store_spec(StoreSpec::Embedded(folder.to_owned()))
}

/// Flips a bit of the only body file in `folder`, `at` bytes from its start.
fn flip(folder: &Path, at: usize) {
    let mut folders = vec![folder.to_owned()];
    let mut bodies = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "body") {
                bodies.push(path);
            }
        }
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let mut bytes = std::fs::read(&bodies[0]).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&bodies[0], bytes).unwrap();
}

#[tokio::test]
async fn damage_at_the_beginning_is_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon_with(embedded(folder.path()).build(), DaemonConfig::default()).await;
    daemon.put("m", random_payload(500_000, 1)).await;
    daemon.put("other", "whole").await;
    flip(folder.path(), 100);
    let answer = daemon.get("/v1/messages/m/payload").send().await.unwrap();
    expect_problem(answer, 500, "DAMAGED").await;
    let other = daemon
        .get("/v1/messages/other/payload")
        .send()
        .await
        .unwrap();
    assert_eq!(other.text().await.unwrap(), "whole");
}

#[rstest]
#[case(&[])]
#[case(&[("bus-accept-frames", "zstd")])]
#[case(&[("range", "bytes=10-499999")])]
#[tokio::test]
async fn damage_at_the_end_breaks_the_transfer_off(#[case] headers: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon_with(embedded(folder.path()).build(), DaemonConfig::default()).await;
    let payload = random_payload(500_000, 1);
    daemon.put("m", payload.clone()).await;
    flip(folder.path(), 480_000);
    let mut request = daemon.get("/v1/messages/m/payload");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send().await.unwrap();
    assert!(answer.status().is_success());
    let mut read = 0;
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => read += bytes.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "a clean end after {read} bytes");
    assert!(read < 490_000, "{read} bytes came, the damaged ones too");
    assert_eq!(
        daemon.metric("bus_http_transfers_aborted_total").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn a_range_that_does_not_touch_the_damage_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon_with(embedded(folder.path()).build(), DaemonConfig::default()).await;
    let payload = random_payload(500_000, 1);
    daemon.put("m", payload.clone()).await;
    flip(folder.path(), 480_000);
    let request = daemon.get("/v1/messages/m/payload");
    let answer = request
        .header("range", "bytes=70000-130000")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.bytes().await.unwrap(), payload[70_000..=130_000]);
}
