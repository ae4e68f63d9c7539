//! Conversations whose long entries go by claim.
//!
//! The audit log and preferences are used as they are, through
//! [`MessageBusClient::records`]. An entry of a conversation holds a short text itself; [`History`]
//! publishes a longer one as a message and keeps its claim, and loads it back verified.

use std::sync::Arc;

use bus_model::{ContentType, Digest, Hasher, Metadata, ToolName, TransactionId, Ttl};
use bus_store::records::{
    Appended, Content, ContentClaim, ConversationHistory, ConversationId, ConversationKey,
    ConversationPage, ConversationQuery, Direction, EntryId, HistoryEntry, HistoryPage,
    HistoryQuery, MAX_INLINE_BYTES, NewEntry, Role,
};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::{ClientError, ClientErrorKind, Message, MessageBusClient, Source};

/// How long a long text is kept, in hours: ten years, the longest there is.
const KEPT_HOURS: f64 = 87_600.0;

/// Texts of more bytes than this are hashed and checked beside the reactor.
const LARGE: usize = 256 << 10;

/// The conversations of a client's principal.
///
/// # Cancellation
/// Every future may be dropped, and its call repeated: under the same [`EntryId`] a text is
/// appended once.
#[derive(Debug, Clone)]
pub struct History {
    client: MessageBusClient,
    history: Arc<dyn ConversationHistory>,
}

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The id that makes saying it again harmless.
    pub id: EntryId,
    /// Who says it.
    pub role: Role,
    /// The text, of any length that may be published.
    pub text: String,
    /// Free keys.
    pub metadata: Metadata,
}

impl Said {
    /// A text, under an id that is minted.
    #[must_use]
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self {
            id: EntryId::mint(),
            role,
            text: text.into(),
            metadata: Metadata::new(),
        }
    }
}

impl MessageBusClient {
    /// The conversations of this client's principal.
    ///
    /// # Errors
    /// As [`MessageBusClient::records`].
    pub async fn history(&self) -> Result<History, ClientError> {
        Ok(History {
            history: self.records().await?.history,
            client: self.clone(),
        })
    }
}

impl History {
    /// Appends a text to a conversation. One that is too long for an entry is published first, and
    /// kept for ten years or until [`delete`](Self::delete).
    ///
    /// # Errors
    /// [`ClientErrorKind::Conflict`] where the id is taken by another role or text;
    /// [`ClientErrorKind::TooLarge`]; for a long text those of [`MessageBusClient::publish`]; or
    /// what the store says.
    pub async fn append(
        &self,
        conversation: &ConversationId,
        said: Said,
    ) -> Result<Appended, ClientError> {
        let key = self.key(conversation);
        if said.text.len() <= MAX_INLINE_BYTES {
            let entry = NewEntry {
                id: said.id,
                role: said.role,
                content: Content::Inline(said.text),
                metadata: said.metadata,
            };
            return Ok(self.history.append(&key, &entry).await?);
        }
        let text = Bytes::from(said.text);
        let (claim, new) = self
            .publish(conversation, &said.id, &said.role, text)
            .await?;
        let entry = NewEntry {
            id: said.id,
            role: said.role,
            content: Content::Claim(claim.clone()),
            metadata: said.metadata,
        };
        let appended = self.history.append(&key, &entry).await;
        let refused = |kind| {
            matches!(
                kind,
                bus_store::StoreErrorKind::Conflict | bus_store::StoreErrorKind::TooLarge
            )
        };
        if new && appended.as_ref().is_err_and(|error| refused(error.kind())) {
            // Nothing claims it. Where this fails it only takes space.
            let _ = self.client.delete(&claim.transaction_id).await;
        }
        Ok(appended?)
    }

    /// One entry, without the text of a claim.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotFound`], or what the store says.
    pub async fn entry(
        &self,
        conversation: &ConversationId,
        sequence: u64,
    ) -> Result<HistoryEntry, ClientError> {
        let key = self.key(conversation);
        Ok(self.history.entry(&key, sequence).await?)
    }

    /// A page of entries, without the texts of claims: `limit` of them beyond `after`, or from the
    /// end that the direction comes from.
    ///
    /// # Errors
    /// [`ClientErrorKind::InvalidInput`] for a limit of 0, or what the store says.
    pub async fn page(
        &self,
        conversation: &ConversationId,
        direction: Direction,
        after: Option<u64>,
        limit: u32,
    ) -> Result<HistoryPage, ClientError> {
        let query = HistoryQuery {
            after,
            limit,
            ..HistoryQuery::new(self.key(conversation), direction)
        };
        Ok(self.history.page(&query).await?)
    }

