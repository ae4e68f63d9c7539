//! `bus get`: reads a payload back, every byte checked.
//!
//! To a file it is atomic. To stdout it is streamed: from a store every chunk is checked before
//! its bytes are written; from a daemon the whole is checked at the end. Where a check fails the
//! exit code is 6, so that a script never takes part of a payload for all of it.

use std::{path::Path, pin::pin};

use bus_client::{Fetched, MessageBusClient};
use bus_model::ByteSize;
use bus_remote::{HttpApi, RangeRequest};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use crate::{
    context::{Context, Target},
    exit::Failure,
    file::{AtomicFile, Writer},
    flags::{GetFlags, InclusiveRange},
    output::raw_stdout,
    progress,
};

/// Runs the verb.
///
/// # Errors
/// Where the message cannot be read, a check fails or the file cannot be written.
pub(crate) async fn run(context: &Context, flags: GetFlags) -> anyhow::Result<()> {
    if context.output.json && flags.file().is_none() {
        return Err(Failure::usage(
            "the payload itself goes to stdout: use --json with -o FILE, or bus show --json for the record",
        )
        .into());
    }
    match context.target()? {
        Target::Store(client) => {
            let done = from_store(context, &client, &flags).await;
            client.flush().await;
            done
        }
        Target::Daemon(api) => from_daemon(context, &api, &flags).await,
    }
}

async fn from_store(
    context: &Context,
    client: &MessageBusClient,
    flags: &GetFlags,
) -> anyhow::Result<()> {
    let fetched = client.fetch(&flags.txn).await?;
    let (stream, expected) = open(&fetched, flags.range)?;
    let written = deliver(context, flags.file(), stream, Some(expected)).await?;
    report(context, flags, written, || {
        serde_json::to_value(fetched.record())
    })
}

fn open(
    fetched: &Fetched,
    range: Option<InclusiveRange>,
) -> anyhow::Result<(bus_client::PayloadStream, u64)> {
    let size = fetched.record().payload_size_bytes;
    match range {
        None => Ok((fetched.stream(), size)),
        Some(range) => {
            let range = range
                .within(size)
                .map_err(|error| Failure::usage(error.to_string()))?;
            let expected = range.end - range.start;
            Ok((fetched.range(range)?, expected))
        }
    }
}

async fn from_daemon(context: &Context, api: &HttpApi, flags: &GetFlags) -> anyhow::Result<()> {
    let range = flags.range.map(|range| match range {
        InclusiveRange::FromTo(first, last) => RangeRequest::FromTo(first, last),
        InclusiveRange::From(first) => RangeRequest::From(first),
        InclusiveRange::Last(count) => RangeRequest::Last(count),
    });
    let payload = api.get(&flags.txn, range).await?;
    let expected = payload.length();
    let written = deliver(context, flags.file(), payload.into_stream(), expected).await?;
    if !context.output.json {
        return report(context, flags, written, || Ok(serde_json::Value::Null));
    }
    let record = api.record(&flags.txn).await?;
    report(context, flags, written, || serde_json::to_value(&record))
}

/// Writes a stream of payload bytes to where it belongs; the number of bytes.
///
/// # Errors
/// Those of the stream and of what is written to.
pub(crate) async fn deliver<E: std::error::Error + Send + Sync + 'static>(
    context: &Context,
    output: Option<&Path>,
    stream: impl Stream<Item = Result<Bytes, E>>,
    expected: Option<u64>,
) -> anyhow::Result<u64> {
    let mut stream = pin!(stream);
    let bar = progress::bar(context.output, "reading", expected);
    let mut written = 0;
    let mut sink = Sink::open(output).await?;
    loop {
        let bytes = tokio::select! {
            () = context.stop.cancelled() => return Err(Failure::interrupted().into()),
            next = stream.next() => match next {
                Some(bytes) => bytes?,
                None => break,
            },
        };
        written += bytes.len() as u64;
        bar.inc(bytes.len() as u64);
        sink.write(bytes).await?;
    }
    sink.finish().await?;
    bar.finish_and_clear();
    Ok(written)
}

enum Sink {
    File(AtomicFile),
    Stdout(Writer),
}

impl Sink {
    async fn open(output: Option<&Path>) -> anyhow::Result<Self> {
        match output {
            Some(path) => Ok(Self::File(AtomicFile::create(path.to_owned()).await?)),
            None => Ok(Self::Stdout(Writer::new(raw_stdout()?))),
        }
    }

    async fn write(&mut self, bytes: Bytes) -> anyhow::Result<()> {
        match self {
            Self::File(file) => file.write(bytes).await,
            Self::Stdout(stdout) => Ok(stdout.write(bytes).await?),
        }
    }

    async fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::File(file) => file.persist().await,
            Self::Stdout(stdout) => Ok(stdout.finish().await.map(drop)?),
        }
    }
}

fn report(
    context: &Context,
    flags: &GetFlags,
    written: u64,
    record: impl FnOnce() -> serde_json::Result<serde_json::Value>,
) -> anyhow::Result<()> {
    let Some(path) = flags.file() else {
        return Ok(());
    };
    if context.output.json {
        let report = serde_json::json!({"file": path, "bytes": written, "record": record()?});
        return Ok(context.output.json(&report)?);
    }
    let size = ByteSize::new(written).unwrap_or_default();
    context
        .output
        .note(format!("{}: {size}, verified", path.display()));
    Ok(())
}
