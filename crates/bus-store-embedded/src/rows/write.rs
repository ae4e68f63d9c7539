//! Writing rows. All of it happens inside a transaction of the caller.

use bus_model::{Digest, MessageBusRecord, MessageId, MessageKey, MessageStatus};
use bus_store::StoreError;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{BodyPlace, MessageRow, Place, duration_ms, int, ms};
use crate::error::sqlite;

/// Adds a row; its number.
pub(crate) fn insert(conn: &Connection, row: &MessageRow) -> Result<i64, StoreError> {
    let sql = "INSERT INTO messages (id, principal, transaction_id, session_id, tool_name, \
         provider_name, content_type, priority, metadata, ttl_ms, status, body, encoding, \
         chunk_size, expected_sha256, expected_size, fence, lease_ms, lease_expires_ms, \
         created_ms, accessed_ms, expires_ms, format_version, payload_size, payload_sha256, \
         encoded_size, encoded_sha256, manifest_sha256, chunk_count) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, \
         ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)";
    let r = &row.record;
    conn.prepare_cached(sql)
        .and_then(|mut add| {
            add.insert(params![
                r.id.as_uuid().as_bytes(),
                r.principal.as_str(),
                r.transaction_id.as_str(),
                r.session_id.as_str(),
                r.tool_name.as_str(),
                r.provider_name.as_str(),
                r.content_type.as_str(),
                r.priority.as_str(),
                metadata(r),
                int(row.ttl.as_millis()),
                status(r.status),
                body(row.body),
                r.compression_type.code(),
                int(r.chunk_size_bytes),
                blob(&row.expected_digest),
                row.expected_size.map(int),
                row.fence.as_bytes(),
                duration_ms(row.lease),
                r.lease_expires_at.map(ms),
                ms(r.created_at),
                ms(r.accessed_at),
                ms(r.expires_at),
                r.format_version,
                int(r.payload_size_bytes),
                blob(&r.checksum),
                r.compressed_size_bytes.map(int),
                blob(&r.encoded_sha256),
                blob(&r.manifest_sha256),
                r.chunk_count,
            ])
        })
        .map_err(|error| sqlite("add a message", error))
}

/// Gives the pending row with `row`'s number to the writer that `row` names.
pub(crate) fn take_over(conn: &Connection, row: &MessageRow) -> Result<(), StoreError> {
    let sql = "UPDATE messages SET session_id = ?2, tool_name = ?3, provider_name = ?4, \
         content_type = ?5, priority = ?6, metadata = ?7, ttl_ms = ?8, expected_size = ?9, \
         fence = ?10, lease_ms = ?11, lease_expires_ms = ?12, expires_ms = ?13, \
         accessed_ms = ?14 WHERE num = ?1 AND status = 0";
    let r = &row.record;
    conn.prepare_cached(sql)
        .and_then(|mut update| {
            update.execute(params![
                row.num,
                r.session_id.as_str(),
                r.tool_name.as_str(),
                r.provider_name.as_str(),
                r.content_type.as_str(),
                r.priority.as_str(),
                metadata(r),
                int(row.ttl.as_millis()),
                row.expected_size.map(int),
                row.fence.as_bytes(),
                duration_ms(row.lease),
                r.lease_expires_at.map(ms),
                ms(r.expires_at),
                ms(r.accessed_at),
            ])
        })
        .map_err(|error| sqlite("take over an upload", error))?;
    Ok(())
}

/// Writes until when the writer with this fence may stay silent; the number of its row, or `None`
/// where the upload is not its any more.
pub(crate) fn renew(
    conn: &Connection,
    id: MessageId,
    fence: Uuid,
    until: DateTime<Utc>,
) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE messages SET lease_expires_ms = ?3 \
         WHERE id = ?1 AND fence = ?2 AND status = 0 RETURNING num";
    one_num(
        conn,
        sql,
        params![id.as_uuid().as_bytes(), fence.as_bytes(), ms(until)],
        "renew a lease",
    )
}

/// Makes a pending message complete; `None` where the upload is not this fence's any more.
pub(crate) fn complete(conn: &Connection, row: &MessageRow) -> Result<Option<i64>, StoreError> {
    let sql = "UPDATE messages SET status = 1, lease_expires_ms = NULL, expires_ms = ?3, \
         payload_size = ?4, payload_sha256 = ?5, encoded_size = ?6, encoded_sha256 = ?7, \
         manifest_sha256 = ?8, chunk_count = ?9 \
         WHERE id = ?1 AND fence = ?2 AND status = 0 RETURNING num";
    let r = &row.record;
    one_num(
        conn,
        sql,
        params![
            r.id.as_uuid().as_bytes(),
            row.fence.as_bytes(),
            ms(r.expires_at),
            int(r.payload_size_bytes),
            blob(&r.checksum),
            r.compressed_size_bytes.map(int),
            blob(&r.encoded_sha256),
            blob(&r.manifest_sha256),
            r.chunk_count,
        ],
        "commit an upload",
    )
}

