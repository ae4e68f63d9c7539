//! `cargo xtask kill`: the kill -9 tests of the program, for as many rounds as asked.

use crate::workspace::shell;
use anyhow::Result;
use clap::Args;
use xshell::cmd;

/// How often to kill.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Random moments at which each process is killed
    #[arg(long, default_value_t = 50)]
    rounds: u32,
}

/// Runs them; CI runs the same tests with fewer rounds.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = shell()?;
    let rounds = options.rounds.to_string();
    cmd!(
        shell,
        "cargo test -p bus-cli --test kill -- --nocapture --test-threads=1"
    )
    .env("BUS_KILL_ROUNDS", rounds)
    .run()?;
    Ok(())
}
