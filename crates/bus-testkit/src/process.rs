//! Looking at processes: their memory, their ports, their readiness.

use anyhow::{Context, Result, bail};
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// The memory that a process holds now, in bytes.
///
/// # Errors
/// Where the process has ended.
pub fn rss(pid: u32) -> Result<u64> {
    status_field(pid, "VmRSS:")
}

/// The most memory that a process has held so far, in bytes.
///
/// # Errors
/// Where the process has ended.
pub fn peak_rss(pid: u32) -> Result<u64> {
    status_field(pid, "VmHWM:")
}

/// The built `bus` program beside the running test.
///
/// The tests of bus-cli use `env!("CARGO_BIN_EXE_bus")` instead, which cargo keeps fresh.
///
/// # Errors
/// Where it has not been built; the message says how.
pub fn bus_program() -> Result<PathBuf> {
    let test = std::env::current_exe().context("finding the running test")?;
    // target/PROFILE/deps/TEST-HASH for a test, target/PROFILE/NAME for a program.
    let candidates = test.ancestors().skip(1).take(2).map(|dir| dir.join("bus"));
    for program in candidates {
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!(
        "the bus program is not beside {}; build it with: cargo build -p bus-cli",
        test.display()
    )
}

/// A port of 127.0.0.1 that nobody listened on a moment ago, for a server that is about to start.
///
/// Below the range that the kernel hands out itself, where there is room: what other tests bind or connect meanwhile
/// (also while a server is down, to be started again) never gets it.
///
/// # Errors
/// Where no port is free.
pub fn free_port() -> Result<u16> {
    let end = first_ephemeral_port();
    if end > LOWEST_PORT + 1000 {
        for _ in 0..100 {
            // A new state hashes by keys of its own, which is random enough.
            let random = RandomState::new().hash_one(0_u8);
            let port = LOWEST_PORT + u16::try_from(random % u64::from(end - LOWEST_PORT))?;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("asking for a free port")?;
    Ok(listener.local_addr()?.port())
}

/// Above the usual services.
const LOWEST_PORT: u16 = 15_000;

/// The first port that the kernel hands out; 0 where it does not say.
fn first_ephemeral_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next();
    first.and_then(|port| port.parse().ok()).unwrap_or(0)
}

/// Asks again every 10 ms until there is an answer.
///
/// # Errors
/// Where there is none within `limit`; the message names `what`.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("{what}: nothing after {limit:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn status_field(pid: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kib = kib.with_context(|| format!("{path} has no {name} (has the process ended?)"))?;
    Ok(kib.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_plausible() {
        let pid = std::process::id();
        assert!(rss(pid).unwrap() > 100 * 1024);
        assert!(peak_rss(pid).unwrap() >= rss(pid).unwrap() / 2);
    }

    #[test]
    fn the_port_of_a_server_is_none_that_the_kernel_hands_out() {
        let end = first_ephemeral_port();
        let port = free_port().unwrap();
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "{port}");
        assert!(
            port < end || end <= LOWEST_PORT + 1000,
            "{port} may be another's before a server listens on it"
        );
    }

    #[test]
    fn waiting_in_vain_names_what_was_awaited() {
        let error = wait_for("a miracle", Duration::ZERO, || None::<()>).unwrap_err();
        assert!(error.to_string().contains("a miracle"));
    }
}
