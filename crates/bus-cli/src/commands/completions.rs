//! `bus completions`: a script for the shell, on stdout.

use std::io::{self, Write as _};

use clap::CommandFactory as _;

use crate::flags::{Cli, CompletionsFlags};

/// Runs the verb.
///
/// # Errors
/// Where stdout cannot be written.
pub(crate) fn run(flags: &CompletionsFlags) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Cli::command(), "bus", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}
