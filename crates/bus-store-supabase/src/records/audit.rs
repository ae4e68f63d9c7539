//! The audit log.

use std::time::Duration;

use async_trait::async_trait;
use bus_store::{
    StoreError,
    records::{
        AuditCursor, AuditEntry, AuditLog, AuditPage, AuditPurge, AuditQuery, MAX_AUDIT_PAGE,
        check_batch, page_limit,
    },
};

use super::{
    SupabaseRecords,
    row::EntriesRow,
    row::{AppendedRow, AuditBatch, AuditPurgeRow, AuditPurgedRow, AuditQueryRow, AuditRow},
    strange,
};
use crate::{row::Outcome, rpc::PATIENT};

const APPEND: &str = "bus_audit_append";

#[async_trait]
impl AuditLog for SupabaseRecords {
    async fn append(&self, entries: &[AuditEntry]) -> Result<u64, StoreError> {
        check_batch(entries)?;
        if entries.is_empty() {
            return Ok(0);
        }
        let rows = entries.iter().map(|entry| AuditRow::of(entry.as_stored()));
        let entries = rows.collect::<Result<_, _>>()?;
        let row: AppendedRow = self.call(APPEND, &AuditBatch { entries }).await?;
        match row.outcome {
            Outcome::Ok => Ok(row.appended),
            outcome => Err(strange(APPEND, outcome)),
        }
    }

    async fn query(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let request = AuditQueryRow {
            principal: &query.principal,
            limit: page_limit(query.limit, MAX_AUDIT_PAGE)?,
            transaction_id: query.transaction_id.as_ref(),
            session_id: query.session_id.as_ref(),
            tool_name: query.tool_name.as_ref(),
            from_ms: query.from.map(|time| time.timestamp_millis()),
            before_ms: query.before.map(|time| time.timestamp_millis()),
            after: query.after.map(|after| (after.at_ms, after.id.as_uuid())),
        };
        let row: EntriesRow<AuditRow> = self.call("bus_audit_query", &request).await?;
        let entries = row.entries.into_iter().map(AuditRow::into_entry);
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let next = entries.last().filter(|_| row.more).map(AuditCursor::after);
        Ok(AuditPage { entries, next })
    }

    async fn purge(&self, age: Duration, limit: u32) -> Result<AuditPurge, StoreError> {
        let request = AuditPurgeRow {
            older_than_ms: i64::try_from(age.as_millis()).unwrap_or(i64::MAX),
            limit,
        };
        let row: AuditPurgedRow = self.call_for("bus_audit_purge", &request, PATIENT).await?;
        Ok(AuditPurge {
            removed: row.removed,
            more: row.more,
        })
    }
}
