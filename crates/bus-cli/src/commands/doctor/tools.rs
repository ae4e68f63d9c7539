//! The line about the tools that published in the last 24 hours; the same for every store.

use bus_model::ByteSize;
use serde::{Deserialize, Serialize};

use crate::commands::doctor::line::Line;

pub(super) const NAME: &str = "tools";

/// What one tool published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToolCount {
    pub(super) tool: String,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) stored_bytes: u64,
}

impl ToolCount {
    pub(super) fn new(tool: String) -> Self {
        Self {
            tool,
            messages: 0,
            bytes: 0,
            stored_bytes: 0,
        }
    }
}

/// The line; `all` says whether everything was counted.
pub(super) fn line(counts: &[ToolCount], all: bool) -> Line {
    let mut counts: Vec<&ToolCount> = counts.iter().collect();
    counts.sort_by(|a, b| {
        b.messages
            .cmp(&a.messages)
            .then_with(|| a.tool.cmp(&b.tool))
    });
    let summary = match counts.as_slice() {
        [] => "none published in the last 24 hours".to_owned(),
        [one] => format!("{} published in the last 24 hours", one.tool),
        many => format!("{} published in the last 24 hours", many.len()),
    };
    let size = |bytes| ByteSize::new(bytes).unwrap_or_default().to_string();
    let line = Line::ok(NAME, summary).details(counts.iter().map(|count| {
        format!(
            "{}: {} messages, {}, {} stored",
            count.tool,
            count.messages,
            size(count.bytes),
            size(count.stored_bytes)
        )
    }));
    if all {
        line
    } else {
        line.detail("only the newest messages were counted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_comes_first() {
        let mut few = ToolCount::new("a".to_owned());
        few.messages = 1;
        let mut many = ToolCount::new("b".to_owned());
        (many.messages, many.bytes, many.stored_bytes) = (7, 2 << 20, 1 << 20);
        let line = line(&[few, many], false);
        assert!(line.summary.starts_with("2 published"), "{line:?}");
        assert!(
            line.detail[0].starts_with("b: 7 messages, 2.0 MiB"),
            "{line:?}"
        );
        assert!(line.detail[2].contains("newest"), "{line:?}");
    }

    #[test]
    fn nobody_published() {
        assert_eq!(
            line(&[], true).summary,
            "none published in the last 24 hours"
        );
    }
}
