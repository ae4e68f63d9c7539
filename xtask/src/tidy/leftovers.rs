//! What should not have been committed: notes to oneself, this machine's paths, registries' hosts, secrets.
//!
//! The words are put together from halves, so that this file does not complain about itself.

use super::File;

const WORDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("HA", "CK"),
    concat!("todo", "!"),
    concat!("unimple", "mented!"),
    concat!("dbg", "!"),
    concat!("#[ig", "nore"),
];

const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("py", "pi.org"),
    concat!("pythonhosted", ".org"),
    concat!("npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("deb.deb", "ian.org"),
    concat!("archive.ubu", "ntu.com"),
];

const PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/tmp/", "brief"),
];

const SECRETS: &[&str] = &[
    concat!("PRIVATE", " KEY-----"),
    concat!("sb_sec", "ret_"),
    concat!("gh", "p_"),
    concat!("AK", "IA"),
    // The head of every JWT that names its algorithm first.
    concat!("eyJh", "bGciOi"),
];

/// No notes to oneself and no half-finished code.
pub(crate) fn words(files: &[File]) -> Vec<String> {
    find(files, WORDS, "left over")
}

/// No host of a package registry, no path of somebody's machine.
pub(crate) fn hosts_and_paths(files: &[File]) -> Vec<String> {
    let mut complaints = find(files, HOSTS, "a registry's host");
    complaints.extend(find(files, PATHS, "a path of one machine"));
    complaints
}

/// Nothing that looks like a key or a token.
pub(crate) fn secrets(files: &[File]) -> Vec<String> {
    files
        .iter()
        .flat_map(|file| {
            file.lines().filter_map(move |(number, line)| {
                let secret = SECRETS.iter().any(|start| looks_secret(line, start));
                secret.then(|| format!("{}:{number}: looks like a secret", file.name()))
            })
        })
        .collect()
}

fn find(files: &[File], words: &[&str], what: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| is_ours(file)) {
        for (number, line) in file.lines() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                complaints.push(format!("{}:{number}: {what}: {word}", file.name()));
            }
        }
    }
    complaints
}

/// The lock file is cargo's, and its format names the index.
fn is_ours(file: &File) -> bool {
    file.path
        .file_name()
        .is_none_or(|name| name != "Cargo.lock")
}

/// Whether it stands there by itself and not as a part of a longer word.
fn has_word(line: &str, word: &str) -> bool {
    let joined = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let starts_free = !(word.starts_with(joined) && before.is_some_and(joined));
        let path_starts_free =
            !(word.starts_with('/') && before.is_some_and(|c| joined(c) || c == '.'));
        let ends_free = !(word.ends_with(joined) && after.is_some_and(joined));
        starts_free && path_starts_free && ends_free
    })
}

/// The start alone is a word like any other; with twelve characters of key behind it, it is a key.
fn looks_secret(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let rest = &line[at + start.len()..];
        let key = rest
            .chars()
            .take_while(|&c| c.is_ascii_alphanumeric() || c == '_');
        start.ends_with('-') || key.count() >= 12
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn notes_are_found_as_words_only() {
        let note = concat!("// TO", "DO: later");
        assert_eq!(words(&[file("a.rs", note)]).len(), 1);
        assert!(words(&[file("a.rs", concat!("mktemp /tmp/XX", "XXXX"))]).is_empty());
        assert!(words(&[file("a.rs", concat!("let mas", "toDO", "n = 1;"))]).is_empty());
    }

    #[test]
    fn paths_of_a_machine_are_found_and_urls_are_not() {
        assert_eq!(
            hosts_and_paths(&[file("a.md", concat!("see /ro", "ot/x"))]).len(),
            1
        );
        assert!(hosts_and_paths(&[file("a.md", concat!("/v1", "/wo", "rk/x"))]).is_empty());
    }

    #[test]
    fn keys_are_found_and_their_names_are_not() {
        let key = concat!("AK", "IA", "ABCDEFGH12345678");
        assert_eq!(secrets(&[file("a.toml", key)]).len(), 1);
        assert!(secrets(&[file("a.md", concat!("starts with AK", "IA."))]).is_empty());
    }
}
