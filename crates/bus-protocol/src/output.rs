//! What a tool puts out, as it stands in `outputs`.

use serde::{Deserialize, Serialize};

/// One output of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Output {
    /// A text: `{"type":"text","text":"…"}`.
    Text {
        /// The text.
        text: String,
    },
}

impl Output {
    /// One text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// The text of this output; empty for one that is no text.
    #[must_use]
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text { text } => text,
        }
    }
}
