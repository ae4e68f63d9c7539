//! `bus call`: calls a tool of a daemon and redeems its claim, if it answers with one.

use std::time::Duration;

use bus_protocol::{InlinePayload, RequestId};
use bus_remote::{CallOptions, CallOutcome, Payload, Remote, RemoteError};
use bytes::Bytes;
use futures::stream;
use serde_json::{Map, Value};
use tokio::{io::AsyncReadExt as _, sync::mpsc};

use super::get::deliver;
use crate::{context::Context, exit::Failure, flags::CallFlags, output::Output};

/// The most that is read of arguments on stdin: what a daemon takes of a message.
const MAX_ARGUMENTS: u64 = 32 << 20;

/// Runs the verb.
///
/// # Errors
/// Where the daemon cannot be reached, the tool fails, or the result does not verify.
pub(crate) async fn run(context: &Context, flags: &CallFlags) -> anyhow::Result<()> {
    let arguments = match &flags.list {
        true => Map::new(),
        false => arguments(&flags.arguments).await?,
    };
    let mut config = context.remote(context.daemon_url()?)?;
    config.session_id = flags.session.clone();
    config.call_timeout = Duration::from_secs(flags.timeout_secs);
    let options = CallOptions {
        request_id: flags
            .request_id
            .as_deref()
            .map(RequestId::new)
            .transpose()
            .map_err(|error| Failure::usage(format!("--request-id: {error}")))?,
        timeout: None,
        progress: Some(watch_progress(context.output)),
    };
    let remote = Remote::connect(config).await?;
    let Some(tool) = flags.tool.as_ref().filter(|_| !flags.list) else {
        return list(context, &remote).await;
    };
    let outcome = tokio::select! {
        () = context.stop.cancelled() => return Err(Failure::interrupted().into()),
        outcome = remote.call(tool, arguments, options) => outcome?,
    };
    match outcome {
        CallOutcome::Inline(payload) => {
            if flags.claim_only {
                let note = "no claim: the result came inline, and this is the result itself";
                context.output.note(note);
            }
            inline(context, flags, payload).await
        }
        CallOutcome::Claim(claim, _) if flags.claim_only => Ok(context.output.json(&claim)?),
        CallOutcome::Claim(claim, retrieval) => {
            let about = serde_json::json!({
                "delivery": "claim",
                "claim": claim,
                "path": retrieval.path,
                "expires_at": retrieval.expires_at,
                "sha256": retrieval.sha256,
                "content_type": retrieval.content_type,
            });
            if context.output.json && flags.file().is_none() {
                return Ok(context.output.json(&about)?);
            }
            let id = &claim.message_bus_transaction_id;
            context.output.note(format!("answered by claim {id}"));
            let payload = remote.redeem(&claim, &retrieval).await?;
            redeemed(context, flags, payload, about).await
        }
    }
}

async fn arguments(text: &str) -> anyhow::Result<Map<String, Value>> {
    let mut read = String::new();
    let text = if text == "-" {
        tokio::io::stdin()
            .take(MAX_ARGUMENTS)
            .read_to_string(&mut read)
            .await?;
        read.as_str()
    } else {
        text
    };
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!(
            "the arguments are not a JSON object such as {{\"bytes\":1000}}: {error}"
        ))
        .into()
    })
}

/// Shows the daemon's progress notes as they come.
fn watch_progress(output: Output) -> mpsc::Sender<String> {
    let (sender, mut notes) = mpsc::channel::<String>(16);
    tokio::spawn(async move {
        while let Some(note) = notes.recv().await {
            if output.progress_allowed() {
                output.note(note);
            }
        }
    });
    sender
}

async fn list(context: &Context, remote: &Remote) -> anyhow::Result<()> {
    let tools = remote.list_tools().await?;
    if context.output.json {
        return Ok(context
            .output
            .json(&serde_json::json!({ "tools": tools }))?);
    }
    let mut table = context.output.table();
    for tool in &tools {
        table.add_row([tool.name.as_str(), tool.description.as_str()]);
    }
    Ok(context.output.line(table.trim_fmt())?)
}

async fn inline(
    context: &Context,
    flags: &CallFlags,
    payload: InlinePayload,
) -> anyhow::Result<()> {
    let content_type = payload.content_type();
    if context.output.json && flags.file().is_none() {
        let outputs = payload.outputs()?;
        let report = serde_json::json!({
            "delivery": "inline",
            "content_type": content_type,
            "outputs": outputs,
        });
        return Ok(context.output.json(&report)?);
    }
    let bytes = Bytes::from(payload.into_payload()?);
    let length = bytes.len() as u64;
    let once = stream::iter([Ok::<_, RemoteError>(bytes)]);
    let written = deliver(context, flags.file(), once, Some(length)).await?;
    let about = serde_json::json!({ "delivery": "inline", "content_type": content_type });
    report(context, flags, written, about)
}

async fn redeemed(
    context: &Context,
    flags: &CallFlags,
    payload: Payload,
    about: Value,
) -> anyhow::Result<()> {
    let length = payload.length();
    let stream = payload.into_stream();
    let written = deliver(context, flags.file(), stream, length).await?;
    report(context, flags, written, about)
}

fn report(context: &Context, flags: &CallFlags, written: u64, about: Value) -> anyhow::Result<()> {
    let Some(path) = flags.file() else {
        return Ok(());
    };
    if context.output.json {
        let mut about = about;
        about["file"] = serde_json::json!(path);
        about["bytes"] = written.into();
        return Ok(context.output.json(&about)?);
    }
    context
        .output
        .note(format!("{}: {written} bytes, verified", path.display()));
    Ok(())
}
