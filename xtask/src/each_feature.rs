//! Each feature by itself: a feature that only compiles beside another one fails here.
//!
//! A crate without features is checked alone as well, since a workspace build lends every crate the features that its
//! neighbours asked for. Crates that nobody outside can depend on are left out: nobody takes them alone.

use crate::workspace::{Crate, crates, shell};
use anyhow::{Result, bail};
use xshell::{Shell, cmd};

/// Checks every crate with no feature, with its defaults, and with each feature alone.
pub(crate) fn run() -> Result<()> {
    let shell = shell()?;
    let mut failed = Vec::new();
    let dependable = |krate: &&Crate| krate.has_lib && krate.is_published;
    for krate in crates()?.iter().filter(dependable) {
        for selection in selections(krate) {
            let label = format!("{} {}", krate.name, selection.join(" "));
            println!("{}", label.trim_end());
            if check(&shell, &krate.name, &selection).is_err() {
                failed.push(label);
            }
        }
    }
    if !failed.is_empty() {
        bail!("does not compile by itself: {}", failed.join("; "));
    }
    Ok(())
}

fn check(shell: &Shell, name: &str, selection: &[String]) -> Result<()> {
    // Clippy and not check: it denies warnings in our crates without RUSTFLAGS, which would rebuild every dependency.
    let command = cmd!(
        shell,
        "cargo clippy --quiet --lib -p {name} {selection...} -- -D warnings"
    );
    Ok(command.quiet().run()?)
}

fn selections(krate: &Crate) -> Vec<Vec<String>> {
    let none = "--no-default-features".to_owned();
    let mut selections = vec![vec![none.clone()]];
    for feature in &krate.features {
        selections.push(vec![none.clone(), format!("--features={feature}")]);
    }
    if krate.has_default {
        selections.push(Vec::new());
    }
    selections
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_then_each_alone_then_the_defaults() {
        let krate = Crate {
            name: "x".to_owned(),
            features: vec!["a".to_owned(), "b".to_owned()],
            has_default: true,
            has_lib: true,
            is_published: true,
            uses: BTreeSet::new(),
            tests_use: BTreeSet::new(),
        };
        let lines: Vec<String> = selections(&krate).iter().map(|s| s.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "--no-default-features",
                "--no-default-features --features=a",
                "--no-default-features --features=b",
                "",
            ]
        );
    }
}
