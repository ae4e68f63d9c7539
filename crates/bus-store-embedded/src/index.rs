//! The SQLite index: one writing connection, a few reading ones, and what is asked of the file
//! before it is trusted.
//!
//! Readers never wait for the writer (WAL). A read transaction is never held while a body is
//! streamed, so the log can always be folded back.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use bus_store::{StoreError, StoreErrorKind};
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::{
    error::{io, sqlite},
    records,
    reserve::Reserve,
    rows,
};

/// The name of the index in a store's folder.
pub(crate) const FILE_NAME: &str = "index.sqlite";

/// The index of an open store.
pub(crate) struct Index {
    path: PathBuf,
    busy_timeout: Duration,
    access: Access,
    reserve: Reserve,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    keep_readers: usize,
}

/// What this process may do with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    /// The folder may not be written, another process may write it.
    ReadOnly,
    /// The folder may not be written and nobody has the store open for writing.
    Immutable,
}

impl Index {
    /// Opens the index in `dir`, and makes it where there is none.
    pub(crate) fn open(
        dir: &Path,
        busy_timeout: Duration,
        keep_readers: usize,
    ) -> Result<Self, StoreError> {
        let path = dir.join(FILE_NAME);
        let (conn, access) = match open_to_write(&path, dir, busy_timeout) {
            Ok(conn) => (conn, Access::ReadWrite),
            Err(error) if error.kind() == StoreErrorKind::Denied && path.is_file() => {
                open_to_read(&path, busy_timeout).map_err(|_| error)?
            }
            Err(error) => return Err(error),
        };
        let reserve = Reserve::new(dir);
        if access == Access::ReadWrite {
            reserve.make();
        }
        Ok(Self {
            path,
            reserve,
            busy_timeout,
            access,
            writer: Mutex::new(conn),
            readers: Mutex::new(Vec::new()),
            keep_readers,
        })
    }

    pub(crate) fn access(&self) -> Access {
        self.access
    }

    /// Runs `work` in one durable transaction that no other writer, of any process, interleaves.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.require_write()?;
        let mut conn = self.writer.lock();
        in_transaction(&mut conn, work)
    }

    /// Waits for the writer and hands it to `work`, or the reason why nothing may be written.
    pub(crate) fn as_writer<T>(&self, work: impl FnOnce(Result<Writer<'_>, StoreError>) -> T) -> T {
        let mut conn = self.writer.lock();
        work(self.require_write().map(|()| Writer(&mut conn)))
    }

    /// As `write`, for work that frees space. Where the disk is full, the reserve is given up, the
    /// log is folded back into the index so that it can be written over, and `work` runs once more.
    pub(crate) fn write_to_free<T>(
        &self,
        mut work: impl FnMut(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.require_write()?;
        let mut conn = self.writer.lock();
        match in_transaction(&mut conn, &mut work) {
            Err(full) if full.kind() == StoreErrorKind::Full => {
                if self.reserve.give_up().is_err() {
                    return Err(full);
                }
                // Where even that fails, the reserve may be enough by itself.
                let _ = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
                in_transaction(&mut conn, work)
            }
            done => done,
        }
    }

    /// Runs `work` over one consistent view of the index.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.readers.lock().pop();
        let mut conn = match idle {
            Some(conn) => conn,
            None => connect(&self.path, self.access, self.busy_timeout)?,
        };
        let result = conn
            .transaction()
            .map_err(|error| sqlite("read", error))
            .and_then(|view| work(&view));
        let mut readers = self.readers.lock();
        if readers.len() < self.keep_readers {
            readers.push(conn);
        }
        result
    }

    /// Gives up to `pages` free pages back to the file system, and makes the reserve again where it
    /// was given up. What fails is left to the next time.
    pub(crate) fn tidy(&self, pages: u32) {
        self.reserve.refill();
        let conn = self.writer.lock();
        let vacuum = || {
            let mut shrink = conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = shrink.query(())?;
            while rows.next()?.is_some() {}
            Ok::<(), rusqlite::Error>(())
        };
        if let Err(error) = vacuum() {
            tracing::debug!(%error, "free pages of the index were not given back");
        }
    }

    /// Whether the index can be read, is of a format that this build knows, and can be locked for
    /// writing.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.read(|view| examine(view, &self.path).map(|_| ()))?;
        self.write(|_| Ok(()))
    }

    /// What SQLite itself finds wrong with the file; empty where it is sound.
    pub(crate) fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let failed = |error| sqlite("check the integrity", error);
        let conn = connect(&self.path, self.access, self.busy_timeout)?;
        let mut check = conn.prepare("PRAGMA integrity_check").map_err(failed)?;
        let found: Vec<String> = check
            .query_map((), |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(failed)?;
        Ok(found.into_iter().filter(|line| line != "ok").collect())
    }

    fn require_write(&self) -> Result<(), StoreError> {
        if self.access == Access::ReadWrite {
            return Ok(());
        }
        Err(StoreError::new(
            StoreErrorKind::Denied,
            format!(
                "the store {} was opened for reading only, because this user may not write there",
                self.path.parent().unwrap_or(&self.path).display()
            ),
        ))
    }
}

