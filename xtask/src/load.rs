//! `cargo xtask bench load`: 200 sessions call a released daemon at once, round after round; its
//! memory may not grow.

use crate::workspace::root;
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Loads a daemon that is started from `program`.
pub(crate) fn run(program: &Path, rounds: u32) -> Result<()> {
    let clients = root().join(".cache/python");
    ensure!(
        clients.is_dir(),
        "the Python client is missing: install it with cargo xtask ci --install --only needs"
    );
    let folder = std::env::temp_dir().join(format!("bus-load-{}", std::process::id()));
    let mut daemon = Daemon(serve(program, &folder)?);
    let url = url_of(&mut daemon.0)?;
    let ended = Command::new("python3")
        .arg(root().join("crates/bus-testkit/clients/load.py"))
        .args([url, daemon.0.id().to_string(), rounds.to_string()])
        .env("PYTHONPATH", clients)
        .status()
        .context("python3 cannot be started")?;
    drop(daemon);
    std::fs::remove_dir_all(&folder).context("the store of the load is left behind")?;
    if !ended.success() {
        bail!("the load ended with {ended}");
    }
    Ok(())
}

/// A daemon that ends with this value.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(program: &Path, folder: &Path) -> Result<Child> {
    Command::new(program)
        .args([
            "--json",
            "--quiet",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--store",
        ])
        .arg(format!("embedded:{}", folder.display()))
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))
}

/// The address that the daemon says it listens on.
fn url_of(daemon: &mut Child) -> Result<String> {
    let said = daemon
        .stdout
        .take()
        .context("the daemon's output is not piped")?;
    let mut text = String::new();
    let mut said = BufReader::new(said);
    let listening: serde_json::Value = loop {
        ensure!(
            said.read_line(&mut text)? > 0,
            "the daemon ended before it listened: {text}"
        );
        if let Ok(value) = serde_json::from_str(&text) {
            break value;
        }
    };
    let url = listening["websocket"]
        .as_str()
        .context("the daemon told no address")?;
    Ok(url.to_owned())
}
