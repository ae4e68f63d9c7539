//! The JSON of the records, asked and answered.

use bus_model::{Digest, Principal, ProviderName, SessionId, ToolName, TransactionId};
use bus_store::{
    StoreError, StoreErrorKind as Kind,
    records::{
        Appended, AuditEntry, AuditId, Content, ContentClaim, Conversation, ConversationId,
        ConversationKey, EntryId, HistoryEntry, NewEntry, Outcome as CallOutcome, Preference,
        PreferenceName, PreferenceValue, Role, RouteTaken,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::row::{Outcome, text_of, time};

/// JSON that travels within a string.
fn within<T: DeserializeOwned>(json: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| {
        StoreError::new(
            Kind::Damaged,
            format!("{what} in the database cannot be read"),
        )
        .with_source(error)
    })
}

/// An audit entry, both ways.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AuditRow {
    id: Uuid,
    at_ms: i64,
    principal: Principal,
    session_id: SessionId,
    request_id: String,
    transaction_id: Option<TransactionId>,
    tool_name: ToolName,
    provider_name: ProviderName,
    payload_size_bytes: u64,
    frame_bytes: u64,
    route: RouteTaken,
    reason: String,
    skipped: String,
    tool_ms: Option<u64>,
    store_ms: Option<u64>,
    total_ms: u64,
    outcome: CallOutcome,
    error_message: Option<String>,
}

impl AuditRow {
    pub(super) fn of(entry: AuditEntry) -> Result<Self, StoreError> {
        Ok(Self {
            id: entry.id.as_uuid(),
            at_ms: entry.at.timestamp_millis(),
            principal: entry.principal,
            session_id: entry.session_id,
            request_id: text_of(&entry.request_id)?,
            transaction_id: entry.transaction_id,
            tool_name: entry.tool_name,
            provider_name: entry.provider_name,
            payload_size_bytes: entry.payload_size_bytes,
            frame_bytes: entry.frame_bytes,
            route: entry.route,
            reason: text_of(&entry.reason)?,
            skipped: text_of(&entry.skipped)?,
            tool_ms: entry.tool_ms,
            store_ms: entry.store_ms,
            total_ms: entry.total_ms,
            outcome: entry.outcome,
            error_message: entry.error_message.as_ref().map(text_of).transpose()?,
        })
    }

