//! A file that appears only once it is whole.

use std::{
    fs::Permissions, io::Write as _, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use tempfile::{Builder, NamedTempFile};

/// A temporary file beside its target. Dropped before [`AtomicFile::persist`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    target: PathBuf,
    temporary: Arc<NamedTempFile>,
}

impl AtomicFile {
    /// Begins to write `target`.
    ///
    /// # Errors
    /// Where its folder cannot be written, or it is a folder itself.
    pub(crate) async fn create(target: PathBuf) -> anyhow::Result<Self> {
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let shown = target.display().to_string();
        anyhow::ensure!(!target.is_dir(), "{shown} is a folder: name a file");
        // A rename would replace the device or the pipe itself.
        anyhow::ensure!(
            !target.exists() || target.is_file(),
            "{shown} is not a regular file: leave -o away and redirect stdout to it"
        );
        // The rights that any new file gets; a temporary file's own are 0600.
        let rights = Permissions::from_mode(0o666);
        let temporary = tokio::task::spawn_blocking(move || {
            Builder::new().permissions(rights).tempfile_in(folder)
        })
        .await?
        .with_context(|| format!("{shown} cannot be written"))?;
        Ok(Self {
            target,
            temporary: Arc::new(temporary),
        })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// Where the disk does not take them.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        let temporary = Arc::clone(&self.temporary);
        tokio::task::spawn_blocking(move || temporary.as_file().write_all(&bytes))
            .await?
            .with_context(|| format!("{} cannot be written", self.target.display()))
    }

    /// Makes it appear, replacing what was there.
    ///
    /// # Errors
    /// Where it cannot be synced or renamed.
    pub(crate) async fn persist(self) -> anyhow::Result<()> {
        let Self { target, temporary } = self;
        let shown = target.display().to_string();
        let temporary = Arc::into_inner(temporary).context("a write is still under way")?;
        tokio::task::spawn_blocking(move || {
            temporary.as_file().sync_all()?;
            temporary.persist(target).map_err(std::io::Error::from)
        })
        .await?
        .map(drop)
        .with_context(|| format!("{shown} cannot be written"))
    }
}
