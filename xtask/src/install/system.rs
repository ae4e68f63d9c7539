//! The system's packages, by apt.

use super::{Missing, answers, succeed};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What answers to each program, and the Debian package that brings it.
const PROGRAMS: &[(&[&str], &str)] = &[
    (&["cc", "--version"], "gcc"),
    (&["python3", "--version"], "python3"),
    (&["python3", "-m", "pip", "--version"], "python3-pip"),
    (&["node", "--version"], "nodejs"),
    (&["npm", "--version"], "npm"),
    (&["zstd", "--version"], "zstd"),
    (&["gzip", "--version"], "gzip"),
    (&["git", "--version"], "git"),
    (&["setpriv", "--version"], "util-linux"),
    (&["setsid", "--version"], "util-linux"),
    (&["flock", "--version"], "util-linux"),
    (&["find", "--version"], "findutils"),
    (&["mount", "--version"], "mount"),
    (&["kill", "-l"], "procps"),
];

/// Files of packages whose programs are on no path.
const FILES: &[(&str, &str)] = &[
    (POSTGRES, "postgresql-15"),
    (
        "/usr/share/postgresql/15/extension/pg_cron.control",
        "postgresql-15-cron",
    ),
];

const POSTGRES: &str = "/usr/lib/postgresql/15/bin/postgres";

pub(super) fn missing() -> Option<Missing> {
    let programs = PROGRAMS
        .iter()
        .filter(|(command, _)| !answers(command))
        .map(|&(_, package)| package);
    let files = FILES
        .iter()
        .filter(|(path, _)| !Path::new(path).exists())
        .map(|&(_, package)| package);
    let mut packages: Vec<&str> = programs.chain(files).collect();
    packages.dedup();
    if packages.is_empty() {
        return None;
    }
    let list = packages.join(" ");
    Some(Missing {
        by_hand: vec![format!("apt-get update && apt-get install -y {list}")],
        install: Box::new(move || install(&packages)),
        what: list,
    })
}

fn install(packages: &[&str]) -> Result<()> {
    succeed(apt_get().args(["update", "-qq"])).context("it takes root, on Debian 12")?;
    if !Path::new(POSTGRES).exists() {
        install_packages(&["postgresql-common"])?;
        make_no_cluster()?;
    }
    install_packages(packages)
}

fn install_packages(packages: &[&str]) -> Result<()> {
    succeed(
        apt_get()
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages),
    )
}

/// The tests start servers of their own: Debian need not make one, and start it.
fn make_no_cluster() -> Result<()> {
    let path = "/etc/postgresql-common/createcluster.conf";
    let text = fs::read_to_string(path).unwrap_or_default();
    let said = |line: &str| line.trim_start().starts_with("create_main_cluster");
    if text.lines().any(said) {
        return Ok(());
    }
    fs::write(path, format!("{text}\ncreate_main_cluster = false\n"))
        .with_context(|| format!("writing {path}"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
