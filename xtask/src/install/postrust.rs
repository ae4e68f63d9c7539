//! postrust, a server that is compatible with PostgREST: built once, outside `target`.

use super::{Missing, succeed};
use crate::workspace::root;
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const NAME: &str = "postrust-server";
const VERSION: &str = "3.1.0";

/// What a test server need not have: 2.5 minutes to build in place of 5, on two cores.
const QUICK: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
];

pub(super) fn missing() -> Option<Missing> {
    (!is_there()).then(|| {
        let settings: Vec<String> = QUICK
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Missing {
            what: format!("{NAME} {VERSION} (a build of some minutes)"),
            by_hand: vec![format!(
                "{} cargo install {NAME} --version {VERSION} --root .cache/postrust-{VERSION}",
                settings.join(" ")
            )],
            install: Box::new(install),
        }
    })
}

/// The program, and cargo's own note of which version it is.
fn is_there() -> bool {
    let note = fs::read_to_string(folder().join(".crates.toml")).unwrap_or_default();
    note.contains(&format!("\"{NAME} {VERSION} ")) && folder().join("bin/postrust").is_file()
}

fn install() -> Result<()> {
    let target = root().join(".cache/postrust-build");
    let mut command = Command::new("cargo");
    command
        .args(["install", NAME, "--version", VERSION, "--force", "--quiet"])
        .arg("--root")
        .arg(folder())
        .env("CARGO_TARGET_DIR", &target)
        .envs(QUICK.iter().copied())
        // Of the command that runs this one; they would build it differently.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    succeed(&mut command)?;
    fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))
}

fn folder() -> PathBuf {
    root().join(format!(".cache/postrust-{VERSION}"))
}
