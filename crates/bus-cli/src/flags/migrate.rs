//! Flags of `migrate`.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use super::global::parse_secret;

const NOTES: &str = "\
The URL is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for an @ in the password. For a
hosted project it is the session pooler's (port 5432) under Connect in its dashboard. Behind ?:
sslmode=disable, prefer, require (encrypted, certificate not checked), verify-ca or verify-full;
sslrootcert=FILE or system. Without sslmode: prefer on this machine, else require.";

/// `bus migrate`.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct MigrateFlags {
    /// Database to migrate; other users of this machine can see it here, so prefer SUPABASE_DB_URL
    #[arg(long, value_name = "URL", value_parser = parse_secret)]
    pub(crate) database_url: Option<SecretString>,

    /// Print what would be done, with its SQL, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Only write the steps to a folder, for the Supabase CLI [default: supabase/migrations]
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        default_missing_value = "supabase/migrations",
        conflicts_with_all = ["database_url", "dry_run"]
    )]
    pub(crate) write: Option<PathBuf>,
}
