//! One measured run, in a process of its own, so that its memory is its own.
//!
//! The payload is streamed from a file on the way up and hashed or counted on the way down; it is never held, except by
//! the bare loop, whose memory nobody measures.

use super::bare::{Calls, Encoded};
use super::latency::{self, Latency};
use super::payload::Payload;
use anyhow::{Context, Result, bail};
use bus_client::{Message, MessageBusClient, Source};
use bus_codec::stream::{EncodeOptions, Encoder};
use bus_model::{ByteSize, Hasher, SessionId, ToolName, TransactionId};
use bus_store_supabase::{SupabaseConfig, SupabaseStore};
use bus_testkit::peak_rss;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Address and key of the project, which no command line shows.
pub(crate) const URL: &str = "BUS_BENCH_URL";
pub(crate) const KEY: &str = "BUS_BENCH_KEY";

/// What a process of its own is to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Side {
    /// Publish a file
    Publish { txn: String, file: PathBuf },
    /// Read a message and count its bytes
    Fetch { txn: String },
    /// Read a message and hash its bytes besides
    Hash { txn: String },
    /// Send the chunks of a file by the bare calls
    BareUp {
        txn: String,
        file: PathBuf,
        /// How many calls at the same time
        #[arg(long)]
        calls: usize,
        /// Make the bodies of the calls before the clock starts
        #[arg(long)]
        ready: bool,
    },
    /// Read the chunks of a message by the bare calls
    BareDown {
        txn: String,
        #[arg(long)]
        calls: usize,
    },
    /// Publish and fetch messages of 1 MiB, many at the same time
    Latency {
        payload: Payload,
        #[arg(long)]
        publishers: usize,
        #[arg(long)]
        messages: usize,
    },
}

impl Side {
    /// The command line that says the same.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        let number = |number: &usize| number.to_string().into();
        match self {
            Self::Publish { txn, file } => vec!["publish".into(), txn.into(), file.into()],
            Self::Fetch { txn } => vec!["fetch".into(), txn.into()],
            Self::Hash { txn } => vec!["hash".into(), txn.into()],
            Self::BareUp {
                txn,
                file,
                calls,
                ready,
            } => {
                let start = [
                    "bare-up".into(),
                    txn.into(),
                    file.into(),
                    "--calls".into(),
                    number(calls),
                ];
                start
                    .into_iter()
                    .chain(ready.then(|| "--ready".into()))
                    .collect()
            }
            Self::BareDown { txn, calls } => {
                vec![
                    "bare-down".into(),
                    txn.into(),
                    "--calls".into(),
                    number(calls),
                ]
            }
            Self::Latency {
                payload,
                publishers,
                messages,
            } => vec![
                "latency".into(),
                payload.name().into(),
                "--publishers".into(),
                number(publishers),
                "--messages".into(),
                number(messages),
            ],
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    pub(crate) stored_bytes: u64,
    pub(crate) peak_rss: u64,
    /// How many calls the store wants at the same time.
    pub(crate) calls: usize,
    pub(crate) sha256: Option<String>,
    pub(crate) latency: Option<Latency>,
}

/// Does it and prints what came of it as JSON.
pub(crate) fn run(side: &Side) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut ran = runtime.block_on(measure(side))?;
    ran.peak_rss = peak_rss(std::process::id())?;
    println!("{}", serde_json::to_string(&ran)?);
    Ok(())
}

async fn measure(side: &Side) -> Result<Ran> {
    match side {
        Side::Publish { txn, file } => publish(txn, file).await,
        Side::Fetch { txn } => fetch(txn, false).await,
        Side::Hash { txn } => fetch(txn, true).await,
        Side::BareUp {
            txn,
            file,
            calls,
            ready,
        } => bare_up(txn, file, *calls, *ready).await,
        Side::BareDown { txn, calls } => bare_down(txn, *calls).await,
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

async fn publish(txn: &str, file: &Path) -> Result<Ran> {
    let client = client()?;
    let mut message = message()?;
    message.transaction_id = Some(TransactionId::new(txn)?);
    let start = Instant::now();
    let published = client.publish(message, Source::file(file)).await?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(Ran {
        seconds,
        stored_bytes: published
            .record
            .compressed_size_bytes
            .context("no stored size")?,
        calls: client.store().await?.capabilities().concurrent_calls,
        ..Ran::default()
    })
}

async fn fetch(txn: &str, hash: bool) -> Result<Ran> {
    let client = client()?;
    let mut hasher = Hasher::default();
    let mut size = 0;
    let start = Instant::now();
    let fetched = client.fetch(&TransactionId::new(txn)?).await?;
    let mut stream = fetched.stream();
    while let Some(bytes) = stream.try_next().await? {
        size += bytes.len() as u64;
        if hash {
            hasher.update(&bytes);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    if size != fetched.manifest().payload_size() {
        bail!(
            "{size} bytes came, not {}",
            fetched.manifest().payload_size()
        );
    }
    Ok(Ran {
        seconds,
        stored_bytes: fetched.manifest().encoded_size(),
        sha256: hash.then(|| hasher.finish().to_string()),
        ..Ran::default()
    })
}

async fn bare_up(txn: &str, file: &Path, calls: usize, ready: bool) -> Result<Ran> {
    let encoded = encode(file).await?;
    let stored_bytes = encoded.manifest.encoded_size();
    let calls = bare(calls)?;
    let start = Instant::now();
    let mut begun = calls.begin(txn, encoded).await?;
    let mut time = start.elapsed();
    if ready {
        begun.make_bodies();
    }
    let start = Instant::now();
    calls.write(begun).await?;
    time += start.elapsed();
    Ok(ran(time, stored_bytes))
}

async fn bare_down(txn: &str, calls: usize) -> Result<Ran> {
    let calls = bare(calls)?;
    let start = Instant::now();
    let stored_bytes = calls.read(txn).await?;
    Ok(ran(start.elapsed(), stored_bytes))
}

/// As a client with default settings encodes it.
async fn encode(file: &Path) -> Result<Encoded> {
    let file = tokio::fs::File::open(file).await?;
    let mut encoder = Encoder::from_reader(file, EncodeOptions::default());
    let mut chunks = Vec::new();
    while let Some(chunk) = encoder.next().await {
        chunks.push(chunk?);
    }
    let manifest = encoder.finish()?;
    Ok(Encoded { manifest, chunks })
}

fn ran(time: Duration, stored_bytes: u64) -> Ran {
    Ran {
        seconds: time.as_secs_f64(),
        stored_bytes,
        ..Ran::default()
    }
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
