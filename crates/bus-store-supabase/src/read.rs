//! Reading: records, chunks, pages, counts, and whether the store can be used at all.

use std::{ops::Range, sync::Arc};

use bus_model::{MessageBusRecord, MessageId, MessageKey, Principal};
use bus_store::{
    ChunkStream, ListQuery, OpenMessage, Page, Stats, StoreError, StoreErrorKind as Kind,
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    errors::Call,
    http::Expect,
    row::{self, Answer, CheckRow, IdRow, KeyRow, ListRow, Outcome, StatsRow, lacking},
    rpc::PATIENT,
    store::{CALLS, Core, MAX_CHUNK_BYTES, SCHEMA_VERSION},
};

const OPEN: &str = "bus_open";
const RECORD: &str = "bus_record";
/// Chunks that may have come before it is their turn, so that the next calls need not wait for a
/// slow one, nor for the reader.
const AHEAD: usize = 2;

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version of its schema.
    pub schema_version: u32,
    /// The time by its clock, to the millisecond.
    pub time: DateTime<Utc>,
    /// Whom it acts for; `None` with a key that acts for everybody.
    pub principal: Option<Principal>,
    /// How long a statement may take, as PostgreSQL writes it, such as `8s`; `0` is for ever.
    pub statement_timeout: String,
}

impl Core {
    pub(crate) async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError> {
        let mut answer: Answer = self.http.call(RECORD, &KeyRow::of(key)).await?;
        found(RECORD, key, &mut answer)?;
        answer.record(Call::of(RECORD))
    }

    pub(crate) async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError> {
        let mut answer: Answer = self.http.call(OPEN, &KeyRow::of(key)).await?;
        found(OPEN, key, &mut answer)?;
        let call = Call::of(OPEN);
        Ok(OpenMessage {
            manifest: answer.manifest(call)?,
            record: answer.record(call)?,
        })
    }

    /// The chunks of `range`. The first is there, or its error told, when this returns; the next
    /// few are on their way.
    pub(crate) async fn chunks(
        self: &Arc<Self>,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let until = match i32::try_from(range.end) {
            Ok(until) if !range.is_empty() => until,
            _ => return self.no_chunks(principal, id, range).await,
        };
        let (core, principal) = (Arc::clone(self), principal.clone());
        let gate = Arc::new(Semaphore::new(CALLS));
        // Each in a task of its own: a reader that takes its time must not make a call look slow,
        // nor hold what other calls wait for.
        let mut chunks = stream::iter(range)
            .map(move |seq| {
                let (core, principal) = (Arc::clone(&core), principal.clone());
                let gate = Arc::clone(&gate);
                let chunk = async move {
                    // It is never closed.
                    let _turn = gate.acquire().await;
                    core.chunk(&principal, id, seq, until).await
                };
                let task = AbortOnDropHandle::new(tokio::spawn(chunk));
                async move { task.await.unwrap_or_else(|error| Err(cut_off(error))) }
            })
            .buffered(CALLS + AHEAD);
        let first = chunks.next().await.transpose()?;
        let rest = stream::iter(first).map(Ok).chain(chunks);
        Ok(rest.boxed())
    }

    async fn chunk(
        &self,
        principal: &Principal,
        id: MessageId,
        seq: u32,
        until: i32,
    ) -> Result<Bytes, StoreError> {
        let call = Call {
            function: "bus_chunk",
            chunk: Some((id, seq)),
        };
        let (id, seq, until) = (id.to_string(), seq.to_string(), until.to_string());
        let query = [
            ("principal", principal.as_str()),
            ("id", &id),
            ("seq", &seq),
            ("until", &until),
        ];
        let most = usize::try_from(MAX_CHUNK_BYTES).unwrap_or(usize::MAX);
        let expect = Expect {
            limit: most,
            bytes: most,
            patience: None,
        };
        self.http.get(call, &query, expect).await
    }

