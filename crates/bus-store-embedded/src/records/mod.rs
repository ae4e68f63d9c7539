//! The records beside messages, in tables of their own in the same index: the audit log,
//! conversation history and user preferences. Only this folder knows their columns.
//!
//! Every call is one transaction, or one view. Times are milliseconds since 1970, UTC.

mod audit;
mod history;
mod preferences;
mod schema;

use std::{str::FromStr, sync::Arc};

use bus_store::{Records, StoreError, StoreErrorKind};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, Transaction};

pub(crate) use self::schema::CREATE;
use crate::{EmbeddedStore, core::Core, error::sqlite};

/// The records of an embedded store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedRecords(EmbeddedStore);

impl EmbeddedStore {
    /// The audit log, conversation history and preferences in this store's folder.
    #[must_use]
    pub fn records(&self) -> Records {
        Records::of(Arc::new(EmbeddedRecords(self.clone())))
    }
}

impl EmbeddedRecords {
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, DateTime<Utc>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let write = move |core: &Core| {
            let now = core.now();
            core.index.write(|transaction| work(transaction, now))
        };
        self.0.write(write).await
    }

    /// As `write`, for work that frees space, so that it is possible on a full disk too.
    async fn write_to_free<T: Send + 'static>(
        &self,
        work: impl Fn(&Transaction<'_>, DateTime<Utc>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let write = move |core: &Core| {
            let now = core.now();
            core.index
                .write_to_free(|transaction| work(transaction, now))
        };
        self.0.write(write).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let read = |core: &Core| {
            core.index.read(|view| {
                if schema::is_there(view)? {
                    work(view)
                } else {
                    work(&schema::empty()?)
                }
            })
        };
        self.0.read(read).await
    }
}

/// A value of a row, through a type that checks it.
fn checked<T: FromStr>(row: &Row<'_>, column: usize) -> Result<T, Bad> {
    let text: String = row.get(column)?;
    text.parse().map_err(|_| Bad(format!("{text:?}")))
}

/// A number of a row that is never below 0.
fn number(row: &Row<'_>, column: usize) -> Result<u64, Bad> {
    Ok(row.get(column)?)
}

fn time(row: &Row<'_>, column: usize) -> Result<DateTime<Utc>, Bad> {
    let ms: i64 = row.get(column)?;
    DateTime::from_timestamp_millis(ms).ok_or_else(|| Bad(format!("the time {ms}")))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Bad> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| Bad(error.to_string()))
}

/// What no bus writes.
struct Bad(String);

impl Bad {
    fn into_error(self, what: &str) -> StoreError {
        let message = format!("{what} cannot be read back from the index ({})", self.0);
        StoreError::new(StoreErrorKind::Damaged, message)
    }
}

impl From<rusqlite::Error> for Bad {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// A time or size as the index keeps it.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The rows of a statement, each read by `parse`, which names itself `what` where it cannot.
fn rows<T>(
    conn: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    what: &str,
    parse: impl Fn(&Row<'_>) -> Result<T, Bad>,
) -> Result<Vec<T>, StoreError> {
    let failed = |error| sqlite(&format!("read {what}"), error);
    let mut statement = conn.prepare_cached(sql).map_err(failed)?;
    let mut rows = statement.query(values).map_err(failed)?;
    let mut read = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        read.push(parse(row).map_err(|bad| bad.into_error(what))?);
    }
    Ok(read)
}

/// As a JSON text.
fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| {
        StoreError::new(
            StoreErrorKind::InvalidInput,
            "a record cannot be written as JSON",
        )
        .with_source(error)
    })
}

/// Cuts `read` to `limit`; what `key` says of the last one, where there was more.
fn cut<T, K>(read: &mut Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Option<K> {
    let more = read.len() > limit;
    read.truncate(limit);
    read.last().filter(|_| more).map(key)
}
