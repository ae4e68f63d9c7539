//! Answers, without what is each store's own.

use bus_model::{Manifest, MessageBusRecord, MessageId};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{Begin, DurableChunk, PurgeReport, PutOutcome, Stats, StoreError, StoreErrorKind};

/// What a store said, in a form that two stores can be compared by.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// There was nothing to do it with, such as a writer.
    Skipped,
    Done,
    Refused(StoreErrorKind),
    New,
    Resume(Vec<DurableChunk>),
    Busy,
    Record(Box<MessageBusRecord>),
    There(Box<MessageBusRecord>),
    Message(Box<MessageBusRecord>, Box<Manifest>, Vec<Bytes>),
    Chunks(Vec<Bytes>),
    /// The records, and whether there is more.
    Page(Vec<MessageBusRecord>, bool),
    /// A page whose cursor does not lead on.
    LeadsBack,
    Acknowledged,
    Purged(PurgeReport),
    Stats(Stats),
}

impl Answer {
    /// The answer that `result` is, an error by its kind.
    pub(super) fn of<T: Into<Self>>(result: Result<T, StoreError>) -> Self {
        match result {
            Ok(value) => value.into(),
            Err(error) => Self::Refused(error.kind()),
        }
    }
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done
    }
}

impl From<MessageBusRecord> for Answer {
    fn from(record: MessageBusRecord) -> Self {
        Self::Record(Box::new(seen(record)))
    }
}

impl From<&Begin> for Answer {
    fn from(begun: &Begin) -> Self {
        match begun {
            Begin::New(_) => Self::New,
            Begin::Resume(_, durable) => {
                let mut durable = durable.clone();
                durable.sort_by_key(|chunk| chunk.seq);
                Self::Resume(durable)
            }
            Begin::Busy { .. } => Self::Busy,
            Begin::Complete(record) => Self::There(Box::new(seen(*record.clone()))),
        }
    }
}

impl From<&PutOutcome> for Answer {
    fn from(outcome: &PutOutcome) -> Self {
        match outcome {
            PutOutcome::Created(record) => Self::Record(Box::new(seen(*record.clone()))),
            PutOutcome::AlreadyThere(record) => Self::There(Box::new(seen(*record.clone()))),
            PutOutcome::Busy { .. } => Self::Busy,
        }
    }
}

/// The record without its id, and its times as they lie from its creation, in whole ticks of ten seconds.
pub(super) fn seen(mut record: MessageBusRecord) -> MessageBusRecord {
    let created = record.created_at;
    let lies = |time: DateTime<Utc>| {
        let ticks = ((time - created).num_milliseconds() + 5000).div_euclid(10_000);
        DateTime::UNIX_EPOCH + TimeDelta::seconds(10 * ticks)
    };
    record.id = MessageId::from(Uuid::nil());
    record.created_at = DateTime::UNIX_EPOCH;
    record.accessed_at = lies(record.accessed_at);
    record.expires_at = lies(record.expires_at);
    record.acknowledged_at = record.acknowledged_at.map(lies);
    record.lease_expires_at = record.lease_expires_at.map(lies);
    record
}
