//! The tables of the records, which format 2 of the index added.

use bus_store::StoreError;
use rusqlite::Connection;

use crate::error::sqlite;

/// The first format of the index that has these tables.
const SINCE: i32 = 2;

/// Makes the tables.
///
/// - Ids are the writers', so they are unique within a principal, or a conversation, only.
/// - Texts, also those with `\u0000`, are kept as they are; `skipped`, `metadata` and `value` are
///   JSON.
pub(crate) const CREATE: &str = "
CREATE TABLE audit_log (
    principal TEXT NOT NULL,
    id BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    session_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    transaction_id TEXT,
    tool_name TEXT NOT NULL,
    provider_name TEXT NOT NULL,
    payload_size INTEGER NOT NULL,
    frame_bytes INTEGER NOT NULL,
    route TEXT NOT NULL,
    reason TEXT NOT NULL,
    skipped TEXT NOT NULL,
    tool_ms INTEGER,
    store_ms INTEGER,
    total_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error_message TEXT,
    UNIQUE (principal, id)
) STRICT;
CREATE INDEX audit_by_time ON audit_log (principal, at_ms, id);
CREATE INDEX audit_by_transaction ON audit_log (principal, transaction_id, at_ms, id)
    WHERE transaction_id IS NOT NULL;
CREATE INDEX audit_by_session ON audit_log (principal, session_id, at_ms, id);
CREATE INDEX audit_by_tool ON audit_log (principal, tool_name, at_ms, id);
CREATE INDEX audit_by_age ON audit_log (at_ms);

CREATE TABLE conversation_history (
    principal TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    entry_id TEXT NOT NULL,
    role TEXT NOT NULL,
    content TEXT,
    content_transaction_id TEXT,
    content_size INTEGER NOT NULL,
    content_sha256 BLOB NOT NULL,
    metadata TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    CHECK ((content IS NULL) <> (content_transaction_id IS NULL)),
    UNIQUE (principal, conversation_id, seq),
    UNIQUE (principal, conversation_id, entry_id)
) STRICT;

CREATE TABLE user_preferences (
    principal TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (principal, name)
) STRICT;
";

/// Whether the index has the tables. One of an earlier format that may not be written has not.
pub(super) fn is_there(conn: &Connection) -> Result<bool, StoreError> {
    let format: i32 = conn
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| sqlite("read the header", error))?;
    Ok(format >= SINCE)
}

/// The tables with nothing in them, for reading an index that has none.
pub(super) fn empty() -> Result<Connection, StoreError> {
    Connection::open_in_memory()
        .and_then(|conn| conn.execute_batch(CREATE).map(|()| conn))
        .map_err(|error| sqlite("make empty tables", error))
}
