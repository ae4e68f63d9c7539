//! The command line as it is typed: parsed and checked word by word, nothing built from it yet.
//!
//! What needs the environment, a file or a second flag to be understood is decided in
//! [`crate::context`].

mod doctor;
mod global;
mod messages;
mod migrate;
mod records;
mod tools;
mod values;

use clap::{Parser, Subcommand};

pub(crate) use self::{
    doctor::DoctorFlags,
    global::{GlobalFlags, LogFormat, StoreFlag},
    messages::{CompletionsFlags, GetFlags, LsFlags, PurgeFlags, PutFlags, RmFlags, ShowFlags},
    migrate::MigrateFlags,
    records::{
        AuditFlags, HistoryAppendFlags, HistoryCommand, HistoryLsFlags, HistoryRmFlags,
        HistoryShowFlags, PrefsCommand, PrefsNameFlags, PrefsRmFlags, PrefsSetFlags,
    },
    tools::{CallFlags, DemoFlags, ServeFlags},
    values::InclusiveRange,
};

const EXIT_CODES: &str = "\
Exit codes:
  0    ok
  1    error
  2    usage, or a setting that is not legal
  3    missing or expired
  4    not authorised
  5    try again: busy, over capacity or out of reach
  6    checksum mismatch or damaged data
  130  interrupted

Settings come from flags, then the environment, then .env in this folder: MESSAGE_BUS_ENABLED,
MESSAGE_BUS_TTL_HOURS, MESSAGE_BUS_MAX_PAYLOAD_MB, MESSAGE_BUS_COMPRESSION,
MESSAGE_BUS_CHECKSUM_ENABLED, BUS_STORE_DIR, BUS_LISTEN, BUS_TOKEN, BUS_ROOT, BUS_TOOLS,
BUS_THRESHOLD_BYTES, BUS_LEASE_SECS, BUS_PURGE_SECS, BUS_AUDIT_DAYS, BUS_LOG_FORMAT,
WS_MAX_MSG_BYTES, SUPABASE_URL, SUPABASE_KEY, SUPABASE_PROJECT_ID, BUS_SUPABASE_TOKEN, SUPABASE_DB_URL.
NO_COLOR turns colours off.";

/// Claim checks for WebSocket tool servers: a result too big for its transport is stored, and a
/// small claim travels instead.
///
/// Data goes to stdout, messages to stderr.
#[derive(Debug, Parser)]
#[command(
    name = "bus",
    version,
    about,
    long_about,
    after_help = EXIT_CODES,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what bus does, on a fresh store and a free port, and check every byte of it
    Demo(DemoFlags),
    /// Run the daemon: tools over WebSocket, payloads over HTTP, on one port
    Serve(ServeFlags),
    /// Call a tool of a daemon and redeem its claim, if it answers with one
    Call(CallFlags),
    /// Store a payload and print its transaction id
    Put(PutFlags),
    /// Read a payload back; every byte is checked
    Get(GetFlags),
    /// List messages, newest first
    Ls(LsFlags),
    /// Show the record of a message
    Show(ShowFlags),
    /// Remove messages and free their space
    Rm(RmFlags),
    /// Remove what has expired and what a writer left behind
    Purge(PurgeFlags),
    /// Count messages and bytes
    Stats,
    /// Read every stored byte and report each damaged message
    Verify,
    /// Show what became of each call of a daemon, newest first
    Audit(AuditFlags),
    /// Keep conversations: append, show, list, remove
    #[command(subcommand)]
    History(HistoryCommand),
    /// Keep preferences: get, set, remove, list
    #[command(subcommand)]
    Prefs(PrefsCommand),
    /// Bring the database of a Supabase project, or a PostgreSQL of yours, to this build's schema
    Migrate(MigrateFlags),
    /// Check settings, store, schema and round trips; say what to do where something is wrong
    Doctor(DoctorFlags),
    /// Print completions for a shell
    Completions(CompletionsFlags),
}