    /// A range that holds nothing, or nothing that can be there: legal only within the message.
    async fn no_chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let call = Call::of("bus_body");
        let request = IdRow {
            principal,
            id: id.as_uuid(),
        };
        let answer: Answer = self.http.call(call.function, &request).await?;
        match answer.outcome {
            Outcome::Ok => {}
            Outcome::NotFound => {
                return Err(StoreError::new(
                    Kind::NotFound,
                    format!("there is no message with the id {id}"),
                ));
            }
            Outcome::Expired => {
                return Err(StoreError::new(
                    Kind::Expired,
                    format!("message {id} has expired"),
                ));
            }
            Outcome::NotComplete => {
                return Err(StoreError::new(
                    Kind::NotComplete,
                    format!("message {id} has no body"),
                ));
            }
            _ => return Err(lacking(call, "an outcome that is known")),
        }
        let count = answer
            .chunk_count
            .ok_or_else(|| lacking(call, "the number of chunks"))?;
        if range.start > range.end || range.end > count {
            return Err(StoreError::new(
                Kind::InvalidInput,
                format!("chunks {range:?} are not all there: the message has {count}"),
            ));
        }
        Ok(stream::empty().boxed())
    }

    pub(crate) async fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        if query.limit == 0 {
            return Err(StoreError::new(
                Kind::InvalidInput,
                "a page of 0 messages is not legal: ask for at least 1",
            ));
        }
        let request = ListRow::of(query);
        let answer: Answer = self
            .http
            .call_for("bus_list", &request, Some(PATIENT))
            .await?;
        answer.page()
    }

    pub(crate) async fn stats(&self) -> Result<Stats, StoreError> {
        let row: StatsRow = self
            .http
            .call_for("bus_stats", &Nothing {}, Some(PATIENT))
            .await?;
        Ok(row.into())
    }

    pub(crate) async fn info(&self) -> Result<ServerInfo, StoreError> {
        let row: CheckRow = self.http.call("bus_check", &Nothing {}).await?;
        Ok(ServerInfo {
            schema_version: row.schema_version,
            time: row::time(row.server_ms)?,
            principal: row.principal,
            statement_timeout: row.statement_timeout.unwrap_or_default(),
        })
    }

    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let version = self.info().await?.schema_version;
        if version > SCHEMA_VERSION {
            return Err(StoreError::new(
                Kind::NewerFormat,
                format!(
                    "the project's schema has version {version}, this build knows {SCHEMA_VERSION}: upgrade bus"
                ),
            ));
        }
        if version < SCHEMA_VERSION {
            return Err(StoreError::new(
                Kind::Denied,
                format!(
                    "the project's schema has version {version}, this build wants {SCHEMA_VERSION}: run `bus migrate`"
                ),
            ));
        }
        Ok(())
    }
}

/// A request that asks for nothing in particular.
#[derive(Debug, serde::Serialize)]
struct Nothing {}

/// Whether a message that was asked for by its key can be used.
pub(crate) fn found(
    function: &'static str,
    key: &MessageKey,
    answer: &mut Answer,
) -> Result<(), StoreError> {
    let id = &key.transaction_id;
    let call = Call::of(function);
    match answer.outcome {
        Outcome::Ok => Ok(()),
        Outcome::NotFound => Err(StoreError::new(
            Kind::NotFound,
            format!("there is no message with the transaction id {id}"),
        )),
        Outcome::Expired => {
            let at = answer.record(call)?.expires_at.format("%FT%TZ");
            Err(StoreError::new(
                Kind::Expired,
                format!("message {id} expired at {at}: publish it again"),
            ))
        }
        Outcome::NotComplete => {
            let status = answer.record(call)?.status;
            Err(StoreError::new(
                Kind::NotComplete,
                format!("message {id} has no payload: its status is {status}"),
            ))
        }
        _ => Err(lacking(call, "an outcome that is known")),
    }
}

fn cut_off(error: tokio::task::JoinError) -> StoreError {
    StoreError::new(Kind::Internal, "a read was cut off").with_source(error)
}
