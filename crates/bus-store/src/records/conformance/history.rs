//! Conversation history: what an entry keeps, idempotency, principals, deleting.

use bus_model::{Digest, Principal};
use futures::future::join_all;

use super::{
    RecordsHarness,
    support::{
        AWKWARD, about_now, other_process, principal, refused, said, say, session, talk, txn,
    },
};
use crate::{
    StoreErrorKind,
    records::{
        Content, ContentClaim, ConversationKey, ConversationQuery, Direction, EntryId,
        HistoryQuery, MAX_INLINE_BYTES, MAX_METADATA_BYTES, NewEntry, Role,
    },
};

/// Entries get places in the order in which they come.
pub async fn entries_get_places_in_order(h: &dyn RecordsHarness) {
    let records = h.records();
    let places = say(&records, &talk("c"), &["a", "b", "c", "d"]).await;
    assert!(places[0] >= 1);
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
}

/// An entry comes back as it was, every field of it, at the place that its writer was told.
pub async fn a_history_entry_comes_back_as_it_was(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let key = talk("a conversation: ü/%'");
    let mut new = said("e-1._", AWKWARD);
    new.role = Role::new("the-critic").expect("a legal role");
    new.metadata.insert("nul\0".to_owned(), "\0".into());
    new.metadata.insert("n".to_owned(), 1.5.into());
    let appended = history.append(&key, &new).await.expect("append");
    assert!(appended.created);
    let read = history.entry(&key, appended.sequence).await.expect("entry");
    assert_eq!(
        (read.id, read.role, read.content, read.metadata),
        (new.id, new.role, new.content, new.metadata)
    );
    assert_eq!(read.created_at, appended.created_at);
    assert_eq!(read.sequence, appended.sequence);
    about_now(h, read.created_at);
}

/// Texts of every kind come back, up to the longest.
pub async fn texts_of_every_kind_come_back(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let key = talk("c");
    let texts = [
        String::new(),
        "\0".to_owned(),
        "\u{fffd}\u{10ffff}".to_owned(),
        "{\"a\":1}".to_owned(),
        "\0".repeat(MAX_INLINE_BYTES),
        "é".repeat(MAX_INLINE_BYTES / 2),
        "\"".repeat(MAX_INLINE_BYTES),
    ];
    for (n, text) in texts.iter().enumerate() {
        let new = said(&format!("e{n}"), text.clone());
        let appended = history.append(&key, &new).await.expect("append");
        let read = history.entry(&key, appended.sequence).await.expect("entry");
        assert!(read.content == new.content, "text {n} came back changed");
    }
}

/// A claim comes back as it was.
pub async fn a_claim_comes_back_as_it_was(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let new = NewEntry {
        content: claim(b"text"),
        ..said("e", "")
    };
    let appended = history.append(&talk("c"), &new).await.expect("append");
    let read = history.entry(&talk("c"), appended.sequence).await;
    assert_eq!(read.expect("entry").content, new.content);
}

/// What is too long for an entry is refused, and leaves nothing.
pub async fn what_is_too_long_is_refused(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let key = talk("c");
    let long = said("e", "x".repeat(MAX_INLINE_BYTES + 1));
    refused(history.append(&key, &long).await, StoreErrorKind::TooLarge);
    let mut heavy = said("e", "x");
    let text = "x".repeat(MAX_METADATA_BYTES);
    heavy.metadata.insert("k".to_owned(), text.into());
    refused(history.append(&key, &heavy).await, StoreErrorKind::TooLarge);
    let query = HistoryQuery::new(key, Direction::Forwards);
    let page = history.page(&query).await.expect("page");
    assert!(page.entries.is_empty());
}

/// Metadata of the largest size is taken.
pub async fn the_largest_metadata_is_taken(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let mut new = said("e", "x");
    let text = "x".repeat(MAX_METADATA_BYTES - "{\"k\":\"\"}".len());
    new.metadata.insert("k".to_owned(), text.into());
    let appended = history.append(&talk("c"), &new).await.expect("append");
    let read = history.entry(&talk("c"), appended.sequence).await;
    assert!(read.expect("entry").metadata == new.metadata);
}

