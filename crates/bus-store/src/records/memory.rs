//! The in-memory reference of the three contracts: obviously correct rather than fast.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bus_model::Principal;
use chrono::{DateTime, SubsecRound as _, Utc};
use parking_lot::Mutex;

use super::{
    Appended, AuditCursor, AuditEntry, AuditId, AuditLog, AuditPage, AuditPurge, AuditQuery,
    Conversation, ConversationHistory, ConversationId, ConversationKey, ConversationPage,
    ConversationQuery, Direction, HistoryEntry, HistoryPage, HistoryQuery, MAX_AUDIT_PAGE,
    MAX_HISTORY_PAGE, MAX_PREFERENCE_PAGE, NewEntry, Preference, PreferenceName, PreferencePage,
    PreferenceQuery, PreferenceValue, Preferences, Records, check_batch, check_preference,
    no_such_conversation, no_such_entry, no_such_preference, page_limit,
};
use crate::{Clock, StoreError, SystemClock};

/// The records of this process's memory. Clones share them.
#[derive(Clone)]
pub struct MemoryRecords {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct State {
    audit: BTreeMap<(Principal, AuditId), AuditEntry>,
    conversations: BTreeMap<ConversationKey, Vec<HistoryEntry>>,
    preferences: BTreeMap<(Principal, PreferenceName), Preference>,
}

impl MemoryRecords {
    /// No records, on the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// No records, on `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Arc::default(),
            clock,
        }
    }

    /// The three contracts.
    #[must_use]
    pub fn records(&self) -> Records {
        Records::of(Arc::new(self.clone()))
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now().trunc_subsecs(3)
    }
}

impl Default for MemoryRecords {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRecords")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl AuditLog for MemoryRecords {
    async fn append(&self, entries: &[AuditEntry]) -> Result<u64, StoreError> {
        check_batch(entries)?;
        let mut state = self.state.lock();
        let mut new = 0;
        for entry in entries {
            let key = (entry.principal.clone(), entry.id);
            if let Entry::Vacant(place) = state.audit.entry(key) {
                place.insert(entry.as_stored());
                new += 1;
            }
        }
        Ok(new)
    }

    async fn query(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let limit = page_limit(query.limit, MAX_AUDIT_PAGE)?;
        let state = self.state.lock();
        let mut entries: Vec<_> = state
            .audit
            .values()
            .filter(|entry| matches(entry, query))
            .cloned()
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(AuditCursor::after(entry)));
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(AuditCursor::after);
        Ok(AuditPage { entries, next })
    }

    async fn purge(&self, age: Duration, limit: u32) -> Result<AuditPurge, StoreError> {
        let now = self.now();
        let mut state = self.state.lock();
        let mut due: Vec<_> = state
            .audit
            .iter()
            .filter(|(_, entry)| (now - entry.at).to_std().is_ok_and(|old| old >= age))
            .map(|(key, entry)| (entry.at, key.clone()))
            .collect();
        due.sort();
        due.truncate(limit as usize);
        for (_, key) in &due {
            state.audit.remove(key);
        }
        Ok(AuditPurge {
            removed: due.len() as u64,
            more: due.len() >= limit as usize,
        })
    }
}

fn matches(entry: &AuditEntry, query: &AuditQuery) -> bool {
    let txn = query.transaction_id.as_ref();
    query.principal == entry.principal
        && txn.is_none_or(|txn| Some(txn) == entry.transaction_id.as_ref())
        && query
            .session_id
            .as_ref()
            .is_none_or(|session| *session == entry.session_id)
        && query
            .tool_name
            .as_ref()
            .is_none_or(|tool| *tool == entry.tool_name)
        && query.from.is_none_or(|from| entry.at >= from)
        && query.before.is_none_or(|before| entry.at < before)
        && query
            .after
            .is_none_or(|after| AuditCursor::after(entry) < after)
}

#[async_trait]
impl ConversationHistory for MemoryRecords {
    async fn append(
        &self,
        key: &ConversationKey,
        entry: &NewEntry,
    ) -> Result<Appended, StoreError> {
        entry.check()?;
        let now = self.now();
        let mut state = self.state.lock();
        let entries = state.conversations.entry(key.clone()).or_default();
        if let Some(held) = entries.iter().find(|held| held.id == entry.id) {
            if held.role != entry.role || held.content.sha256() != entry.content.sha256() {
                return Err(entry.conflict());
            }
            return Ok(Appended {
                sequence: held.sequence,
                created_at: held.created_at,
                created: false,
            });
        }
        let sequence = entries.last().map_or(1, |last| last.sequence + 1);
        entries.push(HistoryEntry {
            sequence,
            id: entry.id.clone(),
            role: entry.role.clone(),
            content: entry.content.clone(),
            metadata: entry.metadata.clone(),
            created_at: now,
        });
        Ok(Appended {
            sequence,
            created_at: now,
            created: true,
        })
    }

