//! `bus put` and `bus get` of a big file, beside `zstd`, `cp` and `sha256sum` of the same file.
//!
//! The real program is run, once for each payload and round, and its peers in between, so that whatever else the machine
//! does hits all of them. Nothing of the payload is in this process: only files, clocks and `/proc`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use anyhow::{Context, Result, bail};
use bus_testkit::{peak_rss, sha256_file, write_json_payload, write_random_payload};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// What a process of ours may hold at most, whatever the size of the payload.
const RSS_LIMIT: u64 = 96 * MIB;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The `bus` program, built in release
    #[arg(long)]
    bus: PathBuf,
    /// Size of each payload, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Rounds; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where the files go: a real disk with about five times the size to spare
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

/// Measures both payloads.
///
/// # Errors
/// Where bytes differ, a process of ours held more than 96 MiB, or a program failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut problems = Vec::new();
    for payload in [Payload::Json, Payload::Random] {
        println!("making {} MiB of {}", options.mib, payload.name());
        let bench = Bench::new(options, payload)?;
        let mut samples = Samples::default();
        for round in 1..=options.rounds {
            println!("round {round} of {}", options.rounds);
            bench.round(&mut samples)?;
        }
        samples.print(payload, options.mib);
        let peak = samples.put_rss.max(samples.get_rss);
        if peak > RSS_LIMIT {
            problems.push(format!(
                "{}: {} MiB of memory, more than 96",
                payload.name(),
                peak / MIB
            ));
        }
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    println!("every byte came back; memory stayed below 96 MiB");
    Ok(())
}

#[derive(Debug, Clone, Copy)]
enum Payload {
    Json,
    Random,
}

impl Payload {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Random => "random bytes",
        }
    }

    fn write(self, path: &Path, bytes: u64) -> Result<()> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        match self {
            Self::Json => write_json_payload(&mut out, bytes, 1)?,
            Self::Random => write_random_payload(&mut out, bytes, 1)?,
        }
        out.flush()?;
        Ok(out.get_ref().sync_all()?)
    }
}

/// One payload on disk and the folder that its rounds work in.
struct Bench {
    folder: tempfile::TempDir,
    bus: PathBuf,
    max_mb: u64,
    digest: String,
}

impl Bench {
    fn new(options: &Options, payload: Payload) -> Result<Self> {
        let folder = tempfile::TempDir::new_in(&options.folder)
            .with_context(|| format!("making a folder in {}", options.folder.display()))?;
        let input = folder.path().join("input");
        payload.write(&input, options.mib * MIB)?;
        let bus = options
            .bus
            .canonicalize()
            .with_context(|| format!("finding {}", options.bus.display()))?;
        Ok(Self {
            digest: sha256_file(&input)?,
            folder,
            bus,
            max_mb: options.mib + 1,
        })
    }

