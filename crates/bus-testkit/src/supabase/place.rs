//! Where the kit keeps its state: one folder a repository and user, with locks that the kernel frees when we end.

use super::children::User;
use crate::nobody::running_as_root;
use crate::{cache_dir, repo_root, sha256_hex};
use anyhow::{Context, Result, bail};
use std::fs::{self, File, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Names the folder of the shared stack; `cargo xtask ci` sets it for the tests that it runs.
pub(crate) const VARIABLE: &str = "BUS_TEST_STACK";

/// The folder of the shared stack, made where it is missing. Not in the repository: the user that runs PostgreSQL must
/// be able to enter it, and a checkout may be private.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = match std::env::var_os(VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => usual_folder()?,
    };
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let (ours, there) = (fs::metadata("/proc/self")?.uid(), fs::metadata(&folder)?);
    if there.uid() != ours {
        bail!("{} belongs to somebody else; remove it", folder.display());
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn usual_folder() -> Result<PathBuf> {
    let root = fs::canonicalize(repo_root()).context("resolving the root of the repository")?;
    let digest = sha256_hex(root.as_os_str().as_encoded_bytes());
    let user = fs::metadata("/proc/self")?.uid();
    Ok(std::env::temp_dir().join(format!("bus-test-{user}-{}", &digest[..12])))
}

/// A lock file, opened but not locked.
pub(crate) fn lock_file(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// A folder of our own that is removed on drop; what a killed process left is removed by the next one.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    path: PathBuf,
    lock_path: PathBuf,
    _lock: File,
}

impl OwnFolder {
    pub(crate) fn new() -> Result<Self> {
        let parent = folder()?.join("own");
        fs::create_dir_all(&parent)?;
        remove_stale(&parent)?;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            let lock_path = parent.join(format!("{name}.lock"));
            let lock = lock_file(&lock_path)?;
            // Somebody who cleans up may hold it, and then removes the file.
            if lock.try_lock().is_err() || !same_file(&lock, &lock_path) {
                continue;
            }
            let path = parent.join(name);
            fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
            return Ok(Self {
                path,
                lock_path,
                _lock: lock,
            });
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Removes the folders whose owners have ended.
fn remove_stale(parent: &Path) -> Result<()> {
    for entry in fs::read_dir(parent)? {
        let lock_path = entry?.path();
        if lock_path
            .extension()
            .is_none_or(|extension| extension != "lock")
        {
            continue;
        }
        let Ok(lock) = File::open(&lock_path) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            let path = lock_path.with_extension("");
            let _ = fs::remove_dir_all(&path);
            // A server that is about to end may have written into it just now; then the next one removes it.
            if !path.exists() {
                let _ = fs::remove_file(&lock_path);
            }
        }
    }
    Ok(())
}

fn same_file(file: &File, path: &Path) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => id(open) == id(named),
        _ => false,
    }
}

/// Takes a lock, waiting for whoever holds it.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = lock_file(path)?;
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// Takes a lock that others may hold as well; `Ok(None)` where somebody holds it alone.
pub(crate) fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = lock_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("locking {}", path.display()))
        }
    }
}

/// Makes an empty folder that belongs to `user`.
pub(crate) fn folder_of(path: &Path, user: Option<User>) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
    if let (true, Some(user)) = (running_as_root()?, user) {
        chown(path, Some(user.uid), Some(user.gid))
            .with_context(|| format!("giving {} to an unprivileged user", path.display()))?;
    }
    Ok(())
}

/// Something that `cargo xtask ci --install` puts into `.cache`.
pub(crate) fn installed(path: &str, what: &str) -> Result<PathBuf> {
    let path = cache_dir().join(path);
    if !path.exists() {
        bail!(
            "{what} is not there ({}); install it with: cargo xtask ci --install",
            path.display()
        );
    }
    Ok(path)
}
