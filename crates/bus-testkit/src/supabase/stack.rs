//! The stack that tests share: one PostgreSQL and a few slots, each a database with a server in front.
//!
//! It outlives the tests (nextest gives each a process of its own) and is ended by a script some minutes after its
//! last use. Nobody coordinates it: locks do, which the kernel or PostgreSQL frees when their holder dies.
//!   * `start.lock`: alone, while the stack is started or ended.
//!   * `users`: shared, by every process that uses the stack, for as long as that process lives.
//!   * an advisory lock in PostgreSQL for each slot, held by the test that has it.

use super::children::{Life, Process};
use super::postgres::{Paths, Postgres};
use super::schema::HOSTED_ROLES;
use super::sql::{batch, connect};
use super::{background, place};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;
use tokio::sync::OnceCell;

/// How long the stack stays after its last use.
const IDLE_MINUTES: u32 = 10;

static STACK: OnceCell<Stack> = OnceCell::const_new();

/// The running stack, as this process knows it.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// Held until this process ends.
    _user: File,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    port: u16,
    postgres: Process,
}

impl Stack {
    /// The stack, started where it does not run.
    pub(crate) async fn get() -> Result<&'static Self> {
        let stack = STACK.get_or_try_init(|| background::here(join())).await?;
        stack.touch();
        Ok(stack)
    }

    /// Its PostgreSQL, for a look; it cannot be stopped.
    pub(crate) fn postgres(&self) -> Result<Postgres> {
        Postgres::shared(self.port, paths(&self.folder))
    }

    /// Tells the reaper that it was used now.
    fn touch(&self) {
        if let Ok(file) = place::lock_file(&self.folder.join("users")) {
            let _ = file.set_modified(SystemTime::now());
        }
    }
}

/// Notes a process that ends with the stack, by `signal`.
pub(crate) fn note_process(
    folder: &Path,
    name: &str,
    process: Process,
    signal: &str,
) -> Result<()> {
    let noted = folder.join("processes");
    fs::create_dir_all(&noted)?;
    let line = format!("{} {} {signal}\n", process.pid, process.started());
    fs::write(noted.join(name), line).context("noting a process of the stack")
}

/// Ends the shared stack: `Ok(false)` where others use it, unless `anyway`.
///
/// # Errors
/// Where the folder of the stack cannot be used.
pub async fn stop(anyway: bool) -> Result<bool> {
    background::blocking(move || {
        let folder = place::folder()?;
        let _start = place::lock(&folder.join("start.lock"))?;
        let alone = place::try_lock(&folder.join("users"))?;
        if alone.is_none() && !anyway {
            return Ok(false);
        }
        stop_processes(&folder)?;
        Ok(true)
    })
    .await
}

/// What runs, in words; starts nothing.
///
/// # Errors
/// Where the folder of the stack cannot be used.
pub fn status() -> Result<Vec<String>> {
    let folder = place::folder()?;
    let mut lines = vec![format!("folder    {}", folder.display())];
    let Some(state) = running(&folder) else {
        lines.push("stopped".to_owned());
        return Ok(lines);
    };
    lines.push(format!(
        "postgres  127.0.0.1:{} (process {})",
        state.port, state.postgres.pid
    ));
    for entry in fs::read_dir(folder.join("processes"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(server) = name.strip_prefix("server-") {
            let noted = fs::read_to_string(entry.path())?;
            let pid = noted.split(' ').next().unwrap_or_default().to_owned();
            lines.push(format!("slot      {server} (process {pid})"));
        }
    }
    lines[2..].sort();
    Ok(lines)
}

/// The folder that the processes of one stack share, for `BUS_TEST_STACK`.
///
/// # Errors
/// Where it cannot be made.
pub async fn start() -> Result<PathBuf> {
    Ok(Stack::get().await?.folder.clone())
}

async fn join() -> Result<Stack> {
    let (folder, user, start, state) = background::blocking(|| {
        let folder = place::folder()?;
        // First the lock that keeps the stack alive, then a look whether it lives.
        let user = place::lock_file(&folder.join("users"))?;
        user.lock_shared()
            .context("locking the stack against its end")?;
        let start = place::lock(&folder.join("start.lock"))?;
        let state = running(&folder);
        Ok((folder, user, start, state))
    })
    .await?;
    let port = match state {
        Some(state) => state.port,
        None => launch(&folder).await?,
    };
    drop(start);
    Ok(Stack {
        folder,
        port,
        _user: user,
    })
}

async fn launch(folder: &Path) -> Result<u16> {
    write_scripts(folder)?;
    stop_processes(folder)?;
    let options = Postgres::options();
    let postgres = Postgres::make(&options, paths(folder), Life::Detached, None).await?;
    postgres.start().await?;
    let port = postgres.port();
    let client = connect(port, "postgres", "postgres").await?;
    batch(&client, HOSTED_ROLES).await?;
    let process = postgres.release()?;
    note_process(folder, "postgres", process, "QUIT")?;
    let state = State {
        port,
        postgres: process,
    };
    fs::write(folder.join("stack.json"), serde_json::to_vec(&state)?)?;
    start_reaper(folder)?;
    Ok(port)
}

fn running(folder: &Path) -> Option<State> {
    let text = fs::read(folder.join("stack.json")).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    // A process that was killed is there for a little longer, but listens no more.
    let listens = || TcpStream::connect(("127.0.0.1", state.port)).is_ok();
    (state.postgres.alive() && listens()).then_some(state)
}

fn paths(folder: &Path) -> Paths {
    Paths {
        data: folder.join("data"),
        log: folder.join("postgres.log"),
    }
}

fn write_scripts(folder: &Path) -> Result<()> {
    fs::write(folder.join("reaper.sh"), include_str!("reaper.sh"))?;
    fs::write(folder.join("stop.sh"), include_str!("stop.sh"))
        .context("writing the scripts of the stack")
}

fn stop_processes(folder: &Path) -> Result<()> {
    write_scripts(folder)?;
    let script = folder.join("stop.sh");
    let ended = Command::new("sh")
        .arg(script)
        .arg(folder)
        .stdin(Stdio::null())
        .status();
    ended.context("ending what is left of the stack")?;
    Ok(())
}

fn start_reaper(folder: &Path) -> Result<()> {
    let mut command = Command::new("setsid");
    command
        .arg("sh")
        .arg(folder.join("reaper.sh"))
        .arg(folder)
        .arg(IDLE_MINUTES.to_string())
        .arg("10")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = background::spawn(command).context("starting the script that ends the stack")?;
    fs::write(folder.join("reaper"), child.id().to_string())?;
    Ok(())
}
