//! Purging the audit log: old entries go, and neither the log nor the messages keep the other.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bus_client::{Message, Source};
use bus_model::{Principal, SessionId};
use bus_store::{
    ManualClock, MemoryStore, MockStore, Records, Store as _, StoreError, StoreErrorKind,
    records::{AuditEntry, AuditId, AuditLog, MemoryRecords, Outcome, RouteTaken},
};
use chrono::{TimeDelta, Utc};

use crate::{
    audit::{audited, entries, metric, troubled},
    support::{bus, eventually, setup},
};

/// An entry that is so many days old.
fn old(days: i64) -> AuditEntry {
    AuditEntry {
        id: AuditId::mint(),
        at: Utc::now() - TimeDelta::days(days),
        principal: Principal::default(),
        session_id: SessionId::new("s").unwrap(),
        request_id: "r".into(),
        transaction_id: None,
        tool_name: "echo".parse().unwrap(),
        provider_name: bus_model::ProviderName::default(),
        payload_size_bytes: 0,
        frame_bytes: 0,
        route: RouteTaken::INLINE,
        reason: "it fits".into(),
        skipped: Vec::new(),
        tool_ms: None,
        store_ms: None,
        total_ms: 0,
        outcome: Outcome::OK,
        error_message: None,
    }
}

#[tokio::test]
async fn old_entries_are_purged() {
    let (setup, records) = audited();
    let kept = old(29);
    let both = [old(31), kept.clone()];
    AuditLog::append(&records, &both).await.unwrap();
    let setup = setup.config(|c| c.purge_interval = Duration::from_millis(20));
    let daemon = setup.start().await;
    let purged = || metric(&daemon, r#"bus_audit_entries_total{result="purged"} 1"#);
    eventually("the old entry is purged", purged).await;
    let left = entries(&records).await;
    assert_eq!(left.iter().map(|e| e.id).collect::<Vec<_>>(), [kept.id]);
}

#[tokio::test]
async fn old_entries_are_purged_where_messages_cannot_be() {
    let mut store = MockStore::new();
    store
        .expect_capabilities()
        .return_const(MemoryStore::new().capabilities());
    store
        .expect_purge()
        .returning(|_| Err(StoreError::new(StoreErrorKind::Damaged, "a broken row")));
    let records = MemoryRecords::new();
    AuditLog::append(&records, &[old(31)]).await.unwrap();
    let client = bus().store(Arc::new(store)).records(records.records());
    let setup = setup().client(client.build());
    let setup = setup.config(|c| c.purge_interval = Duration::from_millis(20));
    let daemon = setup.start().await;
    let purged = || metric(&daemon, r#"bus_audit_entries_total{result="purged"} 1"#);
    eventually("the old entry is purged", purged).await;
}

#[tokio::test]
async fn messages_are_purged_and_counted_where_the_log_cannot_be() {
    let clock = Arc::new(ManualClock::default());
    let store = MemoryStore::with_clock(Arc::clone(&clock) as _);
    let (_, log) = troubled(0, 0, StoreErrorKind::Internal);
    log.purge_fails.store(true, Ordering::Relaxed);
    let records = Records {
        audit: Arc::clone(&log) as _,
        ..log.log.records()
    };
    let client = bus().store(Arc::new(store)).records(records).build();
    let message = Message::new("s".parse().unwrap(), "t".parse().unwrap());
    client
        .publish(message, Source::bytes("x".repeat(100)))
        .await
        .unwrap();
    clock.advance(Duration::from_secs(400 * 86_400));
    let setup = setup().client(client);
    let setup = setup.config(|c| c.purge_interval = Duration::from_millis(20));
    let daemon = setup.start().await;
    let purged = || {
        let text = daemon.state().metrics.render();
        text.lines()
            .any(|line| line.contains("purged") && line.contains("expired") && line.ends_with(" 1"))
    };
    eventually("the message is purged", purged).await;
}
