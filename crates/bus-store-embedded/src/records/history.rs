//! Conversation history.

use async_trait::async_trait;
use bus_model::Digest;
use bus_store::{
    StoreError,
    records::{
        Appended, Content, ContentClaim, Conversation, ConversationHistory, ConversationKey,
        ConversationPage, ConversationQuery, Direction, HistoryEntry, HistoryPage, HistoryQuery,
        MAX_HISTORY_PAGE, NewEntry, no_such_conversation, no_such_entry, page_limit,
    },
};
use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::{Bad, EmbeddedRecords, checked, cut, int, json, number, rows, time, to_json};
use crate::error::sqlite;

const COLUMNS: &str = "seq, entry_id, role, content, content_transaction_id, content_size, \
     content_sha256, metadata, created_ms";

#[async_trait]
impl ConversationHistory for EmbeddedRecords {
    async fn append(
        &self,
        key: &ConversationKey,
        entry: &NewEntry,
    ) -> Result<Appended, StoreError> {
        entry.check()?;
        let (key, entry) = (key.clone(), entry.clone());
        self.write(move |transaction, now| append(transaction, &key, &entry, now))
            .await
    }

    async fn entry(
        &self,
        key: &ConversationKey,
        sequence: u64,
    ) -> Result<HistoryEntry, StoreError> {
        let key = key.clone();
        self.read(move |conn| {
            let found = select(conn, &key, "seq = ?3", int(sequence), 1)?;
            let mut found = found.into_iter().filter(|e| e.sequence == sequence);
            found.next().ok_or_else(|| no_such_entry(&key, sequence))
        })
        .await
    }

    async fn page(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let limit = page_limit(query.limit, MAX_HISTORY_PAGE)?;
        let query = query.clone();
        self.read(move |conn| {
            let (condition, start) = match query.direction {
                Direction::Forwards => ("seq > ?3 ORDER BY seq", query.after.unwrap_or(0)),
                Direction::Backwards => (
                    "seq < ?3 ORDER BY seq DESC",
                    query.after.unwrap_or(u64::MAX),
                ),
            };
            let mut entries = select(conn, &query.key, condition, int(start), limit + 1)?;
            let next = cut(&mut entries, limit, |entry| entry.sequence);
            Ok(HistoryPage { entries, next })
        })
        .await
    }

    async fn conversations(
        &self,
        query: &ConversationQuery,
    ) -> Result<ConversationPage, StoreError> {
        let limit = page_limit(query.limit, MAX_HISTORY_PAGE)?;
        let query = query.clone();
        self.read(move |conn| {
            let after = query.after.as_ref().map_or("", |after| after.as_str());
            let mut conversations = rows(
                conn,
                "SELECT conversation_id, COUNT(*), MAX(seq), MAX(created_ms) \
                 FROM conversation_history WHERE principal = ?1 AND conversation_id > ?2 \
                 GROUP BY conversation_id ORDER BY conversation_id LIMIT ?3",
                params![query.principal.as_str(), after, limit + 1],
                "a conversation",
                conversation,
            )?;
            let next = cut(&mut conversations, limit, |c| c.conversation_id.clone());
            Ok(ConversationPage {
                conversations,
                next,
            })
        })
        .await
    }

    async fn delete(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let key = key.clone();
        self.write_to_free(move |transaction, _| {
            let removed = transaction
                .execute(
                    "DELETE FROM conversation_history WHERE principal = ?1 AND conversation_id = ?2",
                    (key.principal.as_str(), key.conversation_id.as_str()),
                )
                .map_err(|error| sqlite("delete a conversation", error))?;
            if removed == 0 {
                return Err(no_such_conversation(&key));
            }
            Ok(removed as u64)
        })
        .await
    }
}

fn append(
    conn: &Connection,
    key: &ConversationKey,
    entry: &NewEntry,
    now: DateTime<Utc>,
) -> Result<Appended, StoreError> {
    let (principal, conversation) = (key.principal.as_str(), key.conversation_id.as_str());
    let id = entry.id.as_str();
    let held = rows(
        conn,
        "SELECT seq, role, content_sha256, created_ms FROM conversation_history \
         WHERE principal = ?1 AND conversation_id = ?2 AND entry_id = ?3",
        (principal, conversation, id),
        "an entry of a conversation",
        |row| {
            let same = row.get::<_, String>(1)? == entry.role.as_str()
                && digest(row, 2)? == entry.content.sha256();
            let place = Appended {
                sequence: number(row, 0)?,
                created_at: time(row, 3)?,
                created: false,
            };
            Ok((same, place))
        },
    )?;
    match held.first() {
        Some((true, place)) => return Ok(*place),
        Some((false, _)) => return Err(entry.conflict()),
        None => {}
    }
    let (text, claim) = match &entry.content {
        Content::Inline(text) => (Some(text.as_str()), None),
        Content::Claim(claim) => (None, Some(claim.transaction_id.as_str())),
    };
    let metadata = to_json(&entry.metadata)?;
    let digest = entry.content.sha256();
    let sequence = conn
        .prepare_cached(
            "INSERT INTO conversation_history (principal, conversation_id, entry_id, role, content, \
             content_transaction_id, content_size, content_sha256, metadata, created_ms, seq) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1 + (SELECT COALESCE(MAX(seq), 0) \
             FROM conversation_history WHERE principal = ?1 AND conversation_id = ?2)) RETURNING seq",
        )
        .and_then(|mut insert| {
            let values = params![
                principal,
                conversation,
                id,
                entry.role.as_str(),
                text,
                claim,
                int(entry.content.size_bytes()),
                digest.as_bytes(),
                metadata,
                now.timestamp_millis(),
            ];
            insert.query_row(values, |row| row.get(0))
        })
        .map_err(|error| sqlite("append to a conversation", error))?;
    Ok(Appended {
        sequence,
        created_at: now,
        created: true,
    })
}

/// The entries of a conversation under `condition`, which may name the number as `?3`.
fn select(
    conn: &Connection,
    key: &ConversationKey,
    condition: &str,
    number: i64,
    limit: usize,
) -> Result<Vec<HistoryEntry>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM conversation_history \
         WHERE principal = ?1 AND conversation_id = ?2 AND {condition} LIMIT ?4"
    );
    let (principal, conversation) = (key.principal.as_str(), key.conversation_id.as_str());
    let values = params![principal, conversation, number, limit];
    rows(conn, &sql, values, "an entry of a conversation", parse)
}

fn parse(row: &Row<'_>) -> Result<HistoryEntry, Bad> {
    let content = match row.get::<_, Option<String>>(3)? {
        Some(text) => Content::Inline(text),
        None => Content::Claim(ContentClaim {
            transaction_id: checked(row, 4)?,
            payload_size_bytes: number(row, 5)?,
            sha256: digest(row, 6)?,
        }),
    };
    Ok(HistoryEntry {
        sequence: number(row, 0)?,
        id: checked(row, 1)?,
        role: checked(row, 2)?,
        content,
        metadata: json(row, 7)?,
        created_at: time(row, 8)?,
    })
}

fn conversation(row: &Row<'_>) -> Result<Conversation, Bad> {
    Ok(Conversation {
        conversation_id: checked(row, 0)?,
        entries: number(row, 1)?,
        last_sequence: number(row, 2)?,
        last_at: time(row, 3)?,
    })
}

fn digest(row: &Row<'_>, column: usize) -> Result<Digest, Bad> {
    Ok(Digest::from(row.get::<_, [u8; 32]>(column)?))
}
