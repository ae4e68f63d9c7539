//! Reading a message: bytes, JSON, a stream, a range, a file.
//!
//! No byte is handed out before the digest of its chunk has been checked, and a read of the whole
//! is complete only after the whole's digest.

use std::{
    fmt,
    io::{self, Write as _},
    ops::Range,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bus_codec::{
    chunks_to_read,
    stream::{DecodeOptions, StreamDecodeError, decode},
};
use bus_model::{Digest, Manifest, MessageBusRecord};
use bus_store::{ChunkStream, OpenMessage, Store, StoreError};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

use crate::{
    ClientError, ClientErrorKind,
    place::{self, Place},
};

/// The most that is allocated for a payload before its bytes are seen: 256 MiB.
const BELIEVED_SIZE: usize = 256 << 20;

/// A message that is open for reading. Its record and manifest are a snapshot: what is read is the
/// message that was opened, or an error.
pub struct Fetched {
    store: Arc<dyn Store>,
    record: MessageBusRecord,
    manifest: Arc<Manifest>,
    options: DecodeOptions,
}

/// The bytes of a payload, in order and verified. Memory is bounded by a few chunks.
///
/// An item that is an error is the last one; a stream that ends without one was complete.
pub struct PayloadStream(BoxStream<'static, Result<Bytes, ClientError>>);

impl Fetched {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        open: OpenMessage,
        parallelism: usize,
        check_whole: bool,
    ) -> Result<Self, ClientError> {
        let OpenMessage { record, manifest } = open;
        let found = manifest.digest();
        if record.manifest_sha256 != Some(found) {
            return Err(damaged(&record, "its manifest does not match its digest"));
        }
        let options = DecodeOptions {
            parallelism,
            check_whole,
        };
        Ok(Self {
            store,
            record,
            manifest: Arc::new(manifest),
            options,
        })
    }

    /// The record, without the payload.
    #[must_use]
    pub fn record(&self) -> &MessageBusRecord {
        &self.record
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The whole payload as a stream.
    #[must_use]
    pub fn stream(&self) -> PayloadStream {
        self.decoded(0..self.manifest.payload_size())
    }

    /// A range of the payload's bytes. Only the chunks that it touches are read. An end beyond the
    /// payload's is cut.
    ///
    /// # Errors
    /// [`ClientErrorKind::InvalidInput`] where the range begins beyond the payload's end.
    pub fn range(&self, range: Range<u64>) -> Result<PayloadStream, ClientError> {
        let size = self.manifest.payload_size();
        if range.start > size || range.start > range.end {
            return Err(ClientError::new(
                ClientErrorKind::InvalidInput,
                format!(
                    "bytes {}..{} are not in a payload of {size}",
                    range.start, range.end
                ),
            ));
        }
        Ok(self.decoded(range.start..range.end.min(size)))
    }

    /// The whole payload in memory.
    ///
    /// # Errors
    /// As the items of [`PayloadStream`].
    pub async fn bytes(&self) -> Result<Bytes, ClientError> {
        let mut stream = self.stream();
        let Some(first) = stream.try_next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = stream.try_next().await? else {
            return Ok(first);
        };
        let size = usize::try_from(self.manifest.payload_size()).unwrap_or(usize::MAX);
        let mut whole = BytesMut::new();
        // The size comes from the store: what is believed of it at once is bounded.
        whole.reserve(size.min(BELIEVED_SIZE));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(bytes) = stream.try_next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.freeze())
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// [`ClientErrorKind::InvalidInput`] where the payload is not JSON of that shape, or as the
    /// items of [`PayloadStream`].
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            ClientError::new(
                ClientErrorKind::InvalidInput,
                format!(
                    "the payload of {} ({}) is not JSON of the expected shape",
                    self.record.transaction_id, self.record.content_type
                ),
            )
            .with_source(error)
        })
    }

    /// The stored bytes as they are, chunk by chunk, each checked against its digest.
    #[must_use]
    pub fn stored(&self) -> PayloadStream {
        let manifest = Arc::clone(&self.manifest);
        let record = Arc::new(self.record.clone());
        let chunks = self.chunks(0..manifest.chunk_count());
        let checked = stream::try_unfold((chunks, 0), move |(mut chunks, seq)| {
            let expected = manifest.chunks().get(seq).map(|entry| entry.digest);
            let record = Arc::clone(&record);
            async move {
                match chunks.try_next().await? {
                    Some(bytes) => {
                        let bytes = check_stored(&record, seq, expected, bytes).await?;
                        Ok(Some((bytes, (chunks, seq + 1))))
                    }
                    None if expected.is_none() => Ok(None),
                    None => Err(damaged(&record, &format!("chunk {seq} is missing"))),
                }
            }
        });
        PayloadStream(checked.boxed())
    }

    /// Writes the payload to `path`, atomically: the file is there only when every byte has been
    /// verified and synced. An existing file is replaced and its rights are kept; of a link, what it
    /// leads to. Cancelled, it leaves nothing behind.
    ///
    /// # Errors
    /// [`ClientErrorKind::Source`] where the file cannot be written or is not a regular one, or as
    /// the items of [`PayloadStream`].
    pub async fn to_file(&self, path: &Path) -> Result<(), ClientError> {
        let failed = |error: io::Error| {
            ClientError::source_failed(format!("{} cannot be written", path.display()), error)
        };
        let named = path.to_owned();
        let (temporary, place) = blocking(move || {
            let place = place::find(&named)?;
            Ok((temporary_beside(&place)?, place))
        })
        .await
        .map_err(failed)?;
        let mut file = temporary.reopen().map_err(failed)?;
        let mut stream = self.stream();
        while let Some(bytes) = stream.try_next().await? {
            // One hop per chunk, and no copy; the next chunks are decoded meanwhile.
            file = blocking(move || file.write_all(&bytes).map(|()| file))
                .await
                .map_err(failed)?;
        }
        blocking(move || {
            if let Some(rights) = place.rights {
                file.set_permissions(rights)?;
            }
            file.sync_all()?;
            temporary.persist(place.path)?;
            Ok(())
        })
        .await
        .map_err(failed)
    }

    /// The record with its payload loaded.
    ///
    /// # Errors
    /// As [`Fetched::bytes`].
    pub async fn into_record(self) -> Result<MessageBusRecord, ClientError> {
        let payload = self.bytes().await?;
        Ok(MessageBusRecord {
            payload: Some(payload),
            ..self.record
        })
    }

    fn decoded(&self, range: Range<u64>) -> PayloadStream {
        let chunks = chunks_to_read(&self.manifest, range.clone());
        let record = self.record.clone();
        let manifest = Arc::clone(&self.manifest);
        let decoded = decode(manifest, range, self.options.clone(), self.chunks(chunks));
        PayloadStream(
            decoded
                .map_err(move |error| decode_error(&record, error))
                .boxed(),
        )
    }

    /// The stored chunks of `range`, asked for when they are first polled.
    fn chunks(&self, range: Range<u32>) -> ChunkStream {
        if range.is_empty() {
            return stream::empty().boxed();
        }
        let store = Arc::clone(&self.store);
        let (principal, id) = (self.record.principal.clone(), self.record.id);
        stream::once(async move { store.chunks(&principal, id, range).await })
            .try_flatten()
            .boxed()
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

impl Stream for PayloadStream {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for PayloadStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PayloadStream")
    }
}

