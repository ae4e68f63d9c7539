//! Reading: records, chunks, pages and counts.

use std::ops::Range;

use bus_model::{MessageBusRecord, MessageId, MessageKey, MessageStatus, Principal};
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{
    entry::Entry,
    state::{State, error, expired, not_complete, not_found},
};
use crate::{Cursor, ListQuery, OpenMessage, Page, Stats, StoreError, StoreErrorKind};

/// The largest page.
const MAX_PAGE: u32 = 1000;

impl State {
    pub(super) fn record(
        &self,
        key: &MessageKey,
        now: DateTime<Utc>,
    ) -> Result<MessageBusRecord, StoreError> {
        let entry = self.entries.get(key).ok_or_else(|| not_found(key))?;
        Ok(entry.shown(now))
    }

    pub(super) fn open(
        &self,
        key: &MessageKey,
        now: DateTime<Utc>,
    ) -> Result<OpenMessage, StoreError> {
        let entry = self.readable(key, now)?;
        Ok(OpenMessage {
            record: entry.shown(now),
            manifest: entry.manifest.clone().ok_or_else(|| not_complete(entry))?,
        })
    }

    pub(super) fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Bytes>, StoreError> {
        let entry = self
            .keys
            .get(&id)
            .filter(|key| key.principal == *principal)
            .and_then(|key| self.entries.get(key))
            .ok_or_else(|| {
                error(
                    StoreErrorKind::NotFound,
                    format!("there is no message with the id {id}"),
                )
            })?;
        if entry.record.status != MessageStatus::Complete {
            return Err(not_complete(entry));
        }
        if entry.grace_is_over(now) {
            return Err(expired(entry));
        }
        let count = entry.record.chunk_count;
        if range.start > range.end || range.end > count {
            return Err(error(
                StoreErrorKind::InvalidInput,
                format!("chunks {range:?} are not all there: the message has {count}"),
            ));
        }
        Ok(entry
            .chunks
            .range(range)
            .map(|(_, chunk)| chunk.bytes.clone())
            .collect())
    }

    pub(super) fn list(&self, query: &ListQuery, now: DateTime<Utc>) -> Result<Page, StoreError> {
        if query.limit == 0 {
            return Err(error(
                StoreErrorKind::InvalidInput,
                "a page of 0 messages is not legal: ask for at least 1",
            ));
        }
        let limit = query.limit.min(MAX_PAGE) as usize;
        let mut records: Vec<_> = self
            .entries
            .values()
            .filter(|entry| matches(entry, query, now))
            .map(|entry| entry.shown(now))
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse(Cursor::after(record)));
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(Cursor::after);
        Ok(Page { records, next })
    }

    pub(super) fn stats(&self, now: DateTime<Utc>) -> Stats {
        let mut stats = Stats::default();
        for entry in self.entries.values() {
            match entry.status(now) {
                MessageStatus::Pending => stats.pending += 1,
                MessageStatus::Error => stats.error += 1,
                MessageStatus::Expired => stats.expired += 1,
                MessageStatus::Complete => {
                    stats.complete += 1;
                    stats.payload_bytes += entry.record.payload_size_bytes;
                    stats.stored_bytes += entry.stored_bytes();
                }
            }
        }
        stats
    }
}

fn matches(entry: &Entry, query: &ListQuery, now: DateTime<Utc>) -> bool {
    fn wanted<T: PartialEq>(filter: Option<&T>, value: &T) -> bool {
        filter.is_none_or(|filter| filter == value)
    }
    let record = &entry.record;
    query.principal == record.principal
        && wanted(query.session_id.as_ref(), &record.session_id)
        && wanted(query.tool_name.as_ref(), &record.tool_name)
        && wanted(query.provider_name.as_ref(), &record.provider_name)
        && wanted(query.status.as_ref(), &entry.status(now))
        && query.created_from.is_none_or(|t| record.created_at >= t)
        && query.created_before.is_none_or(|t| record.created_at < t)
        && query
            .after
            .is_none_or(|after| Cursor::after(record) < after)
}