/// The right to write the index.
pub(crate) struct Writer<'a>(&'a mut Connection);

impl Writer<'_> {
    /// As [`Index::write`].
    pub(crate) fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        in_transaction_mut(self.0, work)
    }
}

fn in_transaction<T>(
    conn: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    in_transaction_mut(conn, |transaction| work(transaction))
}

fn in_transaction_mut<T>(
    conn: &mut Connection,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut transaction = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| sqlite("begin a transaction", error))?;
    let done = work(&mut transaction)?;
    transaction
        .commit()
        .map_err(|error| sqlite("commit a transaction", error))?;
    Ok(done)
}

/// What a database file holds.
#[derive(PartialEq, Eq)]
enum Content {
    Nothing,
    Index,
    /// An index of format 1.
    Older,
}

fn open_to_write(path: &Path, dir: &Path, busy: Duration) -> Result<Connection, StoreError> {
    create_file(path, dir)?;
    let mut conn = connect(path, Access::ReadWrite, busy)?;
    let found = examine(&conn, path)?;
    if found == Content::Nothing {
        // Takes effect only before the first table, and outside a transaction.
        conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .map_err(|error| sqlite("prepare a new index", error))?;
    }
    use_wal(&conn, busy)?;
    // Whoever may read but not write learns it here. So does a second process that creates the
    // same index at the same time: it finds the tables made.
    match in_transaction(&mut conn, |transaction| make_tables(transaction, path)) {
        // An index of an earlier format needs room for its new tables.
        Err(full) if full.kind() == StoreErrorKind::Full && found == Content::Older => {
            Reserve::new(dir).give_up().map_err(|_| full)?;
            in_transaction(&mut conn, |transaction| make_tables(transaction, path))?;
        }
        made => made?,
    }
    Ok(conn)
}

