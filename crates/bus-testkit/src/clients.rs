//! The real clients: Python with `websockets`, Node with `ws`, from the project's own cache folder.
//!
//! `cargo xtask ci --install` fills the cache. A test that needs a client calls one of these and unwraps: a missing
//! package fails the test with the command that installs it.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const HINT: &str = "install it with: cargo xtask ci --install";

/// The root of the repository.
#[must_use]
pub fn repo_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// The folder that holds what tests need from outside (`.cache` in the repository, never committed).
#[must_use]
pub fn cache_dir() -> PathBuf {
    repo_root().join(".cache")
}

/// Python that can import `websockets`.
///
/// # Errors
/// Where the package is not in the cache; the message says how to install it.
pub fn python() -> Result<Command> {
    let packages = cache_dir().join("python");
    require(
        &packages.join("websockets"),
        "the Python package websockets",
    )?;
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", &packages)
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Node that can load `ws`, with the cache as its working folder (pass absolute paths).
///
/// `require("ws")` works from any script. `import` looks beside the script only, so run an ES module of ours with
/// [`node_script`].
///
/// # Errors
/// Where the package is not in the cache; the message says how to install it.
pub fn node() -> Result<Command> {
    let home = cache_dir().join("node");
    let packages = home.join("node_modules");
    require(&packages.join("ws"), "the Node package ws")?;
    let mut command = Command::new("node");
    command.current_dir(&home).env("NODE_PATH", &packages);
    Ok(command)
}

/// Python running `clients/NAME`; add the script's arguments to the command.
///
/// # Errors
/// Where the client or the script is missing.
pub fn python_script(name: &str) -> Result<Command> {
    let script = script(name)?;
    let mut command = python()?;
    command.arg(script);
    Ok(command)
}

/// Node running the ES module `clients/NAME`; add the script's arguments to the command.
///
/// The module is read from standard input, since `import "ws"` is then resolved from the working folder and the
/// script can stay as a user would write it.
///
/// # Errors
/// Where the client or the script is missing.
pub fn node_script(name: &str) -> Result<Command> {
    let script = script(name)?;
    let file = File::open(&script).with_context(|| format!("opening {}", script.display()))?;
    let mut command = node()?;
    command
        .args(["--input-type=module", "-"])
        .stdin(Stdio::from(file));
    Ok(command)
}

fn script(name: &str) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(name);
    require(&path, "the client script")?;
    Ok(path)
}

fn require(path: &Path, what: &str) -> Result<()> {
    if !path.exists() {
        bail!("{what} is not there ({}); {HINT}", path.display());
    }
    Ok(())
}
