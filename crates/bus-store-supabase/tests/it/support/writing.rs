//! Messages and bodies of raw chunks.

use std::time::Duration;

use bus_client::MessageBusClient;
use bus_model::{
    Attributes, ChunkEntry, CompressionType, Digest, Hasher, Manifest, MessageKey, Principal,
    TransactionId,
};
use bus_store::{Begin, NewMessage, Plan, Store, StoredChunk, Upload};
use bytes::Bytes;
use futures::TryStreamExt as _;

/// A body in its stored form.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<StoredChunk>,
}

/// `payload` in raw chunks of `chunk_size` bytes.
pub(crate) fn body(payload: impl Into<Bytes>, chunk_size: usize) -> Body {
    let payload = payload.into();
    let starts = (0..payload.len().max(1)).step_by(chunk_size);
    let chunks: Vec<StoredChunk> = starts
        .map(|start| stored(payload.slice(start..payload.len().min(start + chunk_size))))
        .collect();
    let mut encoded = Hasher::new();
    let entry = |chunk: &StoredChunk| ChunkEntry {
        stored_len: chunk.bytes.len() as u64,
        digest: chunk.digest,
    };
    encoded.update(&payload);
    let manifest = Manifest::new(
        CompressionType::None,
        chunk_size as u64,
        payload.len() as u64,
        Digest::of(&payload),
        encoded.finish(),
        chunks.iter().map(entry).collect(),
    );
    Body {
        manifest: manifest.unwrap(),
        chunks,
    }
}

pub(crate) fn stored(bytes: impl Into<Bytes>) -> StoredChunk {
    let bytes = bytes.into();
    let digest = Digest::of(&bytes);
    StoredChunk { bytes, digest }
}

/// A message of the default principal whose chunks are those of `body`.
pub(crate) fn message(name: &str, body: &Body) -> NewMessage {
    let id = TransactionId::new(name).unwrap();
    NewMessage {
        key: MessageKey::new(Principal::default(), id),
        attributes: Attributes::new("session".parse().unwrap(), "tool".parse().unwrap()),
        plan: Plan {
            encoding: CompressionType::None,
            chunk_size: body.manifest.chunk_size(),
            expected_digest: None,
            expected_size: None,
            lease: Duration::from_secs(600),
        },
    }
}

/// Begins what nobody has begun before.
pub(crate) async fn begin_new(store: &dyn Store, message: &NewMessage) -> Upload {
    match store.begin(message).await.unwrap() {
        Begin::New(upload) => upload,
        other => panic!("a new upload was expected, not {other:?}"),
    }
}

/// Uploads all chunks, one after the other.
pub(crate) async fn upload(store: &dyn Store, upload: &Upload, body: &Body) {
    for (seq, chunk) in (0..).zip(&body.chunks) {
        let put = store.put_chunk(&upload.token, seq, chunk.clone());
        put.await.unwrap();
    }
}

/// Writes `body` step by step.
pub(crate) async fn write(store: &dyn Store, name: &str, body: &Body) {
    let begun = begin_new(store, &message(name, body)).await;
    upload(store, &begun, body).await;
    store.commit(&begun.token, &body.manifest).await.unwrap();
}

/// All stored bytes of a message.
pub(crate) async fn read(store: &dyn Store, name: &str) -> Vec<u8> {
    let id = TransactionId::new(name).unwrap();
    let opened = store
        .open(&MessageKey::new(Principal::default(), id))
        .await
        .unwrap();
    let all = 0..opened.manifest.chunk_count();
    let chunks = store.chunks(&opened.record.principal, opened.record.id, all);
    let chunks: Vec<Bytes> = chunks.await.unwrap().try_collect().await.unwrap();
    chunks.concat()
}

/// A client whose bodies go as they are, in small chunks.
pub(crate) fn client(store: std::sync::Arc<dyn Store>) -> MessageBusClient {
    MessageBusClient::builder()
        .store(store)
        .compression(CompressionType::None)
        .chunk_size(100_000)
        .parallelism(1)
        .build()
}

pub(crate) fn published(name: &str) -> bus_client::Message {
    bus_client::Message {
        transaction_id: Some(name.parse().unwrap()),
        ..bus_client::Message::new("session".parse().unwrap(), "tool".parse().unwrap())
    }
}
