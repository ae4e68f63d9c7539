//! The audit log: an entry a call, whatever became of it, and never at the cost of one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bus_daemon::{
    RunningDaemon,
    tools::{ToolError, ToolOutput},
};
use bus_model::Principal;
use bus_store::{
    MemoryStore, MockStore, Records, Store as _, StoreError, StoreErrorKind,
    records::{
        AuditEntry, AuditLog, AuditPage, AuditPurge, AuditQuery, MemoryRecords, Outcome, RouteTaken,
    },
};
use chrono::{TimeDelta, Utc};
use rstest::rstest;
use serde_json::json;
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    events::Log,
    support::{Client, PATIENCE, Setup, bus, claim, code, eventually, setup},
};

/// A daemon's setup over records that the test can look into.
pub(crate) fn audited() -> (Setup, MemoryRecords) {
    let records = MemoryRecords::new();
    let client = bus().records(records.records()).build();
    (setup().client(client), records)
}

/// The entries of the log, oldest first.
pub(crate) async fn entries(log: &dyn AuditLog) -> Vec<AuditEntry> {
    let query = AuditQuery::new(Principal::default());
    let mut entries = log.query(&query).await.unwrap().entries;
    entries.reverse();
    entries
}

/// The entries, once there are so many.
async fn written(log: &dyn AuditLog, count: usize) -> Vec<AuditEntry> {
    let all = async {
        loop {
            let entries = entries(log).await;
            if entries.len() >= count {
                return entries;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("never written")
}

pub(crate) fn metric(daemon: &RunningDaemon, line: &str) -> bool {
    let text = daemon.state().metrics.render();
    text.lines().any(|known| known == line)
}

#[tokio::test]
async fn a_call_that_went_inline_is_in_the_log() {
    let (setup, records) = audited();
    let daemon = setup.start().await;
    let mut client = Client::open_as(&daemon, "s1").await;
    client
        .result_of("r\0x", "echo", json!({"text": "hello"}))
        .await;
    let entry = written(&records, 1).await.remove(0);
    assert_eq!(entry.session_id.as_str(), "s1");
    assert_eq!(entry.request_id.as_str(), "r\0x");
    assert_eq!(entry.tool_name.as_str(), "echo");
    assert_eq!(
        (entry.route, entry.outcome),
        (RouteTaken::INLINE, Outcome::OK)
    );
    assert_eq!(entry.transaction_id, None);
    assert!(entry.payload_size_bytes > 5 && entry.frame_bytes > entry.payload_size_bytes);
    assert!(entry.skipped.is_empty() && entry.store_ms.is_none());
    assert!(entry.tool_ms.is_some_and(|ms| ms <= entry.total_ms));
    assert_eq!(
        (entry.reason.as_str(), entry.error_message),
        ("it fits one frame", None)
    );
    assert!((Utc::now() - entry.at).abs() < TimeDelta::minutes(2));
}

#[tokio::test]
async fn a_call_that_went_by_claim_names_its_message_and_why() {
    let (setup, records) = audited();
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 3_000_000, "kind": "text"});
    let result = client.result_of("c1", "generate", arguments).await;
    let entry = written(&records, 1).await.remove(0);
    assert_eq!(
        (entry.route, entry.outcome),
        (RouteTaken::CLAIM, Outcome::OK)
    );
    let id = entry.transaction_id.unwrap().to_string();
    assert_eq!(claim(&result)["message_bus_transaction_id"], id);
    assert_eq!(entry.payload_size_bytes, 3_000_000);
    assert!(entry.store_ms.is_some_and(|ms| ms <= entry.total_ms));
    let [step] = &entry.skipped[..] else {
        panic!("{:?}", entry.skipped)
    };
    assert_eq!(step.step, RouteTaken::INLINE);
    assert!(step.reason.as_str().contains("1048576"), "{}", step.reason);
}

#[rstest]
#[case::no_such_tool("tool\0\n", json!({}), "tool_not_found", "the call did not start")]
#[case::arguments("echo", json!({"text": 7}), "invalid_arguments", "the call did not start")]
#[case::failed("fails", json!({}), "exec_error", "the tool failed")]
#[case::panicked("panics", json!({}), "exec_error", "the tool failed")]
#[case::too_slow("endless", json!({}), "timeout", "the tool took too long and was stopped")]
#[tokio::test]
async fn a_call_that_ended_in_an_error_is_in_the_log(
    #[case] tool: &str,
    #[case] arguments: serde_json::Value,
    #[case] outcome: &str,
    #[case] reason: &str,
) {
    let (setup, records) = audited();
    let setup = setup
        .config(|c| c.limits.call_timeout = Duration::from_millis(50))
        .tool("fails", |_| async { Err(ToolError::new("no luck")) })
        .tool("panics", |_| async { panic!("a bug of the tool") })
        .tool("endless", |_| std::future::pending());
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let result = client.result_of("c1", tool, arguments).await;
    let entry = written(&records, 1).await.remove(0);
    assert_eq!(entry.outcome.as_str(), outcome);
    assert_eq!(entry.outcome.as_str().to_uppercase(), code(&result));
    assert_eq!(
        (entry.route, entry.reason.as_str()),
        (RouteTaken::NONE, reason)
    );
    let told = entry.error_message.unwrap();
    assert_eq!(told.as_str(), crate::support::reason(&result));
}

#[tokio::test]
async fn what_is_too_large_says_which_ways_were_closed() {
    let records = MemoryRecords::new();
    let client = bus().records(records.records()).enabled(false).build();
    let daemon = setup().client(client).start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 3_000_000, "kind": "text"});
    let result = client.result_of("c1", "generate", arguments).await;
    assert_eq!(code(&result), "TOO_LARGE");
    let entry = written(&records, 1).await.remove(0);
    assert_eq!(entry.outcome.as_str(), "too_large");
    let steps: Vec<_> = entry.skipped.iter().map(|skipped| &skipped.step).collect();
    assert_eq!(steps, [&RouteTaken::INLINE, &RouteTaken::CLAIM]);
    assert!(entry.skipped[1].reason.as_str().contains("disabled"));
}