/// An entry that is appended again is where it was.
pub async fn a_repeated_append_changes_nothing(h: &dyn RecordsHarness) {
    let records = h.records();
    let key = talk("c");
    let places = say(&records, &key, &["a", "b"]).await;
    let mut again = said("a", "a");
    again.metadata.insert("late".to_owned(), true.into());
    let other = other_process(h).history;
    let repeated = other.append(&key, &again).await.expect("append");
    assert_eq!((repeated.created, repeated.sequence), (false, places[0]));
    let read = other.entry(&key, places[0]).await.expect("entry");
    assert_eq!(read.created_at, repeated.created_at);
    assert!(read.metadata.is_empty(), "the first metadata stays");
    let query = HistoryQuery::new(key, Direction::Forwards);
    assert_eq!(other.page(&query).await.expect("page").entries.len(), 2);
}

/// The same text is the same entry, whether it is inside or a message of its own.
pub async fn the_same_text_by_claim_is_the_same_entry(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let key = talk("c");
    history
        .append(&key, &said("a", "text"))
        .await
        .expect("append");
    let again = NewEntry {
        content: claim(b"text"),
        ..said("a", "")
    };
    let repeated = history.append(&key, &again).await.expect("append");
    assert!(!repeated.created);
    let read = history.entry(&key, repeated.sequence).await.expect("entry");
    assert_eq!(read.content, Content::Inline("text".to_owned()));
}

/// An id that is taken by another text or role is a conflict, and the first stays.
pub async fn another_entry_under_an_id_is_a_conflict(h: &dyn RecordsHarness) {
    let records = h.records();
    let (history, key) = (&records.history, talk("c"));
    let place = say(&records, &key, &["a"]).await[0];
    let text = said("a", "b");
    let role = NewEntry {
        role: Role::ASSISTANT,
        ..said("a", "a")
    };
    for other in [text, role] {
        refused(history.append(&key, &other).await, StoreErrorKind::Conflict);
    }
    let read = history.entry(&key, place).await.expect("entry");
    assert_eq!(
        (read.role, read.content),
        (Role::USER, Content::Inline("a".to_owned()))
    );
}

/// An entry id belongs to its conversation and its principal.
pub async fn the_same_entry_id_elsewhere_is_another_entry(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let bobs = ConversationKey::new(principal("bob"), session("c"));
    for (key, text) in [(talk("c"), "1"), (talk("d"), "2"), (bobs, "3")] {
        let appended = history.append(&key, &said("same", text)).await;
        assert!(appended.expect("append").created, "{text}");
    }
}

/// A stranger finds nothing, and a conversation of the same name is its own.
pub async fn a_stranger_finds_no_conversation(h: &dyn RecordsHarness) {
    let records = h.records();
    let place = say(&records, &talk("c"), &["secret"]).await[0];
    let history = records.history;
    let eves = ConversationKey::new(principal("eve"), session("c"));
    refused(history.entry(&eves, place).await, StoreErrorKind::NotFound);
    refused(history.delete(&eves).await, StoreErrorKind::NotFound);
    let query = HistoryQuery::new(eves.clone(), Direction::Backwards);
    assert!(history.page(&query).await.expect("page").entries.is_empty());
    let query = ConversationQuery::new(principal("eve"));
    let listed = history.conversations(&query).await.expect("conversations");
    assert!(listed.conversations.is_empty());
    history
        .append(&eves, &said("e", "mine"))
        .await
        .expect("append");
    assert_eq!(history.delete(&eves).await.expect("delete"), 1);
    assert!(history.entry(&talk("c"), place).await.is_ok());
}

/// What is not there is not found.
pub async fn what_was_never_said_is_not_found(h: &dyn RecordsHarness) {
    let records = h.records();
    let places = say(&records, &talk("c"), &["a"]).await;
    let history = records.history;
    let missing = StoreErrorKind::NotFound;
    refused(history.entry(&talk("c"), 0).await, missing);
    refused(history.entry(&talk("c"), places[0] + 1).await, missing);
    refused(history.entry(&talk("c"), u64::MAX).await, missing);
    refused(history.entry(&talk("d"), places[0]).await, missing);
    refused(history.delete(&talk("d")).await, missing);
}

