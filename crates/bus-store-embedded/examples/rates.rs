//! How fast the embedded store is here: 100 x 5 MB in and out, 10,000 x 2 KB in, peak memory.
//!
//! `cargo run --release -p bus-store-embedded --example rates [FOLDER]`; the folder (a temporary
//! one by default) should be on the disk that is meant.
#![allow(clippy::print_stdout, reason = "a program, not a library")]

use std::{error::Error, future::Future, path::PathBuf, sync::Arc, time::Instant};

use bus_model::{
    Attributes, ChunkEntry, CompressionType, Digest, Hasher, Manifest, MessageKey, Principal,
    SessionId, ToolName, TransactionId,
};
use bus_store::{NewMessage, Plan, PurgeOptions, Store, StoreExt as _, StoredChunk};
use bus_store_embedded::EmbeddedStore;
use futures::{StreamExt as _, TryStreamExt as _, stream};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const LARGE: usize = 5_000_000;
const LARGE_COUNT: u32 = 100;
const SMALL: usize = 2048;
const SMALL_COUNT: u32 = 10_000;
const CHUNK: usize = 2 << 20;

#[tokio::main]
async fn main() -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args_os()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(&dir)?);
    let (manifest, chunks) = body(LARGE)?;
    let megabytes = f64::from(LARGE_COUNT) * 5.0;
    for width in [1, 4] {
        let prefix = format!("large-{width}");
        let took = timed(put_all(
            &store,
            &prefix,
            LARGE_COUNT,
            width,
            &manifest,
            &chunks,
        ))
        .await?;
        println!(
            "100 x 5 MB in, {width} at a time: {:.0} MB/s ({})",
            megabytes / took,
            memory()
        );
        let took = timed(read_all(&store, &prefix, LARGE_COUNT, width)).await?;
        println!(
            "100 x 5 MB out, {width} at a time: {:.0} MB/s ({})",
            megabytes / took,
            memory()
        );
    }
    let (manifest, chunks) = body(SMALL)?;
    for width in [1, 16] {
        let prefix = format!("small-{width}");
        let took = timed(put_all(
            &store,
            &prefix,
            SMALL_COUNT,
            width,
            &manifest,
            &chunks,
        ))
        .await?;
        let rate = f64::from(SMALL_COUNT) / took;
        println!(
            "2 KB put, {width} at a time: {rate:.0} a second ({})",
            memory()
        );
        let took = timed(read_all(&store, &prefix, SMALL_COUNT, width)).await?;
        let rate = f64::from(SMALL_COUNT) / took;
        println!(
            "2 KB read, {width} at a time: {rate:.0} a second ({})",
            memory()
        );
    }
    let took = timed(async { EmbeddedStore::open(&dir).map(drop).map_err(Into::into) }).await?;
    println!("open with 20,200 messages: {:.1} ms", took * 1000.0);
    let took = timed(async { store.stats().await.map(drop).map_err(Into::into) }).await?;
    println!("stats: {:.1} ms", took * 1000.0);
    let purge = async { store.purge_all(&PurgeOptions::default()).await };
    let took = timed(async { purge.await.map(drop).map_err(Into::into) }).await?;
    println!("purge that finds nothing: {:.1} ms", took * 1000.0);
    Ok(())
}

/// What this process holds now and has held at most, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or("unknown").trim().to_owned()
    };
    format!("{} anonymous, peak {}", field("RssAnon:"), field("VmHWM:"))
}

async fn timed<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<f64> {
    let start = Instant::now();
    work.await?;
    Ok(start.elapsed().as_secs_f64())
}

async fn put_all(
    store: &Arc<dyn Store>,
    prefix: &str,
    count: u32,
    width: usize,
    manifest: &Manifest,
    chunks: &[StoredChunk],
) -> Outcome<()> {
    stream::iter((0..count).map(Ok))
        .try_for_each_concurrent(width, |i| async move {
            let message = message(prefix, i, manifest)?;
            store.put(&message, manifest, chunks).await?;
            Outcome::Ok(())
        })
        .await
}

async fn read_all(store: &Arc<dyn Store>, prefix: &str, count: u32, width: usize) -> Outcome<()> {
    stream::iter((0..count).map(Ok))
        .try_for_each_concurrent(width, |i| async move {
            let key = key(prefix, i)?;
            let opened = store.open(&key).await?;
            let all = 0..opened.manifest.chunk_count();
            let mut chunks = store.chunks(&key.principal, opened.record.id, all).await?;
            while let Some(chunk) = chunks.next().await {
                chunk?;
            }
            Outcome::Ok(())
        })
        .await
}

fn key(prefix: &str, i: u32) -> Outcome<MessageKey> {
    let id = TransactionId::new(format!("{prefix}-{i}"))?;
    Ok(MessageKey::new(Principal::default(), id))
}

fn message(prefix: &str, i: u32, manifest: &Manifest) -> Outcome<NewMessage> {
    Ok(NewMessage {
        key: key(prefix, i)?,
        attributes: Attributes::new(SessionId::new("rates")?, ToolName::new("rates")?),
        plan: Plan {
            encoding: manifest.encoding(),
            chunk_size: manifest.chunk_size(),
            expected_digest: Some(manifest.payload_digest()),
            expected_size: Some(manifest.payload_size()),
            lease: std::time::Duration::from_secs(60),
        },
    })
}

/// Raw chunks of bytes that look random.
fn body(size: usize) -> Outcome<(Manifest, Vec<StoredChunk>)> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    let payload: Vec<u8> = (0..size).map(|_| next()).collect();
    let chunks: Vec<StoredChunk> = payload
        .chunks(CHUNK)
        .map(|bytes| StoredChunk {
            bytes: bytes.to_vec().into(),
            digest: Digest::of(bytes),
        })
        .collect();
    let mut encoded = Hasher::new();
    encoded.update(&payload);
    let entries = chunks
        .iter()
        .map(|chunk| ChunkEntry {
            stored_len: chunk.bytes.len() as u64,
            digest: chunk.digest,
        })
        .collect();
    let manifest = Manifest::new(
        CompressionType::None,
        CHUNK as u64,
        payload.len() as u64,
        Digest::of(&payload),
        encoded.finish(),
        entries,
    )?;
    Ok((manifest, chunks))
}
