//! Reading rows.

use std::{collections::BTreeMap, ops::Range, str::FromStr, time::Duration};

use bus_model::{
    CompressionType, ContentType, Digest, MessageBusRecord, MessageId, MessageKey, MessageStatus,
    Metadata, Principal, Priority, ProviderName, SessionId, ToolName, TransactionId, Ttl,
};
use bus_store::{READ_GRACE, Stats, StoreError};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, Params, Row, types::FromSql};
use uuid::Uuid;

use super::{BodyPlace, MessageRow, Place, duration_ms, ms};
use crate::error::{damaged, sqlite};

/// The columns in the order in which [`Raw::parse`] reads them.
pub(super) const COLUMNS: &str = "num, id, principal, transaction_id, session_id, tool_name, \
     provider_name, content_type, priority, metadata, ttl_ms, status, body, encoding, chunk_size, \
     expected_sha256, expected_size, fence, lease_ms, lease_expires_ms, created_ms, accessed_ms, \
     expires_ms, acknowledged_ms, error_message, format_version, payload_size, payload_sha256, \
     encoded_size, encoded_sha256, manifest_sha256, chunk_count";

/// A row and what is known of it even where the rest cannot be read.
pub(crate) struct Raw {
    pub(crate) num: i64,
    pub(crate) id: Uuid,
    pub(crate) created_ms: i64,
    pub(crate) row: Result<MessageRow, StoreError>,
}

impl Raw {
    pub(super) fn parse(row: &Row<'_>) -> rusqlite::Result<Self> {
        let id = Uuid::from_bytes(row.get(1)?);
        Ok(Self {
            num: row.get(0)?,
            id,
            created_ms: row.get(20)?,
            row: parse(row).map_err(|what| {
                let named = row.get::<_, String>(3).ok();
                match named.and_then(|text| TransactionId::new(text).ok()) {
                    Some(txn) => damaged(&txn, &format!("its row is not legal ({what})")),
                    None => StoreError::new(
                        bus_store::StoreErrorKind::Damaged,
                        format!("the row of message {id} is not legal ({what})"),
                    ),
                }
            }),
        })
    }
}

/// The message under a key.
pub(crate) fn by_key(
    conn: &Connection,
    key: &MessageKey,
) -> Result<Option<MessageRow>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM messages WHERE principal = ?1 AND transaction_id = ?2");
    one(
        conn,
        &sql,
        (key.principal.as_str(), key.transaction_id.as_str()),
    )
}

/// The message with an id.
pub(crate) fn by_id(conn: &Connection, id: MessageId) -> Result<Option<MessageRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE id = ?1");
    one(conn, &sql, (id.as_uuid().as_bytes(),))
}

fn one(
    conn: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<Option<MessageRow>, StoreError> {
    conn.prepare_cached(sql)
        .and_then(|mut query| query.query_row(params, Raw::parse).optional())
        .map_err(|error| sqlite("look up a message", error))?
        .map(|raw| raw.row)
        .transpose()
}

/// Up to `limit` messages with numbers above `after`, in their order, for the deep check.
pub(crate) fn page(conn: &Connection, after: i64, limit: u32) -> Result<Vec<Raw>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE num > ?1 ORDER BY num LIMIT ?2");
    conn.prepare_cached(&sql)
        .and_then(|mut query| query.query_map((after, limit), Raw::parse)?.collect())
        .map_err(|error| sqlite("read all messages", error))
}

/// Whether the writer with this fence still holds the upload.
pub(crate) fn holds(conn: &Connection, id: MessageId, fence: Uuid) -> Result<bool, StoreError> {
    conn.prepare_cached("SELECT 1 FROM messages WHERE id = ?1 AND fence = ?2 AND status = 0")
        .and_then(|mut query| query.exists((id.as_uuid().as_bytes(), fence.as_bytes())))
        .map_err(|error| sqlite("look up an upload", error))
}

/// Whether there is a message with this id whose body is a file.
pub(crate) fn is_known(conn: &Connection, id: MessageId) -> Result<bool, StoreError> {
    conn.prepare_cached("SELECT 1 FROM messages WHERE id = ?1 AND body = 1")
        .and_then(|mut query| query.exists((id.as_uuid().as_bytes(),)))
        .map_err(|error| sqlite("look up a body", error))
}

