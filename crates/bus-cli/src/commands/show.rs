//! `bus show`: the record of a message.

use bus_model::{ByteSize, MessageBusRecord};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    context::{Context, Target},
    flags::ShowFlags,
};

/// Runs the verb.
///
/// # Errors
/// Where there is no such message, or the store or daemon cannot be reached.
pub(crate) async fn run(context: &Context, flags: &ShowFlags) -> anyhow::Result<()> {
    let record = match context.target()? {
        Target::Store(client) => client.record(&flags.txn).await?,
        Target::Daemon(api) => api.record(&flags.txn).await?,
    };
    if context.output.json {
        return Ok(context.output.json(&record)?);
    }
    let mut table = context.output.table();
    for (name, value) in rows(&record) {
        table.add_row([name, value.as_str()]);
    }
    Ok(context.output.line(table.trim_fmt())?)
}

fn rows(record: &MessageBusRecord) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("transaction id", record.transaction_id.to_string()),
        ("status", record.status.to_string()),
        ("size", size(Some(record.payload_size_bytes))),
        (
            "stored",
            format!(
                "{} of {}",
                size(record.compressed_size_bytes),
                record.compression_type
            ),
        ),
        (
            "chunks",
            format!(
                "{} of {}",
                record.chunk_count,
                size(Some(record.chunk_size_bytes))
            ),
        ),
        (
            "sha256",
            record
                .checksum
                .map_or_else(|| "-".to_owned(), |digest| digest.to_string()),
        ),
        ("content type", record.content_type.to_string()),
        ("session", record.session_id.to_string()),
        ("tool", record.tool_name.to_string()),
        ("provider", record.provider_name.to_string()),
        ("priority", record.priority.to_string()),
        ("principal", record.principal.to_string()),
        ("created", time(record.created_at)),
        ("accessed", time(record.accessed_at)),
        ("expires", time(record.expires_at)),
    ];
    if let Some(acknowledged) = record.acknowledged_at {
        rows.push(("acknowledged", time(acknowledged)));
    }
    if let Some(lease) = record.lease_expires_at {
        rows.push(("lease until", time(lease)));
    }
    if let Some(why) = &record.error_message {
        rows.push(("given up", why.clone()));
    }
    if !record.metadata.is_empty() {
        rows.push((
            "metadata",
            serde_json::Value::Object(record.metadata.clone()).to_string(),
        ));
    }
    rows.push(("id", record.id.to_string()));
    rows
}

fn size(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) if bytes < 1024 => format!("{bytes} B"),
        Some(bytes) => format!("{} ({bytes} B)", ByteSize::new(bytes).unwrap_or_default()),
        None => "-".to_owned(),
    }
}

/// A time as `ls` and `show` write it.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
