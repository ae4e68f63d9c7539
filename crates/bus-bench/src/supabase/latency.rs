//! How long a message of 1 MiB takes, published and fetched by several at the same time.

use super::payload::Payload;
use super::side::message;
use anyhow::{Result, ensure};
use bus_client::{MessageBusClient, Source};
use bus_model::TransactionId;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

const SIZE: usize = 1 << 20;
/// Different payloads, used in turn.
const PAYLOADS: u64 = 8;

/// Times in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) publishers: usize,
    pub(crate) messages: usize,
    pub(crate) publish: Spread,
    pub(crate) fetch: Spread,
}

/// How times are spread, in milliseconds, and how many ended in a second.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) per_second: f64,
}

/// Publishes `messages` by `publishers` at the same time, then fetches them by as many.
pub(crate) async fn measure(
    client: &MessageBusClient,
    payload: Payload,
    publishers: usize,
    messages: usize,
) -> Result<Latency> {
    let payloads: Vec<Bytes> = (1..=PAYLOADS)
        .map(|seed| payload.make(SIZE, seed).into())
        .collect();
    // The first calls of a process make its connections.
    let mut warm = Vec::new();
    run(
        publish_all(client, &payloads, 2 * publishers),
        publishers,
        &mut warm,
    )
    .await?;
    run(fetch_all(client, &warm), publishers, &mut Vec::new()).await?;

    let mut ids = Vec::new();
    let publish = run(
        publish_all(client, &payloads, messages),
        publishers,
        &mut ids,
    )
    .await?;
    let fetch = run(fetch_all(client, &ids), publishers, &mut Vec::new()).await?;
    Ok(Latency {
        publishers,
        messages,
        publish,
        fetch,
    })
}

fn publish_all(
    client: &MessageBusClient,
    payloads: &[Bytes],
    messages: usize,
) -> impl Stream<Item = impl Future<Output = Result<TransactionId>> + Send + 'static> {
    let turns: Vec<Bytes> = payloads.iter().cloned().cycle().take(messages).collect();
    let client = client.clone();
    stream::iter(turns).map(move |bytes| {
        let client = client.clone();
        async move {
            let published = client.publish(message()?, Source::bytes(bytes)).await?;
            Ok(published.record.transaction_id)
        }
    })
}

fn fetch_all(
    client: &MessageBusClient,
    ids: &[TransactionId],
) -> impl Stream<Item = impl Future<Output = Result<TransactionId>> + Send + 'static> {
    let client = client.clone();
    stream::iter(ids.to_vec()).map(move |id| {
        let client = client.clone();
        async move {
            let bytes = client.fetch(&id).await?.bytes().await?;
            ensure!(bytes.len() == SIZE, "{} bytes came", bytes.len());
            Ok(id)
        }
    })
}

async fn run<F>(
    work: impl Stream<Item = F>,
    at_once: usize,
    ids: &mut Vec<TransactionId>,
) -> Result<Spread>
where
    F: Future<Output = Result<TransactionId>> + Send + 'static,
{
    let start = Instant::now();
    let done: Vec<(TransactionId, Duration)> = work
        .map(|one| async move {
            tokio::spawn(async move {
                let start = Instant::now();
                one.await.map(|id| (id, start.elapsed()))
            })
            .await?
        })
        .buffer_unordered(at_once)
        .try_collect()
        .await?;
    let seconds = start.elapsed().as_secs_f64();
    let mut times: Vec<f64> = done
        .iter()
        .map(|(_, time)| time.as_secs_f64() * 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    ids.extend(done.into_iter().map(|(id, _)| id));
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len() - 1));
    Ok(Spread {
        p50: at(50).copied().unwrap_or_default(),
        p99: at(99).copied().unwrap_or_default(),
        per_second: times.len() as f64 / seconds,
    })
}
