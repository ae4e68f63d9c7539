//! A panic outside tests says why it cannot happen.
//!
//! Clippy forbids `unwrap`; this wants a reason of three words in the message of everything else that panics.

use super::File;

/// In halves, so that this file does not complain about itself.
const PANICS: &[&str] = &[
    concat!(".exp", "ect("),
    concat!("pan", "ic!("),
    concat!("unreach", "able!("),
];
const FEWEST_WORDS: usize = 3;

/// Crates that only tests and measurements use.
const DEV_ONLY: &[&str] = &["crates/bus-testkit", "crates/bus-bench"];

/// Complains about a panic without a reason.
pub(crate) fn panics(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| file.is("rs") && !is_test_code(file))
        .flat_map(|file| {
            let code = outside_tests(&file.text);
            unreasoned(code).into_iter().map(move |number| {
                format!(
                    "{}:{number}: panics without saying why it cannot happen",
                    file.name()
                )
            })
        })
        .collect()
}

fn is_test_code(file: &File) -> bool {
    let folders = ["tests", "benches", "examples", "conformance", "fuzz"];
    let stems = ["tests", "mock", "conformance", "model_test"];
    let stem = file
        .path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    file.path
        .iter()
        .any(|part| folders.iter().any(|folder| part == *folder))
        || stems.contains(&stem)
        || stem.ends_with("_tests")
        || DEV_ONLY.iter().any(|folder| file.path.starts_with(folder))
}

/// Up to the module of tests, which closes a file.
fn outside_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ")
        .map_or(text, |at| &text[..at])
}

/// The numbers of the lines that panic without a reason.
fn unreasoned(code: &str) -> Vec<usize> {
    let lines: Vec<&str> = code.lines().collect();
    let mut numbers = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for panic in PANICS {
            let Some(at) = line.find(panic) else { continue };
            // The message may stand on the next line.
            let mut rest = line[at + panic.len()..].to_owned();
            if let Some(next) = lines.get(index + 1).filter(|_| rest.trim().is_empty()) {
                rest = (*next).to_owned();
            }
            if !has_reason(&rest) {
                numbers.push(index + 1);
            }
        }
    }
    numbers
}

fn has_reason(argument: &str) -> bool {
    let message = argument.split('"').nth(1).unwrap_or_default();
    message.split_whitespace().count() >= FEWEST_WORDS
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_reason_has_three_words() {
        let reasoned =
            "x.expect(\"a vector takes every write\");\nx.expect(\n    \"on the next line\",\n);";
        assert!(panics(&[file("src/a.rs", reasoned)]).is_empty());
        assert_eq!(panics(&[file("src/a.rs", "x.expect(\"ok\");")]).len(), 1);
        assert_eq!(panics(&[file("src/a.rs", "unreachable!()")]).len(), 1);
    }

    #[test]
    fn tests_may_panic() {
        let tested = "#[cfg(test)]\nmod tests {\n    x.expect(\"ok\");\n}";
        assert!(panics(&[file("src/a.rs", tested)]).is_empty());
        assert!(panics(&[file("crates/x/tests/a.rs", "panic!()")]).is_empty());
    }
}
