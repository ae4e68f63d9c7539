//! Links between our documents lead somewhere: the file is there, and so is the heading.

use super::File;
use crate::workspace::root;
use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// Complains about a relative link that leads nowhere.
pub(crate) fn resolve(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is("md")) {
        for (number, target) in links(&file.text) {
            if !leads_somewhere(files, file, &target) {
                complaints.push(format!("{}:{number}: dead link: {target}", file.name()));
            }
        }
    }
    complaints
}

fn leads_somewhere(files: &[File], from: &File, target: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = from.path.parent().unwrap_or(Path::new(""));
    let path = if path.is_empty() {
        from.path.clone()
    } else {
        normal(&folder.join(path))
    };
    if anchor.is_empty() {
        return root().join(&path).exists();
    }
    let page = files.iter().find(|file| file.path == path);
    page.is_some_and(|page| anchors(&page.text).contains(anchor))
}

fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts
}

/// Targets of `[text](target)`, with their line, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            if let Some(end) = rest.find(')') {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}

fn anchors(text: &str) -> HashSet<String> {
    prose(text)
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|heading| slug(heading.trim_start_matches('#')))
        .collect()
}

fn slug(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((index + 1, line))
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn dead_files_and_headings_are_found() {
        let page = file(
            "docs/a.md",
            "# A page\n[x](nowhere.md) [y](#no-heading) [z](#a-page)\n",
        );
        let complaints = resolve(&[page]);
        assert_eq!(
            complaints,
            [
                "docs/a.md:2: dead link: nowhere.md",
                "docs/a.md:2: dead link: #no-heading"
            ]
        );
    }

    #[test]
    fn code_and_the_web_are_left_alone() {
        let page = file(
            "a.md",
            "```\n[x](nowhere.md)\n```\n[y](https://example.org/z)\n",
        );
        assert!(resolve(&[page]).is_empty());
    }

    #[test]
    fn headings_become_anchors_as_on_a_forge() {
        assert_eq!(
            slug(" Exit codes: what they mean"),
            "exit-codes-what-they-mean"
        );
    }
}
