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

use anyhow::{Context, Result, bail, ensure};
use bus_testkit::{Fault, FaultProxy, Project, Server, sha256_file};
use payload::Payload;
use report::{Measured, Report, Runs, ServerReport};
use side::{KEY, Ran, Side, URL};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
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
    /// How much later everything arrives, both ways, as over a network
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
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

/// Does one measured run of [`run`], in a process of its own; `side` is JSON.
pub(crate) fn run_side(side: &str) -> Result<()> {
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
    let mut report = Report::new(options);
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
    url: String,
    /// A network, where one is asked for.
    _network: Option<FaultProxy>,
}

impl Bench {
    async fn new(server: Server, options: &Options) -> Result<Self> {
        let folder = tempfile::TempDir::new_in(&options.folder)
            .with_context(|| format!("making a folder in {}", options.folder.display()))?;
        let project = Project::take(server).await?;
        let network = match options.delay_ms {
            0 => None,
            delay => {
                let proxy = FaultProxy::start(project.addr()).await?;
                proxy.set(Fault::Delay(Duration::from_millis(delay)));
                Some(proxy)
            }
        };
        let url = network.as_ref().map(FaultProxy::url);
        Ok(Self {
            url: url.unwrap_or_else(|| project.url().to_owned()),
            project,
            folder,
            _network: network,
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
        for place in 0..3 {
            self.empty().await?;
            match (place + round) % 3 {
                0 => {
                    measured.up.bus.push(self.publish("bus", file).await?);
                    self.down(&mut measured.down, measured.calls, round).await?;
                }
                1 => {
                    let ran = self.bare_up(file, measured.calls, false).await?;
                    measured.up.bare.push(ran);
                }
                _ => {
                    let ran = self.bare_up(file, measured.calls, true).await?;
                    measured.up.codec.push(ran);
                }
            }
        }
        Ok(())
    }

    /// All ways down, twice, since they are short.
    async fn down(&self, runs: &mut Runs, calls: usize, round: u32) -> Result<()> {
        for place in 0..6 {
            let txn = "bus".to_owned();
            match (place + round) % 3 {
                0 => runs
                    .bus
                    .push(self.side(&Side::Fetch { txn, hash: false }).await?),
                kind => {
                    let codec = kind == 2;
                    let ran = self.side(&Side::BareDown { txn, calls, codec }).await?;
                    if codec {
                        &mut runs.codec
                    } else {
                        &mut runs.bare
                    }
                    .push(ran);
                }
            }
        }
        Ok(())
    }

    async fn empty(&self) -> Result<()> {
        self.project
            .sql("truncate public.message_bus cascade")
            .await
    }

    async fn publish(&self, txn: &str, file: &Path) -> Result<Ran> {
        let (txn, file) = (txn.to_owned(), file.to_owned());
        self.side(&Side::Publish { txn, file }).await
    }

    async fn bare_up(&self, file: &Path, calls: usize, codec: bool) -> Result<Ran> {
        let ran = self
            .side(&Side::BareUp {
                txn: "bare".into(),
                file: file.to_owned(),
                calls,
                codec,
            })
            .await?;
        self.check("bare", file).await?;
        Ok(ran)
    }

    /// Whether the message has the bytes of `file`; the clock stands still.
    async fn check(&self, txn: &str, file: &Path) -> Result<()> {
        let hashed = self
            .side(&Side::Fetch {
                txn: txn.into(),
                hash: true,
            })
            .await?;
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
            .arg(serde_json::to_string(side)?)
            .env(URL, &self.url)
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