/// A temporary file that is going to be a user's. Where none is yet, it gets the mode of any new
/// file; otherwise it stays private until it gets the one of the file that it replaces.
fn temporary_beside(place: &Place) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bus-");
    #[cfg(unix)]
    if place.rights.is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        // The umask takes away what the user does not want.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(place.path.parent().unwrap_or(Path::new(".")))
}

async fn check_stored(
    record: &MessageBusRecord,
    seq: usize,
    expected: Option<Digest>,
    bytes: Bytes,
) -> Result<Bytes, ClientError> {
    let hashed = bytes.clone();
    let found = blocking(move || Ok(Digest::of(&hashed)))
        .await
        .map_err(|error| ClientError::source_failed("a read was cut off", error))?;
    if Some(found) == expected {
        Ok(bytes)
    } else {
        Err(damaged(
            record,
            &format!("chunk {seq} does not match its digest"),
        ))
    }
}

fn decode_error(record: &MessageBusRecord, error: StreamDecodeError<StoreError>) -> ClientError {
    match error {
        StreamDecodeError::Source(error) => error.into(),
        StreamDecodeError::Stopped => {
            ClientError::new(ClientErrorKind::Cancelled, "a read was cut off").with_source(error)
        }
        other => damaged(record, "its body does not match its manifest").with_source(other),
    }
}

fn damaged(record: &MessageBusRecord, what: &str) -> ClientError {
    ClientError::new(
        ClientErrorKind::Damaged,
        format!(
            "message {} is damaged: {what}; delete it and publish it again",
            record.transaction_id
        ),
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
