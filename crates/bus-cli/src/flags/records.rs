//! Flags of the verbs around records: `audit`, `history`, `prefs`.

use bus_model::{Metadata, SessionId, ToolName, TransactionId};
use bus_store::records::{ConversationId, EntryId, PreferenceName, Role};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::values;

/// `bus audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditFlags {
    /// Only of the call whose result became this message
    #[arg(long, value_name = "TXN")]
    pub(crate) transaction: Option<TransactionId>,

    /// Only of this session
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<SessionId>,

    /// Only of this tool
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<ToolName>,

    /// Only at this time or after, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = values::parse_time)]
    pub(crate) since: Option<DateTime<Utc>>,

    /// Only before this time, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = values::parse_time)]
    pub(crate) until: Option<DateTime<Utc>>,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// `bus history`.
#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Append an entry to a conversation and print its place; a long text goes by claim
    Append(HistoryAppendFlags),
    /// Print the text of an entry, every byte checked
    Show(HistoryShowFlags),
    /// List conversations, or the entries of one
    Ls(HistoryLsFlags),
    /// Remove conversations, and the messages that hold their long texts
    Rm(HistoryRmFlags),
}

/// `bus history append`.
#[derive(Debug, Args)]
pub(crate) struct HistoryAppendFlags {
    /// The conversation
    pub(crate) conversation: ConversationId,

    /// What is said; - or nothing reads stdin
    pub(crate) text: Option<String>,

    /// Who says it, such as user, assistant, system or tool
    #[arg(long, value_name = "NAME", default_value = "user")]
    pub(crate) role: Role,

    /// Id of the entry: the same text under the same id again is fine, another is a conflict
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<EntryId>,

    /// Free keys, a JSON object
    #[arg(long, value_name = "JSON", value_parser = values::parse_metadata)]
    pub(crate) metadata: Option<Metadata>,
}

/// `bus history show`.
#[derive(Debug, Args)]
pub(crate) struct HistoryShowFlags {
    /// The conversation
    pub(crate) conversation: ConversationId,

    /// The place of the entry, as append and ls print it
    #[arg(value_name = "PLACE")]
    pub(crate) sequence: u64,
}

/// `bus history ls`.
#[derive(Debug, Args)]
pub(crate) struct HistoryLsFlags {
    /// The conversation; without it the conversations are listed
    pub(crate) conversation: Option<ConversationId>,

    /// From the newest entry back, instead of from the oldest on
    #[arg(long, requires = "conversation")]
    pub(crate) newest: bool,

    /// Only entries beyond this place, in the direction that is listed
    #[arg(long, value_name = "PLACE", requires = "conversation")]
    pub(crate) after: Option<u64>,

    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,

    /// All of them, page by page
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
}

/// `bus history rm`.
#[derive(Debug, Args)]
pub(crate) struct HistoryRmFlags {
    /// The conversations
    #[arg(value_name = "CONVERSATION", required = true)]
    pub(crate) conversations: Vec<ConversationId>,
}

/// `bus prefs`.
#[derive(Debug, Subcommand)]
pub(crate) enum PrefsCommand {
    /// Print the value of a preference, as it was set
    Get(PrefsNameFlags),
    /// Set a preference to a JSON value
    Set(PrefsSetFlags),
    /// Remove preferences
    Rm(PrefsRmFlags),
    /// List preferences by name
    Ls,
}

/// `bus prefs get`.
#[derive(Debug, Args)]
pub(crate) struct PrefsNameFlags {
    /// Its name
    pub(crate) name: PreferenceName,
}

const SET_NOTES: &str = "\
timezone takes an IANA name, such as Europe/Berlin, with or without JSON's quotes.";

/// `bus prefs set`.
#[derive(Debug, Args)]
#[command(after_help = SET_NOTES)]
pub(crate) struct PrefsSetFlags {
    /// Its name
    pub(crate) name: PreferenceName,

    /// A JSON value, kept as it is written
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: String,

    /// The value is a text, which is put between JSON's quotes
    #[arg(long)]
    pub(crate) text: bool,
}

/// `bus prefs rm`.
#[derive(Debug, Args)]
pub(crate) struct PrefsRmFlags {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<PreferenceName>,
}
