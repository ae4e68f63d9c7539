//! What a check says: one line, what stands behind it, and what to do.

use serde::Serialize;

use crate::exit::Exit;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Works, but somebody should look at it.
    Warning,
    /// Does not work, or is not safe.
    Failure,
    /// Not checked; the summary says why.
    Skipped,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// What was checked; stays the same from release to release.
    pub(crate) name: &'static str,
    /// How it ended.
    pub(crate) status: Status,
    /// In one sentence.
    pub(crate) summary: String,
    /// What stands behind it, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) detail: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
    /// The exit code where this is the first that failed.
    #[serde(skip)]
    pub(crate) exit: Exit,
}

impl Line {
    fn new(name: &'static str, status: Status, summary: impl Into<String>) -> Self {
        Self {
            name,
            status,
            summary: summary.into(),
            detail: Vec::new(),
            advice: None,
            exit: Exit::Error,
        }
    }

    pub(crate) fn ok(name: &'static str, summary: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, summary)
    }

    pub(crate) fn warning(name: &'static str, summary: impl Into<String>) -> Self {
        Self::new(name, Status::Warning, summary)
    }

    pub(crate) fn failure(name: &'static str, summary: impl Into<String>) -> Self {
        Self::new(name, Status::Failure, summary)
    }

    /// Not checked, because of `why`.
    pub(crate) fn skipped(name: &'static str, why: impl AsRef<str>) -> Self {
        Self::new(
            name,
            Status::Skipped,
            format!("not checked: {}", why.as_ref()),
        )
    }

    pub(crate) fn detail(mut self, sentence: impl Into<String>) -> Self {
        self.detail.push(sentence.into());
        self
    }

    pub(crate) fn details(mut self, sentences: impl IntoIterator<Item = String>) -> Self {
        self.detail.extend(sentences);
        self
    }

    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.status == Status::Failure
    }
}

/// How many lines ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) ok: usize,
    pub(crate) warning: usize,
    pub(crate) failure: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn of(lines: &[Line]) -> Self {
        let of = |status| lines.iter().filter(|line| line.status == status).count();
        Self {
            ok: of(Status::Ok),
            warning: of(Status::Warning),
            failure: of(Status::Failure),
            skipped: of(Status::Skipped),
        }
    }
}
