//! Conversations through the client: short entries as they are, long ones by claim.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use bus_client::{
    ClientErrorKind, MessageBusClient,
    records::{History, Said},
    settings::StoreSpec,
};
use bus_model::TransactionId;
use bus_store::{
    ListQuery, MemoryStore, Records, StoreErrorKind,
    records::{
        Content, ConversationId, Direction, EntryId, HistoryEntry, MAX_INLINE_BYTES, MemoryRecords,
        PreferenceValue, Role,
    },
};

async fn history() -> (MessageBusClient, History) {
    let client = MessageBusClient::builder()
        .store(Arc::new(MemoryStore::new()))
        .records(MemoryRecords::new().records())
        .chunk_size(10_000)
        .build();
    let history = client.history().await.unwrap();
    (client, history)
}

fn talk() -> ConversationId {
    "talk".parse().unwrap()
}

fn long(character: &str) -> String {
    character.repeat(2 * MAX_INLINE_BYTES)
}

fn said(id: &str, text: &str) -> Said {
    Said {
        id: EntryId::new(id).unwrap(),
        ..Said::new(Role::USER, text)
    }
}

async fn entry(history: &History, sequence: u64) -> HistoryEntry {
    history.entry(&talk(), sequence).await.unwrap()
}

async fn messages(client: &MessageBusClient) -> usize {
    let query = ListQuery::new(client.principal().clone());
    client.list(&query).await.unwrap().records.len()
}

fn claimed(entry: &HistoryEntry) -> TransactionId {
    match &entry.content {
        Content::Claim(claim) => claim.transaction_id.clone(),
        Content::Inline(text) => panic!("a claim was expected, not {} bytes", text.len()),
    }
}

#[tokio::test]
async fn a_short_text_needs_no_message() {
    let (client, history) = history().await;
    let text = "\0".repeat(MAX_INLINE_BYTES);
    let appended = history.append(&talk(), said("e", &text)).await.unwrap();
    let entry = entry(&history, appended.sequence).await;
    assert!(history.text(&entry).await.unwrap() == text);
    assert_eq!(messages(&client).await, 0);
}

#[tokio::test]
async fn a_long_text_goes_by_claim_and_comes_back() {
    let (client, history) = history().await;
    for (n, character) in ["x", "ü", "\0"].into_iter().enumerate() {
        let text = long(character);
        let appended = history.append(&talk(), said(&format!("e{n}"), &text)).await;
        let entry = entry(&history, appended.unwrap().sequence).await;
        assert_eq!(entry.content.size_bytes(), text.len() as u64);
        assert!(history.text(&entry).await.unwrap() == text, "{character:?}");
        let record = client.record(&claimed(&entry)).await.unwrap();
        let years = (record.expires_at - record.created_at).num_days() / 365;
        assert_eq!((record.session_id, years), (talk(), 10));
    }
}

#[tokio::test]
async fn saying_a_long_text_again_is_harmless() {
    let (client, history) = history().await;
    let first = history
        .append(&talk(), said("e", &long("x")))
        .await
        .unwrap();
    let again = history
        .append(&talk(), said("e", &long("x")))
        .await
        .unwrap();
    assert_eq!((first.created, again.created), (true, false));
    assert_eq!(first.sequence, again.sequence);
    assert_eq!(messages(&client).await, 1);
}

#[tokio::test]
async fn another_long_text_under_an_id_leaves_no_message_behind() {
    let (client, history) = history().await;
    let first = history
        .append(&talk(), said("e", &long("x")))
        .await
        .unwrap();
    let error = history
        .append(&talk(), said("e", &long("y")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Conflict);
    assert!(error.to_string().contains("entry id e"), "{error}");
    assert_eq!(messages(&client).await, 1);
    let entry = entry(&history, first.sequence).await;
    assert!(history.text(&entry).await.unwrap() == long("x"));
}

#[tokio::test]
async fn the_same_text_at_two_places_is_two_messages() {
    let (client, history) = history().await;
    for id in ["a", "b"] {
        history.append(&talk(), said(id, &long("x"))).await.unwrap();
    }
    let other = "other".parse().unwrap();
    history.append(&other, said("a", &long("x"))).await.unwrap();
    assert_eq!(messages(&client).await, 3);
}

#[tokio::test]
async fn a_deleted_conversation_takes_its_messages_along() {
    let (client, history) = history().await;
    let other: ConversationId = "other".parse().unwrap();
    history
        .append(&talk(), said("a", &long("x")))
        .await
        .unwrap();
    history.append(&talk(), said("b", "short")).await.unwrap();
    history
        .append(&talk(), said("c", &long("y")))
        .await
        .unwrap();
    let kept = history.append(&other, said("a", &long("x"))).await.unwrap();
    assert_eq!(history.delete(&talk()).await.unwrap(), 3);
    assert_eq!(messages(&client).await, 1);
    let gone = history.delete(&talk()).await.unwrap_err();
    assert_eq!(gone.kind(), ClientErrorKind::NotFound);
    let entry = history.entry(&other, kept.sequence).await.unwrap();
    assert!(history.text(&entry).await.is_ok());
}

#[tokio::test]
async fn a_message_that_was_replaced_is_told() {
    let (client, history) = history().await;
    let appended = history
        .append(&talk(), said("e", &long("x")))
        .await
        .unwrap();
    let entry = entry(&history, appended.sequence).await;
    let id = claimed(&entry);
    client.delete(&id).await.unwrap();
    let gone = history.text(&entry).await.unwrap_err();
    assert_eq!(gone.kind(), ClientErrorKind::NotFound);
    client
        .publish(common::message_as(id.as_str()), common::payload(9))
        .await
        .unwrap();
    let replaced = history.text(&entry).await.unwrap_err();
    assert_eq!(replaced.kind(), ClientErrorKind::DigestMismatch);
}

#[tokio::test]
async fn pages_and_conversations_are_of_ones_own() {
    let (client, history) = history().await;
    for text in ["a", "b", "c"] {
        history.append(&talk(), said(text, text)).await.unwrap();
    }
    let page = history
        .page(&talk(), Direction::Backwards, None, 2)
        .await
        .unwrap();
    let ids: Vec<_> = page.entries.iter().map(|e| e.id.to_string()).collect();
    assert_eq!(ids, ["c", "b"]);
    let listed = history.conversations(None, 10).await.unwrap();
    assert_eq!(listed.conversations[0].entries, 3);
    let eve = client
        .with_principal("eve".parse().unwrap())
        .history()
        .await
        .unwrap();
    assert!(
        eve.conversations(None, 10)
            .await
            .unwrap()
            .conversations
            .is_empty()
    );
    assert!(eve.entry(&talk(), page.entries[0].sequence).await.is_err());
}

#[tokio::test]
async fn a_store_without_records_says_so() {
    let client = MessageBusClient::builder()
        .store(Arc::new(MemoryStore::new()))
        .build();
    let error = client.records().await.unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Settings);
    assert!(error.to_string().contains("builder"), "{error}");
}

#[tokio::test]
async fn records_of_a_named_store_are_there_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let client = MessageBusClient::builder()
        .store_spec(StoreSpec::Embedded(dir.path().join("store")))
        .build();
    let Records { preferences, .. } = client.records().await.unwrap();
    let (me, name) = (client.principal(), "n".parse().unwrap());
    preferences
        .set(me, &name, &PreferenceValue::new("1").unwrap())
        .await
        .unwrap();
    let again = client.records().await.unwrap().preferences;
    assert!(again.get(me, &name).await.is_ok());
    let missing = again.get(me, &"m".parse().unwrap()).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
}