    pub(super) fn into_entry(self) -> Result<AuditEntry, StoreError> {
        let what = "an audit entry";
        let message = self.error_message.as_deref();
        Ok(AuditEntry {
            id: AuditId::from(self.id),
            at: time(self.at_ms)?,
            principal: self.principal,
            session_id: self.session_id,
            request_id: within(&self.request_id, what)?,
            transaction_id: self.transaction_id,
            tool_name: self.tool_name,
            provider_name: self.provider_name,
            payload_size_bytes: self.payload_size_bytes,
            frame_bytes: self.frame_bytes,
            route: self.route,
            reason: within(&self.reason, what)?,
            skipped: within(&self.skipped, what)?,
            tool_ms: self.tool_ms,
            store_ms: self.store_ms,
            total_ms: self.total_ms,
            outcome: self.outcome,
            error_message: message.map(|text| within(text, what)).transpose()?,
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct AuditBatch {
    pub(super) entries: Vec<AuditRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct AuditQueryRow<'a> {
    pub(super) principal: &'a Principal,
    pub(super) limit: usize,
    pub(super) transaction_id: Option<&'a TransactionId>,
    pub(super) session_id: Option<&'a SessionId>,
    pub(super) tool_name: Option<&'a ToolName>,
    pub(super) from_ms: Option<i64>,
    pub(super) before_ms: Option<i64>,
    pub(super) after: Option<(i64, Uuid)>,
}

#[derive(Debug, Serialize)]
pub(super) struct AuditPurgeRow {
    pub(super) older_than_ms: i64,
    pub(super) limit: u32,
}

/// The answer of `bus_audit_append`.
#[derive(Debug, Deserialize)]
pub(super) struct AppendedRow {
    pub(super) outcome: Outcome,
    #[serde(default)]
    pub(super) appended: u64,
}

/// The answer of `bus_audit_purge`.
#[derive(Debug, Deserialize)]
pub(super) struct AuditPurgedRow {
    pub(super) removed: u64,
    pub(super) more: bool,
}

/// The answer of a function that gives a page of entries.
#[derive(Debug, Deserialize)]
pub(super) struct EntriesRow<T> {
    pub(super) entries: Vec<T>,
    pub(super) more: bool,
}

/// What a conversation, or an entry of it, is found by.
#[derive(Debug, Serialize)]
pub(super) struct ConversationRow<'a> {
    principal: &'a Principal,
    conversation_id: &'a ConversationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<i64>,
}

impl<'a> ConversationRow<'a> {
    pub(super) fn of(key: &'a ConversationKey) -> Self {
        Self {
            principal: &key.principal,
            conversation_id: &key.conversation_id,
            seq: None,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct NewEntryRow<'a> {
    principal: &'a Principal,
    conversation_id: &'a ConversationId,
    entry_id: &'a EntryId,
    role: &'a Role,
    content: Option<String>,
    transaction_id: Option<&'a TransactionId>,
    size_bytes: u64,
    sha256: Digest,
    metadata: String,
}

impl<'a> NewEntryRow<'a> {
    pub(super) fn of(key: &'a ConversationKey, entry: &'a NewEntry) -> Result<Self, StoreError> {
        let (content, transaction_id) = match &entry.content {
            Content::Inline(text) => (Some(text_of(text)?), None),
            Content::Claim(claim) => (None, Some(&claim.transaction_id)),
        };
        Ok(Self {
            principal: &key.principal,
            conversation_id: &key.conversation_id,
            entry_id: &entry.id,
            role: &entry.role,
            content,
            transaction_id,
            size_bytes: entry.content.size_bytes(),
            sha256: entry.content.sha256(),
            metadata: text_of(&entry.metadata)?,
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct HistoryQueryRow<'a> {
    pub(super) principal: &'a Principal,
    pub(super) conversation_id: &'a ConversationId,
    pub(super) direction: &'static str,
    pub(super) after: Option<i64>,
    pub(super) limit: usize,
}

/// What a page by name begins after.
#[derive(Debug, Serialize)]
pub(super) struct AfterNameRow<'a, T> {
    pub(super) principal: &'a Principal,
    pub(super) after: Option<&'a T>,
    pub(super) limit: usize,
}

/// The answer of `bus_history_append`.
#[derive(Debug, Deserialize)]
pub(super) struct PlaceRow {
    pub(super) outcome: Outcome,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    created_ms: i64,
}

impl PlaceRow {
    pub(super) fn appended(&self) -> Result<Appended, StoreError> {
        Ok(Appended {
            sequence: self.seq,
            created_at: time(self.created_ms)?,
            created: self.outcome == Outcome::Created,
        })
    }
}

/// An entry as it is answered.
#[derive(Debug, Deserialize)]
pub(super) struct HistoryRow {
    seq: u64,
    entry_id: EntryId,
    role: Role,
    content: Option<String>,
    transaction_id: Option<TransactionId>,
    size_bytes: u64,
    sha256: Digest,
    metadata: String,
    created_ms: i64,
}

impl HistoryRow {
    pub(super) fn into_entry(self) -> Result<HistoryEntry, StoreError> {
        let what = "an entry of a conversation";
        let content = match (self.content, self.transaction_id) {
            (Some(text), _) => Content::Inline(within(&text, what)?),
            (None, Some(transaction_id)) => Content::Claim(ContentClaim {
                transaction_id,
                payload_size_bytes: self.size_bytes,
                sha256: self.sha256,
            }),
            (None, None) => {
                let message = format!("{what} in the database has neither a text nor a claim");
                return Err(StoreError::new(Kind::Damaged, message));
            }
        };
        Ok(HistoryEntry {
            sequence: self.seq,
            id: self.entry_id,
            role: self.role,
            content,
            metadata: within(&self.metadata, what)?,
            created_at: time(self.created_ms)?,
        })
    }
}

/// The answer of `bus_history_entry`.
#[derive(Debug, Deserialize)]
pub(super) struct EntryRow {
    pub(super) outcome: Outcome,
    pub(super) entry: Option<HistoryRow>,
}

/// The answer of `bus_history_delete`.
#[derive(Debug, Deserialize)]
pub(super) struct DeletedRow {
    pub(super) outcome: Outcome,
    #[serde(default)]
    pub(super) entries: u64,
}

/// The answer of `bus_history_conversations`.
#[derive(Debug, Deserialize)]
pub(super) struct ConversationsRow {
    pub(super) conversations: Vec<ListedRow>,
    pub(super) more: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedRow {
    conversation_id: ConversationId,
    entries: u64,
    last_seq: u64,
    last_ms: i64,
}

impl ListedRow {
    pub(super) fn into_conversation(self) -> Result<Conversation, StoreError> {
        Ok(Conversation {
            conversation_id: self.conversation_id,
            entries: self.entries,
            last_sequence: self.last_seq,
            last_at: time(self.last_ms)?,
        })
    }
}

/// What a preference is found by, and its value where it is set.
#[derive(Debug, Serialize)]
pub(super) struct NameRow<'a> {
    pub(super) principal: &'a Principal,
    pub(super) name: &'a PreferenceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<&'a str>,
}

/// A preference as it is answered.
#[derive(Debug, Deserialize)]
pub(super) struct PreferenceRow {
    name: PreferenceName,
    value: String,
    updated_ms: i64,
}

impl PreferenceRow {
    pub(super) fn into_preference(self) -> Result<Preference, StoreError> {
        Ok(Preference {
            name: self.name,
            value: PreferenceValue::new(self.value)?,
            updated_at: time(self.updated_ms)?,
        })
    }
}

/// The answer of a function about one preference.
#[derive(Debug, Deserialize)]
pub(super) struct OnePreferenceRow {
    pub(super) outcome: Outcome,
    pub(super) preference: Option<PreferenceRow>,
    pub(super) updated_ms: Option<i64>,
}

/// The answer of `bus_prefs_list`.
#[derive(Debug, Deserialize)]
pub(super) struct PreferencesRow {
    pub(super) preferences: Vec<PreferenceRow>,
    pub(super) more: bool,
}
