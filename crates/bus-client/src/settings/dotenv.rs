//! Reads a `.env` file: `KEY=value` lines, `export`, comments, single and double quotes.

use std::collections::BTreeMap;

/// A line of a `.env` file that is not `KEY=value`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of .env is not KEY=value: correct it or put a # before it")]
pub struct DotenvError {
    /// The number of the line, from 1. The line itself may hold a secret and is not shown.
    pub line: usize,
}

/// The variables of a `.env` file; the last one of a name wins.
///
/// In double quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` are understood; in single quotes nothing
/// is. Outside of quotes a `#` after a space begins a comment. Nothing is substituted, and a value
/// is one line.
///
/// # Errors
/// [`DotenvError`] for the first line that is not legal.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, DotenvError> {
    let mut variables = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refused = DotenvError { line: index + 1 };
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((key, value)) = line.split_once('=') else {
            return Err(refused);
        };
        let key = key.trim();
        if !is_name(key) {
            return Err(refused);
        }
        let Some(value) = parse_value(value.trim()) else {
            return Err(refused);
        };
        variables.insert(key.to_owned(), value);
    }
    Ok(variables)
}

fn is_name(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
}

fn parse_value(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'')?;
        return is_comment(after).then(|| inner.to_owned());
    }
    if let Some(rest) = value.strip_prefix('"') {
        return parse_double_quoted(rest);
    }
    let end = value
        .char_indices()
        .find(|(at, c)| *c == '#' && (*at == 0 || value[..*at].ends_with(char::is_whitespace)))
        .map_or(value.len(), |(at, _)| at);
    Some(value[..end].trim_end().to_owned())
}

fn parse_double_quoted(rest: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return is_comment(&rest[at + 1..]).then_some(out),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                same @ ('"' | '\\' | '$') => out.push(same),
                other => out.extend(['\\', other]),
            },
            other => out.push(other),
        }
    }
    None
}

fn is_comment(after: &str) -> bool {
    let after = after.trim_start();
    after.is_empty() || after.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(parse(text), Ok(expected), "{text:?}");
    }

    #[test]
    fn plain_lines_comments_and_export() {
        check(
            "\u{feff}# Message Bus\n\nA=1\r\nexport B = two words # tail\nC=\nD=a#b\nURL=https://x/?a=b\nE=#x\n",
            &[
                ("A", "1"),
                ("B", "two words"),
                ("C", ""),
                ("D", "a#b"),
                ("URL", "https://x/?a=b"),
                ("E", ""),
            ],
        );
    }

    #[test]
    fn quotes() {
        check(
            "A='x # y'\nB=\"a\\n\\\"b\\\" \\\\ \\q\" # tail\nC=\"ü # ü\"\nA=\"last\"",
            &[("A", "last"), ("B", "a\n\"b\" \\ \\q"), ("C", "ü # ü")],
        );
    }

    #[test]
    fn what_is_not_a_setting_is_named_by_its_line_only() {
        for text in [
            "A=1\nsecret",
            "A=1\n=x",
            "A=1\n1A=x",
            "A=1\nB=\"open",
            "A=1\nB='x' y",
        ] {
            assert_eq!(parse(text), Err(DotenvError { line: 2 }), "{text:?}");
        }
        assert!(
            !parse("sb_secret_abc")
                .expect_err("not a setting")
                .to_string()
                .contains("abc")
        );
    }
}
