//! `bus ls`: messages, newest first.

use bus_client::MessageBusClient;
use bus_model::{ByteSize, MessageBusRecord, Principal};
use bus_remote::{HttpApi, Listing, StatusQuery};
use bus_store::ListQuery;
use serde::Serialize;

use super::show::time;
use crate::{
    context::{Context, Target},
    flags::LsFlags,
};

/// How many records `--all` asks for at a time.
const PAGE: u32 = 500;

/// The JSON form.
#[derive(Serialize)]
struct Listed {
    messages: Vec<MessageBusRecord>,
    /// Whether there are more than these.
    more: bool,
}

/// Runs the verb.
///
/// # Errors
/// Where the store or daemon cannot be read.
pub(crate) async fn run(context: &Context, flags: &LsFlags) -> anyhow::Result<()> {
    let mut pages = match context.target()? {
        Target::Store(client) => Pages::Store(client, query(flags)),
        Target::Daemon(api) => Pages::Daemon(api, listing(flags)),
    };
    let wanted = if flags.all {
        usize::MAX
    } else {
        flags.limit as usize
    };
    let mut messages = Vec::new();
    let more = loop {
        let left = u32::try_from(wanted - messages.len())
            .unwrap_or(u32::MAX)
            .min(PAGE);
        let (records, next) = pages.next(left).await?;
        messages.extend(records);
        if !next || messages.len() >= wanted {
            break next;
        }
    };
    if context.output.json {
        return Ok(context.output.json(&Listed { messages, more })?);
    }
    if messages.is_empty() {
        context.output.note("no messages");
        return Ok(());
    }
    print(context, &messages)?;
    if more {
        context
            .output
            .note(format!("{} of more; --all lists every one", messages.len()));
    }
    Ok(())
}

fn print(context: &Context, messages: &[MessageBusRecord]) -> anyhow::Result<()> {
    let mut table = context.output.table();
    table.set_header([
        "TRANSACTION ID",
        "STATUS",
        "SIZE",
        "STORED",
        "TOOL",
        "SESSION",
        "CREATED",
    ]);
    let size = |bytes| ByteSize::new(bytes).unwrap_or_default().to_string();
    for record in messages {
        table.add_row([
            record.transaction_id.to_string(),
            record.status.to_string(),
            size(record.payload_size_bytes),
            record
                .compressed_size_bytes
                .map_or_else(|| "-".to_owned(), size),
            record.tool_name.to_string(),
            record.session_id.to_string(),
            time(record.created_at),
        ]);
    }
    Ok(context.output.line(table.trim_fmt())?)
}

/// A listing, page by page.
enum Pages {
    Store(MessageBusClient, ListQuery),
    Daemon(HttpApi, Listing),
}

impl Pages {
    /// The next records, and whether there are more after them.
    async fn next(&mut self, limit: u32) -> anyhow::Result<(Vec<MessageBusRecord>, bool)> {
        match self {
            Self::Store(client, query) => {
                query.limit = limit;
                let page = client.list(query).await?;
                query.after = page.next;
                Ok((page.records, page.next.is_some()))
            }
            Self::Daemon(api, listing) => {
                listing.limit = Some(limit);
                let page = api.list(listing).await?;
                listing.after = page.next;
                Ok((page.records, listing.after.is_some()))
            }
        }
    }
}

fn query(flags: &LsFlags) -> ListQuery {
    ListQuery {
        session_id: flags.session.clone(),
        tool_name: flags.tool.clone(),
        provider_name: flags.provider.clone(),
        status: flags.status.status(),
        created_from: flags.since,
        created_before: flags.before,
        ..ListQuery::new(Principal::default())
    }
}

fn listing(flags: &LsFlags) -> Listing {
    Listing {
        session_id: flags.session.clone(),
        tool_name: flags.tool.clone(),
        provider_name: flags.provider.clone(),
        status: flags
            .status
            .status()
            .map_or(StatusQuery::All, StatusQuery::Only),
        created_from: flags.since,
        created_before: flags.before,
        limit: None,
        after: None,
    }
}
