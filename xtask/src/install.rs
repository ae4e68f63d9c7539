//! What the tests need beside Rust: looked for, and installed where that was asked for.
//!
//! Programs come from the system's packages; the real clients go into the project's `.cache`, each in the one version
//! named here. No lock file is kept, since it would name a registry's host.

use crate::workspace::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The Python packages that tests use as clients.
const PYTHON: &[(&str, &str)] = &[("websockets", "17.4")];

/// The Node packages that tests use as clients.
const NODE: &[(&str, &str)] = &[("ws", "8.23.0")];

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
    (&["mount", "--version"], "mount"),
    (&["kill", "-l"], "procps"),
];

/// Parts of the toolchain, and the rustup component that brings each.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

/// Installs what is missing, or says exactly how to.
pub(crate) fn run(install: bool) -> Result<()> {
    let packages = missing_packages();
    let (python, node) = (missing(PYTHON, has_python), missing(NODE, has_node));
    if install {
        apt_get(&packages)?;
        pip(&python)?;
        npm(&node)?;
    } else if !(packages.is_empty() && python.is_empty() && node.is_empty()) {
        bail!(
            "the tests need {}; install them with: cargo xtask ci --install (as root)\nor by hand:{}",
            [packages.join(" "), python.join(" "), node.join(" ")]
                .join(" ")
                .trim(),
            by_hand(&packages, &python, &node)
        );
    }
    check_components()
}

fn missing_packages() -> Vec<&'static str> {
    PROGRAMS
        .iter()
        .filter(|(command, _)| !answers(command))
        .map(|&(_, package)| package)
        .collect()
}

fn missing(wanted: &[(&str, &str)], has: fn(&str, &str) -> bool) -> Vec<String> {
    let separator = if wanted == PYTHON { "==" } else { "@" };
    wanted
        .iter()
        .filter(|(name, version)| !has(name, version))
        .map(|(name, version)| format!("{name}{separator}{version}"))
        .collect()
}

fn apt_get(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    println!("installing {}", packages.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    succeed(apt().args(["update", "-qq"]))?;
    succeed(
        apt()
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages),
    )
    .context("installing needs root on Debian or Ubuntu")
}

fn pip(wanted: &[String]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    println!("installing {} for Python", wanted.join(" "));
    let target = python_dir();
    // pip adds beside what is there; an older version must go first.
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("emptying {}", target.display()))?;
    }
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    command.env("PIP_ROOT_USER_ACTION", "ignore");
    succeed(command.arg("--target").arg(&target).args(wanted))
}

fn npm(wanted: &[String]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    println!("installing {} for Node", wanted.join(" "));
    let prefix = node_dir();
    fs::create_dir_all(&prefix).with_context(|| format!("making {}", prefix.display()))?;
    let mut command = Command::new("npm");
    command.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
    ]);
    succeed(command.arg("--prefix").arg(&prefix).args(wanted))
}

fn by_hand(packages: &[&str], python: &[String], node: &[String]) -> String {
    let mut lines = String::new();
    if !packages.is_empty() {
        lines += "\n  apt-get update && apt-get install -y ";
        lines += &packages.join(" ");
    }
    if !python.is_empty() {
        lines += "\n  python3 -m pip install --target .cache/python ";
        lines += &python.join(" ");
    }
    if !node.is_empty() {
        lines += "\n  npm install --no-package-lock --prefix .cache/node ";
        lines += &node.join(" ");
    }
    lines
}

fn check_components() -> Result<()> {
    for (subcommand, component) in COMPONENTS {
        if !answers(&["cargo", subcommand, "--version"]) {
            bail!(
                "cargo {subcommand} is missing; install it with: rustup component add {component}"
            );
        }
    }
    Ok(())
}

fn answers(command: &[&str]) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

fn has_python(name: &str, version: &str) -> bool {
    python_dir()
        .join(format!("{name}-{version}.dist-info"))
        .is_dir()
}

fn has_node(name: &str, version: &str) -> bool {
    let manifest = node_dir()
        .join("node_modules")
        .join(name)
        .join("package.json");
    installed_version(&manifest).is_some_and(|installed| installed == version)
}

fn installed_version(manifest: &Path) -> Option<String> {
    let text = fs::read_to_string(manifest).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    manifest["version"].as_str().map(str::to_owned)
}

fn python_dir() -> PathBuf {
    root().join(".cache/python")
}

fn node_dir() -> PathBuf {
    root().join(".cache/node")
}