/// Marks a pending message as given up and forgets its chunks; its file goes to the trash list.
/// `false` where the upload is not this fence's any more.
pub(crate) fn fail(
    conn: &Connection,
    id: MessageId,
    fence: Uuid,
    reason: &str,
    expires_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let sql = "UPDATE messages SET status = 2, body = 0, lease_expires_ms = NULL, \
         error_message = ?3, expires_ms = ?4 \
         WHERE id = ?1 AND fence = ?2 AND status = 0 RETURNING num";
    let key = id.as_uuid();
    let num = one_num(
        conn,
        sql,
        params![key.as_bytes(), fence.as_bytes(), reason, ms(expires_at)],
        "give up an upload",
    )?;
    let Some(num) = num else { return Ok(false) };
    conn.execute("DELETE FROM chunks WHERE message = ?1", (num,))
        .and_then(|_| to_trash(conn, id))
        .map_err(|error| sqlite("give up an upload", error))?;
    Ok(true)
}

fn one_num(
    conn: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    what: &str,
) -> Result<Option<i64>, StoreError> {
    conn.prepare_cached(sql)
        .and_then(|mut update| {
            let mut rows = update.query(params)?;
            let num = rows.next()?.map(|row| row.get(0)).transpose()?;
            // A statement with RETURNING is done only once it was stepped to its end.
            while rows.next()?.is_some() {}
            Ok(num)
        })
        .map_err(|error| sqlite(what, error))
}

/// Writes chunk rows. With `replace_all` no other rows of the message are kept.
pub(crate) fn put_chunk_rows<'a>(
    conn: &Connection,
    num: i64,
    places: impl IntoIterator<Item = (u32, &'a Place)>,
    replace_all: bool,
) -> Result<(), StoreError> {
    let write = || {
        if replace_all {
            conn.prepare_cached("DELETE FROM chunks WHERE message = ?1")?
                .execute((num,))?;
        }
        let mut put = conn.prepare_cached(
            "INSERT OR REPLACE INTO chunks (message, seq, offset, len, sha256) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (seq, place) in places {
            put.execute((
                num,
                seq,
                int(place.offset),
                int(place.len),
                place.digest.as_bytes(),
            ))?;
        }
        Ok(())
    };
    write().map_err(|error| sqlite("write chunk rows", error))
}

/// Keeps a body inside the index.
pub(crate) fn set_inline(conn: &Connection, num: i64, body: &[u8]) -> Result<(), StoreError> {
    conn.prepare_cached("INSERT INTO inline_bodies (message, body) VALUES (?1, ?2)")
        .and_then(|mut add| add.execute((num, body)))
        .map_err(|error| sqlite("write a body", error))?;
    Ok(())
}

/// Removes a row with all that belongs to it; its file goes to the trash list.
pub(crate) fn remove(conn: &Connection, id: MessageId, has_file: bool) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM messages WHERE id = ?1")
        .and_then(|mut delete| delete.execute((id.as_uuid().as_bytes(),)))
        .and_then(|_| if has_file { to_trash(conn, id) } else { Ok(()) })
        .map_err(|error| sqlite("delete a message", error))
}

fn to_trash(conn: &Connection, id: MessageId) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR IGNORE INTO trash (id) VALUES (?1)")?
        .execute((id.as_uuid().as_bytes(),))?;
    Ok(())
}

/// Forgets files that are gone.
pub(crate) fn clear_trash(conn: &Connection, ids: &[MessageId]) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM trash WHERE id = ?1")
        .and_then(|mut delete| {
            for id in ids {
                delete.execute((id.as_uuid().as_bytes(),))?;
            }
            Ok(())
        })
        .map_err(|error| sqlite("clear the trash list", error))
}

/// Stamps the last access of complete messages.
pub(crate) fn touch(
    conn: &Connection,
    keys: &[MessageKey],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sql = "UPDATE messages SET accessed_ms = ?3 WHERE principal = ?1 \
         AND transaction_id = ?2 AND status = 1 AND expires_ms > ?3";
    conn.prepare_cached(sql)
        .and_then(|mut update| {
            for key in keys {
                let txn = key.transaction_id.as_str();
                update.execute((key.principal.as_str(), txn, ms(now)))?;
            }
            Ok(())
        })
        .map_err(|error| sqlite("stamp accesses", error))
}

/// Stamps the acknowledgement of a message that has none.
pub(crate) fn acknowledge(
    conn: &Connection,
    num: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE messages SET acknowledged_ms = ?2 WHERE num = ?1 AND acknowledged_ms IS NULL",
    )
    .and_then(|mut update| update.execute((num, ms(now))))
    .map_err(|error| sqlite("acknowledge a message", error))?;
    Ok(())
}

fn metadata(record: &MessageBusRecord) -> String {
    serde_json::Value::Object(record.metadata.clone()).to_string()
}

fn blob(digest: &Option<Digest>) -> Option<&[u8]> {
    digest.as_ref().map(|digest| digest.as_bytes().as_slice())
}

fn status(status: MessageStatus) -> i64 {
    match status {
        MessageStatus::Pending => 0,
        MessageStatus::Complete | MessageStatus::Expired => 1,
        MessageStatus::Error => 2,
    }
}

fn body(place: BodyPlace) -> i64 {
    match place {
        BodyPlace::Nowhere => 0,
        BodyPlace::File => 1,
        BodyPlace::Inline => 2,
    }
}
