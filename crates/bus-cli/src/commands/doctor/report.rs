//! The lines as they are found: shown at once as text, at the end as JSON.

use std::io::{self, IsTerminal as _};

use serde::Serialize;

use crate::{
    commands::doctor::line::{Counts, Line, Status},
    exit::{Exit, Failure},
    output::Output,
};

/// The longest name and a space.
const NAME_WIDTH: usize = 18;
/// Sentences behind one line that are shown as text; `--json` has all.
const SHOWN: usize = 12;

/// How lines look as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Marks and colours, for a terminal.
    Marks,
    /// Words.
    Words,
}

impl Style {
    /// Of stdout.
    fn of_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !no_color {
            Self::Marks
        } else {
            Self::Words
        }
    }

    fn mark(self, status: Status) -> String {
        use anstyle::AnsiColor::{BrightBlack, Green, Red, Yellow};
        let (mark, word, color) = match status {
            Status::Ok => ("✓", "ok", Green),
            Status::Warning => ("!", "warning", Yellow),
            Status::Failure => ("✗", "failure", Red),
            Status::Skipped => ("-", "skipped", BrightBlack),
        };
        match self {
            Self::Marks => {
                let style = color.on_default().bold();
                format!("{style}{mark}{style:#}")
            }
            Self::Words => format!("{word:<7}"),
        }
    }

    /// A line with what stands behind it and what to do.
    pub(super) fn show(self, line: &Line) -> String {
        let mark = self.mark(line.status);
        let mut text = format!("{mark} {:<NAME_WIDTH$}{}", line.name, line.summary);
        let (margin, arrow) = match self {
            Self::Marks => (2, "→"),
            Self::Words => (8, "do:"),
        };
        let indent = " ".repeat(margin + NAME_WIDTH);
        for sentence in line.detail.iter().take(SHOWN) {
            text.push_str(&format!("\n{indent}{sentence}"));
        }
        if line.detail.len() > SHOWN {
            let more = line.detail.len() - SHOWN;
            text.push_str(&format!("\n{indent}and {more} more; --json shows all"));
        }
        if let Some(advice) = &line.advice {
            text.push_str(&format!("\n{indent}{arrow} {advice}"));
        }
        text
    }
}

/// The lines of one run.
#[derive(Debug)]
pub(super) struct Report {
    output: Output,
    style: Style,
    lines: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    store: &'a str,
    lines: &'a [Line],
    counts: Counts,
    exit_code: u8,
}

impl Report {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            style: Style::of_stdout(),
            lines: Vec::new(),
        }
    }

    /// Adds a line, and shows it.
    pub(super) fn push(&mut self, line: Line) -> io::Result<()> {
        if !self.output.json {
            self.output.line(self.style.show(&line))?;
        }
        self.lines.push(line);
        Ok(())
    }

    pub(super) fn extend(&mut self, lines: impl IntoIterator<Item = Line>) -> io::Result<()> {
        lines.into_iter().try_for_each(|line| self.push(line))
    }

    /// Whether a line of this name failed.
    pub(super) fn failed(&self, name: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.name == name && line.is_failure())
    }

    /// Ends the report.
    ///
    /// # Errors
    /// With the exit code of the first line that failed; lines come in the order in which one rests on another.
    pub(super) fn finish(self, store: &str) -> anyhow::Result<()> {
        let counts = Counts::of(&self.lines);
        let first = self.lines.iter().find(|line| line.is_failure());
        let exit = first.map_or(Exit::Ok, |line| line.exit);
        if self.output.json {
            self.output.json(&Document {
                store,
                lines: &self.lines,
                counts,
                exit_code: exit.code(),
            })?;
        } else {
            self.output.line(format!(
                "{} ok, {} warnings, {} failures, {} not checked",
                counts.ok, counts.warning, counts.failure, counts.skipped
            ))?;
        }
        let names: Vec<&str> = self
            .lines
            .iter()
            .filter(|line| line.is_failure())
            .map(|line| line.name)
            .collect();
        match exit {
            Exit::Ok => Ok(()),
            exit => {
                Err(Failure::new(exit, format!("these checks failed: {}", names.join(", "))).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_aligned_and_the_advice_stands_below() {
        let line = Line::warning("purge job", "there is none")
            .detail("because")
            .advice("bus migrate");
        let shown = Style::Words.show(&line);
        let rows: Vec<&str> = shown.lines().collect();
        assert_eq!(rows[0], "warning purge job         there is none");
        let column = rows[0].find("there").expect("a summary");
        assert_eq!(rows[1].find("because"), Some(column));
        assert_eq!(rows[2].trim_start(), "do: bus migrate");
    }

    #[test]
    fn marks_are_for_terminals() {
        let shown = Style::Marks.show(&Line::ok("key", "fine"));
        assert!(
            shown.contains('✓') && shown.contains("\u{1b}["),
            "{shown:?}"
        );
        let shown = Style::Words.show(&Line::skipped("key", "there is none"));
        assert!(
            shown.starts_with("skipped key") && !shown.contains('\u{1b}'),
            "{shown:?}"
        );
        assert!(shown.ends_with("not checked: there is none"), "{shown:?}");
    }

    #[test]
    fn many_sentences_are_cut_in_text() {
        let line = Line::failure("schema", "x").details((0..40).map(|n| format!("no {n}")));
        let shown = Style::Words.show(&line);
        assert!(shown.contains("and 28 more; --json shows all"), "{shown}");
    }
}
