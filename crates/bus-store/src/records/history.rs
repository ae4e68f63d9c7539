//! [`ConversationHistory`]: what was said, in order.

use std::fmt;

use async_trait::async_trait;
use bus_model::{Digest, Metadata, Principal, SessionId, TransactionId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::names::{EntryId, Role};
use crate::{StoreError, StoreErrorKind};

/// Longest text that an entry holds itself, in bytes of UTF-8. What is longer goes by claim.
pub const MAX_INLINE_BYTES: usize = 64 << 10;

/// Largest metadata of an entry, in bytes of JSON.
pub const MAX_METADATA_BYTES: usize = 16 << 10;

/// Most entries, or conversations, of one page; a larger limit is cut to it.
pub const MAX_HISTORY_PAGE: u32 = 100;

/// A conversation is named as the session that it is held in.
pub type ConversationId = SessionId;

/// Conversations: entries in order, which are appended and never changed.
#[async_trait]
pub trait ConversationHistory: fmt::Debug + Send + Sync + 'static {
    /// Appends `entry`. Its sequence number is greater than that of every entry before, and whoever
    /// has seen it has had the chance to see all before it.
    ///
    /// An entry whose id is there already, with the same role and content, is success and changes
    /// nothing.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] where the id is there with another role or content;
    /// [`StoreErrorKind::TooLarge`] for a text above [`MAX_INLINE_BYTES`] or metadata above
    /// [`MAX_METADATA_BYTES`].
    async fn append(&self, key: &ConversationKey, entry: &NewEntry)
    -> Result<Appended, StoreError>;

    /// One entry.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    async fn entry(&self, key: &ConversationKey, sequence: u64)
    -> Result<HistoryEntry, StoreError>;

    /// A page of entries; an empty one for a conversation that does not exist.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a limit of 0.
    async fn page(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError>;

    /// A page of a principal's conversations, by name.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a limit of 0.
    async fn conversations(
        &self,
        query: &ConversationQuery,
    ) -> Result<ConversationPage, StoreError>;

    /// Removes a conversation, whole; the number of entries that it had. Messages that its entries
    /// claim are left alone.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    async fn delete(&self, key: &ConversationKey) -> Result<u64, StoreError>;
}

/// What a conversation is found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConversationKey {
    /// Who owns it.
    pub principal: Principal,
    /// Its name.
    pub conversation_id: ConversationId,
}

impl ConversationKey {
    /// The key of `conversation_id` within `principal`.
    #[must_use]
    pub fn new(principal: Principal, conversation_id: ConversationId) -> Self {
        Self {
            principal,
            conversation_id,
        }
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// The text itself.
    Inline(String),
    /// A message that holds the text.
    Claim(ContentClaim),
}

impl Content {
    /// Size of the text, in bytes of UTF-8.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Inline(text) => text.len() as u64,
            Self::Claim(claim) => claim.payload_size_bytes,
        }
    }

    /// SHA-256 of the text.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        match self {
            Self::Inline(text) => Digest::of(text.as_bytes()),
            Self::Claim(claim) => claim.sha256,
        }
    }
}

/// A text that is too long for its entry, as a message of the same principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentClaim {
    /// The message.
    pub transaction_id: TransactionId,
    /// Size of the text, in bytes of UTF-8.
    pub payload_size_bytes: u64,
    /// SHA-256 of the text.
    pub sha256: Digest,
}

/// An entry that is going to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// The client's own id of it.
    pub id: EntryId,
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// Free keys.
    pub metadata: Metadata,
}

impl NewEntry {
    /// Whether the entry is small enough; every store asks before it writes.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooLarge`].
    pub fn check(&self) -> Result<(), StoreError> {
        if let Content::Inline(text) = &self.content
            && text.len() > MAX_INLINE_BYTES
        {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                format!(
                    "the text has {} bytes, an entry holds at most {MAX_INLINE_BYTES} itself: publish it and append its claim",
                    text.len()
                ),
            ));
        }
        let metadata = serde_json::to_vec(&self.metadata).map_or(usize::MAX, |json| json.len());
        if metadata > MAX_METADATA_BYTES {
            return Err(StoreError::new(
                StoreErrorKind::TooLarge,
                format!(
                    "the metadata has {metadata} bytes, an entry takes at most {MAX_METADATA_BYTES}"
                ),
            ));
        }
        Ok(())
    }

    /// The error for an id that is taken by another entry.
    #[must_use]
    pub fn conflict(&self) -> StoreError {
        StoreError::new(
            StoreErrorKind::Conflict,
            format!(
                "entry id {} is taken in this conversation by another role or text: use a new id",
                self.id
            ),
        )
    }
}

/// What came of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Appended {
    /// The place of the entry, from 1.
    pub sequence: u64,
    /// When it was appended, by the store's clock.
    pub created_at: DateTime<Utc>,
    /// Whether this call appended it; false where it was there already.
    pub created: bool,
}

/// An entry of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// Its place, from 1; gaps are legal.
    pub sequence: u64,
    /// The client's own id of it.
    pub id: EntryId,
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub content: Content,
    /// Free keys.
    pub metadata: Metadata,
    /// When it was appended, by the store's clock.
    pub created_at: DateTime<Utc>,
}

/// Which way a page goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the oldest on.
    Forwards,
    /// From the newest back.
    Backwards,
}

/// Which entries to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Of which conversation.
    pub key: ConversationKey,
    /// Which way; the entries of a page come in this order.
    pub direction: Direction,
    /// Only beyond this sequence number; `None` begins at the end that the direction comes from.
    pub after: Option<u64>,
    /// At most this many; a store may give fewer, and at least one where there is one.
    pub limit: u32,
}

impl HistoryQuery {
    /// The first page of a conversation, 50 entries.
    #[must_use]
    pub fn new(key: ConversationKey, direction: Direction) -> Self {
        Self {
            key,
            direction,
            after: None,
            limit: 50,
        }
    }
}

/// A page of entries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HistoryPage {
    /// The entries, in the direction of the query.
    pub entries: Vec<HistoryEntry>,
    /// What to go on after; `None` where there is no more that way.
    pub next: Option<u64>,
}

/// Which conversations to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationQuery {
    /// Whose.
    pub principal: Principal,
    /// Only those whose name sorts after this one, byte by byte.
    pub after: Option<ConversationId>,
    /// At most this many.
    pub limit: u32,
}

impl ConversationQuery {
    /// The first conversations of `principal`, 50 a page.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        Self {
            principal,
            after: None,
            limit: 50,
        }
    }
}

/// A conversation as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// Its name.
    pub conversation_id: ConversationId,
    /// How many entries it has.
    pub entries: u64,
    /// The sequence number of its last entry.
    pub last_sequence: u64,
    /// When the last entry was appended.
    pub last_at: DateTime<Utc>,
}

/// A page of conversations, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationPage {
    /// The conversations.
    pub conversations: Vec<Conversation>,
    /// What to go on after; `None` where there is no more.
    pub next: Option<ConversationId>,
}
