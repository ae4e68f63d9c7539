//! A file of zeros that is given up when the disk is full, so that there is always room to delete.
//!
//! To delete is to write: a row goes, and the log of the index says so. Without this, a store that
//! filled its disk could not be emptied again by its own means.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

const FILE_NAME: &str = "reserve";

/// Enough for the log of a batch of deletions.
const BYTES: usize = 256 << 10;

/// The reserve of one store.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    given_up: AtomicBool,
}

impl Reserve {
    pub(crate) fn new(dir: &Path) -> Self {
        Self {
            path: dir.join(FILE_NAME),
            given_up: AtomicBool::new(false),
        }
    }

    /// Makes the reserve where there is none, if there is room.
    pub(crate) fn make(&self) {
        let there = fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= BYTES as u64);
        let made = if there {
            Ok(())
        } else {
            fs::write(&self.path, vec![0; BYTES])
        };
        if let Err(error) = &made {
            tracing::debug!(%error, "no room for a reserve");
            // Half a reserve helps nobody.
            let _ = fs::remove_file(&self.path);
        }
        self.given_up.store(made.is_err(), Ordering::Relaxed);
    }

    /// Makes the reserve again after it was given up.
    pub(crate) fn refill(&self) {
        if self.given_up.load(Ordering::Relaxed) {
            self.make();
        }
    }

    /// Frees the reserve.
    pub(crate) fn give_up(&self) -> io::Result<()> {
        self.given_up.store(true, Ordering::Relaxed);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
