//! What the cases are made of.

use std::{fmt, time::Duration};

use bus_model::{Metadata, Principal, ProviderName, SessionId, ToolName, TransactionId};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::RecordsHarness;
use crate::{
    Records, StoreError, StoreErrorKind,
    records::{
        AuditEntry, AuditId, AuditLog, AuditQuery, Content, ConversationKey, EntryId, NewEntry,
        Outcome, PreferenceName, PreferenceValue, Role, RouteTaken,
    },
};

/// Text that breaks what is not careful.
pub(super) const AWKWARD: &str =
    "a\0b \u{1}\u{7f}\u{feff} \"quoted\\\" \\u0000 'x' %_ ü 漢 🦀\r\n\t";

/// How far the store's clock may be from the harness's.
const MARGIN: TimeDelta = TimeDelta::seconds(120);

pub(super) fn principal(name: &str) -> Principal {
    Principal::new(name).expect("the suite's principals are legal")
}

pub(super) fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("the suite's session ids are legal")
}

pub(super) fn tool(name: &str) -> ToolName {
    ToolName::new(name).expect("the suite's tool names are legal")
}

pub(super) fn txn(name: &str) -> TransactionId {
    TransactionId::new(name).expect("the suite's transaction ids are legal")
}

/// An entry of the default principal, `ago` seconds old.
pub(super) fn entry(h: &dyn RecordsHarness, ago: i64) -> AuditEntry {
    AuditEntry {
        id: AuditId::mint(),
        at: h.now().trunc_subsecs(3) - TimeDelta::seconds(ago),
        principal: Principal::default(),
        session_id: session("session-1"),
        request_id: "request-1".into(),
        transaction_id: None,
        tool_name: tool("tool-1"),
        provider_name: ProviderName::default(),
        payload_size_bytes: 5,
        frame_bytes: 77,
        route: RouteTaken::INLINE,
        reason: "it fits".into(),
        skipped: Vec::new(),
        tool_ms: Some(3),
        store_ms: None,
        total_ms: 4,
        outcome: Outcome::OK,
        error_message: None,
    }
}

/// The same, of another principal.
pub(super) fn entry_of(h: &dyn RecordsHarness, ago: i64, owner: &str) -> AuditEntry {
    AuditEntry {
        principal: principal(owner),
        ..entry(h, ago)
    }
}

pub(super) async fn append(log: &dyn AuditLog, entries: &[AuditEntry]) -> u64 {
    log.append(entries).await.expect("append")
}

/// All entries that match `query`, page by page.
pub(super) async fn walk(log: &dyn AuditLog, query: &AuditQuery) -> Vec<AuditEntry> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let page = log.query(&query).await.expect("query");
        all.extend(page.entries);
        match page.next {
            Some(next) => {
                assert!(
                    query.after.is_none_or(|after| next < after),
                    "a page that begins at {:?} leads back to {next:?}",
                    query.after
                );
                query.after = Some(next);
            }
            None => return all,
        }
    }
}

/// The ids of all entries that match `query`.
pub(super) async fn ids(log: &dyn AuditLog, query: &AuditQuery) -> Vec<AuditId> {
    let entries = walk(log, query).await;
    entries.into_iter().map(|entry| entry.id).collect()
}

/// All entries of the default principal.
pub(super) fn everything() -> AuditQuery {
    AuditQuery::new(Principal::default())
}

/// The conversation `name` of the default principal.
pub(super) fn talk(name: &str) -> ConversationKey {
    ConversationKey::new(Principal::default(), session(name))
}

/// A text of the user under the entry id `id`.
pub(super) fn said(id: &str, text: impl Into<String>) -> NewEntry {
    NewEntry {
        id: EntryId::new(id).expect("the suite's entry ids are legal"),
        role: Role::USER,
        content: Content::Inline(text.into()),
        metadata: Metadata::new(),
    }
}

/// Says `texts` in `key`, each under itself as its id.
pub(super) async fn say(records: &Records, key: &ConversationKey, texts: &[&str]) -> Vec<u64> {
    let mut places = Vec::new();
    for text in texts {
        let appended = records.history.append(key, &said(text, *text)).await;
        places.push(appended.expect("append").sequence);
    }
    places
}

pub(super) fn name(text: &str) -> PreferenceName {
    PreferenceName::new(text).expect("the suite's preference names are legal")
}

pub(super) fn value(json: &str) -> PreferenceValue {
    PreferenceValue::new(json).expect("the suite's values are JSON")
}

/// Another handle on the records of `h`, of another process where it has one.
pub(super) fn other_process(h: &dyn RecordsHarness) -> Records {
    h.second().unwrap_or_else(|| h.records())
}

/// Asserts that `result` is an error of `kind`.
#[track_caller]
pub(super) fn refused<T: fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) {
    match result {
        Ok(value) => panic!("an error of kind {kind:?} was expected, not {value:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
    }
}

/// Asserts that `time` is about now by the store's clock, in whole milliseconds.
#[track_caller]
pub(super) fn about_now(h: &dyn RecordsHarness, time: DateTime<Utc>) {
    let now = h.now();
    assert!((now - time).abs() < MARGIN, "{time} is not about {now}");
    assert_eq!(time, time.trunc_subsecs(3), "whole milliseconds");
}

/// So many days.
pub(super) fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
