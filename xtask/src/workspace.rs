//! What cargo and git know about the project: its root, its crates and their edges, its files.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use xshell::{Shell, cmd};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A shell whose working folder is the root.
pub(crate) fn shell() -> Result<Shell> {
    let shell = Shell::new()?;
    shell.change_dir(root());
    Ok(shell)
}

/// One crate of the workspace.
#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Without `default`.
    pub(crate) features: Vec<String>,
    pub(crate) has_default: bool,
    pub(crate) has_lib: bool,
    /// Whether others may depend on it.
    pub(crate) is_published: bool,
    /// Our own crates that it uses.
    pub(crate) uses: BTreeSet<String>,
    /// Our own crates that only its tests use.
    pub(crate) tests_use: BTreeSet<String>,
}

/// The crates of the workspace, by name.
pub(crate) fn crates() -> Result<Vec<Crate>> {
    let shell = shell()?;
    let text = cmd!(shell, "cargo metadata --no-deps --format-version 1")
        .quiet()
        .read()?;
    let metadata: Value = serde_json::from_str(&text).context("reading cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut crates: Vec<Crate> = packages
        .iter()
        .map(|package| read_crate(package, &ours))
        .collect();
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(crates)
}

/// Every file that is, or is about to be, in the repository; paths from the root.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let shell = shell()?;
    let listed = cmd!(
        shell,
        "git ls-files -z --cached --others --exclude-standard"
    )
    .quiet()
    .read()?;
    let paths: BTreeSet<PathBuf> = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .filter(|path| root().join(path).exists())
        .collect();
    Ok(paths.into_iter().collect())
}

fn read_crate(package: &Value, ours: &BTreeSet<&str>) -> Crate {
    let features = package["features"].as_object();
    let all: Vec<String> = features.map_or_else(Vec::new, |map| map.keys().cloned().collect());
    let has_lib = package["targets"].as_array().is_some_and(|targets| {
        targets
            .iter()
            .any(|target| target["kind"][0].as_str() == Some("lib"))
    });
    let edges = |kind: Option<&str>| {
        package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .filter(|edge| edge["kind"].as_str() == kind)
            .filter_map(|edge| edge["name"].as_str())
            .filter(|name| ours.contains(name))
            .map(str::to_owned)
            .collect()
    };
    Crate {
        name: package["name"].as_str().unwrap_or_default().to_owned(),
        has_default: all.iter().any(|name| name == "default"),
        features: all.into_iter().filter(|name| name != "default").collect(),
        has_lib,
        // `publish = false` is an empty list of registries.
        is_published: package["publish"]
            .as_array()
            .is_none_or(|to| !to.is_empty()),
        uses: edges(None),
        tests_use: edges(Some("dev")),
    }
}
