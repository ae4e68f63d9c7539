//! The status of a message and the transitions that are legal.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageStatus {
    /// Being written, under a lease; its payload cannot be read.
    Pending,
    /// Whole and readable.
    Complete,
    /// Given up by its writer, with a reason.
    Error,
    /// Was complete; its time to live has passed.
    Expired,
}

/// A text is not one of `pending`, `complete`, `error`, `expired`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a message status: pending, complete, error or expired are expected")]
pub struct StatusParseError(String);

impl MessageStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Complete, Self::Error, Self::Expired];

    /// The name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Complete => "complete",
            Self::Error => "error",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for MessageStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for MessageStatus {
    type Err = StatusParseError;
    fn from_str(text: &str) -> Result<Self, StatusParseError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| StatusParseError(text.chars().take(80).collect()))
    }
}

/// A legal change of status. A change that is not legal cannot be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// `pending` to `complete`: the manifest was accepted.
    Commit,
    /// `pending` to `error`: the writer gave up, with a reason.
    Abort,
    /// `complete` to `expired`: the time to live has passed.
    Expire,
}

impl Transition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Commit, Self::Abort, Self::Expire];

    /// The status that it starts from.
    #[must_use]
    pub fn from(self) -> MessageStatus {
        match self {
            Self::Commit | Self::Abort => MessageStatus::Pending,
            Self::Expire => MessageStatus::Complete,
        }
    }

    /// The status that it leads to.
    #[must_use]
    pub fn to(self) -> MessageStatus {
        match self {
            Self::Commit => MessageStatus::Complete,
            Self::Abort => MessageStatus::Error,
            Self::Expire => MessageStatus::Expired,
        }
    }

    /// The transition between two statuses, where one is legal.
    #[must_use]
    pub fn between(from: MessageStatus, to: MessageStatus) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|t| t.from() == from && t.to() == to)
    }
}