/// The chunks of a message that are in `range`, as far as they are durable.
pub(crate) fn chunk_places(
    conn: &Connection,
    num: i64,
    range: Range<u32>,
) -> Result<BTreeMap<u32, Place>, StoreError> {
    let read = |row: &Row<'_>| {
        let place = Place {
            offset: row.get(1)?,
            len: row.get(2)?,
            digest: Digest::from(row.get::<_, [u8; 32]>(3)?),
        };
        Ok((row.get::<_, u32>(0)?, place))
    };
    let sql = "SELECT seq, offset, len, sha256 FROM chunks \
               WHERE message = ?1 AND seq >= ?2 AND seq < ?3";
    conn.prepare_cached(sql)
        .and_then(|mut query| {
            query
                .query_map((num, range.start, range.end), read)?
                .collect()
        })
        .map_err(|error| sqlite("read chunk rows", error))
}

/// The body of a message that is kept inside the index.
pub(crate) fn inline_body(conn: &Connection, num: i64) -> Result<Option<Vec<u8>>, StoreError> {
    conn.prepare_cached("SELECT body FROM inline_bodies WHERE message = ?1")
        .and_then(|mut query| query.query_row((num,), |row| row.get(0)).optional())
        .map_err(|error| sqlite("read a body", error))
}

/// Up to `limit` complete messages whose read grace is over at `now`.
pub(crate) fn due_complete(
    conn: &Connection,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Raw>, StoreError> {
    let before = ms(now).saturating_sub(duration_ms(READ_GRACE));
    due(conn, "status = 1 AND expires_ms <= ?1", before, limit)
}

/// Up to `limit` given up messages that expired by `now`.
pub(crate) fn due_failed(
    conn: &Connection,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Raw>, StoreError> {
    due(conn, "status = 2 AND expires_ms <= ?1", ms(now), limit)
}

/// Up to `limit` messages acknowledged at least `grace` before `now`.
pub(crate) fn due_acknowledged(
    conn: &Connection,
    now: DateTime<Utc>,
    grace: Duration,
    limit: u32,
) -> Result<Vec<Raw>, StoreError> {
    let before = ms(now).saturating_sub(duration_ms(grace));
    due(conn, "acknowledged_ms <= ?1 AND status = 1", before, limit)
}

/// Up to `limit` uploads whose lease is over by `now`, as far as the index knows.
pub(crate) fn due_pending(
    conn: &Connection,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Raw>, StoreError> {
    due(
        conn,
        "status = 0 AND lease_expires_ms <= ?1",
        ms(now),
        limit,
    )
}

fn due(
    conn: &Connection,
    condition: &str,
    before_ms: i64,
    limit: u32,
) -> Result<Vec<Raw>, StoreError> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM messages WHERE {condition} LIMIT ?2"
    ))
    .and_then(|mut query| query.query_map((before_ms, limit), Raw::parse)?.collect())
    .map_err(|error| sqlite("look for messages to purge", error))
}

/// The files that must go.
pub(crate) fn trash(conn: &Connection) -> Result<Vec<MessageId>, StoreError> {
    let read = |row: &Row<'_>| Ok(MessageId::from(Uuid::from_bytes(row.get(0)?)));
    conn.prepare_cached("SELECT id FROM trash")
        .and_then(|mut query| query.query_map((), read)?.collect())
        .map_err(|error| sqlite("read the trash list", error))
}

/// Whether the file of a message must go.
pub(crate) fn is_trash(conn: &Connection, id: MessageId) -> Result<bool, StoreError> {
    conn.prepare_cached("SELECT 1 FROM trash WHERE id = ?1")
        .and_then(|mut query| query.exists((id.as_uuid().as_bytes(),)))
        .map_err(|error| sqlite("read the trash list", error))
}

/// Counts over all principals at `now`.
pub(crate) fn stats(conn: &Connection, now: DateTime<Utc>) -> Result<Stats, StoreError> {
    let mut stats = Stats::default();
    let sql = "SELECT status, status = 1 AND expires_ms <= ?1 AS expired, COUNT(*), \
               TOTAL(payload_size), TOTAL(encoded_size) FROM messages GROUP BY 1, 2";
    let mut count = |row: &Row<'_>| -> rusqlite::Result<()> {
        let count: u64 = row.get(2)?;
        match (row.get::<_, i64>(0)?, row.get::<_, bool>(1)?) {
            (0, _) => stats.pending += count,
            (1, true) => stats.expired += count,
            (1, false) => {
                stats.complete += count;
                stats.payload_bytes += whole(row.get(3)?);
                stats.stored_bytes += whole(row.get(4)?);
            }
            _ => stats.error += count,
        }
        Ok(())
    };
    conn.prepare_cached(sql)
        .and_then(|mut query| {
            let mut rows = query.query((ms(now),))?;
            while let Some(row) = rows.next()? {
                count(row)?;
            }
            Ok(())
        })
        .map_err(|error| sqlite("count messages", error))?;
    Ok(stats)
}

