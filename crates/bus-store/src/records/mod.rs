//! The records beside messages: the audit log, conversation history and user preferences.
//!
//! | contract | keeps | found by |
//! |---|---|---|
//! | [`AuditLog`] | one entry a routed call | principal, transaction, session, tool, time |
//! | [`ConversationHistory`] | what was said, in order | principal, conversation, sequence |
//! | [`Preferences`] | JSON values; `timezone` is typed | principal, name |
//!
//! They are small and object-safe, share [`StoreError`](crate::StoreError) with
//! [`Store`](crate::Store), and hold these promises as it does: each principal sees only its own
//! records, and an id of somebody else's is as one that does not exist; what was acknowledged is
//! durable, where the store is; text comes back as it went in, `\u0000` included; dropping a
//! future leaves the store consistent, and repeating the call is safe.
//!
//! A backend opens all three beside its store, as [`Records`].

mod audit;
mod checks;
#[cfg(feature = "conformance")]
pub mod conformance;
mod history;
#[cfg(feature = "memory")]
mod memory;
mod names;
mod preferences;
mod timezone;

use std::sync::Arc;

#[cfg(feature = "memory")]
pub use self::memory::MemoryRecords;
pub use self::{
    audit::{
        AuditCursor, AuditEntry, AuditId, AuditLog, AuditPage, AuditPurge, AuditQuery,
        MAX_AUDIT_BATCH, MAX_AUDIT_PAGE, MAX_SKIPPED, SkippedStep,
    },
    checks::{check_batch, no_such_conversation, no_such_entry, no_such_preference, page_limit},
    history::{
        Appended, Content, ContentClaim, Conversation, ConversationHistory, ConversationId,
        ConversationKey, ConversationPage, ConversationQuery, Direction, HistoryEntry, HistoryPage,
        HistoryQuery, MAX_HISTORY_PAGE, MAX_INLINE_BYTES, MAX_METADATA_BYTES, NewEntry,
    },
    names::{AuditText, EntryId, Outcome, PreferenceName, Role, RouteTaken},
    preferences::{
        MAX_PREFERENCE_BYTES, MAX_PREFERENCE_PAGE, Preference, PreferencePage, PreferenceQuery,
        PreferenceValue, Preferences, PreferencesExt, TIMEZONE, check_preference,
    },
    timezone::Timezone,
};

/// The three contracts of one backend. Clones share what they keep.
#[derive(Debug, Clone)]
pub struct Records {
    /// The audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Conversation history.
    pub history: Arc<dyn ConversationHistory>,
    /// User preferences.
    pub preferences: Arc<dyn Preferences>,
}

impl Records {
    /// The records of a backend that keeps all three.
    #[must_use]
    pub fn of<T>(backend: Arc<T>) -> Self
    where
        T: AuditLog + ConversationHistory + Preferences,
    {
        Self {
            audit: Arc::clone(&backend) as _,
            history: Arc::clone(&backend) as _,
            preferences: backend,
        }
    }
}
