//! One publish: from a source to a committed message.

use std::{path::Path, sync::Arc, time::Duration};

use bus_codec::{
    EncodedChunk,
    stream::{EncodeOptions, Encoder},
};
use bus_model::{
    Attributes, ContentType, Digest, Manifest, MessageBusRecord, MessageKey, Principal,
    TransactionId,
};
use bus_store::{Begin, NewMessage, Plan, PutOutcome, Store, StoredChunk, contract::conflict};
use tokio::{fs::File, io::AsyncRead, time::Instant};

use crate::{
    ClientError, ClientErrorKind, Message, Published, Source, client::Tuning, message::Body,
    settings::Settings, upload::OpenUpload,
};

/// How long a publish waits for another writer of the same key.
const BUSY_WAIT: Duration = Duration::from_secs(10);
/// The longest pause between two questions whether the other writer is done.
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// What a publish works with.
pub(crate) struct Job<'a> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: &'a Settings,
    pub(crate) tuning: Tuning,
    pub(crate) principal: &'a Principal,
}

impl Job<'_> {
    pub(crate) async fn run(
        &self,
        message: Message,
        source: Source,
    ) -> Result<Published, ClientError> {
        let content_type = source.content_type.clone();
        let (mut encoder, declared) = self.open(source, message.expected_digest).await?;
        let new = self.new_message(message, content_type, &declared);
        let Some(first) = encoder.next().await else {
            return Err(no_chunk());
        };
        let first = first?;
        match encoder.next().await {
            None => {
                let manifest = encoder.finish()?;
                declared.check(&manifest)?;
                self.put(&new, &manifest, first).await
            }
            Some(second) => {
                self.upload(&new, &declared, encoder, [first, second?])
                    .await
            }
        }
    }

    /// A message of one chunk: one step, where the store has one.
    async fn put(
        &self,
        new: &NewMessage,
        manifest: &Manifest,
        chunk: EncodedChunk,
    ) -> Result<Published, ClientError> {
        let chunks = [StoredChunk {
            bytes: chunk.bytes,
            digest: chunk.digest,
        }];
        let patience = Patience::new();
        loop {
            match self.store.put(new, manifest, &chunks).await? {
                PutOutcome::Created(record) => {
                    return Ok(Published {
                        record: *record,
                        created: true,
                    });
                }
                PutOutcome::AlreadyThere(record) => {
                    return Ok(Published {
                        record: *record,
                        created: false,
                    });
                }
                PutOutcome::Busy { retry_after } => patience.wait(&new.key, retry_after).await?,
            }
        }
    }

    /// A message of several chunks: they are uploaded while the next ones are encoded.
    async fn upload(
        &self,
        new: &NewMessage,
        declared: &Declared,
        encoder: Encoder,
        head: [EncodedChunk; 2],
    ) -> Result<Published, ClientError> {
        let patience = Patience::new();
        let (upload, durable) = loop {
            match self.store.begin(new).await? {
                Begin::New(upload) => break (upload, Vec::new()),
                Begin::Resume(upload, durable) => break (upload, durable),
                Begin::Busy { retry_after } => patience.wait(&new.key, retry_after).await?,
                Begin::Complete(record) => {
                    return compare(&new.key, declared, encoder, *record).await;
                }
            }
        };
        // A remote store answers late: more calls than cores keep the way to it full.
        let window = self
            .store
            .capabilities()
            .concurrent_calls
            .max(self.tuning.parallelism);
        let mut upload = OpenUpload::new(Arc::clone(&self.store), upload, durable, window);
        match write(declared, encoder, &mut upload, head).await {
            Ok(record) => Ok(Published {
                record,
                created: true,
            }),
            Err(error) => {
                upload.abort(&error.to_string()).await;
                Err(error)
            }
        }
    }

    /// Starts to encode the source; what it says of its size.
    async fn open(
        &self,
        source: Source,
        expected: Option<Digest>,
    ) -> Result<(Encoder, Declared), ClientError> {
        let limit = self.settings.max_payload.get();
        let options = EncodeOptions {
            encoding: self.settings.compression,
            level: self.tuning.level,
            chunk_size: self.tuning.chunk_size,
            parallelism: self.tuning.parallelism,
            max_payload: limit,
        };
        let (reader, size): (Box<dyn AsyncRead + Send + Unpin>, _) = match source.body {
            Body::Bytes(bytes) => {
                let size = bytes.len() as u64;
                let declared = Declared::new(Some(size), expected, limit)?;
                return Ok((Encoder::from_bytes(bytes, options), declared));
            }
            Body::Reader { reader, declared } => (reader, declared),
            Body::File(path) => open_file(&path).await?,
        };
        let declared = Declared::new(size, expected, limit)?;
        Ok((Encoder::from_reader(reader, options), declared))
    }

    fn new_message(
        &self,
        message: Message,
        source: ContentType,
        declared: &Declared,
    ) -> NewMessage {
        let id = message.transaction_id.unwrap_or_else(TransactionId::mint);
        NewMessage {
            key: MessageKey::new(self.principal.clone(), id),
            attributes: Attributes {
                session_id: message.session_id,
                tool_name: message.tool_name,
                provider_name: message.provider_name,
                content_type: message.content_type.unwrap_or(source),
                priority: message.priority,
                metadata: message.metadata,
                ttl: message.ttl.unwrap_or(self.settings.ttl),
            },
            plan: Plan {
                encoding: self.settings.compression,
                chunk_size: u64::from(self.tuning.chunk_size),
                expected_digest: declared.digest,
                expected_size: declared.size,
                lease: self.settings.lease,
            },
        }
    }
}

