//! Data to stdout, messages to stderr.

use std::{
    error::Error,
    fmt::Display,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::{Exit, exit_of};

/// Where the program writes, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// Only errors on stderr.
    pub(crate) quiet: bool,
}

impl Output {
    /// A line of data.
    pub(crate) fn line(self, line: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// A JSON document, on one line.
    pub(crate) fn json(self, value: &impl Serialize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// A message for people: on stderr, and only where it does not disturb.
    pub(crate) fn note(self, message: impl Display) {
        if !self.quiet && !self.json {
            // Nobody reads stderr: nothing to be done about that.
            let _ = writeln!(anstream::stderr(), "{message}");
        }
    }

    /// What somebody should do something about: on stderr; with `--json` it stands in the document.
    pub(crate) fn warning(self, message: impl Display) {
        let yellow = anstyle::AnsiColor::Yellow.on_default().bold();
        self.note(format_args!("{yellow}warning:{yellow:#} {message}"));
    }

    /// A table in the style of where it goes: with lines on a terminal, with spaces in a pipe.
    pub(crate) fn table(self) -> Table {
        let mut table = Table::new();
        if io::stdout().is_terminal() {
            table.load_style(presets::UTF8_FULL_CONDENSED);
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.load_style(presets::NOTHING);
        }
        table
    }

    /// Whether progress may be drawn.
    pub(crate) fn progress_allowed(self) -> bool {
        !self.quiet && !self.json && io::stderr().is_terminal()
    }

    /// Reports how the program failed.
    pub(crate) fn error(self, error: &anyhow::Error) -> Exit {
        let exit = exit_of(error);
        let causes = causes_of(error.chain());
        let mut err = anstream::stderr();
        // Nobody reads stderr: the exit code still tells.
        let _ = if self.json {
            let report = serde_json::json!({"error": {
                "exit_code": exit.code(),
                "kind": exit.name(),
                "message": error.to_string(),
                "causes": causes,
            }});
            writeln!(err, "{report}")
        } else {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            writeln!(err, "{red}error:{red:#} {error}").and_then(|()| {
                causes
                    .iter()
                    .try_for_each(|cause| writeln!(err, "  because: {cause}"))
            })
        };
        exit
    }
}

/// Shows an error with everything that caused it, on one line.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| {
        (*error).source()
    });
    let mut texts = vec![error.to_string()];
    texts.extend(causes_of(chain));
    texts.join(": ")
}

/// What caused the first error of a chain; a cause that only says the same again is left out.
fn causes_of<'a>(chain: impl Iterator<Item = &'a (dyn Error + 'static)>) -> Vec<String> {
    let mut texts: Vec<String> = chain.map(ToString::to_string).collect();
    texts.dedup_by(|cause, error| error.contains(cause.as_str()));
    texts.drain(..texts.len().min(1));
    texts
}

/// Stdout for payload bytes: without line buffering.
pub(crate) fn raw_stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_cause_that_says_the_same_again_is_left_out() {
        let same: anyhow::Result<()> = Err(anyhow::anyhow!("no message x")).context("no message x");
        assert!(causes_of(same.unwrap_err().chain()).is_empty());
        let other: anyhow::Result<()> = Err(anyhow::anyhow!("disk full")).context("cannot write");
        assert_eq!(causes_of(other.unwrap_err().chain()), ["disk full"]);
    }
}
