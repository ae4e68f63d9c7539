//! The suite of the records finds backends that break the contracts, each in one way.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use bus_model::Principal;
use bus_store::{
    Records, StoreError, StoreErrorKind,
    records::{
        Appended, AuditEntry, AuditLog, AuditPage, AuditPurge, AuditQuery, Content,
        ConversationHistory, ConversationKey, ConversationPage, ConversationQuery, Direction,
        HistoryEntry, HistoryPage, HistoryQuery, MemoryRecords, NewEntry, Preference,
        PreferenceName, PreferencePage, PreferenceQuery, PreferenceValue, Preferences,
        conformance::{RecordsHarness, records_cases},
    },
};
use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use rstest::rstest;

use crate::mutants::Quiet;

/// What a backend does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    OnePrincipal,
    CutsAtNul,
    CutsAuditAtNul,
    ForgetsIds,
    LastIdWins,
    NoConflict,
    TellsConflictAsRepeat,
    ForgetsFilters,
    EndIncluded,
    CursorByTimeAlone,
    AlwaysNext,
    PurgesEverything,
    PurgesWithoutLimit,
    BackwardsIsForwards,
    StartIncluded,
    KeepsDeleted,
    SortsJson,
    AnyTimezone,
    IgnoresCase,
    EmptyPages,
}

#[derive(Debug, Clone)]
struct Mutant {
    inner: MemoryRecords,
    fault: Fault,
}

impl RecordsHarness for Mutant {
    fn records(&self) -> Records {
        Records::of(Arc::new(self.clone()))
    }
}

impl Mutant {
    fn owner(&self, principal: &Principal) -> Principal {
        match self.fault {
            Fault::OnePrincipal => Principal::default(),
            _ => principal.clone(),
        }
    }

    fn key(&self, key: &ConversationKey) -> ConversationKey {
        ConversationKey::new(self.owner(&key.principal), key.conversation_id.clone())
    }

    fn name(&self, name: &PreferenceName) -> PreferenceName {
        match self.fault {
            Fault::IgnoresCase => {
                let lower = name.as_str().to_lowercase();
                lower.parse().expect("a legal name")
            }
            _ => name.clone(),
        }
    }
}

fn cut(text: &str) -> String {
    text.split('\0').next().unwrap_or_default().to_owned()
}

#[async_trait]
impl AuditLog for Mutant {
    async fn append(&self, entries: &[AuditEntry]) -> Result<u64, StoreError> {
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            entry.principal = self.owner(&entry.principal);
            match self.fault {
                Fault::CutsAuditAtNul => entry.reason = cut(entry.reason.as_str()).into(),
                Fault::ForgetsIds => entry.id = bus_store::records::AuditId::mint(),
                _ => {}
            }
        }
        AuditLog::append(&self.inner, &entries).await
    }

    async fn query(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let mut query = AuditQuery {
            principal: self.owner(&query.principal),
            ..query.clone()
        };
        match self.fault {
            Fault::ForgetsFilters => query.session_id = None,
            Fault::EndIncluded => query.before = query.before.map(|t| t + Duration::from_millis(1)),
            Fault::CursorByTimeAlone => {
                let before = query.after.take();
                let before = before.and_then(|c| DateTime::from_timestamp_millis(c.at_ms));
                query.before = before.or(query.before);
            }
            Fault::EmptyPages => query.limit = query.limit.max(1),
            _ => {}
        }
        let mut page = self.inner.query(&query).await?;
        if self.fault == Fault::AlwaysNext {
            page.next = page
                .entries
                .last()
                .map(bus_store::records::AuditCursor::after);
        }
        Ok(page)
    }

    async fn purge(&self, age: Duration, limit: u32) -> Result<AuditPurge, StoreError> {
        match self.fault {
            Fault::PurgesEverything => AuditLog::purge(&self.inner, Duration::ZERO, limit).await,
            Fault::PurgesWithoutLimit => AuditLog::purge(&self.inner, age, u32::MAX).await,
            _ => AuditLog::purge(&self.inner, age, limit).await,
        }
    }
}

#[async_trait]
impl ConversationHistory for Mutant {
    async fn append(
        &self,
        key: &ConversationKey,
        entry: &NewEntry,
    ) -> Result<Appended, StoreError> {
        let key = self.key(key);
        let mut entry = entry.clone();
        match (self.fault, &entry.content) {
            (Fault::CutsAtNul, Content::Inline(text)) => entry.content = Content::Inline(cut(text)),
            (Fault::ForgetsIds, _) => entry.id = bus_store::records::EntryId::mint(),
            (Fault::LastIdWins, _) => {
                // The id alone counts, over all conversations.
                let everywhere = ConversationKey::new(
                    key.principal.clone(),
                    "all".parse().expect("a legal name"),
                );
                let place = ConversationHistory::append(&self.inner, &everywhere, &entry).await?;
                if !place.created {
                    return Ok(place);
                }
            }
            _ => {}
        }
        let appended = ConversationHistory::append(&self.inner, &key, &entry).await;
        match (self.fault, appended) {
            (Fault::NoConflict, Err(error)) if error.kind() == StoreErrorKind::Conflict => {
                entry.id = bus_store::records::EntryId::mint();
                ConversationHistory::append(&self.inner, &key, &entry).await
            }
            (Fault::TellsConflictAsRepeat, Ok(mut appended)) => {
                appended.created = true;
                Ok(appended)
            }
            (_, appended) => appended,
        }
    }

