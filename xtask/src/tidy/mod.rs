//! `cargo xtask tidy`: what a reviewer would send back, found before one has to.
//!
//! Each check takes the files and returns its complaints, one a line, beginning with the file they are about.

mod docs;
mod layout;
mod leftovers;
mod links;
mod reasons;

use crate::workspace::{files, root};
use anyhow::{Result, bail};
use std::fs;
use std::path::PathBuf;

/// A text file of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|own| own == extension)
    }

    /// Its lines with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// Runs every check; any complaint fails it.
pub(crate) fn run() -> Result<()> {
    let paths = files()?;
    let mut complaints = layout::top_level(&paths);
    let files = read(&paths);
    for check in [
        layout::module_heads,
        layout::sizes,
        leftovers::words,
        leftovers::hosts_and_paths,
        leftovers::secrets,
        reasons::panics,
        links::resolve,
        docs::crates_are_listed,
        docs::decisions_are_numbered,
        docs::settings_are_documented,
    ] {
        complaints.extend(check(&files));
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} untidy places", complaints.len());
    }
    println!("{} files, nothing to complain about", paths.len());
    Ok(())
}

/// Files that are not UTF-8 (golden bodies, fuzz inputs) are nobody's prose.
fn read(paths: &[PathBuf]) -> Vec<File> {
    paths
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(root().join(path)).ok()?;
            Some(File {
                path: path.clone(),
                text,
            })
        })
        .collect()
}

#[cfg(test)]
pub(crate) fn file(path: &str, text: &str) -> File {
    File {
        path: PathBuf::from(path),
        text: text.to_owned(),
    }
}
