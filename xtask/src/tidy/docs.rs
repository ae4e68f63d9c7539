//! The documents tell the truth about what there is: crates, decisions, settings.

use super::File;
use std::collections::BTreeSet;

const MAP: &str = "docs/architecture.md";
const SETTINGS: &str = "docs/settings.md";
const DECISIONS: &str = "docs/decisions";

/// Every crate has a row in the map, and every row has a crate.
pub(crate) fn crates_are_listed(files: &[File]) -> Vec<String> {
    let there: BTreeSet<String> = files
        .iter()
        .filter(|file| file.path.starts_with("crates") && file.path.ends_with("Cargo.toml"))
        .filter(|file| file.path.iter().count() == 3)
        .filter_map(|file| file.path.iter().nth(1))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let listed = text(files, MAP).map_or_else(BTreeSet::new, rows);
    let listed: BTreeSet<String> = listed
        .into_iter()
        .filter(|name| name.starts_with("bus-"))
        .collect();
    let missing = there
        .difference(&listed)
        .map(|name| format!("{MAP}: no row for the crate {name}"));
    let gone = listed
        .difference(&there)
        .map(|name| format!("{MAP}: a row for {name}, which does not exist"));
    missing.chain(gone).collect()
}

/// Decisions are numbered from 0001 without a gap, and each says how it stands.
pub(crate) fn decisions_are_numbered(files: &[File]) -> Vec<String> {
    let records: Vec<&File> = files
        .iter()
        .filter(|file| file.path.starts_with(DECISIONS) && file.is("md"))
        .collect();
    let mut complaints = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let number = index + 1;
        let stem = record
            .path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        if !stem.starts_with(&format!("{number:04}-")) {
            complaints.push(format!("{}: expected number {number:04}", record.name()));
        }
        if !record.text.starts_with(&format!("# {number}. ")) {
            complaints.push(format!(
                "{}: expected the title '# {number}. …'",
                record.name()
            ));
        }
        if !record.text.contains("\nStatus: ") {
            complaints.push(format!("{}: no line 'Status: …'", record.name()));
        }
    }
    complaints
}

/// Every variable that the code reads has a row in the settings, and every row is read by the code.
pub(crate) fn settings_are_documented(files: &[File]) -> Vec<String> {
    let read: BTreeSet<String> = files
        .iter()
        .filter(|file| file.is("rs") && file.path.starts_with("crates"))
        .filter(|file| file.path.iter().nth(2).is_some_and(|part| part == "src"))
        .filter(|file| {
            !["crates/bus-testkit", "crates/bus-bench"]
                .iter()
                .any(|dev| file.path.starts_with(dev))
        })
        .flat_map(|file| variables(outside_tests(&file.text)))
        .collect();
    let Some(page) = text(files, SETTINGS) else {
        return vec![format!("{SETTINGS}: missing")];
    };
    let listed: BTreeSet<String> = rows(page)
        .into_iter()
        .filter(|name| is_variable(name))
        .collect();
    let missing = read
        .difference(&listed)
        .map(|name| format!("{SETTINGS}: no row for {name}"));
    let unread = listed
        .difference(&read)
        .map(|name| format!("{SETTINGS}: {name} is read nowhere"));
    missing.chain(unread).collect()
}

fn text<'a>(files: &'a [File], path: &str) -> Option<&'a str> {
    files
        .iter()
        .find(|file| file.path.to_str() == Some(path))
        .map(|file| file.text.as_str())
}

/// What stands in backticks at the start of a table's rows.
fn rows(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// String literals that are names of our variables.
fn variables(code: &str) -> BTreeSet<String> {
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"'))
        .filter(|literal| is_variable(literal))
        .map(str::to_owned)
        .collect()
}

fn is_variable(name: &str) -> bool {
    let prefixes = [
        "BUS_",
        "MESSAGE_BUS_",
        "SUPABASE_",
        "CIRCUIT_BREAKER_",
        "FALLBACK_",
        "WS_",
    ];
    prefixes.iter().any(|prefix| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    }) && name
        .chars()
        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn outside_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ")
        .map_or(text, |at| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_crate_and_its_row_go_together() {
        let map = file(MAP, "| `bus-model` | x |\n| `bus-gone` | x |\n");
        let here = file("crates/bus-model/Cargo.toml", "");
        let new = file("crates/bus-new/Cargo.toml", "");
        let complaints = crates_are_listed(&[map, here, new]);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }

    #[test]
    fn a_gap_between_decisions_is_found() {
        let first = file("docs/decisions/0001-a.md", "# 1. A\n\nStatus: accepted\n");
        let third = file("docs/decisions/0003-c.md", "# 3. C\n\nStatus: accepted\n");
        assert_eq!(decisions_are_numbered(&[first, third]).len(), 2);
    }

    #[test]
    fn a_variable_and_its_row_go_together() {
        let page = file(SETTINGS, "| `BUS_LISTEN` | x |\n| `BUS_OLD` | x |\n");
        let code = file(
            "crates/bus-x/src/a.rs",
            "get(\"BUS_LISTEN\"); get(\"BUS_NEW\");",
        );
        let complaints = settings_are_documented(&[page, code]);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
    }
}
