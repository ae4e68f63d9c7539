//! `bus put`: stores a payload and prints its transaction id.

use bus_client::{Message, Source};
use bus_model::{Attributes, ByteSize, MessageBusRecord, Ttl};
use bus_remote::{Body, HttpApi, PutOptions};
use indicatif::ProgressBar;
use tokio::io::AsyncRead;

use crate::{
    context::{Context, Target, open_input},
    flags::PutFlags,
    interrupt::Interruptible,
    progress::{self, Counted},
};

/// Runs the verb.
///
/// # Errors
/// Where the input cannot be read or the payload is not taken. Nothing is visible then.
pub(crate) async fn run(context: &Context, flags: PutFlags) -> anyhow::Result<()> {
    let target = match context.target()? {
        Target::Store(_) => {
            let mut builder = context.client_builder()?;
            if let Some(compression) = flags.compression {
                builder = builder.compression(compression);
            }
            if let Some(level) = flags.level {
                builder = builder.level(level);
            }
            Target::Store(builder.build())
        }
        daemon @ Target::Daemon(_) => daemon,
    };
    let (input, size) = open(&flags).await?;
    let bar = progress::bar(context.output, "storing", size);
    let input = Counted::new(Interruptible::new(input, context.stop.clone()), bar.clone());
    let (record, created) = match target {
        Target::Store(client) => {
            let published = client
                .publish(message(flags), Source::reader(input, size))
                .await?;
            (published.record, published.created)
        }
        Target::Daemon(api) => upload(&api, flags, input, size).await?,
    };
    report(context, &bar, &record, created)
}

type Input = Box<dyn AsyncRead + Send + Unpin>;

async fn open(flags: &PutFlags) -> anyhow::Result<(Input, Option<u64>)> {
    match &flags.file {
        Some(path) if path.as_os_str() != "-" => {
            let (file, size) = open_input(path).await?;
            Ok((Box::new(file), size))
        }
        _ => Ok((Box::new(tokio::io::stdin()), None)),
    }
}

fn message(flags: PutFlags) -> Message {
    Message {
        transaction_id: flags.txn,
        provider_name: flags.provider,
        content_type: Some(flags.content_type),
        priority: flags.priority,
        metadata: flags.metadata.unwrap_or_default(),
        ttl: flags.ttl_hours,
        expected_digest: flags.sha256,
        ..Message::new(flags.session, flags.tool)
    }
}

async fn upload(
    api: &HttpApi,
    flags: PutFlags,
    input: impl AsyncRead + Send + Unpin + 'static,
    size: Option<u64>,
) -> anyhow::Result<(MessageBusRecord, bool)> {
    let options = PutOptions {
        transaction_id: flags.txn,
        ttl: flags.ttl_hours,
        digest: flags.sha256,
        attributes: Attributes {
            provider_name: flags.provider,
            content_type: flags.content_type,
            priority: flags.priority,
            metadata: flags.metadata.unwrap_or_default(),
            ttl: Ttl::default(),
            ..Attributes::new(flags.session, flags.tool)
        },
    };
    let stored = api.put(options, Body::reader(input, size)).await?;
    Ok((stored.record, stored.created))
}

fn report(
    context: &Context,
    bar: &ProgressBar,
    record: &MessageBusRecord,
    created: bool,
) -> anyhow::Result<()> {
    bar.finish_and_clear();
    if context.output.json {
        return Ok(context.output.json(record)?);
    }
    let size = record.payload_size_bytes;
    let stored = record.compressed_size_bytes.unwrap_or(0);
    let shown = |bytes| ByteSize::new(bytes).unwrap_or_default();
    context.output.note(if created {
        format!(
            "stored {} as {} of {}",
            shown(size),
            shown(stored),
            record.compression_type
        )
    } else {
        format!("the same {} were stored before", shown(size))
    });
    Ok(context.output.line(&record.transaction_id)?)
}
