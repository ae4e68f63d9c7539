//! Flags of the verbs around tools: `demo`, `serve`, `call`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bus_model::SessionId;
use clap::Args;

use super::values::{self, named_file};

const DEMO_NOTES: &str = "\
The daemon of the demo has a fresh embedded store. With --store supabase it uses the project that
SUPABASE_URL and SUPABASE_KEY name, and removes what it stored there; no other setting counts.";

/// `bus demo`.
#[derive(Debug, Args)]
#[command(after_help = DEMO_NOTES)]
pub(crate) struct DemoFlags {
    /// A file of yours to send through a tool [default: the sources of bus, packed]
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,

    /// Size of the big row
    #[arg(long, value_name = "MB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=1024))]
    pub(crate) big_mb: u32,
}

/// `bus serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeFlags {
    /// Where to listen; port 0 takes a free one [env: BUS_LISTEN] [default: 127.0.0.1:8079]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Folder that the tool read_file may read; without one there is no such tool [env: BUS_ROOT]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// TOML file of command tools [env: BUS_TOOLS]
    #[arg(long, value_name = "FILE")]
    pub(crate) tools: Option<PathBuf>,

    /// Frames larger than this go by claim [env: BUS_THRESHOLD_BYTES] [default: 1048576]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) threshold_bytes: Option<u64>,

    /// Seconds between two purges; 0 never purges [env: BUS_PURGE_SECS] [default: 3600]
    #[arg(long, value_name = "SECS")]
    pub(crate) purge_secs: Option<u64>,

    /// Days that the audit log is kept; 0 writes none [env: BUS_AUDIT_DAYS] [default: 30]
    #[arg(long, value_name = "DAYS")]
    pub(crate) audit_days: Option<u32>,

    /// A web page's Origin that may drive the daemon, such as `https://tools.example`; repeatable
    #[arg(long, value_name = "ORIGIN", value_parser = values::parse_origin)]
    pub(crate) allow_origin: Vec<String>,

    /// A host name that clients may use beside loopback names; repeatable
    #[arg(long, value_name = "HOST")]
    pub(crate) allow_host: Vec<String>,
}

const CALL_NOTES: &str = "\
The result goes to stdout, or to FILE once it is whole and verified. A result that comes by claim
is redeemed at the same daemon, and only where the daemon's frame says that it is a claim. With
--json and no -o the delivery is described instead: outputs as they are, a claim not redeemed.";

/// `bus call`.
#[derive(Debug, Args)]
#[command(after_help = CALL_NOTES)]
pub(crate) struct CallFlags {
    /// Name of the tool
    #[arg(required_unless_present = "list")]
    pub(crate) tool: Option<String>,

    /// Arguments, a JSON object; - reads them from stdin
    #[arg(value_name = "JSON", default_value = "{}")]
    pub(crate) arguments: String,

    /// Write the result to this file, atomically
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Session to call in; the daemon names one otherwise
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<SessionId>,

    /// Id of the call: the same id again in the same session gets the same result, kept for up to
    /// ten minutes, and the tool runs once
    #[arg(long, value_name = "ID", requires = "session")]
    pub(crate) request_id: Option<String>,

    /// How long to wait for the result
    #[arg(long, value_name = "SECS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout_secs: u64,

    /// Print the claim instead of redeeming it; a result that comes inline is printed as it is
    #[arg(long, conflicts_with = "output")]
    pub(crate) claim_only: bool,

    /// List the daemon's tools
    #[arg(long, conflicts_with_all = ["tool", "arguments", "output", "claim_only"])]
    pub(crate) list: bool,
}

impl CallFlags {
    /// The file that the result goes to; `None` for stdout.
    pub(crate) fn file(&self) -> Option<&Path> {
        named_file(self.output.as_deref())
    }
}
