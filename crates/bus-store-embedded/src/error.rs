//! How the faults of files and of SQLite become [`StoreError`]s that a caller can act on.

use std::{io, path::Path, time::Duration};

use bus_model::TransactionId;
use bus_store::{StoreError, StoreErrorKind};
use rusqlite::{ErrorCode, ffi};

/// When to try again after another process held the index for longer than the busy timeout.
const LOCKED_RETRY: Duration = Duration::from_millis(250);

/// The error for a failed file operation. `what` is a verb phrase, such as "write".
pub(crate) fn io(what: &str, path: &Path, error: io::Error) -> StoreError {
    use io::ErrorKind as K;
    let (kind, hint) = match error.kind() {
        K::StorageFull | K::QuotaExceeded | K::FileTooLarge => (
            StoreErrorKind::Full,
            "no space is left: free some, or purge the store",
        ),
        K::PermissionDenied | K::ReadOnlyFilesystem => (StoreErrorKind::Denied, DENIED_HINT),
        K::NotFound => (
            StoreErrorKind::Damaged,
            "it does not exist: was it removed by hand?",
        ),
        K::UnexpectedEof => (StoreErrorKind::Damaged, "it is shorter than it should be"),
        _ => (
            StoreErrorKind::Internal,
            "check the disk and the file system",
        ),
    };
    StoreError::new(kind, format!("cannot {what} {}: {hint}", path.display())).with_source(error)
}

/// The error for a store whose folder cannot be made: where even the ones above it cannot be, the
/// path is at fault, and nothing is damaged.
pub(crate) fn no_folder(path: &Path, error: io::Error) -> StoreError {
    if error.kind() != io::ErrorKind::NotFound {
        return io("create", path, error);
    }
    let message = format!(
        "the folder {} cannot be created: name one for the store that can be",
        path.display()
    );
    StoreError::new(StoreErrorKind::Denied, message).with_source(error)
}

const DENIED_HINT: &str =
    "this user may not write there: give it the folder, or choose another one for the store";

/// The error for a failed statement. `what` is a verb phrase, such as "commit the upload".
pub(crate) fn sqlite(what: &str, error: rusqlite::Error) -> StoreError {
    let (kind, hint) = classify(&error);
    let refused =
        StoreError::new(kind, format!("cannot {what} in the index: {hint}")).with_source(error);
    if kind == StoreErrorKind::Overloaded {
        return refused.with_retry_after(LOCKED_RETRY);
    }
    refused
}

fn classify(error: &rusqlite::Error) -> (StoreErrorKind, &'static str) {
    use rusqlite::Error as E;
    let failure = match error {
        E::SqliteFailure(failure, _) => failure,
        E::InvalidColumnType(..)
        | E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..) => {
            return (
                StoreErrorKind::Damaged,
                "a row holds a value that no bus writes",
            );
        }
        _ => return (StoreErrorKind::Internal, "SQLite refused the statement"),
    };
    match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => (
            StoreErrorKind::Overloaded,
            "another process holds it: try again",
        ),
        ErrorCode::DiskFull => (
            StoreErrorKind::Full,
            "no space is left: free some, or purge the store",
        ),
        // The shared-memory file could not grow, which SQLite does not report as a full disk.
        ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => (
            StoreErrorKind::Full,
            "no space is left: free some, or purge the store",
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            (StoreErrorKind::Denied, DENIED_HINT)
        }
        ErrorCode::DatabaseCorrupt => (
            StoreErrorKind::Damaged,
            "its file is damaged: restore it from a copy, or start a new store",
        ),
        ErrorCode::NotADatabase => (
            StoreErrorKind::Damaged,
            "its file is not a SQLite database: is this the folder of a store?",
        ),
        _ => (StoreErrorKind::Internal, "SQLite failed"),
    }
}

/// The error for a message whose stored data is damaged.
pub(crate) fn damaged(transaction_id: &TransactionId, what: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Damaged,
        format!("message {transaction_id}: {what}; delete it and publish it again"),
    )
}

/// The error for a stale upload token.
pub(crate) fn lease_lost() -> StoreError {
    StoreError::new(
        StoreErrorKind::LeaseLost,
        "this upload is no longer yours: another writer took it over, or it was deleted, purged, given up or committed",
    )
}

/// The error for a message that is not there, or not for this principal.
pub(crate) fn not_found(what: &dyn std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("no message {what}"))
}

/// The error for an illegal argument.
pub(crate) fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::InvalidInput, message)
}