/// A deleted conversation is gone, the others stay, and its name can be used again.
pub async fn a_deleted_conversation_is_gone(h: &dyn RecordsHarness) {
    let records = h.records();
    let places = say(&records, &talk("c"), &["a", "b", "c"]).await;
    let kept = say(&records, &talk("cc"), &["a"]).await;
    let history = records.history;
    assert_eq!(history.delete(&talk("c")).await.expect("delete"), 3);
    refused(history.delete(&talk("c")).await, StoreErrorKind::NotFound);
    refused(
        history.entry(&talk("c"), places[0]).await,
        StoreErrorKind::NotFound,
    );
    assert!(history.entry(&talk("cc"), kept[0]).await.is_ok());
    let again = history.append(&talk("c"), &said("a", "anew")).await;
    assert!(again.expect("append").created);
}

/// Entries that come at once all get places, each its own.
pub async fn entries_at_once_get_places_of_their_own(h: &dyn RecordsHarness) {
    let (first, second) = (h.records().history, other_process(h).history);
    let key = talk("c");
    let appends = (0..16).map(|n| {
        let history = if n % 2 == 0 { &first } else { &second };
        let key = &key;
        async move { history.append(key, &said(&format!("e{n}"), "x")).await }
    });
    let mut places = Vec::new();
    for appended in join_all(appends).await {
        places.push(appended.expect("append").sequence);
    }
    places.sort_unstable();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    let query = HistoryQuery::new(key, Direction::Forwards);
    let page = first.page(&query).await.expect("page");
    let read: Vec<_> = page.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(read, places);
}

/// Of several appends of one entry at once, one creates it and all tell its place.
pub async fn one_entry_at_once_is_one_entry(h: &dyn RecordsHarness) {
    let (first, second) = (h.records().history, other_process(h).history);
    let key = talk("c");
    let new = said("e", "x");
    let appends = (0..8).map(|n| {
        let history = if n % 2 == 0 { &first } else { &second };
        history.append(&key, &new)
    });
    let done: Vec<_> = join_all(appends)
        .await
        .into_iter()
        .map(|done| done.expect("append"))
        .collect();
    assert_eq!(done.iter().filter(|appended| appended.created).count(), 1);
    assert!(
        done.iter()
            .all(|appended| appended.sequence == done[0].sequence)
    );
}

/// Conversations are listed by name, byte by byte, each with its count.
pub async fn conversations_are_listed_by_name(h: &dyn RecordsHarness) {
    let records = h.records();
    for name in ["b", "a", "ä", "Z", "a b", "a_", "aa"] {
        say(&records, &talk(name), &["1", "2"]).await;
    }
    let mut query = ConversationQuery::new(Principal::default());
    let mut wanted = ["b", "a", "ä", "Z", "a b", "a_", "aa"];
    wanted.sort_unstable();
    for limit in [1, 3, 7, 50] {
        query.limit = limit;
        query.after = None;
        let mut names = Vec::new();
        loop {
            let page = records.history.conversations(&query).await;
            let page = page.expect("conversations");
            for listed in page.conversations {
                assert_eq!(listed.entries, 2);
                about_now(h, listed.last_at);
                names.push(listed.conversation_id.to_string());
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        assert_eq!(names, wanted, "{limit} a page");
    }
}

fn claim(text: &[u8]) -> Content {
    Content::Claim(ContentClaim {
        transaction_id: txn("txn_9"),
        payload_size_bytes: text.len() as u64,
        sha256: Digest::of(text),
    })
}

/// An id that is minted is legal and new.
pub async fn a_minted_entry_id_is_taken(h: &dyn RecordsHarness) {
    let history = h.records().history;
    for _ in 0..2 {
        let new = NewEntry {
            id: EntryId::mint(),
            ..said("x", "x")
        };
        assert!(
            history
                .append(&talk("c"), &new)
                .await
                .expect("append")
                .created
        );
    }
}
