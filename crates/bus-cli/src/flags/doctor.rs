//! Flags of `doctor`.

use clap::Args;

const NOTES: &str = "\
Each line says ok, warning, failure or that it was not checked, and what to do. Exit code: 0 where
nothing failed, else that of the first check that failed.

The store is the one that the settings select, or --store. Messages of 1 B, 1 MiB and 16 MiB are
stored, read back and removed.";

/// `bus doctor`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct DoctorFlags {
    /// Leave out what takes time: round trips, latency, reading the whole index
    #[arg(long)]
    pub(crate) quick: bool,
}
