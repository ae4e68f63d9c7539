//! Body files: where they are, who holds them, and when they are durable.
//!
//! A body is `bodies/<2 hex>/<id>.body`; the two digits are the id's last, since its first are a
//! time and the same for days. Its writer holds an exclusive lock on it from its creation on, which
//! the operating system drops with the process, however that ends. A stopped process keeps it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use bus_model::MessageId;
use bus_store::StoreError;

use crate::{
    error,
    options::{Step, StepHook},
};

/// The folder of the body files in a store's folder.
pub(crate) const FOLDER: &str = "bodies";

const EXTENSION: &str = "body";

/// Written and removed again to see whether the store can be written.
const PROBE: &str = "probe.tmp";

/// The body files of a store.
#[derive(Debug)]
pub(crate) struct Bodies {
    root: PathBuf,
    on_step: StepHook,
}

/// What came of trying to hold a body file.
pub(crate) enum Claimed {
    /// It is ours now; nobody else writes it.
    Ours(BodyFile),
    /// Its writer lives.
    Held,
    /// There is no such file.
    Missing,
}

impl Bodies {
    pub(crate) fn new(dir: &Path, on_step: StepHook) -> Self {
        Self {
            root: dir.join(FOLDER),
            on_step,
        }
    }

    pub(crate) fn path(&self, id: MessageId) -> PathBuf {
        self.shard(id).join(format!("{id}.{EXTENSION}"))
    }

    fn shard(&self, id: MessageId) -> PathBuf {
        let last = id.as_uuid().as_bytes()[15];
        self.root.join(format!("{last:02x}"))
    }

    /// Creates and locks the file of a new upload; its row must be durable.
    pub(crate) fn create(&self, id: MessageId) -> Result<BodyFile, StoreError> {
        let path = self.path(id);
        let failed = |error| error::io("create", &path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = match options.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let shard = self.shard(id);
                make_folder(&shard).map_err(|error| error::io("create", &shard, error))?;
                sync_folder(&self.root)?;
                options.open(&path).map_err(failed)?
            }
            // Somebody took the upload over before its file was made.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(error::lease_lost());
            }
            opened => opened.map_err(failed)?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(error::lease_lost()),
            Err(TryLockError::Error(error)) => return Err(error::io("lock", &path, error)),
        }
        self.on_step.done(Step::FileCreated);
        Ok(BodyFile::new(file, path))
    }

    /// Tries to become the writer of a file that another one left.
    pub(crate) fn claim(&self, id: MessageId) -> Result<Claimed, StoreError> {
        let path = self.path(id);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Claimed::Missing),
            Err(error) => return Err(error::io("open", &path, error)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Claimed::Ours(BodyFile::new(file, path))),
            Err(TryLockError::WouldBlock) => Ok(Claimed::Held),
            Err(TryLockError::Error(error)) => Err(error::io("lock", &path, error)),
        }
    }

    /// Opens a complete body; `None` where there is no file.
    pub(crate) fn open(&self, id: MessageId) -> Result<Option<BodyFile>, StoreError> {
        let path = self.path(id);
        match File::open(&path) {
            Ok(file) => Ok(Some(BodyFile::new(file, path))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::io("open", &path, error)),
        }
    }

    /// Makes the name of a file durable.
    pub(crate) fn sync_name(&self, id: MessageId) -> Result<(), StoreError> {
        sync_folder(&self.shard(id))?;
        self.on_step.done(Step::FolderSynced);
        Ok(())
    }

    /// Makes the written chunks of a file durable.
    pub(crate) fn sync_data(&self, body: &BodyFile) -> Result<(), StoreError> {
        body.file
            .sync_data()
            .map_err(|error| error::io("sync", &body.path, error))?;
        self.on_step.done(Step::DataSynced);
        Ok(())
    }

    /// Removes a file; its size, or `None` where there was none. Open readers go on.
    pub(crate) fn remove(&self, id: MessageId) -> Result<Option<u64>, StoreError> {
        let path = self.path(id);
        let size = fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
        match fs::remove_file(&path) {
            Ok(()) => {
                self.on_step.done(Step::FileRemoved);
                Ok(Some(size))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::io("remove", &path, error)),
        }
    }

    /// Whether a file can be written here.
    pub(crate) fn probe(&self) -> Result<(), StoreError> {
        let path = self.root.with_file_name(PROBE);
        let failed = |error| error::io("write", &path, error);
        fs::write(&path, [0_u8; 4096]).map_err(failed)?;
        match fs::remove_file(&path) {
            // Another process probed at the same time.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(failed),
        }
    }

    /// Calls `seen` for everything in the folder: with the id of a body file, or with the path of
    /// anything else.
    pub(crate) fn walk(
        &self,
        mut seen: impl FnMut(Result<MessageId, &Path>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for shard in entries(&self.root)? {
            if !shard.is_dir() {
                seen(Err(&shard))?;
                continue;
            }
            for path in entries(&shard)? {
                match id_of(&path).filter(|id| self.path(*id) == path) {
                    Some(id) => seen(Ok(id))?,
                    None => seen(Err(&path))?,
                }
            }
        }
        Ok(())
    }
}

fn id_of(path: &Path) -> Option<MessageId> {
    if path.extension()? != EXTENSION {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// The paths in a folder; none where it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| error::io("list", folder, error);
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|e| e.path()).map_err(failed))
            .collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// Makes a folder that only its owner may enter, and those above it.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    // Elsewhere a folder cannot be opened as a file, and names are durable with their files.
    #[cfg(unix)]
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| error::io("sync", path, error))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// An open body file, read and written by position.
#[derive(Debug)]
pub(crate) struct BodyFile {
    file: File,
    path: PathBuf,
    #[cfg(not(unix))]
    cursor: parking_lot::Mutex<()>,
}

impl BodyFile {
    fn new(file: File, path: PathBuf) -> Self {
        Self {
            file,
            path,
            #[cfg(not(unix))]
            cursor: parking_lot::Mutex::new(()),
        }
    }

    pub(crate) fn len(&self) -> Result<u64, StoreError> {
        self.file
            .metadata()
            .map(|meta| meta.len())
            .map_err(|error| error::io("look at", &self.path, error))
    }

    pub(crate) fn set_len(&self, len: u64) -> Result<(), StoreError> {
        self.file
            .set_len(len)
            .map_err(|error| error::io("cut", &self.path, error))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        self.write_all_at(bytes, offset)
            .map_err(|error| error::io("write", &self.path, error))
    }

    /// `len` bytes from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    #[cfg(unix)]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(unix)]
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::io::{Seek as _, SeekFrom, Write as _};
        let _alone = self.cursor.lock();
        (&self.file).seek(SeekFrom::Start(offset))?;
        (&self.file).write_all(bytes)
    }

    #[cfg(not(unix))]
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let _alone = self.cursor.lock();
        (&self.file).seek(SeekFrom::Start(offset))?;
        (&self.file).read_exact(bytes)
    }
}

impl Drop for BodyFile {
    /// Closing the file is not enough: a child that this process starts at this moment holds a copy
    /// of it, and so the lock, until it runs its own program.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}
