//! The bytes of a payload on their way from a daemon, checked as they come.

use std::{
    collections::VecDeque, fmt, io, io::Write as _, mem, path::Path, sync::Arc, time::Duration,
};

use bus_model::{Digest, Hasher};
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use reqwest::{Response, header};
use tempfile::NamedTempFile;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    RemoteError, RemoteErrorKind,
    place::{self, Place},
};

/// How many bytes are hashed at a time: small pieces together, so that a thread is worth it.
const BATCH: usize = 1 << 20;

/// What a payload must turn out to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected {
    /// Its SHA-256.
    pub(crate) digest: Option<Digest>,
    /// Its size in bytes.
    pub(crate) length: Option<u64>,
}

/// A payload, or a part of one, on its way. Memory is bounded by two batches of 1 MiB.
///
/// [`Payload::to_file`] and [`Payload::bytes`] hand out nothing that did not verify. Whoever reads
/// piece by piece gets bytes before the end is checked, and may rely on them only once
/// [`Payload::next`] has said `None`.
///
/// # Errors
/// [`RemoteErrorKind::Mismatch`] where size or SHA-256 are not what they should be,
/// [`RemoteErrorKind::Truncated`] where it ends early, [`RemoteErrorKind::Timeout`].
pub struct Payload {
    answer: Response,
    expected: Expected,
    idle: Duration,
    content_type: Option<String>,
    received: u64,
    ready: VecDeque<Bytes>,
    hashing: Hashing,
    ended: bool,
}

/// Hashes behind the reader, off the reactor.
enum Hashing {
    Off,
    Idle(Box<Hasher>),
    Busy(JoinHandle<Box<Hasher>>),
}

