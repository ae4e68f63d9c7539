//! Payloads up and down through Supabase, beside a bare loop of the same calls, and latencies of small messages.
//!
//! The servers are the testkit's: `@supabase/lite`, and postrust behind a gateway that lives in this process. Whatever
//! is measured runs in a process of its own, the same program again, so that its memory is its own.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints its table"
)]

mod bare;
mod latency;
mod payload;
mod report;
mod side;

pub(crate) use side::Side;

use anyhow::{Context, Result, bail, ensure};
use bus_testkit::{Project, Server, sha256_file};
use payload::Payload;
use report::{Measured, Report, ServerReport};
use side::{KEY, Ran, URL};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

const MIB: u64 = 1 << 20;
const PUBLISHERS: [usize; 3] = [1, 8, 32];

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which servers
    #[arg(long, value_enum, default_value_t = Servers::Both)]
    server: Servers,
    /// Size of each payload, in MiB
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(3..=4096))]
    mib: u64,
    /// Rounds; the table shows medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Messages for each latency; 0 leaves latencies out
    #[arg(long, default_value_t = 256)]
    messages: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Where the payloads go
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Servers {
    Postrust,
    Lite,
    Both,
}

/// Does one measured run of [`run`], in a process of its own.
pub(crate) fn run_side(side: &Side) -> Result<()> {
    side::run(side)
}

/// Measures.
///
/// # Errors
/// Where bytes differ, a process of ours held more than 96 MiB, or something failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(options))?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    let problems = report.problems();
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Report> {
    let mut report = Report::new(options.mib, options.rounds);
    let servers: &[Server] = match options.server {
        Servers::Postrust => &[Server::Postrust],
        Servers::Lite => &[Server::Lite],
        Servers::Both => &[Server::Postrust, Server::Lite],
    };
    for server in servers {
        let bench = Bench::new(*server, options).await?;
        let mut found = ServerReport::new(server.name());
        for payload in Payload::ALL {
            found
                .payloads
                .push(bench.throughput(payload, options).await?);
        }
        for payload in Payload::ALL {
            for publishers in PUBLISHERS {
                if options.messages > 0 {
                    found
                        .latencies
                        .push(bench.latency(payload, publishers, options).await?);
                }
            }
        }
        report.servers.push(found);
    }
    Ok(report)
}

/// A project, and the folder that payloads lie in.
struct Bench {
    project: Project,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new(server: Server, options: &Options) -> Result<Self> {
        let folder = tempfile::TempDir::new_in(&options.folder)
            .with_context(|| format!("making a folder in {}", options.folder.display()))?;
        Ok(Self {
            project: Project::take(server).await?,
            folder,
        })
    }

    async fn throughput(&self, payload: Payload, options: &Options) -> Result<Measured> {
        let file = self.folder.path().join(payload.name());
        payload.write(&file, options.mib * MIB)?;
        let mut measured = Measured::new(payload);
        let warm = self.publish("warm", &file).await?;
        measured.calls = warm.calls.max(1);
        self.check("warm", &file).await?;
        for round in 1..=options.rounds {
            eprintln!(
                "{} of {}: round {round} of {}",
                payload.title(),
                self.project.database(),
                options.rounds
            );
            self.round(&file, &mut measured, round).await?;
        }
        std::fs::remove_file(&file)?;
        Ok(measured)
    }

    /// Everybody once, in an order that turns with the round.
    async fn round(&self, file: &Path, measured: &mut Measured, round: u32) -> Result<()> {
        let calls = measured.calls;
        for place in 0..3 {
            self.project
                .sql("truncate public.message_bus cascade")
                .await?;
            match (place + round) % 3 {
                0 => {
                    measured.bus_up.push(self.publish("bus", file).await?);
                    let (fetch, bare) = (fetch("bus"), bare_down("bus", calls));
                    measured.bus_down.push(self.side(&fetch).await?);
                    measured.bare_down.push(self.side(&bare).await?);
                    measured.bare_down.push(self.side(&bare).await?);
                    measured.bus_down.push(self.side(&fetch).await?);
                }
                1 => measured
                    .bare_up
                    .push(self.bare_up(file, calls, false).await?),
                _ => measured
                    .ready_up
                    .push(self.bare_up(file, calls, true).await?),
            }
        }
        Ok(())
    }

    async fn publish(&self, txn: &str, file: &Path) -> Result<Ran> {
        let (txn, file) = (txn.to_owned(), file.to_owned());
        self.side(&Side::Publish { txn, file }).await
    }

    async fn bare_up(&self, file: &Path, calls: usize, ready: bool) -> Result<Ran> {
        let ran = self
            .side(&Side::BareUp {
                txn: "bare".into(),
                file: file.to_owned(),
                calls,
                ready,
            })
            .await?;
        self.check("bare", file).await?;
        Ok(ran)
    }

    /// Whether the message has the bytes of `file`; the clock stands still.
    async fn check(&self, txn: &str, file: &Path) -> Result<()> {
        let hashed = self.side(&Side::Hash { txn: txn.into() }).await?;
        let expected = sha256_file(file)?;
        ensure!(
            hashed.sha256.as_ref() == Some(&expected),
            "{txn} came back as {:?}, not {expected}",
            hashed.sha256
        );
        Ok(())
    }

    async fn latency(
        &self,
        payload: Payload,
        publishers: usize,
        options: &Options,
    ) -> Result<report::Latencies> {
        eprintln!(
            "{} of {}: {publishers} at once",
            payload.title(),
            self.project.database()
        );
        self.project
            .sql("truncate public.message_bus cascade")
            .await?;
        let messages = options.messages;
        let side = Side::Latency {
            payload,
            publishers,
            messages,
        };
        let latency = self
            .side(&side)
            .await?
            .latency
            .context("no latency was told")?;
        Ok(report::Latencies { payload, latency })
    }

    /// Runs this program again.
    async fn side(&self, side: &Side) -> Result<Ran> {
        let output = Command::new(std::env::current_exe()?)
            .arg("supabase-side")
            .args(side.arguments())
            .env(URL, self.project.url())
            .env(KEY, self.project.secret_key())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "{side:?} ended with {}",
            output.status
        );
        serde_json::from_slice(&output.stdout).with_context(|| format!("{side:?} told nothing"))
    }
}

fn fetch(txn: &str) -> Side {
    Side::Fetch {
        txn: txn.to_owned(),
    }
}

fn bare_down(txn: &str, calls: usize) -> Side {
    Side::BareDown {
        txn: txn.to_owned(),
        calls,
    }
}
