//! `bus history`: conversations, whose long entries go by claim.

use anyhow::Context as _;
use bus_client::{
    MessageBusClient,
    records::{History, Said},
};
use bus_model::ByteSize;
use bus_store::records::{
    Content, Conversation, ConversationId, Direction, EntryId, HistoryEntry, MAX_HISTORY_PAGE,
};
use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use super::show::time;
use crate::{
    context::Context,
    exit::Failure,
    file::Writer,
    flags::{HistoryAppendFlags, HistoryCommand, HistoryLsFlags, HistoryRmFlags, HistoryShowFlags},
    output::raw_stdout,
};

/// How much of a text a listing shows, in characters.
const SHOWN: usize = 60;

/// Runs the verb.
///
/// # Errors
/// Where the store cannot be used, or there is no such conversation or entry.
pub(crate) async fn run(context: &Context, command: HistoryCommand) -> anyhow::Result<()> {
    let client = context.store_only("history")?;
    match command {
        HistoryCommand::Append(flags) => append(context, &client, flags).await,
        HistoryCommand::Show(flags) => show(context, &client.history().await?, &flags).await,
        HistoryCommand::Ls(flags) => ls(context, &client.history().await?, flags).await,
        HistoryCommand::Rm(flags) => rm(context, &client.history().await?, &flags).await,
    }
}

async fn append(
    context: &Context,
    client: &MessageBusClient,
    flags: HistoryAppendFlags,
) -> anyhow::Result<()> {
    let text = match flags.text {
        Some(text) if text != "-" => text,
        _ => read_stdin(client.settings()?.max_payload).await?,
    };
    let said = Said {
        id: flags.id.unwrap_or_else(EntryId::mint),
        metadata: flags.metadata.unwrap_or_default(),
        ..Said::new(flags.role, text)
    };
    let id = said.id.clone();
    let history = client.history().await?;
    let appended = history.append(&flags.conversation, said).await?;
    if context.output.json {
        #[derive(Serialize)]
        struct Report<'a> {
            id: &'a EntryId,
            #[serde(flatten)]
            appended: bus_store::records::Appended,
        }
        let report = Report { id: &id, appended };
        return Ok(context.output.json(&report)?);
    }
    if !appended.created {
        context.output.note("the same was said before");
    }
    Ok(context.output.line(appended.sequence)?)
}

/// A text, of at most as many bytes as may be published.
async fn read_stdin(most: ByteSize) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut input = tokio::io::stdin().take(most.get().saturating_add(1));
    input
        .read_to_end(&mut bytes)
        .await
        .context("stdin cannot be read")?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::usage(format!(
            "what is said has to be text: stdin is not UTF-8 from byte {at} on (bus put takes any bytes)"
        ))
        .into()
    })
}

async fn show(
    context: &Context,
    history: &History,
    flags: &HistoryShowFlags,
) -> anyhow::Result<()> {
    let entry = history.entry(&flags.conversation, flags.sequence).await?;
    let text = history.text(&entry).await?;
    if context.output.json {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            entry: &'a HistoryEntry,
            text: &'a str,
        }
        let shown = Shown {
            entry: &entry,
            text: &text,
        };
        return Ok(context.output.json(&shown)?);
    }
    let mut stdout = Writer::new(raw_stdout()?);
    stdout.write(text.into()).await?;
    stdout.finish().await?;
    Ok(())
}

async fn ls(context: &Context, history: &History, flags: HistoryLsFlags) -> anyhow::Result<()> {
    let wanted = if flags.all {
        usize::MAX
    } else {
        flags.limit as usize
    };
    match &flags.conversation {
        Some(conversation) => {
            let direction = if flags.newest {
                Direction::Backwards
            } else {
                Direction::Forwards
            };
            let (entries, more) =
                entries(history, conversation, direction, flags.after, wanted).await?;
            print_entries(context, entries, more)
        }
        None => {
            let (conversations, more) = conversations(history, wanted).await?;
            print_conversations(context, conversations, more)
        }
    }
}

