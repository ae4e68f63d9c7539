//! `cargo xtask ci`: every step runs even after a failure, so that one run tells everything.
//!
//! The steps share what they build: clippy, the feature checks and the docs use the same metadata, the tests and the
//! doctests the same libraries, and all of them the same feature selection. Nothing is built in release.

use crate::counts::{self, Counts};
use crate::install;
use crate::supabase::Stack;
use crate::tee::tee;
use crate::workspace::root;
use crate::{each_feature, layers, tidy};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use std::process::Command;
use std::time::{Duration, Instant};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Install what the tests need (as root, on Debian or Ubuntu); so does CI=true
    #[arg(long)]
    install: bool,
    /// Run one step alone; may be repeated
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
}

/// The steps, the cheap ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// What the tests need is there
    Needs,
    /// rustfmt
    Fmt,
    /// Dependencies between our crates
    Layers,
    /// Left-overs, links, sizes
    Tidy,
    /// Every target, every feature, warnings are errors
    Clippy,
    /// nextest where it is there, else cargo test
    Test,
    /// The examples in the docs
    Doctest,
    /// The docs build without warnings
    Doc,
    /// Each feature by itself
    Features,
    /// What would be published
    Package,
}

struct Line {
    step: Step,
    time: Duration,
    error: Option<String>,
}

/// Runs the steps, prints the table, fails if any step did.
pub(crate) fn run(options: &Options) -> Result<()> {
    let install = options.install || std::env::var("CI").is_ok_and(|value| value == "true");
    let mut counts = Counts::default();
    let mut lines = Vec::new();
    for &step in Step::value_variants() {
        if !options.only.is_empty() && !options.only.contains(&step) {
            continue;
        }
        println!("\n==> {}", name(step));
        let start = Instant::now();
        let result = run_step(step, install, &mut counts);
        let error = result.err().map(|error| format!("{error:#}"));
        if let Some(error) = &error {
            println!("{}: {error}", name(step));
        }
        lines.push(Line {
            step,
            time: start.elapsed(),
            error,
        });
    }
    close(&lines, counts)
}

fn run_step(step: Step, install: bool, counts: &mut Counts) -> Result<()> {
    match step {
        Step::Needs => install::run(install),
        Step::Fmt => cargo(&["fmt", "--all", "--check"]),
        Step::Layers => layers::run(),
        Step::Tidy => tidy::run(),
        Step::Clippy => cargo(&words(
            "clippy --workspace --all-targets --all-features --keep-going -- -D warnings",
        )),
        Step::Test => {
            let nextest = has_nextest();
            // With it the program that starts the servers: built any other way, much would be built twice.
            finish(&mut tests(nextest, "--no-run"))?;
            let mut tests = tests(nextest, "--no-fail-fast");
            // For as long as the tests run, however they end. Those that need no server run in any case.
            let stack = Stack::start();
            if let Ok(stack) = &stack {
                stack.hand_over(&mut tests);
            }
            counted(&mut tests, counts).and(stack.map(drop))
        }
        Step::Doctest => counted(
            &mut cargo_command(&words("test --doc --workspace --all-features")),
            counts,
        ),
        Step::Doc => {
            let mut doc = cargo_command(&words("doc --workspace --all-features --no-deps"));
            finish(doc.env("RUSTDOCFLAGS", "-D warnings"))
        }
        Step::Features => each_feature::run(),
        // Without the verifying build, which would be a second build of everything.
        Step::Package => cargo(&words(
            "package --workspace --no-verify --allow-dirty --quiet",
        )),
    }
}

/// All tests, with whichever runner is there.
fn tests(nextest: bool, how: &'static str) -> Command {
    let mut command = cargo_command(&words(if nextest {
        "nextest run --workspace --all-features --status-level fail"
    } else {
        // Doctests have a step of their own.
        "test --workspace --all-features --lib --bins --tests"
    }));
    command.arg(how);
    command
}

fn has_nextest() -> bool {
    Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn counted(command: &mut Command, counts: &mut Counts) -> Result<()> {
    let outcome = tee(command)?;
    *counts += counts::read(&outcome.text);
    if !outcome.ok {
        bail!("tests failed");
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    finish(&mut cargo_command(arguments))
}

fn finish(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        bail!("cargo ended with {status}");
    }
    Ok(())
}

fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    command
}

fn words(line: &'static str) -> Vec<&'static str> {
    line.split_whitespace().collect()
}

fn close(lines: &[Line], counts: Counts) -> Result<()> {
    println!("\nstep        seconds  result");
    for line in lines {
        let result = if line.error.is_none() { "ok" } else { "FAILED" };
        let seconds = line.time.as_secs_f64();
        println!("{:<10} {seconds:>8.1}  {result}", name(line.step));
    }
    let total: Duration = lines.iter().map(|line| line.time).sum();
    println!("{:<10} {:>8.1}", "all", total.as_secs_f64());
    let failed: Vec<String> = lines
        .iter()
        .filter(|line| line.error.is_some())
        .map(|line| name(line.step))
        .collect();
    if counts != Counts::default() {
        println!("\n{} passed, {} failed", counts.passed, counts.failed);
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn name(step: Step) -> String {
    step.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
