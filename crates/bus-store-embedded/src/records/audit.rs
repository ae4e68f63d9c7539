//! The audit log.

use std::time::Duration;

use async_trait::async_trait;
use bus_model::TransactionId;
use bus_store::{
    StoreError,
    records::{
        AuditCursor, AuditEntry, AuditId, AuditLog, AuditPage, AuditPurge, AuditQuery, AuditText,
        MAX_AUDIT_PAGE, check_batch, page_limit,
    },
};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params, params_from_iter, types::Value};
use uuid::Uuid;

use super::{Bad, EmbeddedRecords, checked, cut, int, json, number, rows, time, to_json};
use crate::error::sqlite;

const COLUMNS: &str = "id, at_ms, principal, session_id, request_id, transaction_id, tool_name, \
     provider_name, payload_size, frame_bytes, route, reason, skipped, tool_ms, store_ms, \
     total_ms, outcome, error_message";

#[async_trait]
impl AuditLog for EmbeddedRecords {
    async fn append(&self, entries: &[AuditEntry]) -> Result<u64, StoreError> {
        check_batch(entries)?;
        let entries: Vec<_> = entries.iter().map(AuditEntry::as_stored).collect();
        self.write(move |transaction, _| {
            let mut new = 0;
            for entry in &entries {
                new += insert(transaction, entry)?;
            }
            Ok(new)
        })
        .await
    }

    async fn query(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let limit = page_limit(query.limit, MAX_AUDIT_PAGE)?;
        let query = query.clone();
        self.read(move |conn| {
            let (sql, values) = statement(&query, limit + 1);
            let values = params_from_iter(values);
            let mut entries = rows(conn, &sql, values, "an audit entry", parse)?;
            let next = cut(&mut entries, limit, AuditCursor::after);
            Ok(AuditPage { entries, next })
        })
        .await
    }

    async fn purge(&self, age: Duration, limit: u32) -> Result<AuditPurge, StoreError> {
        self.write_to_free(move |transaction, now| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let until = now.timestamp_millis().saturating_sub(age);
            let removed = transaction
                .execute(
                    "DELETE FROM audit_log WHERE rowid IN (SELECT rowid FROM audit_log \
                     INDEXED BY audit_by_age WHERE at_ms <= ?1 ORDER BY at_ms LIMIT ?2)",
                    (until, limit),
                )
                .map_err(|error| sqlite("purge the audit log", error))?;
            Ok(AuditPurge {
                removed: removed as u64,
                more: removed >= limit as usize,
            })
        })
        .await
    }
}

fn insert(conn: &Connection, entry: &AuditEntry) -> Result<u64, StoreError> {
    let skipped = to_json(&entry.skipped)?;
    let id = entry.id.as_uuid();
    let values = params![
        id.as_bytes(),
        entry.at.timestamp_millis(),
        entry.principal.as_str(),
        entry.session_id.as_str(),
        entry.request_id.as_str(),
        entry.transaction_id.as_ref().map(TransactionId::as_str),
        entry.tool_name.as_str(),
        entry.provider_name.as_str(),
        int(entry.payload_size_bytes),
        int(entry.frame_bytes),
        entry.route.as_str(),
        entry.reason.as_str(),
        skipped,
        entry.tool_ms.map(int),
        entry.store_ms.map(int),
        int(entry.total_ms),
        entry.outcome.as_str(),
        entry.error_message.as_ref().map(AuditText::as_str),
    ];
    let sql = format!(
        "INSERT INTO audit_log ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
         ?, ?) ON CONFLICT (principal, id) DO NOTHING"
    );
    let inserted = conn
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.execute(values))
        .map_err(|error| sqlite("append to the audit log", error))?;
    Ok(inserted as u64)
}

/// The statement. The index is named, as for messages.
fn statement(query: &AuditQuery, limit: usize) -> (String, Vec<Value>) {
    let index = if query.transaction_id.is_some() {
        "audit_by_transaction"
    } else if query.session_id.is_some() {
        "audit_by_session"
    } else if query.tool_name.is_some() {
        "audit_by_tool"
    } else {
        "audit_by_time"
    };
    let mut sql = format!("SELECT {COLUMNS} FROM audit_log INDEXED BY {index} WHERE principal = ?");
    let mut values = vec![Value::from(query.principal.to_string())];
    let mut filter = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    };
    let text = |text: &dyn ToString| Value::from(text.to_string());
    filter(
        "transaction_id = ?",
        query.transaction_id.as_ref().map(|t| text(t)),
    );
    filter("session_id = ?", query.session_id.as_ref().map(|s| text(s)));
    filter("tool_name = ?", query.tool_name.as_ref().map(|t| text(t)));
    let at = |time: DateTime<Utc>| Value::from(time.timestamp_millis());
    filter("at_ms >= ?", query.from.map(at));
    filter("at_ms < ?", query.before.map(at));
    if let Some(after) = query.after {
        sql.push_str(" AND (at_ms, id) < (?, ?)");
        values.push(after.at_ms.into());
        values.push(after.id.as_uuid().as_bytes().to_vec().into());
    }
    sql.push_str(" ORDER BY at_ms DESC, id DESC LIMIT ?");
    values.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    (sql, values)
}

fn parse(row: &Row<'_>) -> Result<AuditEntry, Bad> {
    let optional = |column| -> Result<Option<u64>, Bad> { Ok(row.get(column)?) };
    let text = |column| -> Result<String, Bad> { Ok(row.get(column)?) };
    let is_null = |column| -> Result<bool, Bad> {
        Ok(row.get_ref(column)? == rusqlite::types::ValueRef::Null)
    };
    Ok(AuditEntry {
        id: AuditId::from(Uuid::from_bytes(row.get(0)?)),
        at: time(row, 1)?,
        principal: checked(row, 2)?,
        session_id: checked(row, 3)?,
        request_id: text(4)?.into(),
        transaction_id: if is_null(5)? {
            None
        } else {
            Some(checked(row, 5)?)
        },
        tool_name: checked(row, 6)?,
        provider_name: checked(row, 7)?,
        payload_size_bytes: number(row, 8)?,
        frame_bytes: number(row, 9)?,
        route: checked(row, 10)?,
        reason: text(11)?.into(),
        skipped: json(row, 12)?,
        tool_ms: optional(13)?,
        store_ms: optional(14)?,
        total_ms: number(row, 15)?,
        outcome: checked(row, 16)?,
        error_message: row.get::<_, Option<String>>(17)?.map(Into::into),
    })
}
