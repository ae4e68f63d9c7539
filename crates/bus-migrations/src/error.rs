//! What can go wrong, each with what to do about it.

use std::error::Error;

/// A cause from the driver, the system or TLS.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a database could not be migrated. No message holds the password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// The URL of the database is not legal.
    #[error(
        "the database URL is not legal: {reason}; expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for an @ in the password"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The file of `sslrootcert` holds no usable certificate.
    #[error("{path} (sslrootcert) is no file of PEM certificates: {reason}")]
    RootCertificates {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody answers, or not in time.
    #[error("{server} cannot be reached: {advice}")]
    Unreachable {
        /// Host, port and database.
        server: String,
        /// What to look at.
        advice: &'static str,
        /// What the system said.
        source: Option<Cause>,
    },
    /// No encrypted connection could be made.
    #[error("no TLS connection to {server} with sslmode={mode}: {advice}")]
    Tls {
        /// Host, port and database.
        server: String,
        /// The mode that was asked for.
        mode: &'static str,
        /// What to look at.
        advice: &'static str,
        /// What TLS said.
        source: Option<Cause>,
    },
    /// The server does not let this user in.
    #[error("{server} does not let the user {user} in: {advice}")]
    Denied {
        /// Host, port and database.
        server: String,
        /// The user of the URL.
        user: String,
        /// What to look at.
        advice: &'static str,
        /// What the server said.
        source: Option<Cause>,
    },
    /// There is no such database.
    #[error("there is no such database: {server}; make it first, or correct the URL")]
    NoDatabase {
        /// Host, port and database.
        server: String,
        /// What the server said.
        source: Option<Cause>,
    },
    /// The server is older than the schema needs.
    #[error("the server is PostgreSQL {version}; the schema needs 15 or newer")]
    OldServer {
        /// As the server names it.
        version: String,
    },
    /// The database was migrated by a newer build.
    #[error(
        "the database has a newer schema than this build knows ({found}); use the bus that migrated it, or a newer one. Nothing was changed"
    )]
    Newer {
        /// The steps, or the schema version, that this build does not know.
        found: String,
    },
    /// A step was applied with another text than this build's.
    #[error(
        "the step {step} was applied with another text than this build has: a released step never changes. Find out which of the two is right; nothing was changed"
    )]
    Changed {
        /// File name of the step.
        step: String,
    },
    /// A table of somebody else has the name of one of ours.
    #[error(
        "{table} is there already and is not of bus (the step {step} would make it); move it away with its indexes: create schema old; alter table {table} set schema old. Nothing was changed"
    )]
    Foreign {
        /// The table.
        table: String,
        /// File name of the step.
        step: String,
    },
    /// Another runner is at work for longer than this one would wait.
    #[error(
        "another `bus migrate` is at work on this database and did not end within {waited_secs} s: run it again later"
    )]
    Busy {
        /// Seconds waited.
        waited_secs: u64,
    },
    /// Tables were in use for longer than the runner would wait.
    #[error(
        "the step {step} did not get its locks within {waited_secs} s{holders}; nothing of it was applied: end what holds them, or run it again later"
    )]
    Locked {
        /// File name of the step.
        step: String,
        /// Seconds waited.
        waited_secs: u64,
        /// Who holds them, in words; may be empty.
        holders: String,
        /// What the server said.
        source: Option<Cause>,
    },
    /// The user may not make the roles.
    #[error(
        "the user {user} may not create the roles that the step {step} needs; run once, as a superuser: create role anon nologin noinherit; create role authenticated nologin noinherit; create role service_role nologin noinherit bypassrls"
    )]
    Roles {
        /// The user of the URL.
        user: String,
        /// File name of the step.
        step: String,
        /// What the server said.
        source: Option<Cause>,
    },
    /// The user may not do what a step does.
    #[error(
        "the user {user} may not do what the step {step} does (line {line}); connect as the owner of the database, on hosted Supabase the user postgres"
    )]
    Forbidden {
        /// The user of the URL.
        user: String,
        /// File name of the step.
        step: String,
        /// Line in its file; 0 where the server named none.
        line: usize,
        /// What the server said.
        source: Option<Cause>,
    },
    /// A step failed in another way.
    #[error(
        "the step {step} failed at line {line}; nothing of it was applied, the steps before it were"
    )]
    Step {
        /// File name of the step.
        step: String,
        /// Line in its file; 0 where the server named none.
        line: usize,
        /// What the server said.
        source: Option<Cause>,
    },
    /// The connection was lost.
    #[error(
        "the connection to {server} was lost while {doing}: run it again, steps that were applied are passed over"
    )]
    Lost {
        /// Host, port and database.
        server: String,
        /// What was going on.
        doing: String,
        /// What the driver said.
        source: Option<Cause>,
    },
    /// The server refused something that is no step.
    #[error("the server refused: {doing}")]
    Server {
        /// What was going on.
        doing: String,
        /// What the server said.
        source: Option<Cause>,
    },
}

/// What kind of failure it is, as an exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrateErrorKind {
    /// The URL or one of its options.
    Settings,
    /// Password, rights or certificates.
    NotAuthorised,
    /// The same may succeed later.
    TryAgain,
    /// The database is not as this build expects it.
    Refused,
    /// Anything else.
    Failed,
}

impl MigrateError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> MigrateErrorKind {
        match self {
            Self::Url { .. } | Self::RootCertificates { .. } | Self::NoDatabase { .. } => {
                MigrateErrorKind::Settings
            }
            Self::Tls { .. }
            | Self::Denied { .. }
            | Self::Roles { .. }
            | Self::Forbidden { .. } => MigrateErrorKind::NotAuthorised,
            Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::Locked { .. }
            | Self::Lost { .. } => MigrateErrorKind::TryAgain,
            Self::OldServer { .. }
            | Self::Newer { .. }
            | Self::Changed { .. }
            | Self::Foreign { .. } => MigrateErrorKind::Refused,
            Self::Step { .. } | Self::Server { .. } => MigrateErrorKind::Failed,
        }
    }
}

/// What lies beneath an error of the driver, which only says which part of it failed.
pub(crate) fn cause(error: tokio_postgres::Error) -> Option<Cause> {
    let words = error.to_string();
    Some(error.into_source().unwrap_or_else(|| words.into()))
}
