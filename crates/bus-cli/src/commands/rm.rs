//! `bus rm`: removes messages and frees their space.

use bus_model::TransactionId;

use crate::{
    context::{Context, Target},
    flags::RmFlags,
};

/// Runs the verb. A message that cannot be removed does not keep the others.
///
/// # Errors
/// The first message that could not be removed.
pub(crate) async fn run(context: &Context, flags: &RmFlags) -> anyhow::Result<()> {
    let target = context.target()?;
    let mut removed = Vec::new();
    let mut first_error = None;
    for id in &flags.txns {
        match remove(&target, id).await {
            Ok(()) => {
                context.output.note(format!("removed {id}"));
                removed.push(id);
            }
            Err(error) if first_error.is_none() => first_error = Some(error),
            Err(error) => context.output.note(format!("{error:#}")),
        }
    }
    if context.output.json {
        context
            .output
            .json(&serde_json::json!({ "removed": removed }))?;
    }
    first_error.map_or(Ok(()), Err)
}

async fn remove(target: &Target, id: &TransactionId) -> anyhow::Result<()> {
    match target {
        Target::Store(client) => Ok(client.delete(id).await?),
        Target::Daemon(api) => Ok(api.delete(id).await?),
    }
}
