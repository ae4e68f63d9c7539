//! `cargo xtask fuzz`: every fuzz target of the decoders, for a while each.
//!
//! The corpora are replayed by the ordinary tests; this looks for new inputs.

use crate::workspace::shell;
use anyhow::{Result, bail};
use clap::Args;
use xshell::{Shell, cmd};

const FOLDER: &str = "crates/bus-codec/fuzz";

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// One target alone
    target: Option<String>,
}

/// Runs the targets one after the other; the first crash ends it, with the input that did it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = shell()?;
    if cmd!(shell, "cargo fuzz --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_err()
    {
        bail!("cargo fuzz is missing; install it with: cargo install cargo-fuzz");
    }
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets(&shell)?,
    };
    for target in &targets {
        let time = format!("-max_total_time={}", options.seconds);
        // The stable toolchain refuses the sanitizer flags otherwise.
        cmd!(
            shell,
            "cargo fuzz run --fuzz-dir {FOLDER} {target} -- {time}"
        )
        .env("RUSTC_BOOTSTRAP", "1")
        .run()?;
    }
    println!(
        "{} targets, {} seconds each, no crash",
        targets.len(),
        options.seconds
    );
    Ok(())
}

fn targets(shell: &Shell) -> Result<Vec<String>> {
    let listed = cmd!(shell, "cargo fuzz list --fuzz-dir {FOLDER}").read()?;
    Ok(listed.lines().map(str::to_owned).collect())
}
