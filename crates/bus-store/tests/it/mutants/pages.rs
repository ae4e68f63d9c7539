//! Stores that give messages or chunks twice, not at all or in the wrong order.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;
use bus_model::{MessageId, Principal};
use bus_store::{ChunkStream, Cursor, ListQuery, Page, Store, StoreError};
use futures::StreamExt as _;
use uuid::Uuid;

use super::{is_found, is_found_by_cases};
use crate::support::wrapper::{Fault, Inner};

/// Begins each page with the last message of the page before.
#[derive(Debug)]
struct RepeatsOnPage;

#[async_trait]
impl Fault for RepeatsOnPage {
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        let mut query = query.clone();
        query.after = query.after.map(|after| Cursor {
            id: Uuid::max().into(),
            ..after
        });
        s.store.list(&query).await
    }
}

#[tokio::test]
async fn a_repeated_message_on_a_page_is_found() {
    is_found(|| RepeatsOnPage, &["pages_together_hold_everything_once"]).await;
}

/// Goes on after the millisecond, not after the message, at which a page ended.
#[derive(Debug)]
struct SkipsOnPage;

#[async_trait]
impl Fault for SkipsOnPage {
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        let mut query = query.clone();
        query.after = query.after.map(|after| Cursor {
            id: Uuid::nil().into(),
            ..after
        });
        s.store.list(&query).await
    }
}

#[tokio::test]
async fn a_skipped_message_of_the_same_time_is_found() {
    is_found_by_cases(|| SkipsOnPage, &["pages_stay_exact_within_a_millisecond"]).await;
}

/// Pages by offset, so that inserts and deletes shift them.
#[derive(Debug)]
struct PagesByOffset(AtomicUsize);

#[async_trait]
impl Fault for PagesByOffset {
    async fn list(&self, s: &Inner, query: &ListQuery) -> Result<Page, StoreError> {
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let offset = if query.after.is_some() {
            self.0.load(SeqCst)
        } else {
            0
        };
        let all = ListQuery {
            limit: if limit == 0 { 0 } else { 1000 },
            after: None,
            ..query.clone()
        };
        let whole = s.store.list(&all).await?.records;
        let records: Vec<_> = whole.iter().skip(offset).take(limit).cloned().collect();
        self.0.store(offset + records.len(), SeqCst);
        let more = offset + records.len() < whole.len();
        let next = records.last().filter(|_| more).map(Cursor::after);
        Ok(Page { records, next })
    }
}

#[tokio::test]
async fn paging_by_offset_is_found() {
    let names = [
        "pages_stay_exact_while_messages_come",
        "pages_stay_exact_while_messages_go",
    ];
    is_found(|| PagesByOffset(0.into()), &names).await;
}

/// Gives chunks in the wrong order.
#[derive(Debug)]
struct TurnsChunksAround;

#[async_trait]
impl Fault for TurnsChunksAround {
    async fn chunks(
        &self,
        s: &Inner,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError> {
        let chunks = s.store.chunks(principal, id, range).await?;
        let mut chunks: Vec<_> = chunks.collect().await;
        chunks.reverse();
        Ok(futures::stream::iter(chunks).boxed())
    }
}

#[tokio::test]
async fn chunks_in_the_wrong_order_are_found() {
    is_found(|| TurnsChunksAround, &[]).await;
}
