//! `bus demo`: being built.

use crate::{flags::DemoFlags, output::Output};

/// Runs the verb.
pub(crate) async fn run(_output: Output, _flags: &DemoFlags) -> anyhow::Result<()> {
    anyhow::bail!("being built")
}