/// Makes the tables that the index does not have yet, and says so in its header.
fn make_tables(transaction: &Transaction<'_>, path: &Path) -> Result<(), StoreError> {
    let missing = match examine(transaction, path)? {
        Content::Index => return Ok(()),
        Content::Older => vec![records::CREATE],
        Content::Nothing => vec![rows::CREATE, records::CREATE],
    };
    let make = || {
        for tables in missing {
            transaction.execute_batch(tables)?;
        }
        transaction.pragma_update(None, "application_id", rows::APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", rows::FORMAT)
    };
    make().map_err(|error| sqlite("create the tables", error))
}

/// Makes an empty file that only its owner may read. Refuses to start anew where bodies are left:
/// a purge would take them for strays.
fn create_file(path: &Path, dir: &Path) -> Result<(), StoreError> {
    if path.exists() {
        return Ok(());
    }
    let orphaned = fs::read_dir(dir.join(crate::bodies::FOLDER))
        .is_ok_and(|mut entries| entries.next().is_some());
    if orphaned {
        return Err(StoreError::new(
            StoreErrorKind::Damaged,
            format!(
                "{} is missing but there are bodies beside it: put the index back, or remove the folder to start anew",
                path.display()
            ),
        ));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map(drop)
        .map_err(|error| io("create", path, error))
}

fn open_to_read(path: &Path, busy: Duration) -> Result<(Connection, Access), StoreError> {
    let first = connect(path, Access::ReadOnly, busy)
        .and_then(|conn| examine(&conn, path).map(|_| (conn, Access::ReadOnly)));
    match first {
        Ok(opened) => Ok(opened),
        // Without a log there is nothing that a writer has not folded back, so the file is whole
        // as it stands.
        Err(_) if log_is_empty(path) => {
            let conn = connect(path, Access::Immutable, busy)?;
            examine(&conn, path)?;
            Ok((conn, Access::Immutable))
        }
        Err(error) => Err(error),
    }
}

fn log_is_empty(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(Path::new(&log)).map_or(true, |meta| meta.len() == 0)
}

fn connect(path: &Path, access: Access, busy: Duration) -> Result<Connection, StoreError> {
    let open = || {
        let base = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let (uri, flags) = match access {
            Access::ReadWrite => (uri(path, ""), base | OpenFlags::SQLITE_OPEN_READ_WRITE),
            Access::ReadOnly => (uri(path, ""), base | OpenFlags::SQLITE_OPEN_READ_ONLY),
            Access::Immutable => (
                uri(path, "?immutable=1"),
                base | OpenFlags::SQLITE_OPEN_READ_ONLY,
            ),
        };
        let conn = Connection::open_with_flags(uri, flags)?;
        conn.busy_timeout(busy)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.pragma_update(None, "foreign_keys", true)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        // In KiB. What does not fit is in the system's cache, which is not counted as ours.
        conn.pragma_update(None, "cache_size", -1024)?;
        conn.pragma_update(None, "trusted_schema", false)?;
        Ok(conn)
    };
    open().map_err(|error| sqlite("open the file", error))
}

/// A `file:` address of `path`; only what has a meaning in one is escaped.
fn uri(path: &Path, query: &str) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let escaped = absolute
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23");
    format!("file:{escaped}{query}")
}

/// What the file holds.
///
/// # Errors
/// `NewerFormat`; `Damaged` where it is somebody else's.
fn examine(conn: &Connection, path: &Path) -> Result<Content, StoreError> {
    let number = |pragma: &str| -> Result<i32, StoreError> {
        conn.pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(|error| sqlite("read the header", error))
    };
    let tables: u32 = conn
        .query_row("SELECT COUNT(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(|error| sqlite("read the schema", error))?;
    let (application, format) = (number("application_id")?, number("user_version")?);
    match (application, format) {
        (0, 0) if tables == 0 => Ok(Content::Nothing),
        (rows::APPLICATION_ID, rows::FORMAT) => Ok(Content::Index),
        (rows::APPLICATION_ID, 1) => Ok(Content::Older),
        (rows::APPLICATION_ID, newer) if newer > rows::FORMAT => Err(StoreError::new(
            StoreErrorKind::NewerFormat,
            format!(
                "the store {} has format {newer}, this build reads up to {}: upgrade bus",
                path.display(),
                rows::FORMAT
            ),
        )),
        _ => Err(StoreError::new(
            StoreErrorKind::Damaged,
            format!(
                "{} is not the index of a bus store: choose another folder",
                path.display()
            ),
        )),
    }
}

/// Turns the write-ahead log on. SQLite does not wait for the lock that the first switch needs,
/// so this does.
fn use_wal(conn: &Connection, busy: Duration) -> Result<(), StoreError> {
    let deadline = Instant::now() + busy;
    let switch =
        || conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
    loop {
        match switch().map_err(|error| sqlite("turn the log on", error)) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => break,
            Ok(mode) => {
                return Err(StoreError::new(
                    StoreErrorKind::Internal,
                    format!(
                        "the index cannot use a write-ahead log (SQLite answered {mode:?}): is the folder on a network file system?"
                    ),
                ));
            }
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    }
    conn.pragma_update_and_check(None, "journal_size_limit", 16 << 20, |_| Ok(()))
        .map_err(|error| sqlite("limit the log", error))
}