async fn entries(
    history: &History,
    conversation: &ConversationId,
    direction: Direction,
    mut after: Option<u64>,
    wanted: usize,
) -> anyhow::Result<(Vec<HistoryEntry>, bool)> {
    let mut entries = Vec::new();
    loop {
        let limit = limit(wanted - entries.len());
        let page = history.page(conversation, direction, after, limit).await?;
        entries.extend(page.entries);
        after = page.next;
        if after.is_none() || entries.len() >= wanted {
            return Ok((entries, after.is_some()));
        }
    }
}

async fn conversations(
    history: &History,
    wanted: usize,
) -> anyhow::Result<(Vec<Conversation>, bool)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = history
            .conversations(after, limit(wanted - all.len()))
            .await?;
        all.extend(page.conversations);
        after = page.next;
        if after.is_none() || all.len() >= wanted {
            return Ok((all, after.is_some()));
        }
    }
}

fn limit(left: usize) -> u32 {
    u32::try_from(left).map_or(MAX_HISTORY_PAGE, |left| left.min(MAX_HISTORY_PAGE))
}

fn print_entries(context: &Context, entries: Vec<HistoryEntry>, more: bool) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Listed {
        entries: Vec<HistoryEntry>,
        more: bool,
    }
    if context.output.json {
        return Ok(context.output.json(&Listed { entries, more })?);
    }
    if entries.is_empty() {
        context.output.note("no entries");
        return Ok(());
    }
    let mut table = context.output.table();
    table.set_header(["PLACE", "ROLE", "AT", "SIZE", "TEXT"]);
    for entry in &entries {
        table.add_row([
            entry.sequence.to_string(),
            entry.role.to_string(),
            time(entry.created_at),
            ByteSize::new(entry.content.size_bytes())
                .unwrap_or_default()
                .to_string(),
            shown(&entry.content),
        ]);
    }
    context.output.line(table.trim_fmt())?;
    note_more(context, entries.len(), more);
    Ok(())
}

fn print_conversations(
    context: &Context,
    conversations: Vec<Conversation>,
    more: bool,
) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Listed {
        conversations: Vec<Conversation>,
        more: bool,
    }
    if context.output.json {
        let listed = Listed {
            conversations,
            more,
        };
        return Ok(context.output.json(&listed)?);
    }
    if conversations.is_empty() {
        context.output.note("no conversations");
        return Ok(());
    }
    let mut table = context.output.table();
    table.set_header(["CONVERSATION", "ENTRIES", "LAST"]);
    for conversation in &conversations {
        table.add_row([
            conversation.conversation_id.to_string(),
            conversation.entries.to_string(),
            time(conversation.last_at),
        ]);
    }
    context.output.line(table.trim_fmt())?;
    note_more(context, conversations.len(), more);
    Ok(())
}

fn note_more(context: &Context, shown: usize, more: bool) {
    if more {
        context
            .output
            .note(format!("{shown} of more; --all lists every one"));
    }
}

/// The beginning of a text, on one line whatever is in it.
fn shown(content: &Content) -> String {
    let text = match content {
        Content::Inline(text) => text,
        Content::Claim(claim) => return format!("claim {}", claim.transaction_id),
    };
    let mut start: String = text
        .chars()
        .take(SHOWN)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        start.push('…');
    }
    start
}

/// A conversation that cannot be removed does not keep the others.
async fn rm(context: &Context, history: &History, flags: &HistoryRmFlags) -> anyhow::Result<()> {
    let mut removed = Vec::new();
    let mut first_error = None;
    for conversation in &flags.conversations {
        match history.delete(conversation).await {
            Ok(entries) => {
                let note = format!("removed {conversation}, {entries} entries");
                context.output.note(note);
                removed.push(conversation);
            }
            Err(error) if first_error.is_none() => first_error = Some(error),
            Err(error) => context.output.note(format!("{error:#}")),
        }
    }
    if context.output.json {
        let report = serde_json::json!({ "removed": removed });
        context.output.json(&report)?;
    }
    first_error.map_or(Ok(()), |error| Err(error.into()))
}
