//! Processes of the kit: started as somebody without rights, ended with their parent or kept for the next test.

use super::background;
use crate::nobody::running_as_root;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    started: u64,
}

impl Process {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        Ok(Self {
            pid,
            started: started(pid).with_context(|| format!("process {pid} has ended"))?,
        })
    }

    /// When it started, in ticks since boot.
    pub(crate) fn started(self) -> u64 {
        self.started
    }

    pub(crate) fn alive(self) -> bool {
        started(self.pid) == Some(self.started)
    }

    /// Sends a signal; nothing happens where the process has ended.
    pub(crate) fn signal(self, name: &str) {
        if self.alive() {
            let pid = self.pid.to_string();
            let _ = Command::new("kill").args(["-s", name, &pid]).status();
        }
    }
}

/// How long a child lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Ended by this signal when this process ends, however that happens.
    WithUs(&'static str),
    /// Outlives us, our terminal and our process group.
    Detached,
}

/// Starts `program`; what it prints is appended to `log`.
pub(crate) fn start(
    command: &Command,
    user: Option<User>,
    life: Life,
    log: &Path,
) -> Result<Child> {
    let out = File::options().create(true).append(true).open(log);
    let out = out.with_context(|| format!("opening {}", log.display()))?;
    let mut wrapped = wrap(command.get_program(), user, life);
    wrapped.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out);
    background::spawn(wrapped)
        .with_context(|| format!("starting {}", Path::new(command.get_program()).display()))
}

/// Each of these programs becomes the next one, so the child's number is that of the last.
fn wrap(program: &OsStr, user: Option<User>, life: Life) -> Command {
    let mut command = match life {
        Life::WithUs(signal) => {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", signal]);
            command
        }
        Life::Detached => {
            let mut command = Command::new("setsid");
            if user.is_some() {
                command.args(["--", "setpriv"]);
            }
            command
        }
    };
    if let Some(user) = user {
        command
            .arg(format!("--reuid={}", user.uid))
            .arg(format!("--regid={}", user.gid))
            .arg("--clear-groups");
    }
    command.arg("--").arg(program);
    command
}

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who runs PostgreSQL, which refuses to be root: `None` where we are somebody else already.
pub(crate) fn unprivileged() -> Result<Option<User>> {
    if !running_as_root()? {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    for name in ["postgres", "nobody"] {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name));
        let mut numbers = line.into_iter().flat_map(|line| line.split(':').skip(2));
        let mut number = || numbers.next().and_then(|number| number.parse().ok());
        if let (Some(uid), Some(gid)) = (number(), number()) {
            return Ok(Some(User { uid, gid }));
        }
    }
    bail!("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

/// Runs a program to its end, as `user`; its output where it failed.
pub(crate) fn run(command: &Command, user: Option<User>) -> Result<()> {
    let mut wrapped = match user {
        Some(user) => wrap(command.get_program(), Some(user), Life::WithUs("KILL")),
        None => Command::new(command.get_program()),
    };
    wrapped.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    let name = Path::new(command.get_program()).display();
    let output = wrapped
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The end of a log, for an error.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold spaces and parentheses; what follows the last one does not.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    // A zombie has ended: only its parent has not looked yet.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