#[tokio::test]
async fn what_the_store_refused_says_so() {
    let mut store = MockStore::new();
    store
        .expect_capabilities()
        .return_const(MemoryStore::new().capabilities());
    store
        .expect_put()
        .returning(|_, _, _| Err(StoreError::new(StoreErrorKind::Full, "no space is left")));
    store
        .expect_begin()
        .returning(|_| Err(StoreError::new(StoreErrorKind::Full, "no space is left")));
    let records = MemoryRecords::new();
    let client = bus()
        .store(Arc::new(store))
        .records(records.records())
        .build();
    let daemon = setup().client(client).start().await;
    let mut client = Client::open(&daemon).await;
    let arguments = json!({"bytes": 3_000_000, "kind": "random"});
    let result = client.result_of("c1", "generate", arguments).await;
    assert_eq!(code(&result), "UNDELIVERABLE");
    let entry = written(&records, 1).await.remove(0);
    let steps: Vec<_> = entry.skipped.iter().map(|skipped| &skipped.step).collect();
    assert_eq!(steps, [&RouteTaken::INLINE, &RouteTaken::CLAIM]);
    let why = entry.skipped[1].reason.as_str();
    assert!(why.contains("no space is left"), "{why}");
    assert_eq!(entry.transaction_id, None);
}

#[tokio::test]
async fn a_call_whose_client_is_gone_is_in_the_log() {
    let (setup, records) = audited();
    let daemon = setup
        .tool("endless", |_| std::future::pending())
        .start()
        .await;
    let mut client = Client::open(&daemon).await;
    client.call("c1", "endless", json!({})).await;
    client.until("call_tool_ack").await;
    drop(client);
    let entry = written(&records, 1).await.remove(0);
    assert_eq!(entry.outcome.as_str(), "cancelled");
    assert_eq!(
        (entry.reason.as_str(), entry.frame_bytes),
        ("the client is gone", 0)
    );
}

#[tokio::test]
async fn refused_calls_are_in_the_log_and_repeated_ones_are_not() {
    let (setup, records) = audited();
    let setup = setup
        .config(|c| c.limits.calls_per_session = 1)
        .tool("endless", |_| std::future::pending());
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "echo", json!({"text": "a"})).await;
    client.result_of("c1", "echo", json!({"text": "a"})).await;
    client.result_of("c1", "echo", json!({"text": "b"})).await;
    client.call("c2", "endless", json!({})).await;
    client.result_of("c3", "echo", json!({"text": "c"})).await;
    let entries = written(&records, 3).await;
    let outcomes: Vec<_> = entries.iter().map(|e| e.outcome.as_str()).collect();
    assert_eq!(outcomes, ["ok", "duplicate", "over_capacity"]);
}

#[tokio::test]
async fn a_shutdown_writes_what_is_left() {
    let (setup, records) = audited();
    let daemon = setup
        .tool("endless", |_| std::future::pending())
        .start()
        .await;
    let mut client = Client::open(&daemon).await;
    for n in 0..5 {
        let text = json!({"text": "hello"});
        client.result_of(&format!("c{n}"), "echo", text).await;
    }
    client.call("last", "endless", json!({})).await;
    client.until("call_tool_ack").await;
    daemon.shutdown(Duration::ZERO).await;
    let entries = entries(&records).await;
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[5].outcome.as_str(), "reply_lost");
}

/// A log that hangs, or fails, as often as it is told to.
#[derive(Debug)]
pub(crate) struct Troubled {
    pub(crate) log: MemoryRecords,
    go: Semaphore,
    asked: Notify,
    failures: Semaphore,
    kind: StoreErrorKind,
    pub(crate) purge_fails: AtomicBool,
}

#[async_trait]
impl AuditLog for Troubled {
    async fn append(&self, entries: &[AuditEntry]) -> Result<u64, StoreError> {
        self.asked.notify_one();
        self.go.acquire().await.unwrap().forget();
        if let Ok(failure) = self.failures.try_acquire() {
            failure.forget();
            return Err(StoreError::new(self.kind, "trouble"));
        }
        AuditLog::append(&self.log, entries).await
    }

