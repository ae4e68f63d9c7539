//! The [`AuditLog`]: one entry a routed call.

use std::{fmt, str::FromStr, time::Duration};

use async_trait::async_trait;
use bus_model::{Principal, ProviderName, SessionId, ToolName, TransactionId};
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::names::{AuditText, Outcome, RouteTaken};
use crate::{StoreError, StoreErrorKind};

/// Most entries of one `append`.
pub const MAX_AUDIT_BATCH: usize = 500;

/// Most entries of one page; a larger limit is cut to it.
pub const MAX_AUDIT_PAGE: u32 = 500;

/// Most skipped steps of one entry; what is beyond is left out.
pub const MAX_SKIPPED: usize = 16;

/// A log of routed calls. Entries are appended in batches and never changed.
#[async_trait]
pub trait AuditLog: fmt::Debug + Send + Sync + 'static {
    /// Appends `entries` of any principals, all or none. An entry whose (principal, id) is there
    /// already is passed over, so that a batch may be sent again. The number of new ones.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for more than [`MAX_AUDIT_BATCH`] entries.
    async fn append(&self, entries: &[AuditEntry]) -> Result<u64, StoreError>;

    /// A page of a principal's entries by (at, id), newest first. Entries that come or go between
    /// two pages never make the second repeat or skip one that was there all the time.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a limit of 0.
    async fn query(&self, query: &AuditQuery) -> Result<AuditPage, StoreError>;

    /// Removes up to `limit` entries that are older than `age` by the store's clock, the oldest
    /// first, of every principal that the caller acts for.
    async fn purge(&self, age: Duration, limit: u32) -> Result<AuditPurge, StoreError>;
}

/// The id of an audit entry, a UUIDv7 that its writer mints: unique within its principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AuditId(Uuid);

impl AuditId {
    /// A new id.
    #[must_use]
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for AuditId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One routed call. Sizes are bytes, durations whole milliseconds; both are cut to 2^63 - 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// When the call was answered or given up, by its writer's clock; whole milliseconds.
    pub at: DateTime<Utc>,
    /// Whose call it was.
    pub principal: Principal,
    /// The session that it was made in.
    pub session_id: SessionId,
    /// The client's own id of the call.
    pub request_id: AuditText,
    /// The message that the result became, where it became one.
    pub transaction_id: Option<TransactionId>,
    /// The tool that was called.
    pub tool_name: ToolName,
    /// The provider behind the tool.
    pub provider_name: ProviderName,
    /// Size of the result, as far as it is known.
    pub payload_size_bytes: u64,
    /// Size of the frame that answered; 0 where none did.
    pub frame_bytes: u64,
    /// How the result travelled.
    pub route: RouteTaken,
    /// Why it travelled like that.
    pub reason: AuditText,
    /// The steps that were tried or considered before, in order, and why they were not taken.
    pub skipped: Vec<SkippedStep>,
    /// How long the tool took; `None` where it did not run.
    pub tool_ms: Option<u64>,
    /// How long the store took; `None` where it was not asked.
    pub store_ms: Option<u64>,
    /// From the call's arrival to its answer.
    pub total_ms: u64,
    /// What came of it.
    pub outcome: Outcome,
    /// What the client was told, where it is an error.
    pub error_message: Option<AuditText>,
}

impl AuditEntry {
    /// The entry as a store keeps it: whole milliseconds, numbers below 2^63, at most
    /// [`MAX_SKIPPED`] skipped steps. Every store writes this.
    #[must_use]
    pub fn as_stored(&self) -> Self {
        let number = |number: u64| number.min(i64::MAX as u64);
        let mut stored = Self {
            at: self.at.trunc_subsecs(3),
            payload_size_bytes: number(self.payload_size_bytes),
            frame_bytes: number(self.frame_bytes),
            tool_ms: self.tool_ms.map(number),
            store_ms: self.store_ms.map(number),
            total_ms: number(self.total_ms),
            ..self.clone()
        };
        stored.skipped.truncate(MAX_SKIPPED);
        stored
    }
}

/// A step of a delivery that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedStep {
    /// Which one.
    pub step: RouteTaken,
    /// Why not.
    pub reason: AuditText,
}

/// Which entries to show. Newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditQuery {
    /// Whose entries.
    pub principal: Principal,
    /// Only of this message.
    pub transaction_id: Option<TransactionId>,
    /// Only of this session.
    pub session_id: Option<SessionId>,
    /// Only of this tool.
    pub tool_name: Option<ToolName>,
    /// Only at or after.
    pub from: Option<DateTime<Utc>>,
    /// Only before.
    pub before: Option<DateTime<Utc>>,
    /// At most this many a page; a store may give fewer, and at least one where there is one.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<AuditCursor>,
}

impl AuditQuery {
    /// All entries of `principal`, 100 a page.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        Self {
            principal,
            transaction_id: None,
            session_id: None,
            tool_name: None,
            from: None,
            before: None,
            limit: 100,
            after: None,
        }
    }
}

/// Where a page ended: a key set. Shown, parsed and serialised as `milliseconds-uuid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuditCursor {
    /// Time of the last entry, milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// Its id.
    pub id: AuditId,
}

impl AuditCursor {
    /// The cursor after `entry`.
    #[must_use]
    pub fn after(entry: &AuditEntry) -> Self {
        Self {
            at_ms: entry.at.timestamp_millis(),
            id: entry.id,
        }
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at_ms, self.id.as_uuid().simple())
    }
}

impl FromStr for AuditCursor {
    type Err = StoreError;
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let parts = || {
            let (ms, id) = text.rsplit_once('-')?;
            Some(Self {
                at_ms: ms.parse().ok()?,
                id: AuditId(Uuid::try_parse(id).ok()?),
            })
        };
        parts().ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            StoreError::new(
                StoreErrorKind::InvalidInput,
                format!("{shown:?} is not a page cursor: pass back what the page before gave"),
            )
        })
    }
}

impl TryFrom<String> for AuditCursor {
    type Error = StoreError;
    fn try_from(text: String) -> Result<Self, StoreError> {
        text.parse()
    }
}

impl From<AuditCursor> for String {
    fn from(cursor: AuditCursor) -> String {
        cursor.to_string()
    }
}

/// A page of entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Where to go on; `None` where there is no more.
    pub next: Option<AuditCursor>,
}

/// What a purge removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditPurge {
    /// Entries removed.
    pub removed: u64,
    /// Whether the limit was reached, so that another call may find more.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_being_written_down() {
        for at_ms in [0, 1_767_225_600_000, -5] {
            let cursor = AuditCursor {
                at_ms,
                id: AuditId::mint(),
            };
            assert_eq!(cursor.to_string().parse::<AuditCursor>().unwrap(), cursor);
        }
        assert!("5".parse::<AuditCursor>().is_err());
    }
}