impl Payload {
    pub(crate) fn new(answer: Response, expected: Expected, idle: Duration) -> Self {
        let announced = answer.content_length();
        let content_type = answer
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned);
        let hashing = match expected.digest {
            Some(_) => Hashing::Idle(Box::default()),
            None => Hashing::Off,
        };
        let expected = Expected {
            length: expected.length.or(announced),
            ..expected
        };
        Self {
            answer,
            expected,
            idle,
            content_type,
            received: 0,
            ready: VecDeque::new(),
            hashing,
            ended: false,
        }
    }

    /// Its size in bytes, as announced.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.expected.length
    }

    /// Its media type, as announced.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The SHA-256 that it must have; `None` for a part of a payload.
    #[must_use]
    pub fn sha256(&self) -> Option<Digest> {
        self.expected.digest
    }

    /// The next bytes; `None` once all were received and checked. After an error there are no
    /// more.
    ///
    /// # Errors
    /// As [`Payload`] says.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if self.ended {
                return Ok(None);
            }
            let filled = self.fill().await;
            if filled.is_err() {
                self.ended = true;
            }
            filled?;
        }
    }

    /// The whole in memory, verified.
    ///
    /// # Errors
    /// As [`Payload`] says.
    pub async fn bytes(mut self) -> Result<Bytes, RemoteError> {
        let mut whole = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    /// Writes the payload to `path`, atomically: the file is there only once every byte was
    /// checked and synced. An existing file is replaced and its rights are kept; of a link, what it
    /// leads to. Cancelled, it leaves nothing behind.
    ///
    /// # Errors
    /// [`RemoteErrorKind::Io`] where the file cannot be written or is not a regular one, or as
    /// [`Payload`] says.
    pub async fn to_file(mut self, path: &Path) -> Result<u64, RemoteError> {
        let failed = |error: io::Error| {
            RemoteError::new(
                RemoteErrorKind::Io,
                format!("{} cannot be written", path.display()),
            )
            .with_source(error)
        };
        let named = path.to_owned();
        let (temporary, place) = blocking(move || {
            let place = place::find(&named)?;
            Ok((Arc::new(temporary_beside(&place)?), place))
        })
        .await
        .map_err(failed)?;
        while let Some(first) = self.next().await? {
            let mut pieces = mem::take(&mut self.ready);
            pieces.push_front(first);
            let file = Arc::clone(&temporary);
            let write = move || {
                pieces
                    .iter()
                    .try_for_each(|piece| file.as_file().write_all(piece))
            };
            blocking(write).await.map_err(failed)?;
        }
        let persist = move || {
            if let Some(rights) = place.rights {
                temporary.as_file().set_permissions(rights)?;
            }
            temporary.as_file().sync_all()?;
            let temporary = Arc::into_inner(temporary)
                .ok_or_else(|| io::Error::other("a write is still under way"))?;
            temporary
                .persist(place.path)
                .map(drop)
                .map_err(io::Error::from)
        };
        blocking(persist).await.map_err(failed)?;
        Ok(self.received)
    }

    /// The pieces as a stream; see [`Payload::next`] for when they may be relied on.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, RemoteError>> + Send {
        stream::try_unfold(self, |mut payload| async move {
            Ok(payload.next().await?.map(|bytes| (bytes, payload)))
        })
    }

    /// Receives up to a batch and starts to hash it; checks the whole at the end.
    async fn fill(&mut self) -> Result<(), RemoteError> {
        let mut batch = 0;
        while batch < BATCH {
            match tokio::time::timeout(self.idle, self.answer.chunk()).await {
                Ok(Ok(Some(bytes))) => {
                    batch += bytes.len();
                    self.count(bytes.len())?;
                    self.ready.push_back(bytes);
                }
                Ok(Ok(None)) => {
                    self.ended = true;
                    break;
                }
                Ok(Err(error)) => return Err(self.broke_off(error)),
                Err(_) => {
                    let message = format!("the daemon sent nothing for {:?}", self.idle);
                    return Err(RemoteError::new(RemoteErrorKind::Timeout, message));
                }
            }
        }
        self.hash().await?;
        if self.ended {
            // Nothing of the last batch is handed out before the whole has been checked.
            self.check().await.inspect_err(|_| self.ready.clear())?;
        }
        Ok(())
    }

    /// Counts received bytes, and stops at the first one too many.
    fn count(&mut self, bytes: usize) -> Result<(), RemoteError> {
        self.received += bytes as u64;
        match self.expected.length {
            Some(length) if self.received > length => Err(mismatch(format!(
                "the daemon sends more than the {length} bytes that were announced"
            ))),
            _ => Ok(()),
        }
    }

    async fn hash(&mut self) -> Result<(), RemoteError> {
        let Some(mut hasher) = self.hasher().await? else {
            return Ok(());
        };
        let pieces: Vec<Bytes> = self.ready.iter().cloned().collect();
        self.hashing = Hashing::Busy(spawn_blocking(move || {
            for piece in &pieces {
                hasher.update(piece);
            }
            hasher
        }));
        Ok(())
    }

    /// The hasher, once it is done with what it has.
    async fn hasher(&mut self) -> Result<Option<Box<Hasher>>, RemoteError> {
        match mem::replace(&mut self.hashing, Hashing::Off) {
            Hashing::Off => Ok(None),
            Hashing::Idle(hasher) => Ok(Some(hasher)),
            Hashing::Busy(task) => task.await.map(Some).map_err(|error| {
                RemoteError::new(RemoteErrorKind::Io, "the runtime is shutting down")
                    .with_source(error)
            }),
        }
    }

    async fn check(&mut self) -> Result<(), RemoteError> {
        if let Some(length) = self.expected.length
            && self.received < length
        {
            return Err(self.too_short(length));
        }
        let Some(hasher) = self.hasher().await? else {
            return Ok(());
        };
        let found = hasher.finish();
        match self.expected.digest {
            Some(expected) if expected != found => Err(mismatch(format!(
                "the payload has SHA-256 {found}, {expected} was announced: do not use it"
            ))),
            _ => Ok(()),
        }
    }

    fn broke_off(&self, error: reqwest::Error) -> RemoteError {
        let message = format!(
            "the daemon broke the payload off after {} bytes; it does so where a stored chunk is damaged (bus verify tells)",
            self.received
        );
        RemoteError::new(RemoteErrorKind::Truncated, message).with_source(error.without_url())
    }

    fn too_short(&self, length: u64) -> RemoteError {
        let message = format!(
            "the payload ended after {} of {length} bytes",
            self.received
        );
        RemoteError::new(RemoteErrorKind::Truncated, message)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("expected", &self.expected)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

fn mismatch(message: String) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Mismatch, message)
}

/// A temporary file. Where none is yet, it has the rights of any new file; otherwise it stays
/// private until it gets those of the file that it replaces.
fn temporary_beside(place: &Place) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    if place.rights.is_none() {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    }
    builder.tempfile_in(place.path.parent().unwrap_or(Path::new(".")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