    async fn query(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        self.log.query(query).await
    }

    async fn purge(&self, age: Duration, limit: u32) -> Result<AuditPurge, StoreError> {
        if self.purge_fails.load(Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Internal, "trouble"));
        }
        AuditLog::purge(&self.log, age, limit).await
    }
}

pub(crate) fn troubled(go: usize, failures: usize, kind: StoreErrorKind) -> (Setup, Arc<Troubled>) {
    let log = MemoryRecords::new();
    let troubled = Arc::new(Troubled {
        log: log.clone(),
        go: Semaphore::new(go),
        asked: Notify::new(),
        failures: Semaphore::new(failures),
        kind,
        purge_fails: AtomicBool::new(false),
    });
    let records = Records {
        audit: Arc::clone(&troubled) as _,
        ..log.records()
    };
    let client = bus().records(records).build();
    (setup().client(client), troubled)
}

#[tokio::test]
async fn a_log_that_hangs_stops_no_call_and_drops_are_counted() {
    let (setup, log) = troubled(0, 0, StoreErrorKind::Internal);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    let text = json!({"text": "x"});
    client.result_of("first", "echo", text.clone()).await;
    // A batch is with the log, which keeps it; from here on nothing leaves the queue.
    log.asked.notified().await;
    for n in 0..1030 {
        let result = client
            .result_of(&format!("c{n}"), "echo", text.clone())
            .await;
        assert_eq!(result["text"], "x");
    }
    assert!(metric(
        &daemon,
        r#"bus_audit_entries_total{result="dropped"} 6"#
    ));
    log.go.add_permits(100);
    let is_written = || metric(&daemon, r#"bus_audit_entries_total{result="written"} 1025"#);
    eventually("the waiting entries are written", is_written).await;
}

#[tokio::test]
async fn a_log_that_fails_for_a_while_gets_each_entry_once() {
    let (setup, log) = troubled(100, 1, StoreErrorKind::Unavailable);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "echo", json!({"text": "x"})).await;
    assert_eq!(written(&*log, 1).await.len(), 1);
    assert!(
        !daemon
            .state()
            .metrics
            .render()
            .contains(r#"result="dropped""#)
    );
}

#[tokio::test]
async fn trouble_with_the_log_is_told_once_with_its_cause_and_so_is_its_end() {
    let told = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(told.clone())
        .finish();
    // The test's runtime has one thread, so this covers the daemon's tasks too.
    let _guard = tracing::subscriber::set_default(subscriber);
    let (setup, _log) = troubled(100, 2, StoreErrorKind::Denied);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "echo", json!({"text": "x"})).await;
    let is_written = || metric(&daemon, r#"bus_audit_entries_total{result="written"} 1"#);
    eventually("the entry is written", is_written).await;
    let began = told.events("the audit log is not written for now, calls go on");
    assert_eq!(began.len(), 1);
    assert!(began[0]["error"].as_str().unwrap().contains("trouble"));
    assert_eq!(told.events("the audit log is written again").len(), 1);
}

#[tokio::test]
async fn what_the_log_will_never_take_is_dropped_and_the_next_goes_on() {
    let (setup, log) = troubled(100, 1, StoreErrorKind::InvalidInput);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "echo", json!({"text": "x"})).await;
    let dropped = || metric(&daemon, r#"bus_audit_entries_total{result="dropped"} 1"#);
    eventually("the entry is dropped", dropped).await;
    client.result_of("c2", "echo", json!({"text": "x"})).await;
    assert_eq!(written(&*log, 1).await[0].request_id.as_str(), "c2");
}

#[tokio::test]
async fn a_log_that_hangs_does_not_hold_up_a_shutdown_for_long() {
    let (setup, log) = troubled(0, 0, StoreErrorKind::Internal);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "echo", json!({"text": "x"})).await;
    log.asked.notified().await;
    let state = Arc::clone(daemon.state());
    let down = timeout(PATIENCE, daemon.shutdown(Duration::ZERO)).await;
    assert!(down.is_ok());
    let text = state.metrics.render();
    assert!(
        text.contains(r#"bus_audit_entries_total{result="dropped"} 1"#),
        "what is lost is counted: {text}"
    );
}

#[tokio::test]
async fn a_log_that_is_off_is_not_written() {
    let (setup, records) = audited();
    let setup = setup.config(|c| c.audit_kept = Duration::ZERO);
    let daemon = setup.start().await;
    let mut client = Client::open(&daemon).await;
    client.result_of("c1", "echo", json!({"text": "x"})).await;
    daemon.shutdown(Duration::ZERO).await;
    assert!(entries(&records).await.is_empty());
}

#[tokio::test]
async fn a_store_without_records_serves_all_the_same() {
    let daemon = setup()
        .tool("t", |_| async { Ok(ToolOutput::text("x")) })
        .start()
        .await;
    let mut client = Client::open(&daemon).await;
    for n in 0..3 {
        let result = client.result_of(&format!("c{n}"), "t", json!({})).await;
        assert_eq!(result["text"], "x");
    }
    daemon.shutdown(Duration::ZERO).await;
}
