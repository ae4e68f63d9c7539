//! Where things are, and how big: the top level, the head of each module, the length of each file.

use super::File;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What the top level may hold besides dot-files.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "crates",
    "xtask",
    "migrations",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// About 400 is the aim; beyond this a file holds more than one thing.
const MOST_LINES: usize = 500;

/// Hand-written files, whose length is somebody's choice.
const WRITTEN: &[&str] = &["rs", "md", "toml", "py", "mjs", "js", "sql"];

/// The sum of the migrations, which `cargo xtask migrate schema` writes.
const GENERATED: &str = "migrations/schema.sql";

/// Nothing at the top level that has no business there.
pub(crate) fn top_level(paths: &[PathBuf]) -> Vec<String> {
    let names: BTreeSet<String> = paths
        .iter()
        .filter_map(|path| path.components().next())
        .map(|first| first.as_os_str().to_string_lossy().into_owned())
        .collect();
    names
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()))
        .map(|name| format!("{name}: does not belong at the top level"))
        .collect()
}

/// Every module opens with its purpose.
pub(crate) fn module_heads(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.is("rs") && !file.text.starts_with("//!"))
        .map(|file| format!("{}: does not open with //! and its purpose", file.name()))
        .collect()
}

/// No file that nobody can take in.
pub(crate) fn sizes(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.name() != GENERATED)
        .filter(|file| WRITTEN.iter().any(|extension| file.is(extension)))
        .map(|file| (file, file.text.lines().count()))
        .filter(|&(_, lines)| lines > MOST_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines, more than {MOST_LINES}", file.name()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_stray_file_at_the_top_is_found() {
        let paths = ["README.md", ".ci/run", "notes.txt", "crates/x/notes.txt"].map(PathBuf::from);
        assert_eq!(
            top_level(&paths),
            ["notes.txt: does not belong at the top level"]
        );
    }

    #[test]
    fn modules_and_lengths() {
        let good = file("a.rs", "//! Purpose.\n");
        let bare = file("b.rs", "use x;\n");
        let long = file("c.rs", &"//! x\n".repeat(501));
        assert_eq!(module_heads(&[good, bare]).len(), 1);
        assert_eq!(sizes(&[long]).len(), 1);
    }
}
