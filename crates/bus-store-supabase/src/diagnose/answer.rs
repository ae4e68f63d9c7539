//! What the function `bus_doctor` answers, as types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Inventory;

/// A part of the answer: what was found, or why the database could not say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Part<T> {
    /// The database failed on this part, such as where a table is missing.
    Failed {
        /// What it said.
        error: String,
    },
    /// What was found.
    Found(T),
}

impl<T> Part<T> {
    /// What was found.
    ///
    /// # Errors
    /// What the database said instead.
    pub fn found(&self) -> Result<&T, &str> {
        match self {
            Self::Failed { error } => Err(error),
            Self::Found(found) => Ok(found),
        }
    }
}

/// How much of the database the answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Everything: the key has the service role.
    All,
    /// What is one user's: the key is that user's token.
    Own,
}

/// The answer. Times are milliseconds since 1970, UTC, by the server's clock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Diagnosis {
    /// How much it is about.
    pub scope: Scope,
    /// The server's time.
    pub server_ms: i64,
    /// The version of PostgreSQL.
    pub server_version: String,
    /// The version of the schema; `None` where the database does not say.
    pub schema_version: Option<u32>,
    /// Whether the database takes no writes, as a hosted one that is full does.
    pub read_only: bool,
    /// How long statements may run.
    pub timeouts: Part<Timeouts>,
    /// What is there; only for the service role.
    pub inventory: Option<Part<Inventory>>,
    /// Versions of the migrations that were applied, as the Supabase CLI and `bus migrate` note
    /// them down; `None` where nobody did, and for a user.
    #[serde(default)]
    pub steps: Option<Part<Vec<String>>>,
    /// The job that purges; only for the service role.
    pub purge_job: Option<Part<PurgeJob>>,
    /// Sizes; only for the service role.
    pub sizes: Option<Part<Sizes>>,
    /// Messages by status, and the tools that published them.
    pub rows: Part<Rows>,
    /// What waits for a purge.
    pub leftovers: Part<Leftovers>,
}

/// How long a statement may run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Timeouts {
    /// In this very call, in milliseconds; 0 is without end.
    pub call: u64,
    /// As PostgreSQL's settings of the roles say, such as `8s`.
    #[serde(default, deserialize_with = "or_default")]
    pub roles: BTreeMap<String, String>,
}

/// pg_cron and the job `bus-purge` in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PurgeJob {
    /// Whether the server has the extension pg_cron to offer.
    pub available: bool,
    /// Whether it is installed in this database.
    pub installed: bool,
    /// Whether its tables may be read.
    #[serde(default)]
    pub readable: bool,
    /// The job.
    pub job: Option<Job>,
    /// Its last run.
    pub last: Option<LastRun>,
}

/// A job of pg_cron.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// When it runs, in cron's words.
    pub schedule: String,
    /// Whether it runs at all.
    pub active: bool,
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LastRun {
    /// `succeeded`, `failed`, `running` ...
    pub status: Option<String>,
    /// What it said.
    pub message: Option<String>,
    /// When it began.
    pub start_ms: Option<i64>,
}

/// Sizes on the server's disk, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sizes {
    /// Of the whole database.
    pub database: u64,
    /// How many messages the planner believes there are; 0 where it does not know.
    #[serde(default, deserialize_with = "or_default")]
    pub messages_estimated: u64,
    /// Of each table of ours, with its indexes.
    #[serde(default, deserialize_with = "or_default")]
    pub tables: BTreeMap<String, u64>,
}

/// Counts, newest first, for as long as the call was given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rows {
    /// How many messages were counted.
    pub counted: u64,
    /// Whether these are all.
    pub all: bool,
    /// Being written.
    pub pending: u64,
    /// Complete and not expired.
    pub complete: u64,
    /// Given up.
    pub error: u64,
    /// Complete, expired, and still there.
    pub expired: u64,
    /// Complete with fewer or more chunks than the record says.
    pub torn: u64,
    /// Who published in the last 24 hours, the most messages first.
    pub tools: Vec<ToolCount>,
}

/// What one tool published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCount {
    /// Its name.
    pub tool: String,
    /// Messages.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
}

/// What waits for a purge. Counts end at 10001.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Leftovers {
    /// Complete messages past their expiry and the grace of readers.
    pub expired: u64,
    /// When the first of them expired.
    pub expired_since_ms: Option<i64>,
    /// Uploads whose lease is over.
    pub orphaned: u64,
    /// When the first of these leases ended.
    pub orphaned_since_ms: Option<i64>,
    /// Messages that were given up, past their expiry.
    pub failed: u64,
    /// Chunks that belong to no message; `None` where the key may not see that.
    pub stray_chunks: Option<u64>,
}

fn or_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_for_everybody_is_read() {
        let text = r#"{"outcome":"ok","scope":"all","server_ms":1,"server_version":"15.1","schema_version":1,
            "read_only":false,"timeouts":{"call":8000,"roles":null},
            "inventory":{"table":{"public.message_bus":"table"}},
            "purge_job":{"available":true,"installed":false},
            "sizes":{"database":10,"messages_estimated":null,"tables":null},
            "rows":{"error":"relation does not exist"},
            "leftovers":{"expired":1,"expired_since_ms":5,"orphaned":0,"orphaned_since_ms":null,"failed":0,
            "stray_chunks":0}}"#;
        let read: Diagnosis = serde_json::from_str(text).expect("an answer");
        assert_eq!(read.scope, Scope::All);
        assert_eq!(read.rows.found(), Err("relation does not exist"));
        let timeouts = read.timeouts.found().expect("found");
        assert_eq!((timeouts.call, timeouts.roles.len()), (8000, 0));
        assert!(
            !read
                .purge_job
                .expect("asked")
                .found()
                .expect("found")
                .readable
        );
        assert_eq!(
            read.leftovers.found().expect("found").expired_since_ms,
            Some(5)
        );
    }

    #[test]
    fn rows_have_an_error_count_and_are_no_error() {
        let text = r#"{"counted":3,"all":true,"pending":0,"complete":2,"error":1,"expired":0,"torn":0,"tools":[]}"#;
        let read: Part<Rows> = serde_json::from_str(text).expect("rows");
        assert_eq!(read.found().map(|rows| rows.error), Ok(1));
    }
}
