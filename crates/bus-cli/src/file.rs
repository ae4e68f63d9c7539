//! Where payload bytes go: a file that appears only once it is whole, or stdout.

use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use anyhow::Context as _;
use bytes::Bytes;
use tempfile::{Builder, TempPath};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

/// How many pieces may wait for the disk while the next ones are read and checked.
const AHEAD: usize = 3;

/// A temporary file beside its target. Dropped before [`AtomicFile::persist`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    target: PathBuf,
    writer: Writer,
    temporary: TempPath,
}

impl AtomicFile {
    /// Begins to write `target`.
    ///
    /// # Errors
    /// Where its folder cannot be written, or it is a folder or a device itself.
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
        let temporary =
            spawn_blocking(move || Builder::new().permissions(rights).tempfile_in(folder))
                .await?
                .with_context(|| format!("{shown} cannot be written"))?;
        let (file, temporary) = temporary.into_parts();
        Ok(Self {
            target,
            writer: Writer::new(file),
            temporary,
        })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// Where the disk did not take these or earlier ones.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        let written = self.writer.write(bytes).await;
        written.with_context(|| format!("{} cannot be written", self.target.display()))
    }

    /// Makes it appear, replacing what was there.
    ///
    /// # Errors
    /// Where it cannot be written, synced or renamed.
    pub(crate) async fn persist(self) -> anyhow::Result<()> {
        let Self {
            target,
            writer,
            temporary,
        } = self;
        let shown = target.display().to_string();
        let persisted = async {
            let file = writer.finish().await?;
            spawn_blocking(move || {
                file.sync_all()?;
                temporary.persist(target).map_err(io::Error::from)
            })
            .await?
        };
        persisted
            .await
            .with_context(|| format!("{shown} cannot be written"))
    }
}

/// Writes pieces to a file behind whoever makes them, off the reactor and in order.
#[derive(Debug)]
pub(crate) struct Writer {
    pieces: mpsc::Sender<Bytes>,
    task: Option<JoinHandle<io::Result<File>>>,
}

impl Writer {
    /// Writes to `file`.
    pub(crate) fn new(mut file: File) -> Self {
        let (pieces, mut queue) = mpsc::channel::<Bytes>(AHEAD);
        let task = spawn_blocking(move || {
            while let Some(bytes) = queue.blocking_recv() {
                file.write_all(&bytes)?;
            }
            Ok(file)
        });
        Self {
            pieces,
            task: Some(task),
        }
    }

    /// Hands `bytes` over; waits while too many are on their way.
    ///
    /// # Errors
    /// Where the file did not take earlier ones.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        if self.pieces.send(bytes).await.is_ok() {
            return Ok(());
        }
        // The task ends before its queue does only with an error.
        match self.task.take() {
            Some(task) => task.await?.map(drop),
            None => Err(io::Error::other("an earlier write failed")),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// Where the file did not take everything.
    pub(crate) async fn finish(self) -> io::Result<File> {
        let Self { pieces, task } = self;
        drop(pieces);
        match task {
            Some(task) => task.await?,
            None => Err(io::Error::other("an earlier write failed")),
        }
    }
}
