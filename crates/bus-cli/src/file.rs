//! Where payload bytes go: a file that appears only once it is whole, or stdout.

use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bytes::Bytes;
use tempfile::{Builder, NamedTempFile, TempPath};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use bus_client::place::{self, Place};

/// How many pieces may wait for the disk while the next ones are read and checked.
const AHEAD: usize = 3;

/// A temporary file beside the place of its target. Dropped before [`AtomicFile::persist`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    target: PathBuf,
    place: Place,
    writer: Writer,
    temporary: TempPath,
}

impl AtomicFile {
    /// Begins to write `target`, or what it leads to where it is a link.
    ///
    /// # Errors
    /// Where its folder cannot be written, or it is a folder or a device itself.
    pub(crate) async fn create(target: PathBuf) -> anyhow::Result<Self> {
        let shown = target.display().to_string();
        anyhow::ensure!(
            !target.is_dir() && !shown.ends_with('/'),
            "{shown} is a folder: name a file"
        );
        let named = target.clone();
        let begun = spawn_blocking(move || {
            let place = place::find(&named).map_err(|error| match error.kind() {
                io::ErrorKind::InvalidInput => io::Error::new(
                    error.kind(),
                    format!("{error}: leave -o away, and the bytes go to stdout"),
                ),
                _ => error,
            })?;
            Ok::<_, io::Error>((temporary_beside(&place)?, place))
        });
        let (temporary, place) = begun
            .await?
            .with_context(|| format!("{shown} cannot be written"))?;
        let (file, temporary) = temporary.into_parts();
        Ok(Self {
            target,
            place,
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

    /// Makes it appear, replacing what was there and keeping its rights.
    ///
    /// # Errors
    /// Where it cannot be written, synced or renamed.
    pub(crate) async fn persist(self) -> anyhow::Result<()> {
        let Self {
            target,
            place,
            writer,
            temporary,
        } = self;
        let shown = target.display().to_string();
        let persisted = async {
            let file = writer.finish().await?;
            spawn_blocking(move || {
                if let Some(rights) = place.rights {
                    file.set_permissions(rights)?;
                }
                file.sync_all()?;
                temporary.persist(place.path).map_err(io::Error::from)
            })
            .await?
        };
        persisted
            .await
            .with_context(|| format!("{shown} cannot be written"))
    }
}

/// A temporary file. Where none is yet, it has the rights of any new file; otherwise it stays
/// private until it gets those of the file that it replaces.
fn temporary_beside(place: &Place) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    if place.rights.is_none() {
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(place.path.parent().unwrap_or(Path::new(".")))
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
