//! Flags of the verbs that put, read, list and remove messages.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bus_model::{
    CompressionType, ContentType, Digest, Metadata, Priority, ProviderName, SessionId, ToolName,
    TransactionId, Ttl,
};
use chrono::{DateTime, Utc};
use clap::Args;
use clap_complete::Shell;

use super::values::{self, InclusiveRange, StatusFilter, named_file};

/// `bus put`.
#[derive(Debug, Args)]
pub(crate) struct PutFlags {
    /// What to store; - or nothing reads stdin
    pub(crate) file: Option<PathBuf>,

    /// Transaction id, the idempotency key: the same bytes again are fine, others are a conflict
    #[arg(long, value_name = "ID")]
    pub(crate) txn: Option<TransactionId>,

    /// Session that the message belongs to
    #[arg(long, value_name = "NAME", default_value = "cli")]
    pub(crate) session: SessionId,

    /// Tool that produced it
    #[arg(long, value_name = "NAME", default_value = "put")]
    pub(crate) tool: ToolName,

    /// Provider behind the tool
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    pub(crate) provider: ProviderName,

    /// How long it lives [env: MESSAGE_BUS_TTL_HOURS] [default: 48]
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    pub(crate) ttl_hours: Option<Ttl>,

    /// urgent, normal or bulk
    #[arg(long, default_value = "normal")]
    pub(crate) priority: Priority,

    /// Free keys, a JSON object
    #[arg(long, value_name = "JSON", value_parser = values::parse_metadata)]
    pub(crate) metadata: Option<Metadata>,

    /// Media type of the payload
    #[arg(long, value_name = "TYPE", default_value = "application/octet-stream")]
    pub(crate) content_type: ContentType,

    /// SHA-256 that the payload must have; stored only if it matches
    #[arg(long, value_name = "HEX", value_parser = values::parse_digest)]
    pub(crate) sha256: Option<Digest>,

    /// zstd, gzip or none [env: MESSAGE_BUS_COMPRESSION] [default: zstd]
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    pub(crate) compression: Option<CompressionType>,

    /// Level of the compression: -7 to 22 for zstd, 0 to 9 for gzip
    #[arg(long, conflicts_with = "url", allow_negative_numbers = true)]
    pub(crate) level: Option<i32>,
}

const GET_NOTES: &str = "\
Bytes for stdout are written as they come. From a store each chunk is checked first; from a daemon
the whole is checked at the end. Rely on them only once the exit code is 0. FILE appears only then.";

/// `bus get`.
#[derive(Debug, Args)]
#[command(after_help = GET_NOTES)]
pub(crate) struct GetFlags {
    /// Transaction id
    #[arg(value_name = "TXN")]
    pub(crate) txn: TransactionId,

    /// Write to this file, atomically: it appears only once every byte was checked
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Only these bytes: A-B with both included, A- from A on, -N the last N
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    pub(crate) range: Option<InclusiveRange>,
}

impl GetFlags {
    /// The file that the result goes to; `None` for stdout.
    pub(crate) fn file(&self) -> Option<&Path> {
        named_file(self.output.as_deref())
    }
}

/// `bus ls`.
#[derive(Debug, Args)]
pub(crate) struct LsFlags {
    /// Only of this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<SessionId>,

    /// Only of this tool
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<ToolName>,

    /// Only of this provider
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<ProviderName>,

    /// complete, pending, error, expired or all
    #[arg(long, default_value = "complete")]
    pub(crate) status: StatusFilter,

    /// Only created at this time or after, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = values::parse_time)]
    pub(crate) since: Option<DateTime<Utc>>,

    /// Only created before this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = values::parse_time)]
    pub(crate) before: Option<DateTime<Utc>>,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// `bus show`.
#[derive(Debug, Args)]
pub(crate) struct ShowFlags {
    /// Transaction id
    #[arg(value_name = "TXN")]
    pub(crate) txn: TransactionId,
}

/// `bus rm`.
#[derive(Debug, Args)]
pub(crate) struct RmFlags {
    /// Transaction ids
    #[arg(value_name = "TXN", required = true)]
    pub(crate) txns: Vec<TransactionId>,
}

const PURGE_NOTES: &str = "\
An expired message stays 10 minutes longer, for reads that began before. An upload that was given
up stays listed as an error until it expires, after 48 hours unless a setting says otherwise.";

/// `bus purge`.
#[derive(Debug, Args)]
#[command(after_help = PURGE_NOTES)]
pub(crate) struct PurgeFlags {
    /// Also what was acknowledged at least this long ago
    #[arg(long, value_name = "SECS", value_parser = parse_seconds)]
    pub(crate) acknowledged_after: Option<Duration>,
}

/// `bus completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsFlags {
    /// The shell
    pub(crate) shell: Shell,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| "a whole number of seconds is expected".to_owned())
}
