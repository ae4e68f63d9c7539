//! What the tests need beside Rust: looked for, and installed where that was asked for.
//!
//! Programs come from the system's packages; real clients and real servers go into the project's `.cache`, each in the
//! one version named here. No lock file is kept, since it would name a registry's host.

mod node;
mod postrust;
mod python;
mod system;

use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

/// Parts of the toolchain, and the rustup component that brings each.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

/// Something that is missing.
struct Missing {
    what: String,
    /// The commands that install it.
    by_hand: Vec<String>,
    install: Box<dyn Fn() -> Result<()>>,
}

/// Installs what is missing, or says exactly how to.
pub(crate) fn run(install: bool) -> Result<()> {
    // The system's packages first: the others are installed with them.
    let missing: Vec<Missing> = [system::missing(), python::missing()]
        .into_iter()
        .flatten()
        .chain(node::missing())
        .chain(postrust::missing())
        .collect();
    if install {
        for missing in &missing {
            println!("installing {}", missing.what);
            (missing.install)().with_context(|| format!("installing {}", missing.what))?;
        }
    } else if !missing.is_empty() {
        let whats: Vec<&str> = missing
            .iter()
            .map(|missing| missing.what.as_str())
            .collect();
        let by_hand = missing.iter().flat_map(|missing| &missing.by_hand);
        let by_hand: String = by_hand.map(|line| format!("\n  {line}")).collect();
        bail!(
            "the tests need {}; install them with: cargo xtask ci --install (as root)\nor by hand:{by_hand}",
            whats.join(", ")
        );
    }
    check_components()
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
