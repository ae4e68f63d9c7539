//! One measured run, in a process of its own, so that its memory is its own.
//!
//! The payload is streamed from a file on the way up and hashed or counted on the way down; it is never held, except by
//! the bare loop, whose memory nobody measures.

use super::bare::{Calls, Encoded};
use super::latency::{self, Latency};
use super::payload::Payload;
use crate::measure::cpu_time;
use anyhow::{Context, Result, ensure};
use bus_client::{Message, MessageBusClient, Source};
use bus_codec::stream::{DecodeOptions, EncodeOptions, Encoder};
use bus_model::{ByteSize, Hasher, SessionId, ToolName, TransactionId};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::peak_rss;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Address and key of the project, which no command line shows.
pub(crate) const URL: &str = "BUS_BENCH_URL";
pub(crate) const KEY: &str = "BUS_BENCH_KEY";

/// What a process of its own is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Side {
    /// Publish a file.
    Publish { txn: String, file: PathBuf },
    /// Read a message and count its bytes, or hash them.
    Fetch { txn: String, hash: bool },
    /// Send the chunks of a file by the bare calls; with `codec`, encode while the clock runs.
    BareUp {
        txn: String,
        file: PathBuf,
        calls: usize,
        codec: bool,
    },
    /// Read the chunks of a message by the bare calls; with `codec`, decode and check besides.
    BareDown {
        txn: String,
        calls: usize,
        codec: bool,
    },
    /// Publish and fetch messages of 1 MiB, many at the same time.
    Latency {
        payload: Payload,
        publishers: usize,
        messages: usize,
    },
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    /// Of this process, on all processors together.
    pub(crate) cpu_seconds: f64,
    pub(crate) stored_bytes: u64,
    pub(crate) peak_rss: u64,
    /// How many calls the store wants at the same time.
    pub(crate) calls: usize,
    pub(crate) sha256: Option<String>,
    pub(crate) latency: Option<Latency>,
}

/// Does what `side` says, as JSON, and prints what came of it as JSON.
pub(crate) fn run(side: &str) -> Result<()> {
    let side: Side = serde_json::from_str(side)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut ran = runtime.block_on(measure(&side))?;
    ran.peak_rss = peak_rss(std::process::id())?;
    println!("{}", serde_json::to_string(&ran)?);
    Ok(())
}

async fn measure(side: &Side) -> Result<Ran> {
    match side {
        Side::Publish { txn, file } => publish(txn, file).await,
        Side::Fetch { txn, hash } => fetch(txn, *hash).await,
        Side::BareUp {
            txn,
            file,
            calls,
            codec,
        } => bare_up(txn, file, *calls, *codec).await,
        Side::BareDown { txn, calls, codec } => bare_down(txn, *calls, *codec).await,
        Side::Latency {
            payload,
            publishers,
            messages,
        } => {
            let latency = latency::measure(&client()?, *payload, *publishers, *messages).await?;
            Ok(Ran {
                latency: Some(latency),
                ..Ran::default()
            })
        }
    }
}

/// A clock that was started.
struct Clock(Instant, Duration);

impl Clock {
    fn start() -> Result<Self> {
        Ok(Self(Instant::now(), cpu_time()?))
    }

    fn stop(&self, stored_bytes: u64) -> Result<Ran> {
        Ok(Ran {
            seconds: self.0.elapsed().as_secs_f64(),
            cpu_seconds: cpu_time()?.saturating_sub(self.1).as_secs_f64(),
            stored_bytes,
            ..Ran::default()
        })
    }
}

async fn publish(txn: &str, file: &Path) -> Result<Ran> {
    let client = client()?;
    let mut message = message()?;
    message.transaction_id = Some(TransactionId::new(txn)?);
    let clock = Clock::start()?;
    let published = client.publish(message, Source::file(file)).await?;
    let stored = published.record.compressed_size_bytes;
    Ok(Ran {
        calls: client.store().await?.capabilities().concurrent_calls,
        ..clock.stop(stored.context("no stored size")?)?
    })
}

async fn fetch(txn: &str, hash: bool) -> Result<Ran> {
    let client = client()?;
    let mut hasher = Hasher::default();
    let mut size = 0;
    let clock = Clock::start()?;
    let fetched = client.fetch(&TransactionId::new(txn)?).await?;
    let mut stream = fetched.stream();
    while let Some(bytes) = stream.try_next().await? {
        size += bytes.len() as u64;
        if hash {
            hasher.update(&bytes);
        }
    }
    let ran = clock.stop(fetched.manifest().encoded_size())?;
    let expected = fetched.manifest().payload_size();
    ensure!(size == expected, "{size} bytes came, not {expected}");
    Ok(Ran {
        sha256: hash.then(|| hasher.finish().to_string()),
        ..ran
    })
}

async fn bare_up(txn: &str, file: &Path, calls: usize, codec: bool) -> Result<Ran> {
    let calls = bare(calls)?;
    if codec {
        let clock = Clock::start()?;
        let encoder = encoder(file).await?;
        let stored = calls.encode_and_write(txn, encoder).await?;
        return clock.stop(stored);
    }
    let encoded = encode(file).await?;
    let stored = encoded.manifest.encoded_size();
    let clock = Clock::start()?;
    calls.write(txn, encoded).await?;
    clock.stop(stored)
}

async fn bare_down(txn: &str, calls: usize, codec: bool) -> Result<Ran> {
    let calls = bare(calls)?;
    let clock = Clock::start()?;
    let stored = match codec {
        true => {
            let options = DecodeOptions {
                parallelism: parallelism(),
                check_whole: true,
            };
            calls.read_and_decode(txn, options).await?
        }
        false => calls.read(txn).await?,
    };
    clock.stop(stored)
}

/// As a client with default settings encodes it.
async fn encoder(file: &Path) -> Result<Encoder> {
    let options = EncodeOptions {
        parallelism: parallelism(),
        ..EncodeOptions::default()
    };
    Ok(Encoder::from_reader(
        tokio::fs::File::open(file).await?,
        options,
    ))
}

/// As many chunks at a time as a client with default settings works on.
fn parallelism() -> usize {
    std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .clamp(1, 4)
}

async fn encode(file: &Path) -> Result<Encoded> {
    let mut encoder = encoder(file).await?;
    let mut chunks = Vec::new();
    while let Some(chunk) = encoder.next().await {
        chunks.push(chunk?);
    }
    let manifest = encoder.finish()?;
    Ok(Encoded { manifest, chunks })
}

pub(super) fn message() -> Result<Message> {
    Ok(Message::new(
        SessionId::new("bench")?,
        ToolName::new("bench")?,
    ))
}

/// A client as a user has it, but for the size of a payload.
fn client() -> Result<MessageBusClient> {
    let config = SupabaseConfig::new(&variable(URL)?, &variable(KEY)?.into())?;
    Ok(MessageBusClient::builder()
        .store(Arc::new(SupabaseStore::new(config)?))
        .max_payload(ByteSize::mib(1 << 20))
        .build())
}

fn bare(calls: usize) -> Result<Calls> {
    Calls::new(&variable(URL)?, &variable(KEY)?, calls)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