/// What was said of a payload before it was read.
struct Declared {
    size: Option<u64>,
    digest: Option<Digest>,
}

impl Declared {
    /// Refuses a size above `limit`.
    fn new(size: Option<u64>, digest: Option<Digest>, limit: u64) -> Result<Self, ClientError> {
        match size {
            Some(bytes) if bytes > limit => Err(ClientError::too_large(size, limit)),
            _ => Ok(Self { size, digest }),
        }
    }

    /// Whether the payload was what it was said to be.
    fn check(&self, manifest: &Manifest) -> Result<(), ClientError> {
        if let Some(size) = self.size
            && size != manifest.payload_size()
        {
            return Err(ClientError::new(
                ClientErrorKind::Source,
                format!(
                    "the payload's source gave {} bytes, {size} were declared; nothing was kept",
                    manifest.payload_size()
                ),
            ));
        }
        match self.digest {
            Some(digest) if digest != manifest.payload_digest() => Err(
                ClientError::digest_mismatch(digest, manifest.payload_digest()),
            ),
            _ => Ok(()),
        }
    }
}

/// Uploads everything and commits. The lease is kept while the source is slow.
async fn write(
    declared: &Declared,
    mut encoder: Encoder,
    upload: &mut OpenUpload,
    head: [EncodedChunk; 2],
) -> Result<MessageBusRecord, ClientError> {
    for chunk in head {
        upload.send(chunk).await?;
    }
    loop {
        let next = tokio::select! {
            next = encoder.next() => next,
            error = upload.keep_alive() => return Err(error.into()),
        };
        match next {
            Some(chunk) => upload.send(chunk?).await?,
            None => break,
        }
    }
    let manifest = encoder.finish()?;
    declared.check(&manifest)?;
    Ok(upload.commit(&manifest).await?)
}

/// The key is taken: success where the payload is the same, else a conflict. The source is read to
/// its end, so that what it gives is really compared.
async fn compare(
    key: &MessageKey,
    declared: &Declared,
    mut encoder: Encoder,
    record: MessageBusRecord,
) -> Result<Published, ClientError> {
    while let Some(chunk) = encoder.next().await {
        chunk?;
    }
    let manifest = encoder.finish()?;
    declared.check(&manifest)?;
    if record.checksum == Some(manifest.payload_digest()) {
        Ok(Published {
            record,
            created: false,
        })
    } else {
        Err(conflict(key).into())
    }
}

/// A file and, where it is a regular one, its size.
async fn open_file(
    path: &Path,
) -> Result<(Box<dyn AsyncRead + Send + Unpin>, Option<u64>), ClientError> {
    let failed =
        |error| ClientError::source_failed(format!("{} cannot be read", path.display()), error);
    let file = File::open(path).await.map_err(failed)?;
    let metadata = file.metadata().await.map_err(failed)?;
    if metadata.is_dir() {
        return Err(ClientError::new(
            ClientErrorKind::InvalidInput,
            format!("{} is a folder: name a file", path.display()),
        ));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), size))
}

/// How long this publish still waits for another writer.
struct Patience {
    until: Instant,
}

impl Patience {
    fn new() -> Self {
        Self {
            until: Instant::now() + BUSY_WAIT,
        }
    }

    /// Pauses before the next question.
    async fn wait(&self, key: &MessageKey, retry_after: Duration) -> Result<(), ClientError> {
        if Instant::now() >= self.until {
            let message = format!(
                "transaction id {} is being written by somebody else",
                key.transaction_id
            );
            return Err(
                ClientError::new(ClientErrorKind::Busy, message).with_retry_after(retry_after)
            );
        }
        tokio::time::sleep(retry_after.min(BUSY_PAUSE)).await;
        Ok(())
    }
}

fn no_chunk() -> ClientError {
    ClientError::new(
        ClientErrorKind::Internal,
        "the encoder gave no chunk; please report this",
    )
}
