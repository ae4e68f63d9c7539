//! `bus purge`: removes what has expired and what a writer left behind.

use bus_model::ByteSize;
use bus_store::{PurgeOptions, READ_GRACE};

use crate::{context::Context, flags::PurgeFlags};

/// Runs the verb.
///
/// # Errors
/// Where the store cannot be written; what was purged before stays purged.
pub(crate) async fn run(context: &Context, flags: &PurgeFlags) -> anyhow::Result<()> {
    let client = context.store_only("purge")?;
    let options = PurgeOptions {
        acknowledged_after: flags.acknowledged_after,
        ..PurgeOptions::default()
    };
    let report = client.purge(&options).await?;
    if context.output.json {
        return Ok(context.output.json(&report)?);
    }
    let freed = ByteSize::new(report.freed_bytes).unwrap_or_default();
    let mut line = format!(
        "removed {}: {} expired, {} orphaned, {} given up",
        report.removed(),
        report.expired,
        report.orphaned,
        report.failed
    );
    if flags.acknowledged_after.is_some() {
        line.push_str(&format!(", {} acknowledged", report.acknowledged));
    }
    context.output.line(format!("{line}; freed {freed}"))?;
    if report.expired == 0 {
        let minutes = READ_GRACE.as_secs() / 60;
        context.output.note(format!(
            "what expired less than {minutes} minutes ago stays for reads that began before; what was given up, until it expires"
        ));
    }
    Ok(())
}