    /// Every program once; the files of each are gone before the next.
    fn round(&self, samples: &mut Samples) -> Result<()> {
        let (input, copy, zst) = (self.file("input"), self.file("copy"), self.file("zst"));

        let mut cp = Command::new("cp");
        let time = timed(cp.arg(&input).arg(&copy))?;
        let sum = timed(Command::new("sha256sum").arg(&copy).stdout(Stdio::null()))?;
        samples.cp.push(time + sum);
        samples.cp_flushed.push(time + sum + self.flush(&copy)?);
        fs::remove_file(&copy)?;

        let mut put = self.bus("put");
        let (time, rss) = timed_with_rss(put.args(["--txn", "bench"]).arg(&input))?;
        samples.put.push(time);
        samples.put_rss = samples.put_rss.max(rss);
        samples.stored = size_of_folder(&self.file("store"))?;

        let mut zstd = Command::new("zstd");
        let time = timed(
            zstd.args(["-q", "-f", "-T2", "-1", "-o"])
                .arg(&zst)
                .arg(&input),
        )?;
        samples.zstd.push(time);
        samples.zstd_flushed.push(time + self.flush(&zst)?);

        let mut get = self.bus("get");
        let (time, rss) = timed_with_rss(get.arg("bench").arg("-o").arg(&copy))?;
        samples.get.push(time);
        samples.get_rss = samples.get_rss.max(rss);
        self.verify(&copy)?;
        fs::remove_dir_all(self.file("store"))?;

        let mut unzstd = Command::new("zstd");
        let time = timed(unzstd.args(["-q", "-f", "-d", "-o"]).arg(&copy).arg(&zst))?;
        samples.unzstd.push(time);
        samples.unzstd_flushed.push(time + self.flush(&copy)?);
        fs::remove_file(&copy)?;
        Ok(fs::remove_file(&zst)?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bus(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.bus);
        command
            .arg("--store")
            .arg(format!("embedded:{}", self.file("store").display()))
            .args(["--quiet", verb])
            .env("MESSAGE_BUS_MAX_PAYLOAD_MB", self.max_mb.to_string())
            // No .env of a developer's may change what is measured.
            .current_dir(self.folder.path())
            .stdout(Stdio::null());
        command
    }

    fn verify(&self, path: &Path) -> Result<()> {
        let digest = sha256_file(path)?;
        if digest != self.digest {
            bail!(
                "bus get gave back other bytes: {digest}, not {}",
                self.digest
            );
        }
        Ok(())
    }

    /// What the peers leave to the system: bus has its bytes on the disk when it says so.
    fn flush(&self, path: &Path) -> Result<Duration> {
        timed(Command::new("sync").arg(path))
    }
}

#[derive(Default)]
struct Samples {
    put: Vec<Duration>,
    get: Vec<Duration>,
    cp: Vec<Duration>,
    cp_flushed: Vec<Duration>,
    zstd: Vec<Duration>,
    zstd_flushed: Vec<Duration>,
    unzstd: Vec<Duration>,
    unzstd_flushed: Vec<Duration>,
    put_rss: u64,
    get_rss: u64,
    stored: u64,
}

impl Samples {
    fn print(&self, payload: Payload, mib: u64) {
        let speed = |times: &[Duration]| mib as f64 / median(times).as_secs_f64();
        let row =
            |name: &str, times: &[Duration], flushed: Option<&[Duration]>, rss: Option<u64>| {
                let flushed = flushed.map_or(String::new(), |times| format!("{:.0}", speed(times)));
                let rss = rss.map_or(String::new(), |rss| (rss / MIB).to_string());
                println!("{name:<20} {:>8.0} {flushed:>12} {rss:>13}", speed(times));
            };
        println!(
            "\n{mib} MiB of {} (MiB/s, median of {})",
            payload.name(),
            self.put.len()
        );
        println!(
            "{:<20} {:>8} {:>12} {:>13}",
            "", "as run", "and synced", "peak RSS MiB"
        );
        row("bus put", &self.put, None, Some(self.put_rss));
        row("zstd -T2 -1", &self.zstd, Some(&self.zstd_flushed), None);
        row("cp + sha256sum", &self.cp, Some(&self.cp_flushed), None);
        row("bus get", &self.get, None, Some(self.get_rss));
        row("zstd -d", &self.unzstd, Some(&self.unzstd_flushed), None);
        let slower = |a: &[Duration], b: &[Duration]| speed(a).min(speed(b));
        println!(
            "put / slower peer {:.2}, get / slower peer {:.2}, stored {:.3} of the size\n",
            speed(&self.put) / slower(&self.zstd, &self.cp),
            speed(&self.get) / slower(&self.unzstd, &self.cp),
            self.stored as f64 / (mib * MIB) as f64
        );
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn timed(command: &mut Command) -> Result<Duration> {
    Ok(timed_with_rss(command)?.0)
}

/// Runs it to its end; the memory is the last peak that the kernel told, at most 5 ms before the end.
fn timed_with_rss(command: &mut Command) -> Result<(Duration, u64)> {
    let name = command.get_program().display().to_string();
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let pid = child.id();
    let watcher = thread::spawn(move || {
        let mut peak = 0;
        while let Ok(now) = peak_rss(pid) {
            peak = peak.max(now);
            thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let status = child.wait()?;
    let time = start.elapsed();
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok((time, watcher.join().unwrap_or_default()))
}

fn size_of_folder(folder: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        total += if meta.is_dir() {
            size_of_folder(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(total)
}
