//! Reading: records, manifests, and the stored bytes of chunks.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bus_model::{
    ChunkEntry, FORMAT_VERSION, Manifest, MessageBusRecord, MessageId, MessageKey, MessageStatus,
    Principal, TransactionId,
};
use bus_store::{
    Cursor, ListQuery, OpenMessage, Page, READ_GRACE, Stats, StoreError, StoreErrorKind,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use rusqlite::Connection;

use crate::{
    begin::{expired, missing_body, not_complete, with_live_lease},
    bodies::BodyFile,
    core::Core,
    error::{damaged, invalid, not_found},
    index::Access,
    rows::{self, BodyPlace, MessageRow, Place, after},
};

/// Most records on a page.
const MAX_PAGE: u32 = 1000;

/// The chunks that a reader asked for, ready to be read. No lock and no transaction is held; an
/// open file outlives the deletion of its message.
pub(crate) struct Reading {
    places: Vec<Place>,
    source: Arc<Source>,
}

enum Source {
    Inline(Bytes),
    /// With whose it is, for the error where it cannot be read.
    File(BodyFile, TransactionId),
}

impl Reading {
    /// The chunks, each to be read by [`ReadChunk::read`], on a thread that may block where it
    /// says so.
    pub(crate) fn into_chunks(self) -> impl Iterator<Item = ReadChunk> + Send + 'static {
        let source = self.source;
        self.places.into_iter().map(move |place| ReadChunk {
            place,
            source: Arc::clone(&source),
        })
    }
}

/// One chunk to be read.
pub(crate) struct ReadChunk {
    place: Place,
    source: Arc<Source>,
}

impl ReadChunk {
    pub(crate) fn blocks(&self) -> bool {
        matches!(*self.source, Source::File(..))
    }

    pub(crate) fn read(&self) -> Result<Bytes, StoreError> {
        let (offset, len) = (
            usize::try_from(self.place.offset),
            usize::try_from(self.place.len),
        );
        match (&*self.source, offset, len) {
            // The range was checked when the body was opened.
            (Source::Inline(body), Ok(offset), Ok(len)) => Ok(body.slice(offset..offset + len)),
            (Source::File(file, txn), _, Ok(len)) => file
                .read_at(self.place.offset, len)
                .map(Bytes::from)
                .map_err(|error| damaged(txn, "its body file cannot be read").with_source(error)),
            _ => Err(StoreError::new(
                StoreErrorKind::TooLarge,
                "the chunk does not fit into this machine's memory",
            )),
        }
    }
}

impl Core {
    /// See [`Store::record`](bus_store::Store::record).
    pub(crate) fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        let row = self.index.read(|conn| rows::by_key(conn, key))?;
        let row = row.ok_or_else(|| not_found(&key.transaction_id))?;
        Ok(with_live_lease(self, row).record_at(self.now()))
    }

    /// See [`Store::open`](bus_store::Store::open).
    pub(crate) fn open_message(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        let now = self.now();
        self.index.read(|conn| {
            let row = rows::by_key(conn, key)?.ok_or_else(|| not_found(&key.transaction_id))?;
            require_readable(&row, now, false)?;
            let places = places(conn, &row)?;
            let manifest = manifest(&row, &places)?;
            Ok(OpenMessage {
                record: row.record,
                manifest,
            })
        })
    }

    /// See [`Store::chunks`](bus_store::Store::chunks).
    pub(crate) fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: &Range<u32>,
    ) -> Result<Reading, StoreError> {
        let now = self.now();
        let (row, places, inline) = self.index.read(|conn| {
            let row = rows::by_id(conn, id)?
                .filter(|row| row.record.principal == *principal)
                .ok_or_else(|| not_found(&id))?;
            require_readable(&row, now, true)?;
            require_range(&row, range)?;
            let places = places_in(conn, &row, range.clone())?;
            let inline = match row.body {
                BodyPlace::Inline => rows::inline_body(conn, row.num)?,
                _ => None,
            };
            Ok((row, places, inline))
        })?;
        let txn = &row.record.transaction_id;
        let wanted: Vec<Place> = places.into_values().collect();
        if wanted.len() != range.len() {
            return Err(damaged(txn, "chunk rows are missing"));
        }
        let end = wanted.iter().map(Place::end).max().unwrap_or(0);
        let (size, source) = match (row.body, inline) {
            (BodyPlace::Inline, Some(body)) => {
                (body.len() as u64, Source::Inline(Bytes::from(body)))
            }
            (BodyPlace::File, _) => match self.bodies.open(id)? {
                Some(file) => (file.len()?, Source::File(file, txn.clone())),
                None => return Err(self.gone_or_damaged(&row)?),
            },
            _ => return Err(damaged(txn, "it has no body")),
        };
        if size < end {
            return Err(damaged(
                txn,
                &format!("its body has {size} bytes, at least {end} are needed"),
            ));
        }
        Ok(Reading {
            places: wanted,
            source: Arc::new(source),
        })
    }

    /// The error for a body file that is not there: its message may have been deleted meanwhile.
    fn gone_or_damaged(&self, row: &MessageRow) -> Result<StoreError, StoreError> {
        let id = row.record.id;
        let known = self.index.read(|conn| rows::is_known(conn, id))?;
        Ok(if known {
            missing_body(row)
        } else {
            not_found(&id)
        })
    }

    /// See [`Store::list`](bus_store::Store::list). A row that cannot be read is passed over; the
    /// deep check reports it.
    pub(crate) fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        if query.limit == 0 {
            return Err(invalid(
                "a page of 0 records is not legal: ask for at least 1",
            ));
        }
        let limit = query.limit.min(MAX_PAGE);
        let now = self.now();
        let mut query = query.clone();
        let mut page = Page::default();
        // More than one round only where all rows of a page are damaged.
        loop {
            let mut found = self
                .index
                .read(|conn| rows::list(conn, &query, now, limit + 1))?;
            let more = found.len() > limit as usize;
            found.truncate(limit as usize);
            page.next = found.last().filter(|_| more).map(|last| Cursor {
                created_ms: last.created_ms,
                id: last.id.into(),
            });
            for raw in found {
                match raw.row {
                    Ok(row) => page.records.push(with_live_lease(self, row).record_at(now)),
                    Err(error) => tracing::warn!(%error, "a damaged row is not listed"),
                }
            }
            if page.next.is_none() || !page.records.is_empty() {
                return Ok(page);
            }
            query.after = page.next;
        }
    }

    /// See [`Store::touch`](bus_store::Store::touch). Nothing in a store opened for reading only.
    pub(crate) fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError> {
        if keys.is_empty() || self.index.access() != Access::ReadWrite {
            return Ok(());
        }
        let now = self.now();
        self.index
            .write(|transaction| rows::touch(transaction, keys, now))
    }

    /// See [`Store::acknowledge`](bus_store::Store::acknowledge).
    pub(crate) fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError> {
        let now = self.now();
        self.index.write(|transaction| {
            let row =
                rows::by_key(transaction, key)?.ok_or_else(|| not_found(&key.transaction_id))?;
            require_readable(&row, now, false)?;
            if let Some(first) = row.record.acknowledged_at {
                return Ok(first);
            }
            rows::acknowledge(transaction, row.num, now)?;
            Ok(now)
        })
    }

    /// See [`Store::stats`](bus_store::Store::stats).
    pub(crate) fn stats(&self) -> Result<Stats, StoreError> {
        self.index.read(|conn| rows::stats(conn, self.now()))
    }
}

