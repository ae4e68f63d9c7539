//! Conversation history: pages, both ways.

use super::{
    RecordsHarness,
    support::{other_process, refused, said, say, talk},
};
use crate::{
    StoreErrorKind,
    records::{
        Content, ConversationHistory, ConversationQuery, Direction, HistoryQuery, MAX_HISTORY_PAGE,
        MAX_INLINE_BYTES,
    },
};

const SAID: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Forwards is from the oldest on, page by page.
pub async fn forwards_is_from_the_oldest_on(h: &dyn RecordsHarness) {
    let records = h.records();
    say(&records, &talk("c"), &SAID).await;
    for limit in [1, 2, 3, 4, 5, 50] {
        let read = walk(&*records.history, &query(Direction::Forwards, limit)).await;
        assert_eq!(read, SAID, "{limit} a page");
    }
}

/// Backwards is from the newest back, page by page.
pub async fn backwards_is_from_the_newest_back(h: &dyn RecordsHarness) {
    let records = h.records();
    say(&records, &talk("c"), &SAID).await;
    let mut wanted = SAID;
    wanted.reverse();
    for limit in [1, 2, 3, 4, 5, 50] {
        let read = walk(&*records.history, &query(Direction::Backwards, limit)).await;
        assert_eq!(read, wanted, "{limit} a page");
    }
}

/// From any entry one can go on in both directions; the entry itself is left out.
pub async fn one_can_go_on_from_any_entry(h: &dyn RecordsHarness) {
    let records = h.records();
    let places = say(&records, &talk("c"), &SAID).await;
    let at = |direction, place: usize| HistoryQuery {
        after: Some(places[place]),
        ..query(direction, 10)
    };
    let history = &*records.history;
    assert_eq!(walk(history, &at(Direction::Forwards, 2)).await, ["d", "e"]);
    assert_eq!(
        walk(history, &at(Direction::Backwards, 2)).await,
        ["b", "a"]
    );
    assert!(walk(history, &at(Direction::Forwards, 4)).await.is_empty());
    assert!(walk(history, &at(Direction::Backwards, 0)).await.is_empty());
}

/// The last page has no next, also where it is full.
pub async fn the_last_page_of_a_conversation_has_no_next(h: &dyn RecordsHarness) {
    let records = h.records();
    say(&records, &talk("c"), &SAID).await;
    for direction in [Direction::Forwards, Direction::Backwards] {
        for (limit, more) in [(4, true), (5, false), (6, false)] {
            let page = records.history.page(&query(direction, limit)).await;
            let page = page.expect("page");
            assert_eq!(page.next.is_some(), more, "{direction:?}, {limit} a page");
        }
    }
}

/// What is said between two pages does not disturb the second.
pub async fn pages_stay_exact_while_more_is_said(h: &dyn RecordsHarness) {
    let records = h.records();
    say(&records, &talk("c"), &["a", "b", "c"]).await;
    let mut back = query(Direction::Backwards, 2);
    let mut on = query(Direction::Forwards, 2);
    back.after = records.history.page(&back).await.expect("page").next;
    on.after = records.history.page(&on).await.expect("page").next;
    say(&other_process(h), &talk("c"), &["d"]).await;
    assert_eq!(walk(&*records.history, &back).await, ["a"]);
    assert_eq!(walk(&*records.history, &on).await, ["c", "d"]);
}

/// A reader that follows a conversation by its last sequence number misses nothing.
pub async fn a_follower_misses_nothing(h: &dyn RecordsHarness) {
    let records = h.records();
    let mut follow = query(Direction::Forwards, 10);
    let mut heard = Vec::new();
    for text in SAID {
        say(&records, &talk("c"), &[text]).await;
        let page = other_process(h).history.page(&follow).await.expect("page");
        follow.after = page.entries.last().map(|entry| entry.sequence);
        heard.extend(page.entries.into_iter().map(|entry| entry.content));
    }
    let wanted = SAID.map(|text| Content::Inline(text.to_owned()));
    assert_eq!(heard, wanted);
}

/// A conversation that does not exist is an empty page.
pub async fn a_conversation_that_is_not_there_is_empty(h: &dyn RecordsHarness) {
    let page = h
        .records()
        .history
        .page(&query(Direction::Forwards, 5))
        .await;
    let page = page.expect("page");
    assert_eq!((page.entries.len(), page.next), (0, None));
}

/// A page of nothing is refused; one of too many is cut.
pub async fn a_history_page_has_a_size(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let refusal = StoreErrorKind::InvalidInput;
    refused(history.page(&query(Direction::Forwards, 0)).await, refusal);
    let none = ConversationQuery {
        limit: 0,
        ..ConversationQuery::new(talk("c").principal)
    };
    refused(history.conversations(&none).await, refusal);
    for n in 0..=MAX_HISTORY_PAGE {
        let new = said(&format!("e{n}"), "x");
        history.append(&talk("c"), &new).await.expect("append");
    }
    let all = query(Direction::Forwards, u32::MAX);
    let page = history.page(&all).await.expect("page");
    assert!(page.entries.len() <= MAX_HISTORY_PAGE as usize && page.next.is_some());
    assert_eq!(
        walk(&*history, &all).await.len(),
        MAX_HISTORY_PAGE as usize + 1
    );
}

/// Long entries make shorter pages at the most, and none is lost.
pub async fn long_entries_are_all_there(h: &dyn RecordsHarness) {
    let history = h.records().history;
    let long = "\0".repeat(MAX_INLINE_BYTES);
    for n in 0..24 {
        let new = said(&format!("e{n}"), long.clone());
        history.append(&talk("c"), &new).await.expect("append");
    }
    let read = walk(&*history, &query(Direction::Backwards, 50)).await;
    assert!(read.len() == 24 && read.iter().all(|text| *text == long));
}

fn query(direction: Direction, limit: u32) -> HistoryQuery {
    HistoryQuery {
        limit,
        ..HistoryQuery::new(talk("c"), direction)
    }
}

/// All texts from `query` on, page by page.
async fn walk(history: &dyn ConversationHistory, query: &HistoryQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut texts = Vec::new();
    loop {
        let page = history.page(&query).await.expect("page");
        for entry in page.entries {
            match entry.content {
                Content::Inline(text) => texts.push(text),
                Content::Claim(claim) => panic!("a text was expected, not {claim:?}"),
            }
        }
        match page.next {
            Some(next) => {
                let on = match query.direction {
                    Direction::Forwards => query.after.is_none_or(|after| next > after),
                    Direction::Backwards => query.after.is_none_or(|after| next < after),
                };
                assert!(on, "a page after {:?} leads back to {next}", query.after);
                query.after = Some(next);
            }
            None => return texts,
        }
    }
}