    async fn entry(
        &self,
        key: &ConversationKey,
        sequence: u64,
    ) -> Result<HistoryEntry, StoreError> {
        self.inner.entry(&self.key(key), sequence).await
    }

    async fn page(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let mut query = HistoryQuery {
            key: self.key(&query.key),
            ..query.clone()
        };
        match self.fault {
            Fault::BackwardsIsForwards => query.direction = Direction::Forwards,
            Fault::StartIncluded => query.after = query.after.map(|after| after - 1),
            Fault::EmptyPages => query.limit = query.limit.max(1),
            _ => {}
        }
        self.inner.page(&query).await
    }

    async fn conversations(
        &self,
        query: &ConversationQuery,
    ) -> Result<ConversationPage, StoreError> {
        let query = ConversationQuery {
            principal: self.owner(&query.principal),
            ..query.clone()
        };
        self.inner.conversations(&query).await
    }

    async fn delete(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let key = self.key(key);
        if self.fault == Fault::KeepsDeleted {
            let query = HistoryQuery::new(key, Direction::Forwards);
            return Ok(self.inner.page(&query).await?.entries.len() as u64);
        }
        ConversationHistory::delete(&self.inner, &key).await
    }
}

#[async_trait]
impl Preferences for Mutant {
    async fn get(
        &self,
        principal: &Principal,
        name: &PreferenceName,
    ) -> Result<Preference, StoreError> {
        let name = self.name(name);
        self.inner.get(&self.owner(principal), &name).await
    }

    async fn set(
        &self,
        principal: &Principal,
        name: &PreferenceName,
        value: &PreferenceValue,
    ) -> Result<DateTime<Utc>, StoreError> {
        let (owner, name) = (self.owner(principal), self.name(name));
        let as_value = serde_json::from_str::<serde_json::Value>(value.as_json());
        let kept = match (self.fault, as_value) {
            (Fault::SortsJson, Ok(parsed)) => PreferenceValue::new(parsed.to_string())?,
            _ => value.clone(),
        };
        match self.inner.set(&owner, &name, &kept).await {
            Err(error) if self.fault == Fault::AnyTimezone => {
                drop(error);
                Ok(Utc::now())
            }
            set => set,
        }
    }

    async fn delete(&self, principal: &Principal, name: &PreferenceName) -> Result<(), StoreError> {
        let (owner, name) = (self.owner(principal), self.name(name));
        Preferences::delete(&self.inner, &owner, &name).await
    }

    async fn list(&self, query: &PreferenceQuery) -> Result<PreferencePage, StoreError> {
        let query = PreferenceQuery {
            principal: self.owner(&query.principal),
            ..query.clone()
        };
        self.inner.list(&query).await
    }
}

/// Names of the cases that fail.
async fn failed(fault: Fault) -> Vec<&'static str> {
    let mut failed = Vec::new();
    let _quiet = Quiet::new();
    for case in records_cases() {
        let harness = Mutant {
            inner: MemoryRecords::new(),
            fault,
        };
        let run = AssertUnwindSafe((case.run)(&harness));
        if run.catch_unwind().await.is_err() {
            failed.push(case.name);
        }
    }
    failed
}

#[rstest]
#[case(Fault::OnePrincipal, "a_stranger_finds_no_conversation")]
#[case(Fault::OnePrincipal, "each_principal_sees_its_own_log")]
#[case(Fault::OnePrincipal, "each_principal_has_its_own_preferences")]
#[case(Fault::CutsAtNul, "texts_of_every_kind_come_back")]
#[case(Fault::CutsAuditAtNul, "an_audit_entry_comes_back_as_it_was")]
#[case(Fault::ForgetsIds, "a_batch_may_be_sent_again")]
#[case(Fault::ForgetsIds, "a_repeated_append_changes_nothing")]
#[case(Fault::LastIdWins, "the_same_entry_id_elsewhere_is_another_entry")]
#[case(Fault::NoConflict, "another_entry_under_an_id_is_a_conflict")]
#[case(Fault::TellsConflictAsRepeat, "one_entry_at_once_is_one_entry")]
#[case(Fault::ForgetsFilters, "each_audit_filter_filters")]
#[case(
    Fault::EndIncluded,
    "a_window_of_the_log_has_its_start_and_not_its_end"
)]
#[case(Fault::CursorByTimeAlone, "audit_pages_together_hold_everything_once")]
#[case(Fault::AlwaysNext, "the_last_audit_page_has_no_next")]
#[case(Fault::PurgesEverything, "a_purge_takes_what_is_old")]
#[case(Fault::PurgesWithoutLimit, "a_purge_of_the_log_is_bounded")]
#[case(Fault::BackwardsIsForwards, "backwards_is_from_the_newest_back")]
#[case(Fault::StartIncluded, "one_can_go_on_from_any_entry")]
#[case(Fault::KeepsDeleted, "a_deleted_conversation_is_gone")]
#[case(Fault::SortsJson, "a_value_comes_back_exactly")]
#[case(Fault::AnyTimezone, "a_timezone_is_an_iana_name")]
#[case(Fault::IgnoresCase, "names_that_differ_in_case_are_two")]
#[case(Fault::EmptyPages, "a_history_page_has_a_size")]
#[tokio::test]
async fn a_fault_is_found(#[case] fault: Fault, #[case] case: &str) {
    let failed = failed(fault).await;
    assert!(
        failed.contains(&case),
        "{case} passes; these fail: {failed:?}"
    );
}

/// The wrapper itself breaks nothing.
#[tokio::test]
async fn without_a_fault_nothing_is_found() {
    assert_eq!(failed(Fault::Nothing).await, [""; 0]);
}
