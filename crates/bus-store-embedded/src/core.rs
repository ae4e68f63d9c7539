//! The open store, without async: what the calls in `begin`, `upload`, `read` and `sweep` share.

use std::{path::Path, sync::Arc};

use bus_model::MessageId;
use bus_store::{Clock, StoreError, StoreErrorKind};
use chrono::{DateTime, Utc};

use crate::{
    Options, Step,
    bodies::{self, Bodies},
    error,
    index::{Access, Index},
    options::StepHook,
    put::Waiting,
    rows,
    uploads::Uploads,
};

/// An open store. Every method blocks.
pub(crate) struct Core {
    pub(crate) index: Index,
    pub(crate) bodies: Bodies,
    pub(crate) uploads: Uploads,
    pub(crate) waiting: Waiting,
    pub(crate) checkpoint_bytes: u64,
    clock: Arc<dyn Clock>,
    on_step: StepHook,
}

impl Core {
    /// Opens the store in `dir` and finishes the deletions that a crash cut short. Uploads are left
    /// alone: their writers may live.
    pub(crate) fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        let bodies_dir = dir.join(bodies::FOLDER);
        match bodies::make_folder(&bodies_dir) {
            Ok(()) => {}
            // A folder that may not be written may still hold a store to read.
            Err(_) if dir.join(crate::index::FILE_NAME).is_file() => {}
            Err(error) => return Err(error::no_folder(&bodies_dir, error)),
        }
        let index = Index::open(dir, options.busy_timeout, options.readers)?;
        let core = Self {
            index,
            bodies: Bodies::new(dir, options.on_step.clone()),
            uploads: Uploads::default(),
            waiting: Waiting::default(),
            checkpoint_bytes: options.checkpoint_bytes,
            clock: options.clock,
            on_step: options.on_step,
        };
        if core.index.access() == Access::ReadWrite {
            bodies::sync_folder(dir)?;
            if let Err(error) = core.empty_trash() {
                tracing::warn!(%error, "deleted files are still there; the next purge tries again");
            }
        }
        Ok(core)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn done(&self, step: Step) {
        self.on_step.done(step);
    }

    /// Removes the files that the trash list names.
    pub(crate) fn empty_trash(&self) -> Result<(), StoreError> {
        let trash = self.index.read(rows::trash)?;
        self.remove_files(&trash)
    }

    /// Removes files of deleted messages and forgets them.
    pub(crate) fn remove_files(&self, ids: &[MessageId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        for id in ids {
            self.bodies.remove(*id)?;
        }
        self.index
            .write_to_free(|transaction| rows::clear_trash(transaction, ids))?;
        self.done(Step::TrashCleared);
        Ok(())
    }

    /// As `remove_files`, after the deletion itself has succeeded: what fails here is left to the
    /// next purge.
    pub(crate) fn remove_files_or_later(&self, ids: &[MessageId]) {
        if let Err(error) = self.remove_files(ids) {
            tracing::warn!(%error, "a deleted body is still there; the next purge tries again");
        }
    }

    /// Whether the store can be used: read, locked, and written to.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.index.check()?;
        self.bodies.probe()
    }
}

/// The error for an upload that could not be described.
pub(crate) fn too_large(what: &str, size: u64, limit: u64) -> StoreError {
    StoreError::new(
        StoreErrorKind::TooLarge,
        format!("{what} has {size} bytes, this store takes at most {limit}"),
    )
}
