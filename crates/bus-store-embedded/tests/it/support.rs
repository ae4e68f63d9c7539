//! Messages, bodies and folders for the tests.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bus_model::{
    Attributes, ChunkEntry, CompressionType, Digest, Hasher, Manifest, MessageBusRecord,
    MessageKey, Principal, SessionId, ToolName, TransactionId,
};
use bus_store::{
    Begin, ManualClock, NewMessage, Plan, Store, StoreError, StoreErrorKind, StoredChunk, Upload,
    UploadToken,
};
use bus_store_embedded::{EmbeddedStore, Options};
use bytes::Bytes;
use futures::TryStreamExt as _;
use tempfile::TempDir;

/// The lease of the tests' writers.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// A store in a folder that goes with it, under a clock of its own.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: EmbeddedStore,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(crate) fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let options = change(Options {
            clock: Arc::clone(&clock) as _,
            ..Options::default()
        });
        let store = EmbeddedStore::open_with(dir.path(), options).unwrap();
        Self { dir, clock, store }
    }

    /// Another handle on the same folder, as another process would have one.
    pub(crate) fn other(&self) -> EmbeddedStore {
        let options = Options {
            clock: Arc::clone(&self.clock) as _,
            ..Options::default()
        };
        EmbeddedStore::open_with(self.dir.path(), options).unwrap()
    }

    pub(crate) fn body_files(&self) -> Vec<std::path::PathBuf> {
        body_files(self.dir.path())
    }
}

/// All files below `bodies`.
pub(crate) fn body_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![dir.join("bodies")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

/// A payload in raw chunks.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<StoredChunk>,
}

pub(crate) fn body(payload: impl Into<Bytes>, chunk_size: usize) -> Body {
    let payload: Bytes = payload.into();
    let mut chunks: Vec<StoredChunk> = (0..payload.len())
        .step_by(chunk_size)
        .map(|at| stored(payload.slice(at..payload.len().min(at + chunk_size))))
        .collect();
    if chunks.is_empty() {
        chunks.push(stored(Bytes::new()));
    }
    let mut encoded = Hasher::new();
    for chunk in &chunks {
        encoded.update(&chunk.bytes);
    }
    let entries = chunks
        .iter()
        .map(|chunk| ChunkEntry {
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        })
        .collect();
    let manifest = Manifest::new(
        CompressionType::None,
        chunk_size as u64,
        payload.len() as u64,
        Digest::of(&payload),
        encoded.finish(),
        entries,
    )
    .unwrap();
    Body { manifest, chunks }
}

pub(crate) fn stored(bytes: impl Into<Bytes>) -> StoredChunk {
    let bytes = bytes.into();
    let digest = Digest::of(&bytes);
    StoredChunk { bytes, digest }
}

/// `len` bytes that depend on `seed` and do not compress.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

pub(crate) fn key(name: &str) -> MessageKey {
    MessageKey::new(Principal::default(), TransactionId::new(name).unwrap())
}

/// A message whose body has chunks of `chunk_size` original bytes.
pub(crate) fn message(name: &str, chunk_size: u64) -> NewMessage {
    NewMessage {
        key: key(name),
        attributes: Attributes::new(
            SessionId::new("session").unwrap(),
            ToolName::new("tool").unwrap(),
        ),
        plan: Plan {
            encoding: CompressionType::None,
            chunk_size,
            expected_digest: None,
            expected_size: None,
            lease: LEASE,
        },
    }
}

pub(crate) async fn begin(store: &dyn Store, message: &NewMessage) -> Upload {
    match store.begin(message).await.unwrap() {
        Begin::New(upload) => upload,
        other => panic!("a new upload was expected, not {other:?}"),
    }
}

pub(crate) async fn upload(store: &dyn Store, token: &UploadToken, chunks: &[StoredChunk]) {
    for (seq, chunk) in (0..).zip(chunks) {
        store.put_chunk(token, seq, chunk.clone()).await.unwrap();
    }
}

/// Publishes step by step.
pub(crate) async fn publish(store: &dyn Store, name: &str, body: &Body) -> MessageBusRecord {
    let message = message(name, body.manifest.chunk_size());
    let begun = begin(store, &message).await;
    upload(store, &begun.token, &body.chunks).await;
    store.commit(&begun.token, &body.manifest).await.unwrap()
}

/// The payload, or why it cannot be read.
pub(crate) async fn read(store: &dyn Store, name: &str) -> Result<Vec<u8>, StoreError> {
    let key = key(name);
    let opened = store.open(&key).await?;
    let all = 0..opened.manifest.chunk_count();
    let chunks = store.chunks(&key.principal, opened.record.id, all).await?;
    let chunks: Vec<Bytes> = chunks.try_collect().await?;
    for (chunk, entry) in chunks.iter().zip(opened.manifest.chunks()) {
        assert_eq!(Digest::of(chunk), entry.digest, "a chunk of {name} differs");
    }
    Ok(chunks.concat())
}

#[track_caller]
pub(crate) fn refused<T: fmt::Debug>(
    result: Result<T, StoreError>,
    kind: StoreErrorKind,
) -> String {
    let error = result.expect_err("an error was expected");
    assert_eq!(error.kind(), kind, "{error:?}");
    error.to_string()
}
