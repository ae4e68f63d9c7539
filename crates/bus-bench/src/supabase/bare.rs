//! The bare loop: the very calls that the store makes, with the same concurrency, and nothing around them.
//!
//! Chunks are encoded before the clock starts. No message is resumed, no lease kept, no digest checked on the way down:
//! what is left is what HTTP, the server and the database cost. A second one encodes and decodes besides, since on one
//! machine with the server that work takes processors from it: what is left there is what the client and store cost.

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bus_codec::stream::{DecodeOptions, Encoder, decode};
use bus_codec::{DEFAULT_CHUNK_SIZE, EncodedChunk};
use bus_model::{CompressionType, Manifest};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use reqwest::{
    Client, Response,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use std::pin::pin;
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

/// A project and how many calls to make at the same time.
#[derive(Clone)]
pub(crate) struct Calls {
    client: Client,
    base: Arc<str>,
    at_once: usize,
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

    /// Writes what is encoded already.
    pub(crate) async fn write(&self, txn: &str, encoded: Encoded) -> Result<()> {
        let Encoded { manifest, chunks } = encoded;
        let id = self.begin(txn).await?;
        self.send(&id, stream::iter(chunks).map(Ok)).await?;
        self.commit(&id, &manifest).await
    }

    /// Encodes and writes; how many bytes were stored.
    pub(crate) async fn encode_and_write(&self, txn: &str, mut encoder: Encoder) -> Result<u64> {
        let id = self.begin(txn).await?;
        let chunks = stream::poll_fn(|cx| pin!(encoder.next()).poll(cx));
        self.send(&id, chunks.map_err(Into::into)).await?;
        let manifest = encoder.finish()?;
        self.commit(&id, &manifest).await?;
        Ok(manifest.encoded_size())
    }

    async fn begin(&self, txn: &str) -> Result<Arc<str>> {
        let request = json!({
            "principal": PRINCIPAL, "transaction_id": txn, "session_id": "bench", "tool_name": "bench",
            "provider_name": "bench", "content_type": OCTETS, "priority": "normal", "metadata": "{}",
            "format_version": 1, "compression_type": CompressionType::default(),
            "chunk_size_bytes": DEFAULT_CHUNK_SIZE, "upload_token": FENCE, "lease_ms": 60_000, "ttl_ms": 172_800_000,
        });
        let answer = self.ask("bus_begin", &request).await?;
        Ok(text(&answer, "id")?.into())
    }

    async fn send(
        &self,
        id: &Arc<str>,
        chunks: impl Stream<Item = Result<EncodedChunk>>,
    ) -> Result<()> {
        chunks
            .map_ok(|chunk| {
                let (calls, id) = (self.clone(), Arc::clone(id));
                async move { tokio::spawn(async move { calls.put(&id, &chunk).await }).await? }
            })
            .try_buffer_unordered(self.at_once)
            .try_collect()
            .await
    }

    async fn commit(&self, id: &str, manifest: &Manifest) -> Result<()> {
        let request = json!({
            "principal": PRINCIPAL, "id": id, "upload_token": FENCE,
            "manifest": BASE64_STANDARD.encode(manifest.to_bytes()),
        });
        self.ask("bus_commit", &request).await.map(drop)
    }

    /// Reads every chunk; how many stored bytes came.
    pub(crate) async fn read(&self, txn: &str) -> Result<u64> {
        let (id, manifest) = self.open(txn).await?;
        let sizes: Vec<u64> = self
            .chunks(id, manifest.chunk_count())
            .map(|chunk| async { anyhow::Ok(chunk.await?.len() as u64) })
            .buffer_unordered(self.at_once)
            .try_collect()
            .await?;
        Ok(sizes.iter().sum())
    }

    /// Reads and decodes every chunk; how many stored bytes came.
    pub(crate) async fn read_and_decode(&self, txn: &str, options: DecodeOptions) -> Result<u64> {
        let (id, manifest) = self.open(txn).await?;
        let (stored, size) = (manifest.encoded_size(), manifest.payload_size());
        let chunks = self
            .chunks(id, manifest.chunk_count())
            .buffered(self.at_once);
        let mut decoded = decode(Arc::new(manifest), 0..size, options, chunks);
        while let Some(bytes) = decoded.next().await {
            drop(bytes.map_err(|error| anyhow!("{error:?}"))?);
        }
        Ok(stored)
    }

    async fn open(&self, txn: &str) -> Result<(Arc<str>, Manifest)> {
        let request = json!({ "principal": PRINCIPAL, "transaction_id": txn });
        let answer = self.ask("bus_open", &request).await?;
        let manifest = BASE64_STANDARD.decode(text(&answer, "manifest")?)?;
        Ok((
            text(&answer["record"], "id")?.into(),
            Manifest::from_bytes(&manifest)?,
        ))
    }

    fn chunks(
        &self,
        id: Arc<str>,
        until: u32,
    ) -> impl Stream<Item = impl Future<Output = Result<Bytes>> + Send + 'static> + Send + 'static
    {
        let calls = self.clone();
        stream::iter(0..until).map(move |seq| {
            let (calls, id) = (calls.clone(), Arc::clone(&id));
            let task = tokio::spawn(async move { calls.chunk(&id, seq, until).await });
            async move { task.await? }
        })
    }

    async fn put(&self, id: &str, chunk: &EncodedChunk) -> Result<()> {
        let answer = self.post("bus_put_chunk", body(id, chunk)).await?;
        ensure!(answer["outcome"] == "ok", "bus_put_chunk answered {answer}");
        Ok(())
    }

    async fn chunk(&self, id: &str, seq: u32, until: u32) -> Result<Bytes> {
        let url = format!(
            "{}/bus_chunk?principal={PRINCIPAL}&id={id}&seq={seq}&until={until}",
            self.base
        );
        let response = self.client.get(url).header(ACCEPT, OCTETS).send().await?;
        whole("bus_chunk", response).await
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
