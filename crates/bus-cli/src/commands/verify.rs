//! `bus verify`: inspects the store, reads every stored byte and reports each damaged message.

use bus_model::ByteSize;

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::with_causes,
};

/// Runs the verb.
///
/// # Errors
/// With the code of a mismatch where a message is damaged; where the store as a whole cannot be
/// read.
pub(crate) async fn run(context: &Context) -> anyhow::Result<()> {
    let report = context.store_only("verify")?.verify().await?;
    if context.output.json {
        let damaged: Vec<_> = report
            .issues
            .iter()
            .map(|issue| {
                serde_json::json!({
                    "transaction_id": issue.key.transaction_id,
                    "problem": with_causes(&issue.error),
                })
            })
            .collect();
        context.output.json(&serde_json::json!({
            "messages": report.messages,
            "stored_bytes": report.stored_bytes,
            "damaged": damaged,
            "structure": report.structure,
        }))?;
    } else {
        for issue in &report.issues {
            let problem = with_causes(&issue.error);
            context
                .output
                .line(format!("{}: {problem}", issue.key.transaction_id))?;
        }
        for problem in &report.structure {
            context.output.line(problem)?;
        }
        let size = ByteSize::new(report.stored_bytes).unwrap_or_default();
        context.output.note(format!(
            "{} messages are whole, {size} read",
            report.messages
        ));
    }
    let (damaged, structure) = (report.issues.len(), report.structure.len());
    if damaged + structure == 0 {
        return Ok(());
    }
    let message =
        format!("{damaged} messages are damaged, {structure} problems are in the store itself");
    Err(Failure::new(Exit::Mismatch, message).into())
}
