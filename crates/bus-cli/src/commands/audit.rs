//! `bus audit`: what became of each call, newest first.

use std::fmt::Write as _;

use bus_client::MessageBusClient;
use bus_model::ByteSize;
use bus_store::records::{AuditEntry, AuditQuery, MAX_AUDIT_PAGE};
use chrono::SecondsFormat;
use serde::Serialize;

use crate::{context::Context, flags::AuditFlags};

/// The JSON form.
#[derive(Serialize)]
struct Listed {
    entries: Vec<AuditEntry>,
    /// Whether there are more than these.
    more: bool,
}

/// Runs the verb.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) async fn run(context: &Context, flags: &AuditFlags) -> anyhow::Result<()> {
    let client = context.store_only("audit")?;
    let listed = list(&client, flags).await?;
    if context.output.json {
        return Ok(context.output.json(&listed)?);
    }
    if listed.entries.is_empty() {
        context.output.note("no entries");
        return Ok(());
    }
    print(context, &listed.entries)?;
    if listed.more {
        let shown = listed.entries.len();
        context
            .output
            .note(format!("{shown} of more; --all lists every one"));
    }
    Ok(())
}

async fn list(client: &MessageBusClient, flags: &AuditFlags) -> anyhow::Result<Listed> {
    let audit = client.records().await?.audit;
    let wanted = if flags.all {
        usize::MAX
    } else {
        flags.limit as usize
    };
    let mut query = AuditQuery {
        transaction_id: flags.transaction.clone(),
        session_id: flags.session.clone(),
        tool_name: flags.tool.clone(),
        from: flags.since,
        before: flags.until,
        ..AuditQuery::new(client.principal().clone())
    };
    let mut entries = Vec::new();
    loop {
        let left = u32::try_from(wanted - entries.len()).unwrap_or(u32::MAX);
        query.limit = left.min(MAX_AUDIT_PAGE);
        let page = audit.query(&query).await?;
        entries.extend(page.entries);
        query.after = page.next;
        if page.next.is_none() || entries.len() >= wanted {
            let more = page.next.is_some();
            return Ok(Listed { entries, more });
        }
    }
}

fn print(context: &Context, entries: &[AuditEntry]) -> anyhow::Result<()> {
    let mut table = context.output.table();
    table.set_header([
        "AT",
        "TOOL",
        "SESSION",
        "ROUTE",
        "OUTCOME",
        "SIZE",
        "TOOL MS",
        "STORE MS",
        "TOTAL MS",
        "TRANSACTION ID",
        "WHY",
    ]);
    let ms = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
    for entry in entries {
        table.add_row([
            entry.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            entry.tool_name.to_string(),
            entry.session_id.to_string(),
            entry.route.to_string(),
            entry.outcome.to_string(),
            ByteSize::new(entry.payload_size_bytes)
                .unwrap_or_default()
                .to_string(),
            ms(entry.tool_ms),
            ms(entry.store_ms),
            entry.total_ms.to_string(),
            entry
                .transaction_id
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            why(entry),
        ]);
    }
    Ok(context.output.line(table.trim_fmt())?)
}

/// Reason, skipped steps and error, on one line whatever is in them.
fn why(entry: &AuditEntry) -> String {
    let mut text = entry.reason.to_string();
    for skipped in &entry.skipped {
        // Writing to a String cannot fail.
        let _ = write!(text, "; not {}: {}", skipped.step, skipped.reason);
    }
    if let Some(error) = &entry.error_message {
        let _ = write!(text, "; {error}");
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
