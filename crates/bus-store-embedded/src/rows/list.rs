//! Listing: a page by key set, each filter where the data is.

use bus_model::MessageStatus;
use bus_store::{ListQuery, StoreError};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, params_from_iter, types::Value};

use super::{
    ms,
    read::{COLUMNS, Raw},
};
use crate::error::sqlite;

/// Up to `limit` rows that `query` asks for, newest first.
pub(crate) fn list(
    conn: &Connection,
    query: &ListQuery,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Raw>, StoreError> {
    let (sql, values) = statement(query, now, limit);
    conn.prepare_cached(&sql)
        .and_then(|mut list| {
            list.query_map(params_from_iter(values), Raw::parse)?
                .collect()
        })
        .map_err(|error| sqlite("list messages", error))
}

/// The statement. The index is named, since SQLite without statistics may choose one that makes
/// it sort everything.
fn statement(query: &ListQuery, now: DateTime<Utc>, limit: u32) -> (String, Vec<Value>) {
    let index = if query.session_id.is_some() {
        "messages_by_session"
    } else if query.tool_name.is_some() {
        "messages_by_tool"
    } else {
        "messages_by_time"
    };
    let mut sql = format!("SELECT {COLUMNS} FROM messages INDEXED BY {index} WHERE principal = ?");
    let mut values = vec![Value::from(query.principal.to_string())];
    let mut filter = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    };
    let text = |text: &dyn ToString| Value::from(text.to_string());
    filter("session_id = ?", query.session_id.as_ref().map(|s| text(s)));
    filter("tool_name = ?", query.tool_name.as_ref().map(|t| text(t)));
    filter(
        "provider_name = ?",
        query.provider_name.as_ref().map(|p| text(p)),
    );
    let now = Value::from(ms(now));
    match query.status {
        None => {}
        Some(MessageStatus::Pending) => filter("status = ?", Some(0.into())),
        Some(MessageStatus::Error) => filter("status = ?", Some(2.into())),
        Some(MessageStatus::Complete) => filter("status = 1 AND expires_ms > ?", Some(now)),
        Some(MessageStatus::Expired) => filter("status = 1 AND expires_ms <= ?", Some(now)),
    }
    let time = |t: DateTime<Utc>| Value::from(ms(t));
    filter("created_ms >= ?", query.created_from.map(time));
    filter("created_ms < ?", query.created_before.map(time));
    if let Some(after) = query.after {
        sql.push_str(" AND (created_ms, id) < (?, ?)");
        values.push(after.created_ms.into());
        values.push(after.id.as_uuid().as_bytes().to_vec().into());
    }
    sql.push_str(" ORDER BY created_ms DESC, id DESC LIMIT ?");
    values.push(i64::from(limit).into());
    (sql, values)
}
