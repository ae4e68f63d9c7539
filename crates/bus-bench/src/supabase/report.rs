//! What was found: numbers as they are for programs, medians in a table for people.

use super::latency::Latency;
use super::payload::Payload;
use super::side::Ran;
use super::{MIB, Options};
use serde::Serialize;
use std::fmt;

/// What a process of ours may hold at most, whatever the size of the payload.
const RSS_LIMIT: u64 = 96 * MIB;
/// What of the bare loop's throughput ours is to reach.
const GOAL: f64 = 0.9;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    mib: u64,
    rounds: u32,
    delay_ms: u64,
    /// Processes that wanted a processor, over the minute before the start.
    load_before: String,
    processors: usize,
    pub(crate) servers: Vec<ServerReport>,
}

/// On one server.
#[derive(Debug, Serialize)]
pub(crate) struct ServerReport {
    server: &'static str,
    pub(crate) payloads: Vec<Measured>,
    pub(crate) latencies: Vec<Latencies>,
}

/// One payload on one server.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    payload: Payload,
    /// How many calls were made at the same time.
    pub(crate) calls: usize,
    pub(crate) up: Runs,
    pub(crate) down: Runs,
}

/// All contestants in one direction.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Runs {
    pub(crate) bus: Vec<Ran>,
    /// The bare loop.
    pub(crate) bare: Vec<Ran>,
    /// The bare loop that encodes or decodes besides.
    pub(crate) codec: Vec<Ran>,
}

/// One latency on one server.
#[derive(Debug, Serialize)]
pub(crate) struct Latencies {
    pub(crate) payload: Payload,
    #[serde(flatten)]
    pub(crate) latency: Latency,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            mib: options.mib,
            rounds: options.rounds,
            delay_ms: options.delay_ms,
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
            processors: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            servers: Vec::new(),
        }
    }

    /// Goals whose miss is a mistake on any machine.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for server in &self.servers {
            for measured in &server.payloads {
                let peak = peak(&measured.up.bus).max(peak(&measured.down.bus));
                if peak > RSS_LIMIT {
                    let (name, title) = (server.server, measured.payload.title());
                    problems.push(format!(
                        "{name}, {title}: {} MiB of memory, more than 96",
                        peak / MIB
                    ));
                }
            }
        }
        problems
    }
}

impl ServerReport {
    pub(crate) fn new(server: &'static str) -> Self {
        Self {
            server,
            payloads: Vec::new(),
            latencies: Vec::new(),
        }
    }
}

impl Measured {
    pub(crate) fn new(payload: Payload) -> Self {
        Self {
            payload,
            calls: 1,
            up: Runs::default(),
            down: Runs::default(),
        }
    }
}

impl Runs {
    fn cells(&self, contestant: impl Fn(&Self) -> &Vec<Ran>) -> String {
        let runs = contestant(self);
        let cpu = median(runs.iter().map(|ran| ran.cpu_seconds).collect());
        format!("{:>8.1} {cpu:>7.2}", speed(runs))
    }

    /// Ours beside another's.
    fn ratio(&self, contestant: impl Fn(&Self) -> &Vec<Ran>) -> String {
        let ratio = speed(&self.bus) / speed(contestant(self));
        format!("{ratio:.2}{}", if ratio >= GOAL { "" } else { " (missed)" })
    }
}

fn peak(runs: &[Ran]) -> u64 {
    runs.iter().map(|ran| ran.peak_rss).max().unwrap_or(0)
}

/// Stored bytes a second, in MiB, of the median run.
fn speed(runs: &[Ran]) -> f64 {
    let of = |ran: &Ran| ran.stored_bytes as f64 / MIB as f64 / ran.seconds;
    median(runs.iter().map(of).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} MiB, medians of {} rounds, {} processors, load before {}, delay {} ms",
            self.mib, self.rounds, self.processors, self.load_before, self.delay_ms
        )?;
        for server in &self.servers {
            for measured in &server.payloads {
                measured.table(f, server.server)?;
            }
            latencies(f, server)?;
        }
        Ok(())
    }
}

impl Measured {
    fn table(&self, f: &mut fmt::Formatter<'_>, server: &str) -> fmt::Result {
        let (up, down) = (&self.up, &self.down);
        writeln!(
            f,
            "\n{server}: {}, {:.1} MiB stored, {} calls at a time (MiB/s of stored bytes; s of processors in this process)",
            self.payload.title(),
            up.bus.first().map_or(0, |ran| ran.stored_bytes) as f64 / MIB as f64,
            self.calls
        )?;
        writeln!(
            f,
            "{:<34} {:>8} {:>7} {:>8} {:>7} {:>13}",
            "", "up", "cpu", "down", "cpu", "peak RSS MiB"
        )?;
        let row = |runs: fn(&Runs) -> &Vec<Ran>| format!("{} {}", up.cells(runs), down.cells(runs));
        let peaks = format!("{} / {}", peak(&up.bus) / MIB, peak(&down.bus) / MIB);
        writeln!(f, "{:<34} {} {peaks:>13}", "bus", row(|runs| &runs.bus))?;
        writeln!(f, "{:<34} {}", "bare loop", row(|runs| &runs.bare))?;
        writeln!(
            f,
            "{:<34} {}",
            "bare loop and the codec",
            row(|runs| &runs.codec)
        )?;
        for (name, runs) in [
            ("bare loop", (|runs| &runs.bare) as fn(&Runs) -> &Vec<Ran>),
            ("bare loop and the codec", |runs| &runs.codec),
        ] {
            writeln!(
                f,
                "bus / {name}, goal {GOAL}: up {}, down {}",
                up.ratio(runs),
                down.ratio(runs)
            )?;
        }
        Ok(())
    }
}

fn latencies(f: &mut fmt::Formatter<'_>, server: &ServerReport) -> fmt::Result {
    if server.latencies.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{}: messages of 1 MiB (ms)", server.server)?;
    writeln!(
        f,
        "{:<14} {:>7} {:>12} {:>9} {:>7} {:>12} {:>9} {:>7}",
        "", "at once", "publish p50", "p99", "/s", "fetch p50", "p99", "/s"
    )?;
    for Latencies { payload, latency } in &server.latencies {
        let (publish, fetch) = (&latency.publish, &latency.fetch);
        writeln!(
            f,
            "{:<14} {:>7} {:>12.1} {:>9.1} {:>7.0} {:>12.1} {:>9.1} {:>7.0}",
            payload.title(),
            latency.publishers,
            publish.p50,
            publish.p99,
            publish.per_second,
            fetch.p50,
            fetch.p99,
            fetch.per_second
        )?;
    }
    Ok(())
}