    async fn entry(
        &self,
        key: &ConversationKey,
        sequence: u64,
    ) -> Result<HistoryEntry, StoreError> {
        let state = self.state.lock();
        let entries = state.conversations.get(key).into_iter().flatten();
        let mut found = entries.filter(|entry| entry.sequence == sequence);
        found
            .next()
            .cloned()
            .ok_or_else(|| no_such_entry(key, sequence))
    }

    async fn page(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let limit = page_limit(query.limit, MAX_HISTORY_PAGE)?;
        let state = self.state.lock();
        let mut entries: Vec<_> = state
            .conversations
            .get(&query.key)
            .into_iter()
            .flatten()
            .filter(|entry| match query.direction {
                Direction::Forwards => query.after.is_none_or(|after| entry.sequence > after),
                Direction::Backwards => query.after.is_none_or(|after| entry.sequence < after),
            })
            .cloned()
            .collect();
        if query.direction == Direction::Backwards {
            entries.reverse();
        }
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = entries.last().filter(|_| more).map(|entry| entry.sequence);
        Ok(HistoryPage { entries, next })
    }

    async fn conversations(
        &self,
        query: &ConversationQuery,
    ) -> Result<ConversationPage, StoreError> {
        let limit = page_limit(query.limit, MAX_HISTORY_PAGE)?;
        let state = self.state.lock();
        let after = |id: &ConversationId| query.after.as_ref().is_none_or(|after| id > after);
        let mut conversations: Vec<_> = state
            .conversations
            .iter()
            .filter(|(key, _)| key.principal == query.principal && after(&key.conversation_id))
            .filter_map(|(key, entries)| {
                let last = entries.last()?;
                Some(Conversation {
                    conversation_id: key.conversation_id.clone(),
                    entries: entries.len() as u64,
                    last_sequence: last.sequence,
                    last_at: last.created_at,
                })
            })
            .collect();
        let more = conversations.len() > limit;
        conversations.truncate(limit);
        let last = conversations.last().filter(|_| more);
        let next = last.map(|last| last.conversation_id.clone());
        Ok(ConversationPage {
            conversations,
            next,
        })
    }

    async fn delete(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let removed = self.state.lock().conversations.remove(key);
        let removed = removed.ok_or_else(|| no_such_conversation(key))?;
        Ok(removed.len() as u64)
    }
}

#[async_trait]
impl Preferences for MemoryRecords {
    async fn get(
        &self,
        principal: &Principal,
        name: &PreferenceName,
    ) -> Result<Preference, StoreError> {
        let key = (principal.clone(), name.clone());
        let found = self.state.lock().preferences.get(&key).cloned();
        found.ok_or_else(|| no_such_preference(name))
    }

    async fn set(
        &self,
        principal: &Principal,
        name: &PreferenceName,
        value: &PreferenceValue,
    ) -> Result<DateTime<Utc>, StoreError> {
        check_preference(name, value)?;
        let updated_at = self.now();
        let preference = Preference {
            name: name.clone(),
            value: value.clone(),
            updated_at,
        };
        let key = (principal.clone(), name.clone());
        self.state.lock().preferences.insert(key, preference);
        Ok(updated_at)
    }

    async fn delete(&self, principal: &Principal, name: &PreferenceName) -> Result<(), StoreError> {
        let key = (principal.clone(), name.clone());
        let removed = self.state.lock().preferences.remove(&key);
        removed.map(drop).ok_or_else(|| no_such_preference(name))
    }

    async fn list(&self, query: &PreferenceQuery) -> Result<PreferencePage, StoreError> {
        let limit = page_limit(query.limit, MAX_PREFERENCE_PAGE)?;
        let state = self.state.lock();
        let mut preferences: Vec<_> = state
            .preferences
            .iter()
            .filter(|((principal, name), _)| {
                *principal == query.principal
                    && query.after.as_ref().is_none_or(|after| name > after)
            })
            .map(|(_, preference)| preference.clone())
            .collect();
        let more = preferences.len() > limit;
        preferences.truncate(limit);
        let last = preferences.last().filter(|_| more);
        let next = last.map(|last| last.name.clone());
        Ok(PreferencePage { preferences, next })
    }
}
