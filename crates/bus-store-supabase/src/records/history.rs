//! Conversation history.

use async_trait::async_trait;
use bus_store::{
    StoreError,
    records::{
        Appended, ConversationHistory, ConversationId, ConversationKey, ConversationPage,
        ConversationQuery, Direction, HistoryEntry, HistoryPage, HistoryQuery, MAX_HISTORY_PAGE,
        NewEntry, no_such_conversation, no_such_entry, page_limit,
    },
};

use super::{
    SupabaseRecords,
    row::{
        AfterNameRow, ConversationRow, ConversationsRow, DeletedRow, EntriesRow, EntryRow,
        HistoryQueryRow, HistoryRow, ListedRow, NewEntryRow, PlaceRow,
    },
    strange,
};
use crate::row::Outcome;

const APPEND: &str = "bus_history_append";
const ENTRY: &str = "bus_history_entry";
const DELETE: &str = "bus_history_delete";

/// As the database counts; what is beyond is beyond every entry.
fn place(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

#[async_trait]
impl ConversationHistory for SupabaseRecords {
    async fn append(
        &self,
        key: &ConversationKey,
        entry: &NewEntry,
    ) -> Result<Appended, StoreError> {
        entry.check()?;
        let request = NewEntryRow::of(key, entry)?;
        let row: PlaceRow = self.call(APPEND, &request).await?;
        match row.outcome {
            Outcome::Created | Outcome::Exists => row.appended(),
            Outcome::Conflict => Err(entry.conflict()),
            outcome => Err(strange(APPEND, outcome)),
        }
    }

    async fn entry(
        &self,
        key: &ConversationKey,
        sequence: u64,
    ) -> Result<HistoryEntry, StoreError> {
        let mut request = ConversationRow::of(key);
        request.seq = Some(place(sequence));
        let row: EntryRow = self.call(ENTRY, &request).await?;
        match (row.outcome, row.entry) {
            (Outcome::Ok, Some(entry)) => entry.into_entry(),
            (Outcome::NotFound, _) => Err(no_such_entry(key, sequence)),
            (outcome, _) => Err(strange(ENTRY, outcome)),
        }
    }

    async fn page(&self, query: &HistoryQuery) -> Result<HistoryPage, StoreError> {
        let request = HistoryQueryRow {
            principal: &query.key.principal,
            conversation_id: &query.key.conversation_id,
            direction: match query.direction {
                Direction::Forwards => "forwards",
                Direction::Backwards => "backwards",
            },
            after: query.after.map(place),
            limit: page_limit(query.limit, MAX_HISTORY_PAGE)?,
        };
        let row: EntriesRow<HistoryRow> = self.call("bus_history_page", &request).await?;
        let entries = row.entries.into_iter().map(HistoryRow::into_entry);
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let next = entries.last().filter(|_| row.more).map(|e| e.sequence);
        Ok(HistoryPage { entries, next })
    }

    async fn conversations(
        &self,
        query: &ConversationQuery,
    ) -> Result<ConversationPage, StoreError> {
        let request = AfterNameRow {
            principal: &query.principal,
            after: query.after.as_ref(),
            limit: page_limit(query.limit, MAX_HISTORY_PAGE)?,
        };
        let row: ConversationsRow = self.call("bus_history_conversations", &request).await?;
        let listed = row.conversations.into_iter();
        let conversations = listed.map(ListedRow::into_conversation);
        let conversations = conversations.collect::<Result<Vec<_>, _>>()?;
        let last = conversations.last().filter(|_| row.more);
        let next: Option<ConversationId> = last.map(|last| last.conversation_id.clone());
        Ok(ConversationPage {
            conversations,
            next,
        })
    }

    async fn delete(&self, key: &ConversationKey) -> Result<u64, StoreError> {
        let row: DeletedRow = self.call(DELETE, &ConversationRow::of(key)).await?;
        match row.outcome {
            Outcome::Ok => Ok(row.entries),
            Outcome::NotFound => Err(no_such_conversation(key)),
            outcome => Err(strange(DELETE, outcome)),
        }
    }
}
