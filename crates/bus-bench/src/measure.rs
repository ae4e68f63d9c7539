//! Rounds, medians and a table of them.

use std::{
    fs, io,
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// How long one run took: on the clock, and on all processors together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// One contestant and its runs.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) runs: Vec<Run>,
}

impl Contestant {
    pub(crate) fn new(name: impl Into<String>, bytes: u64) -> Self {
        Self {
            name: name.into(),
            bytes,
            runs: Vec::new(),
        }
    }

    /// Does one run of `work` and notes it.
    pub(crate) fn run(&mut self, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let (cpu, started) = (cpu_time()?, Instant::now());
        work().with_context(|| format!("{} failed", self.name))?;
        self.runs.push(Run {
            wall: started.elapsed(),
            cpu: cpu_time()?.saturating_sub(cpu),
        });
        Ok(())
    }

    /// The median on the clock.
    pub(crate) fn wall(&self) -> Duration {
        median(self.runs.iter().map(|run| run.wall).collect())
    }

    /// The median on all processors together.
    pub(crate) fn cpu(&self) -> Duration {
        median(self.runs.iter().map(|run| run.cpu).collect())
    }
}

/// Prints the contestants; each beside the first in speed, and the first beside it in time.
pub(crate) fn print(title: &str, contestants: &[Contestant]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{title}")?;
    writeln!(
        out,
        "  {:<44} {:>8} {:>8} {:>7} {:>16}",
        "", "MB/s", "wall s", "cpu s", "first/this speed"
    )?;
    let Some(first) = contestants.first() else {
        return Ok(());
    };
    for contestant in contestants {
        let wall = contestant.wall().as_secs_f64();
        let speed = contestant.bytes as f64 / 1e6 / wall;
        let first_speed = first.bytes as f64 / 1e6 / first.wall().as_secs_f64();
        writeln!(
            out,
            "  {:<44} {speed:>8.0} {wall:>8.3} {:>7.2} {:>16.2}",
            contestant.name,
            contestant.cpu().as_secs_f64(),
            first_speed / speed,
        )?;
    }
    Ok(())
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Processor time of this process and of the children that it waited for. Linux only, in steps of
/// 10 ms, which is enough for runs of a tenth of a second and more.
pub(crate) fn cpu_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("reading the process's times")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
