//! A file system of a fixed size, so that "disk full" is a real disk that is really full.

use crate::nobody::running_as_root;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A tmpfs in a temporary folder, unmounted on drop.
#[derive(Debug)]
pub struct Tmpfs {
    folder: TempDir,
}

impl Tmpfs {
    /// Mounts one that holds `bytes` (rounded up to whole pages).
    ///
    /// # Errors
    /// Where mounting is not allowed: it takes root.
    pub fn mount(bytes: u64) -> Result<Self> {
        if !running_as_root()? {
            bail!(
                "a full disk is tested on a small tmpfs, and mounting one takes root: run the tests as root"
            );
        }
        let folder = TempDir::new().context("making a folder to mount on")?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={bytes},mode=1777"))
            .arg("bus-test")
            .arg(folder.path())
            .output()
            .context("running mount (Debian package: mount)")?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            bail!("mounting a tmpfs of {bytes} bytes: {}", reason.trim());
        }
        Ok(Self { folder })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a test that failed may still hold a file open, and its folder must be removable all the same.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        debug_assert!(
            unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "the tmpfs at {} is still mounted",
            self.path().display()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, io};

    #[test]
    fn it_fills_up_and_goes_away() {
        let disk = Tmpfs::mount(1 << 20).unwrap();
        let path = disk.path().to_path_buf();
        let error = fs::write(path.join("big"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        drop(disk);
        assert!(!path.exists());
    }
}
