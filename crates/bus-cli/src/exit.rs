//! Exit codes, and which error gets which.

use std::{error::Error, fmt, io, process::ExitCode};

use bus_client::{ClientError, ClientErrorKind, settings::SettingsError};
use bus_migrations::{MigrateError, MigrateErrorKind};
use bus_remote::{RemoteError, RemoteErrorKind};
use bus_store::{StoreError, StoreErrorKind};

/// How the program ended. `bus --help` lists these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Failed in a way that fits nothing below.
    Error = 1,
    /// The command line, or a setting, is not legal.
    Usage = 2,
    /// No such message, or it has expired.
    Missing = 3,
    /// The token is missing or wrong, or the folder may not be written.
    NotAuthorised = 4,
    /// Busy, over capacity or out of reach: the same may succeed later.
    TryAgain = 5,
    /// The bytes are not what their digest says.
    Mismatch = 6,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The name in `--json` errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Usage => "usage",
            Self::Missing => "missing",
            Self::NotAuthorised => "not_authorised",
            Self::TryAgain => "try_again",
            Self::Mismatch => "mismatch",
            Self::Interrupted => "interrupted",
        }
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error that the program itself found, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The command line asks for something that cannot be.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: message.into(),
        }
    }

    /// Any other end.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// Ctrl-C or SIGTERM.
    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// The exit code of an error: of the first cause that has one.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(exit_of_cause).unwrap_or(Exit::Error)
}

/// Whether the error is only that nobody reads our output any more.
///
/// A connection that breaks while it is written to says the same, but comes wrapped in an error of
/// a store or a daemon: that is a failure like any other.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_pipe = |cause: &(dyn Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_pipe) && error.chain().all(|cause| exit_of_cause(cause).is_none())
}

fn exit_of_cause(cause: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        Some(failure.exit)
    } else if let Some(error) = cause.downcast_ref::<ClientError>() {
        Some(of_client(error.kind()))
    } else if let Some(error) = cause.downcast_ref::<StoreError>() {
        Some(of_store(error.kind()))
    } else if let Some(error) = cause.downcast_ref::<RemoteError>() {
        Some(of_remote(error.kind()))
    } else if let Some(error) = cause.downcast_ref::<MigrateError>() {
        Some(of_migration(error.kind()))
    } else if cause.is::<SettingsError>() {
        Some(Exit::Usage)
    } else {
        None
    }
}

fn of_client(kind: ClientErrorKind) -> Exit {
    match kind {
        ClientErrorKind::Settings | ClientErrorKind::InvalidInput => Exit::Usage,
        ClientErrorKind::NotFound | ClientErrorKind::Expired | ClientErrorKind::NotComplete => {
            Exit::Missing
        }
        ClientErrorKind::Denied => Exit::NotAuthorised,
        ClientErrorKind::Busy | ClientErrorKind::Unavailable => Exit::TryAgain,
        ClientErrorKind::DigestMismatch | ClientErrorKind::Damaged => Exit::Mismatch,
        ClientErrorKind::Cancelled => Exit::Interrupted,
        _ => Exit::Error,
    }
}

fn of_store(kind: StoreErrorKind) -> Exit {
    match kind {
        StoreErrorKind::NotFound | StoreErrorKind::Expired | StoreErrorKind::NotComplete => {
            Exit::Missing
        }
        StoreErrorKind::InvalidInput => Exit::Usage,
        StoreErrorKind::Denied => Exit::NotAuthorised,
        StoreErrorKind::Mismatch | StoreErrorKind::Damaged => Exit::Mismatch,
        StoreErrorKind::LeaseLost => Exit::TryAgain,
        kind if kind.is_transient() => Exit::TryAgain,
        _ => Exit::Error,
    }
}

fn of_migration(kind: MigrateErrorKind) -> Exit {
    match kind {
        MigrateErrorKind::Settings => Exit::Usage,
        MigrateErrorKind::NotAuthorised => Exit::NotAuthorised,
        MigrateErrorKind::TryAgain => Exit::TryAgain,
        _ => Exit::Error,
    }
}

fn of_remote(kind: RemoteErrorKind) -> Exit {
    match kind {
        RemoteErrorKind::InvalidInput => Exit::Usage,
        RemoteErrorKind::NotFound | RemoteErrorKind::Expired => Exit::Missing,
        RemoteErrorKind::Unauthorized | RemoteErrorKind::Forbidden => Exit::NotAuthorised,
        RemoteErrorKind::Unavailable
        | RemoteErrorKind::Timeout
        | RemoteErrorKind::OverCapacity
        | RemoteErrorKind::Truncated
        | RemoteErrorKind::Closed => Exit::TryAgain,
        RemoteErrorKind::Mismatch => Exit::Mismatch,
        _ => Exit::Error,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_code_is_that_of_the_cause_however_it_is_wrapped() {
        let error = anyhow::Error::from(ClientError::new(ClientErrorKind::Expired, "x"));
        assert_eq!(exit_of(&error.context("reading it")), Exit::Missing);
        assert_eq!(exit_of(&anyhow::anyhow!("x")), Exit::Error);
        assert_eq!(exit_of(&Failure::interrupted().into()), Exit::Interrupted);
    }

    #[test]
    fn a_broken_pipe_is_seen_through_context() {
        let pipe: anyhow::Result<()> =
            Err(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(is_broken_pipe(&pipe.unwrap_err()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("x")));
    }

    #[test]
    fn a_connection_that_breaks_is_no_reader_that_had_enough() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let remote = RemoteError::new(RemoteErrorKind::Unavailable, "the exchange broke off");
        let error = anyhow::Error::from(remote.with_source(pipe()));
        assert!(!is_broken_pipe(&error));
        assert_eq!(exit_of(&error), Exit::TryAgain);
        let store = ClientError::new(ClientErrorKind::Source, "the source failed");
        assert!(!is_broken_pipe(&store.with_source(pipe()).into()));
    }
}
