//! The bare loop: the very calls that the store makes, with the same concurrency, and nothing around them.
//!
//! Chunks are encoded before the clock starts. No message is resumed, no lease kept, no digest checked on the way down:
//! what is left is what HTTP, the server and the database cost.

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bus_codec::EncodedChunk;
use bus_model::Manifest;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{
    Client, Response,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const JSON: &str = "application/json";
const OCTETS: &str = "application/octet-stream";
const FENCE: &str = "00000000-0000-4000-8000-000000000001";
const PRINCIPAL: &str = "default";

/// A payload that is encoded already.
pub(crate) struct Encoded {
    pub(crate) manifest: Manifest,
    pub(crate) chunks: Vec<EncodedChunk>,
}

/// A chunk as it is sent.
enum Part {
    /// Stored bytes; the body is made when it is sent, as the store does.
    Chunk(EncodedChunk),
    /// A body made before the clock started.
    Body(Bytes),
}

/// A project and how many calls to make at the same time.
#[derive(Clone)]
pub(crate) struct Calls {
    client: Client,
    base: Arc<str>,
    at_once: usize,
}

/// An upload that has begun.
pub(crate) struct Begun {
    id: String,
    parts: Vec<Part>,
    manifest: Manifest,
}

impl Calls {
    /// The settings are those of the store's own HTTP client.
    pub(crate) fn new(url: &str, key: &str, at_once: usize) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert("apikey", HeaderValue::from_str(key)?);
        let ping = Duration::from_secs(10);
        let client = Client::builder()
            .default_headers(headers)
            .user_agent("bus-bench")
            .connect_timeout(ping)
            .read_timeout(Duration::from_secs(30))
            .pool_idle_timeout(Duration::from_secs(60))
            .tcp_keepalive(ping)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(ping)
            .http2_keep_alive_timeout(ping)
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            base: format!("{url}/rest/v1/rpc").into(),
            at_once: at_once.max(1),
        })
    }

    /// Asks for the right to write.
    pub(crate) async fn begin(&self, txn: &str, encoded: Encoded) -> Result<Begun> {
        let Encoded { manifest, chunks } = encoded;
        let request = json!({
            "principal": PRINCIPAL, "transaction_id": txn, "session_id": "bench", "tool_name": "bench",
            "provider_name": "bench", "content_type": OCTETS, "priority": "normal", "metadata": "{}",
            "format_version": 1, "compression_type": manifest.encoding(),
            "chunk_size_bytes": manifest.chunk_size(), "expected_size_bytes": manifest.payload_size(),
            "upload_token": FENCE, "lease_ms": 60_000, "ttl_ms": 172_800_000,
        });
        let answer = self.ask("bus_begin", &request).await?;
        Ok(Begun {
            parts: chunks.into_iter().map(Part::Chunk).collect(),
            id: text(&answer, "id")?,
            manifest,
        })
    }

    /// Sends every chunk and commits.
    pub(crate) async fn write(&self, begun: Begun) -> Result<()> {
        let id: Arc<str> = begun.id.into();
        stream::iter(begun.parts)
            .map(|part| {
                let (calls, id) = (self.clone(), Arc::clone(&id));
                async move { tokio::spawn(async move { calls.put(&id, part).await }).await? }
            })
            .buffer_unordered(self.at_once)
            .try_collect::<()>()
            .await?;
        let request = json!({
            "principal": PRINCIPAL, "id": &*id, "upload_token": FENCE,
            "manifest": BASE64_STANDARD.encode(begun.manifest.to_bytes()),
        });
        self.ask("bus_commit", &request).await.map(drop)
    }

    /// Reads every chunk; how many stored bytes came.
    pub(crate) async fn read(&self, txn: &str) -> Result<u64> {
        let request = json!({ "principal": PRINCIPAL, "transaction_id": txn });
        let answer = self.ask("bus_open", &request).await?;
        let id: Arc<str> = text(&answer["record"], "id")?.into();
        let manifest = BASE64_STANDARD.decode(text(&answer, "manifest")?)?;
        let count = Manifest::from_bytes(&manifest)?.chunk_count();
        let sizes: Vec<u64> = stream::iter(0..count)
            .map(|seq| {
                let (calls, id) = (self.clone(), Arc::clone(&id));
                async move { tokio::spawn(async move { calls.chunk(&id, seq, count).await }).await? }
            })
            .buffer_unordered(self.at_once)
            .try_collect()
            .await?;
        Ok(sizes.iter().sum())
    }

    async fn put(&self, id: &str, part: Part) -> Result<()> {
        let body = match part {
            Part::Body(body) => body,
            Part::Chunk(chunk) => body(id, &chunk),
        };
        let answer = self.post("bus_put_chunk", body).await?;
        ensure!(answer["outcome"] == "ok", "bus_put_chunk answered {answer}");
        Ok(())
    }

    async fn chunk(&self, id: &str, seq: u32, until: u32) -> Result<u64> {
        let url = format!(
            "{}/bus_chunk?principal={PRINCIPAL}&id={id}&seq={seq}&until={until}",
            self.base
        );
        let response = self.client.get(url).header(ACCEPT, OCTETS).send().await?;
        Ok(whole("bus_chunk", response).await?.len() as u64)
    }

    async fn ask(&self, function: &str, request: &Value) -> Result<Value> {
        let body = json!({ "request": request.to_string() }).to_string();
        let answer = self.post(function, body.into()).await?;
        let refused = !matches!(answer["outcome"].as_str(), Some("ok" | "new"));
        ensure!(!refused, "{function} answered {answer}");
        Ok(answer)
    }

    async fn post(&self, function: &str, body: Bytes) -> Result<Value> {
        let request = self
            .client
            .post(format!("{}/{function}", self.base))
            .header(ACCEPT, JSON)
            .header(CONTENT_TYPE, JSON);
        let answer = whole(function, request.body(body).send().await?).await?;
        let text: String = serde_json::from_slice(&answer)?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Begun {
    /// Makes the body of every chunk, so that nothing but the calls is left to do.
    pub(crate) fn make_bodies(&mut self) {
        for part in &mut self.parts {
            if let Part::Chunk(chunk) = part {
                *part = Part::Body(body(&self.id, chunk));
            }
        }
    }
}

/// The body of `bus_put_chunk`.
fn body(id: &str, chunk: &EncodedChunk) -> Bytes {
    let request = json!({
        "principal": PRINCIPAL, "id": id, "upload_token": FENCE,
        "seq": chunk.seq, "sha256": chunk.digest.to_string(),
    });
    let request = Value::from(request.to_string()).to_string();
    let mut text = String::with_capacity(request.len() + chunk.bytes.len() / 3 * 4 + 64);
    text.push_str("{\"request\":");
    text.push_str(&request);
    text.push_str(",\"body\":\"");
    BASE64_STANDARD.encode_string(&chunk.bytes, &mut text);
    text.push_str("\"}");
    text.into()
}

async fn whole(function: &str, response: Response) -> Result<Bytes> {
    let status = response.status();
    let body = response.bytes().await?;
    if !status.is_success() {
        bail!("{function}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

fn text(answer: &Value, name: &str) -> Result<String> {
    let found = answer[name].as_str().map(str::to_owned);
    found.with_context(|| format!("there is no {name} in {answer}"))
}
