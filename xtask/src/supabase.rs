//! `cargo xtask supabase`: the servers of the tests, for a developer; and for `cargo xtask ci`, which starts them once.
//!
//! The work is done by a program of bus-testkit, so that this crate stays light.

use crate::workspace::root;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Names the folder of the running stack for the tests.
const VARIABLE: &str = "BUS_TEST_STACK";
const PROGRAM: &str = "bus-test-stack";

/// What to do.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// A project in the foreground until Ctrl-C: database, server, gateway; prints the settings for .env
    Up {
        /// Which server answers
        #[arg(long, value_enum, default_value_t = Server::Postrust)]
        server: Server,
        /// Where the gateway listens; 0 is a free port
        #[arg(long, default_value_t = 54321)]
        port: u16,
    },
    /// End what the tests share
    Down {
        /// Also where tests use it at this moment
        #[arg(long)]
        anyway: bool,
    },
    /// What runs
    Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// postrust behind a gateway: the closest to a hosted project
    Postrust,
    /// Supabase's own small server
    Lite,
}

/// Runs the program in the foreground.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut command = build()?;
    match options.action {
        Action::Up { server, port } => command.args(["up", name(server), &port.to_string()]),
        Action::Down { anyway: true } => command.args(["stop", "--anyway"]),
        Action::Down { anyway: false } => command.arg("stop"),
        Action::Status => command.arg("status"),
    };
    succeed(&mut command)
}

/// The stack while a step of CI runs; given up on drop, also when tests failed.
#[derive(Debug)]
pub(crate) struct Stack {
    folder: PathBuf,
}

impl Stack {
    /// Starts it with the program that was built beside the tests.
    pub(crate) fn start() -> Result<Self> {
        let mut command = program()?;
        let output = command.arg("start").stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("starting {PROGRAM}"))?;
        if !output.status.success() {
            bail!("the servers of the tests did not start ({PROGRAM} says why)");
        }
        let folder = String::from_utf8(output.stdout).context("reading the folder of the stack")?;
        Ok(Self {
            folder: PathBuf::from(folder.trim()),
        })
    }

    /// Tells the tests where it is.
    pub(crate) fn hand_over(&self, tests: &mut Command) {
        tests.env(VARIABLE, &self.folder);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let stopped = program().and_then(|mut command| {
            command.env(VARIABLE, &self.folder).stdout(Stdio::null());
            succeed(command.arg("stop"))
        });
        if let Err(error) = stopped {
            println!("the servers of the tests end by themselves later: {error:#}");
        }
    }
}

/// Builds the program.
fn build() -> Result<Command> {
    let mut build = Command::new("cargo");
    build.args([
        "build",
        "--quiet",
        "--package",
        "bus-testkit",
        "--bin",
        PROGRAM,
    ]);
    succeed(build.current_dir(root()))?;
    program()
}

fn program() -> Result<Command> {
    let mut command = Command::new(target()?.join("debug").join(PROGRAM));
    command.current_dir(root());
    Ok(command)
}

fn target() -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let target = metadata["target_directory"].as_str();
    Ok(PathBuf::from(
        target.context("cargo names no target folder")?,
    ))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}

fn name(server: Server) -> &'static str {
    match server {
        Server::Postrust => "postrust",
        Server::Lite => "lite",
    }
}
