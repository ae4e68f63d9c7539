//! `cargo xtask bench`: builds in release what is measured, then runs the benchmark program.

use crate::load;
use crate::workspace::{root, shell};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use xshell::{Shell, cmd};

/// Which benchmark.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// `bus put` and `bus get` of big files, beside zstd, cp and sha256sum
    PutGet {
        /// Size of each file, in MiB
        #[arg(long, default_value_t = 1024)]
        mib: u64,
        /// Rounds; the table shows medians
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// 200 sessions at once against a daemon, whose memory may not grow
    Load {
        /// Rounds of 20 calls a session
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Payloads through Supabase, beside a bare loop of the same calls, and latencies of small messages
    Supabase {
        /// Passed on to the benchmark: --server postrust|lite|both, --mib, --rounds, --messages, --delay-ms, --json
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The codec alone, beside a plain copy with the same digests
    Codec {
        /// Passed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds and runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shell = shell()?;
    match &options.what {
        What::PutGet { mib, rounds } => put_get(&shell, *mib, *rounds),
        What::Load { rounds } => {
            cmd!(shell, "cargo build --release -p bus-cli --bin bus").run()?;
            load::run(&released("bus"), *rounds)
        }
        What::Supabase { arguments } => {
            let bench = built_bench(&shell)?;
            Ok(cmd!(shell, "{bench} supabase {arguments...}").run()?)
        }
        What::Codec { arguments } => {
            let bench = built_bench(&shell)?;
            Ok(cmd!(shell, "{bench} codec {arguments...}").run()?)
        }
    }
}

fn put_get(shell: &Shell, mib: u64, rounds: u32) -> Result<()> {
    cmd!(
        shell,
        "cargo build --release -p bus-cli --bin bus -p bus-bench --example bus-bench"
    )
    .run()?;
    let (bench, bus) = (released("examples/bus-bench"), released("bus"));
    let (mib, rounds) = (mib.to_string(), rounds.to_string());
    cmd!(
        shell,
        "{bench} put-get --bus {bus} --mib {mib} --rounds {rounds}"
    )
    .run()?;
    Ok(())
}

fn built_bench(shell: &Shell) -> Result<PathBuf> {
    cmd!(
        shell,
        "cargo build --release -p bus-bench --example bus-bench"
    )
    .run()?;
    Ok(released("examples/bus-bench"))
}

fn released(program: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release").join(program)
}