/// Whether a message may be read; `begun` says that the read began before and has its grace.
fn require_readable(row: &MessageRow, now: DateTime<Utc>, begun: bool) -> Result<(), StoreError> {
    if row.record.status != MessageStatus::Complete {
        return Err(not_complete(row));
    }
    let until = if begun {
        after(row.record.expires_at, READ_GRACE)
    } else {
        row.record.expires_at
    };
    if until <= now {
        return Err(expired(row));
    }
    if row.record.format_version > FORMAT_VERSION {
        return Err(StoreError::new(
            StoreErrorKind::NewerFormat,
            format!(
                "message {} has format {}, this build reads up to {FORMAT_VERSION}: upgrade bus",
                row.record.transaction_id, row.record.format_version
            ),
        ));
    }
    Ok(())
}

fn require_range(row: &MessageRow, range: &Range<u32>) -> Result<(), StoreError> {
    let count = row.record.chunk_count;
    if range.start > range.end || range.end > count {
        return Err(invalid(format!(
            "message {} has {count} chunks: there is no range {}..{}",
            row.record.transaction_id, range.start, range.end
        )));
    }
    Ok(())
}

/// Where the chunks of a complete message are.
pub(crate) fn places(
    conn: &Connection,
    row: &MessageRow,
) -> Result<BTreeMap<u32, Place>, StoreError> {
    places_in(conn, row, 0..row.record.chunk_count)
}

fn places_in(
    conn: &Connection,
    row: &MessageRow,
    range: Range<u32>,
) -> Result<BTreeMap<u32, Place>, StoreError> {
    let in_range = range.contains(&0);
    let mut places = rows::chunk_places(conn, row.num, range)?;
    let record = &row.record;
    // The one chunk of a small body has no row: the record says all.
    if let (true, BodyPlace::Inline, 1, Some(len), Some(digest)) = (
        places.is_empty() && in_range,
        row.body,
        record.chunk_count,
        record.compressed_size_bytes,
        record.encoded_sha256,
    ) {
        let offset = 0;
        places.insert(
            0,
            Place {
                offset,
                len,
                digest,
            },
        );
    }
    Ok(places)
}

/// The manifest of a complete message, from its rows.
///
/// # Errors
/// `Damaged` where the rows do not give the manifest that was committed.
pub(crate) fn manifest(
    row: &MessageRow,
    places: &BTreeMap<u32, Place>,
) -> Result<Manifest, StoreError> {
    let record = &row.record;
    let txn = &record.transaction_id;
    let (Some(payload), Some(encoded)) = (record.checksum, record.encoded_sha256) else {
        return Err(damaged(txn, "its row lacks a digest"));
    };
    if !places.keys().copied().eq(0..record.chunk_count) {
        return Err(damaged(txn, "chunk rows are missing"));
    }
    let entries = places
        .values()
        .map(|place| ChunkEntry {
            stored_len: place.len,
            digest: place.digest,
        })
        .collect();
    let manifest = Manifest::new(
        record.compression_type,
        record.chunk_size_bytes,
        record.payload_size_bytes,
        payload,
        encoded,
        entries,
    )
    .map_err(|error| damaged(txn, "its rows contradict each other").with_source(error))?;
    if record.manifest_sha256 != Some(manifest.digest()) {
        return Err(damaged(txn, "its rows do not match their digest"));
    }
    Ok(manifest)
}