    /// The text of an entry; that of a claim is fetched, every byte checked.
    ///
    /// # Errors
    /// [`ClientErrorKind::DigestMismatch`] where the message is not the one that was claimed,
    /// [`ClientErrorKind::Damaged`] where it is no text, those of [`MessageBusClient::fetch`] and
    /// of reading.
    pub async fn text(&self, entry: &HistoryEntry) -> Result<String, ClientError> {
        let claim = match &entry.content {
            Content::Inline(text) => return Ok(text.clone()),
            Content::Claim(claim) => claim,
        };
        let fetched = self.client.fetch(&claim.transaction_id).await?;
        let found = fetched.manifest().payload_digest();
        if found != claim.sha256 {
            return Err(ClientError::new(
                ClientErrorKind::DigestMismatch,
                format!(
                    "message {} has SHA-256 {found}, the conversation claims one with {}: it was replaced",
                    claim.transaction_id, claim.sha256
                ),
            ));
        }
        let text = fetched.bytes().await?;
        let id = claim.transaction_id.clone();
        beside(text.len(), move || {
            String::from_utf8(text.into()).map_err(|error| {
                let message = format!("message {id} is no text, as a conversation's has to be");
                ClientError::new(ClientErrorKind::Damaged, message).with_source(error)
            })
        })
        .await?
    }

    /// A page of conversations, by name.
    ///
    /// # Errors
    /// [`ClientErrorKind::InvalidInput`] for a limit of 0, or what the store says.
    pub async fn conversations(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<ConversationPage, ClientError> {
        let principal = self.client.principal().clone();
        let query = ConversationQuery {
            after,
            limit,
            ..ConversationQuery::new(principal)
        };
        Ok(self.history.conversations(&query).await?)
    }

    /// Removes a conversation and the messages that its entries claim; the number of its entries.
    ///
    /// Messages go first, so that a call that was cut off can be repeated and leaves none behind.
    ///
    /// # Errors
    /// [`ClientErrorKind::NotFound`], or what the store says.
    pub async fn delete(&self, conversation: &ConversationId) -> Result<u64, ClientError> {
        let mut after = None;
        loop {
            let page = self
                .page(conversation, Direction::Forwards, after, u32::MAX)
                .await?;
            for entry in page.entries {
                if let Content::Claim(claim) = entry.content {
                    self.delete_message(&claim).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(self.history.delete(&self.key(conversation)).await?)
    }

    async fn delete_message(&self, claim: &ContentClaim) -> Result<(), ClientError> {
        match self.client.delete(&claim.transaction_id).await {
            Err(error) if error.kind() != ClientErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Publishes a long text, under an id that is the same for the same text in the same place;
    /// its claim, and whether this call stored it.
    async fn publish(
        &self,
        conversation: &ConversationId,
        id: &EntryId,
        role: &Role,
        text: Bytes,
    ) -> Result<(ContentClaim, bool), ClientError> {
        let hashed = text.clone();
        let sha256 = beside(text.len(), move || Digest::of(&hashed)).await?;
        let claim = ContentClaim {
            transaction_id: transaction_id(conversation, id, sha256)?,
            payload_size_bytes: text.len() as u64,
            sha256,
        };
        let mut message = Message::new(conversation.clone(), tool()?);
        message.transaction_id = Some(claim.transaction_id.clone());
        message.content_type = Some(ContentType::text());
        message.expected_digest = Some(sha256);
        message.ttl = Ttl::from_hours(KEPT_HOURS).ok();
        let metadata = &mut message.metadata;
        metadata.insert("entry_id".to_owned(), id.as_str().into());
        metadata.insert("role".to_owned(), role.as_str().into());
        let published = self.client.publish(message, Source::bytes(text)).await?;
        Ok((claim, published.created))
    }

    fn key(&self, conversation: &ConversationId) -> ConversationKey {
        ConversationKey::new(self.client.principal().clone(), conversation.clone())
    }
}

/// `hist_` and 32 hexadecimal digits.
fn transaction_id(
    conversation: &ConversationId,
    id: &EntryId,
    sha256: Digest,
) -> Result<TransactionId, ClientError> {
    let mut hasher = Hasher::new();
    // Neither of the two holds a NUL.
    for part in [conversation.as_str(), "\0", id.as_str(), "\0"] {
        hasher.update(part.as_bytes());
    }
    hasher.update(sha256.as_bytes());
    let digest = hasher.finish().to_string();
    TransactionId::new(format!("hist_{}", &digest[..32])).map_err(bug)
}

fn tool() -> Result<ToolName, ClientError> {
    ToolName::new("history").map_err(bug)
}

fn bug(error: bus_model::IdError) -> ClientError {
    ClientError::new(
        ClientErrorKind::Internal,
        "a name of our own is not legal; please report this",
    )
    .with_source(error)
}

/// Does `work` here, or, where it is over many bytes, beside the reactor.
async fn beside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ClientError> {
    if bytes <= LARGE {
        return Ok(work());
    }
    spawn_blocking(work).await.map_err(|error| {
        ClientError::new(ClientErrorKind::Cancelled, "the work on a text was cut off")
            .with_source(error)
    })
}