/// A sum of sizes; `TOTAL` gives a float, exact up to 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sums of sizes are whole and not negative; `as` saturates"
)]
fn whole(sum: f64) -> u64 {
    sum as u64
}

/// Reads columns one after the other, in the order of [`COLUMNS`].
struct Columns<'a, 'r> {
    row: &'a Row<'r>,
    next: usize,
}

impl Columns<'_, '_> {
    fn get<T: FromSql>(&mut self) -> Result<T, String> {
        let index = self.next;
        self.next += 1;
        self.row.get(index).map_err(|error| error.to_string())
    }

    fn text<T: FromStr<Err: ToString>>(&mut self) -> Result<T, String> {
        self.get::<String>()?
            .parse()
            .map_err(|error: T::Err| error.to_string())
    }

    fn digest(&mut self) -> Result<Option<Digest>, String> {
        Ok(self.get::<Option<[u8; 32]>>()?.map(Digest::from))
    }

    fn time(&mut self) -> Result<DateTime<Utc>, String> {
        self.maybe_time()?.ok_or_else(|| "no time".to_owned())
    }

    fn maybe_time(&mut self) -> Result<Option<DateTime<Utc>>, String> {
        self.get::<Option<i64>>()?
            .map(|ms| DateTime::from_timestamp_millis(ms).ok_or_else(|| format!("the time {ms}")))
            .transpose()
    }
}

fn parse(row: &Row<'_>) -> Result<MessageRow, String> {
    let mut c = Columns { row, next: 0 };
    let num = c.get()?;
    let id = MessageId::from(Uuid::from_bytes(c.get()?));
    let principal: Principal = c.text()?;
    let transaction_id: TransactionId = c.text()?;
    let session_id: SessionId = c.text()?;
    let tool_name: ToolName = c.text()?;
    let provider_name: ProviderName = c.text()?;
    let content_type: ContentType = c.text()?;
    let priority: Priority = c.text()?;
    let metadata: Metadata =
        serde_json::from_str(&c.get::<String>()?).map_err(|error| error.to_string())?;
    let ttl = Ttl::from_millis(c.get()?).map_err(|error| error.to_string())?;
    let status = status(c.get()?)?;
    let body = body(c.get()?)?;
    let encoding = c.get::<u8>()?;
    let compression_type =
        CompressionType::from_code(encoding).ok_or_else(|| format!("the encoding {encoding}"))?;
    let chunk_size_bytes = c.get()?;
    let expected_digest = c.digest()?;
    let expected_size = c.get()?;
    let fence = Uuid::from_bytes(c.get()?);
    let lease = Duration::from_millis(c.get()?);
    let lease_expires_at = c.maybe_time()?;
    Ok(MessageRow {
        num,
        ttl,
        body,
        expected_digest,
        expected_size,
        fence,
        lease,
        record: MessageBusRecord {
            id,
            transaction_id,
            session_id,
            tool_name,
            provider_name,
            payload: None,
            status,
            compression_type,
            metadata,
            content_type,
            priority,
            principal,
            chunk_size_bytes,
            lease_expires_at,
            created_at: c.time()?,
            accessed_at: c.time()?,
            expires_at: c.time()?,
            acknowledged_at: c.maybe_time()?,
            error_message: c.get()?,
            format_version: c.get()?,
            payload_size_bytes: c.get()?,
            checksum: c.digest()?,
            compressed_size_bytes: c.get()?,
            encoded_sha256: c.digest()?,
            manifest_sha256: c.digest()?,
            chunk_count: c.get()?,
            encryption: None,
            key_id: None,
        },
    })
}

fn status(code: i64) -> Result<MessageStatus, String> {
    match code {
        0 => Ok(MessageStatus::Pending),
        1 => Ok(MessageStatus::Complete),
        2 => Ok(MessageStatus::Error),
        other => Err(format!("the status {other}")),
    }
}

fn body(code: i64) -> Result<BodyPlace, String> {
    match code {
        0 => Ok(BodyPlace::Nowhere),
        1 => Ok(BodyPlace::File),
        2 => Ok(BodyPlace::Inline),
        other => Err(format!("the body place {other}")),
    }
}
