//! What was found: numbers as they are for programs, medians in a table for people.

use super::MIB;
use super::latency::Latency;
use super::payload::Payload;
use super::side::Ran;
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
    pub(crate) bus_up: Vec<Ran>,
    pub(crate) bare_up: Vec<Ran>,
    pub(crate) ready_up: Vec<Ran>,
    pub(crate) bus_down: Vec<Ran>,
    pub(crate) bare_down: Vec<Ran>,
}

/// One latency on one server.
#[derive(Debug, Serialize)]
pub(crate) struct Latencies {
    pub(crate) payload: Payload,
    #[serde(flatten)]
    pub(crate) latency: Latency,
}

impl Report {
    pub(crate) fn new(mib: u64, rounds: u32) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            mib,
            rounds,
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
                let peak = measured
                    .peak(&measured.bus_up)
                    .max(measured.peak(&measured.bus_down));
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
            bus_up: Vec::new(),
            bare_up: Vec::new(),
            ready_up: Vec::new(),
            bus_down: Vec::new(),
            bare_down: Vec::new(),
        }
    }

    fn peak(&self, runs: &[Ran]) -> u64 {
        runs.iter().map(|ran| ran.peak_rss).max().unwrap_or(0)
    }

    fn stored(&self) -> u64 {
        self.bus_up.first().map_or(0, |ran| ran.stored_bytes)
    }
}

/// Stored bytes a second, in MiB, of the median run.
fn speed(runs: &[Ran]) -> f64 {
    let mut speeds: Vec<f64> = runs
        .iter()
        .map(|ran| ran.stored_bytes as f64 / MIB as f64 / ran.seconds)
        .collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} MiB, medians of {} rounds, {} processors, load before {}",
            self.mib, self.rounds, self.processors, self.load_before
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
        let (up, down) = (speed(&self.bus_up), speed(&self.bus_down));
        let (bare_up, bare_down) = (speed(&self.bare_up), speed(&self.bare_down));
        writeln!(
            f,
            "\n{server}: {}, {:.1} MiB stored, {} calls at a time (MiB/s of stored bytes)",
            self.payload.title(),
            self.stored() as f64 / MIB as f64,
            self.calls
        )?;
        writeln!(
            f,
            "{:<34} {:>8} {:>8} {:>14}",
            "", "up", "down", "peak RSS MiB"
        )?;
        let peaks = format!(
            "{} / {}",
            self.peak(&self.bus_up) / MIB,
            self.peak(&self.bus_down) / MIB
        );
        writeln!(f, "{:<34} {up:>8.1} {down:>8.1} {peaks:>14}", "bus")?;
        writeln!(f, "{:<34} {bare_up:>8.1} {bare_down:>8.1}", "bare loop")?;
        let ready = speed(&self.ready_up);
        writeln!(f, "{:<34} {ready:>8.1}", "bare loop, bodies made before")?;
        let verdict = |ratio: f64| if ratio >= GOAL { "" } else { " (missed)" };
        let (up, down) = (up / bare_up, down / bare_down);
        writeln!(
            f,
            "bus / bare loop, goal {GOAL}: up {up:.2}{}, down {down:.2}{}",
            verdict(up),
            verdict(down)
        )
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
