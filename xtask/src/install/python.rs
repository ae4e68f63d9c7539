//! The Python packages that tests use as clients.

use super::{Missing, succeed};
use crate::workspace::root;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const PACKAGES: &[(&str, &str)] = &[("websockets", "17.4")];

pub(super) fn missing() -> Option<Missing> {
    let missing = PACKAGES.iter().any(|(name, version)| !has(name, version));
    missing.then(|| {
        let wanted: Vec<String> = PACKAGES
            .iter()
            .map(|(name, version)| format!("{name}=={version}"))
            .collect();
        let list = wanted.join(" ");
        Missing {
            by_hand: vec![format!(
                "python3 -m pip install --target .cache/python {list}"
            )],
            what: format!("{list} for Python"),
            install: Box::new(move || install(&wanted)),
        }
    })
}

fn install(wanted: &[String]) -> Result<()> {
    let target = folder();
    // pip adds beside what is there; an older version must go first.
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("emptying {}", target.display()))?;
    }
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "install", "--quiet"])
        .arg("--disable-pip-version-check")
        .env("PIP_ROOT_USER_ACTION", "ignore");
    succeed(command.arg("--target").arg(&target).args(wanted))
}

fn has(name: &str, version: &str) -> bool {
    folder()
        .join(format!("{name}-{version}.dist-info"))
        .is_dir()
}

fn folder() -> PathBuf {
    root().join(".cache/python")
}
