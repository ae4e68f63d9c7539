//! `bus stats`: counts messages and bytes.

use bus_model::ByteSize;

use crate::context::Context;

/// Runs the verb.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    let stats = context.store_only("stats")?.stats().await?;
    if context.output.json {
        return Ok(context.output.json(&stats)?);
    }
    let size = |bytes| ByteSize::new(bytes).unwrap_or_default().to_string();
    let mut table = context.output.table();
    table.add_row(["complete", &stats.complete.to_string()]);
    table.add_row(["pending", &stats.pending.to_string()]);
    table.add_row(["given up", &stats.error.to_string()]);
    table.add_row(["expired, not purged", &stats.expired.to_string()]);
    table.add_row(["payload bytes", &size(stats.payload_bytes)]);
    table.add_row(["stored bytes", &size(stats.stored_bytes)]);
    Ok(context.output.line(table.trim_fmt())?)
}
