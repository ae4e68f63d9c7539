//! Filters and pages.

use bus_model::{MessageStatus, Principal, ProviderName, SessionId, ToolName};

use super::{
    Harness,
    support::{
        LEASE, TTL, begin_new, everything, key, message, onward, other_process, publish,
        publish_as, refused, ttl, walk,
    },
};
use crate::{Cursor, ListQuery, Store, StoreErrorKind};

const NOBODY: [&str; 0] = [];

/// An empty store lists nothing.
pub async fn an_empty_store_lists_nothing(h: &dyn Harness) {
    let page = h.store().list(&everything()).await.expect("list");
    assert_eq!((page.records.len(), page.next), (0, None));
}

/// The newest message comes first.
pub async fn the_newest_comes_first(h: &dyn Harness) {
    let store = some(h, &["a", "c", "b", "d"]).await;
    assert_eq!(walk(&*store, &everything()).await, ["d", "b", "c", "a"]);
}

/// The order is that of creation, not of the commit.
pub async fn the_order_is_that_of_creation(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("early")).await;
    h.advance(LEASE / 2).await;
    publish(&*store, "late", "payload").await;
    let body = super::support::body("payload");
    super::support::upload(&*store, &begun.token, &body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    assert_eq!(walk(&*store, &everything()).await, ["late", "early"]);
}

/// A session's, a tool's or a provider's messages can be listed.
pub async fn each_name_filters(h: &dyn Harness) {
    let store = named(h).await;
    let query = ListQuery {
        session_id: Some(session("s1")),
        ..everything()
    };
    assert_eq!(walk(&*store, &query).await, ["4", "2", "1"]);
    let query = ListQuery {
        tool_name: Some(tool("t2")),
        ..everything()
    };
    assert_eq!(walk(&*store, &query).await, ["4", "3"]);
    let query = ListQuery {
        provider_name: Some(provider("p1")),
        ..everything()
    };
    assert_eq!(walk(&*store, &query).await, ["3", "1"]);
    let query = ListQuery {
        session_id: Some(session("none")),
        ..everything()
    };
    assert_eq!(walk(&*store, &query).await, NOBODY);
}

/// Filters narrow each other.
pub async fn filters_narrow_each_other(h: &dyn Harness) {
    let store = named(h).await;
    let mut query = ListQuery {
        session_id: Some(session("s1")),
        ..everything()
    };
    query.tool_name = Some(tool("t1"));
    assert_eq!(walk(&*store, &query).await, ["2", "1"]);
    query.provider_name = Some(provider("p2"));
    assert_eq!(walk(&*store, &query).await, ["2"]);
    query.status = Some(MessageStatus::Pending);
    assert_eq!(walk(&*store, &query).await, NOBODY);
}

/// A filter is the whole name as it is, no pattern and no prefix.
pub async fn a_filter_is_no_pattern(h: &dyn Harness) {
    let store = h.store();
    for (name, session_id) in [
        ("a", "s_1"),
        ("b", "sx1"),
        ("c", "s_1x"),
        ("d", "S_1"),
        ("e", "s%"),
    ] {
        let mut message = message(name);
        message.attributes.session_id = session(session_id);
        publish_as(&*store, &message, "payload").await;
    }
    for (filter, wanted) in [
        ("s_1", &["a"][..]),
        ("s%", &["e"]),
        ("s*", &[]),
        ("s", &[]),
        ("'", &[]),
    ] {
        let query = ListQuery {
            session_id: Some(session(filter)),
            ..everything()
        };
        assert_eq!(walk(&*store, &query).await, wanted, "{filter}");
    }
}

/// A window of time has its start and not its end.
pub async fn a_window_of_time_has_its_start_and_not_its_end(h: &dyn Harness) {
    let store = some(h, &["a", "b", "c", "d"]).await;
    let b = store.record(&key("b")).await.expect("record").created_at;
    let d = store.record(&key("d")).await.expect("record").created_at;
    let query = |from, before| ListQuery {
        created_from: from,
        created_before: before,
        ..everything()
    };
    assert_eq!(walk(&*store, &query(Some(b), None)).await, ["d", "c", "b"]);
    assert_eq!(walk(&*store, &query(None, Some(d))).await, ["c", "b", "a"]);
    assert_eq!(walk(&*store, &query(Some(b), Some(d))).await, ["c", "b"]);
    assert_eq!(walk(&*store, &query(Some(b), Some(b))).await, NOBODY);
    assert_eq!(walk(&*store, &query(Some(d), Some(b))).await, NOBODY);
}

/// Each status can be listed, and no status lists them all.
pub async fn each_status_can_be_listed(h: &dyn Harness) {
    let store = h.store();
    let mut short = message("expired");
    short.attributes.ttl = ttl(LEASE);
    publish_as(&*store, &short, "payload").await;
    h.advance(LEASE).await;
    publish(&*store, "complete", "payload").await;
    h.advance(LEASE).await;
    let begun = begin_new(&*store, &message("error")).await;
    store.abort(&begun.token, "no").await.expect("abort");
    h.advance(LEASE).await;
    begin_new(&*store, &message("pending")).await;
    for status in MessageStatus::ALL {
        let query = ListQuery {
            status: Some(status),
            ..everything()
        };
        assert_eq!(walk(&*store, &query).await, [status.as_str()]);
        let page = store.list(&query).await.expect("list");
        assert_eq!(page.records[0].status, status);
    }
    let all = walk(&*store, &everything()).await;
    assert_eq!(all, ["pending", "error", "complete", "expired"]);
    let usual = ListQuery::new(Principal::default());
    assert_eq!(walk(&*store, &usual).await, ["complete"]);
}

/// Listed records are without payloads.
pub async fn listed_records_have_no_payload(h: &dyn Harness) {
    let store = some(h, &["a", "b"]).await;
    let page = store.list(&everything()).await.expect("list");
    assert!(page.records.iter().all(|record| record.payload.is_none()));
}

/// A page holds at most what was asked for, and pages together hold everything once.
pub async fn pages_together_hold_everything_once(h: &dyn Harness) {
    let names: Vec<String> = (0..7).map(|i| format!("m{i}")).collect();
    let refs: Vec<&str> = names.iter().map(String::as_str).collect();
    let store = some(h, &refs).await;
    let wanted: Vec<_> = names.iter().rev().cloned().collect();
    for limit in [1, 2, 3, 6, 7, 8, 1000, u32::MAX] {
        let mut query = ListQuery {
            limit,
            ..everything()
        };
        let mut seen = Vec::new();
        loop {
            let page = store.list(&query).await.expect("list");
            assert!(!page.records.is_empty(), "limit {limit}: an empty page");
            assert!(page.records.len() as u64 <= u64::from(limit));
            seen.extend(page.records.iter().map(|r| r.transaction_id.to_string()));
            match page.next {
                Some(cursor) => query.after = Some(onward(query.after, cursor)),
                None => break,
            }
        }
        assert_eq!(seen, wanted, "limit {limit}");
    }
}

/// The last page says that it is the last.
pub async fn the_last_page_has_no_next(h: &dyn Harness) {
    let store = some(h, &["a", "b"]).await;
    for limit in [2, 3] {
        let query = ListQuery {
            limit,
            ..everything()
        };
        let page = store.list(&query).await.expect("list");
        assert_eq!(page.next, None, "limit {limit}");
    }
}

/// Pages stay exact while messages come.
pub async fn pages_stay_exact_while_messages_come(h: &dyn Harness) {
    let store = some(h, &["a", "b", "c", "d"]).await;
    let (first, mut query) = first_page(&*store).await;
    assert_eq!(first, ["d", "c"]);
    publish(&*store, "new", "payload").await;
    assert_eq!(walk(&*store, &query).await, ["b", "a"]);
    query.after = None;
    assert_eq!(walk(&*store, &query).await, ["new", "d", "c", "b", "a"]);
}

/// Pages stay exact while messages go, also the one at which a page ended.
pub async fn pages_stay_exact_while_messages_go(h: &dyn Harness) {
    for victim in ["a", "b", "c", "d"] {
        let store = some(h, &["a", "b", "c", "d"]).await;
        let (_, query) = first_page(&*store).await;
        store.delete(&key(victim)).await.expect("delete");
        let wanted: Vec<_> = ["b", "a"]
            .into_iter()
            .filter(|name| *name != victim)
            .collect();
        assert_eq!(walk(&*store, &query).await, wanted, "without {victim}");
        for name in ["a", "b", "c", "d"].iter().filter(|name| **name != victim) {
            store.delete(&key(name)).await.expect("delete");
        }
    }
}

/// Pages stay exact where messages were created in the same millisecond.
pub async fn pages_stay_exact_within_a_millisecond(h: &dyn Harness) {
    let store = h.store();
    for i in 0..9 {
        publish(&*store, &format!("m{i}"), "payload").await;
    }
    let mut whole = walk(&*store, &everything()).await;
    for limit in 1..=9 {
        let query = ListQuery {
            limit,
            ..everything()
        };
        assert_eq!(walk(&*store, &query).await, whole, "limit {limit}");
    }
    whole.sort();
    whole.dedup();
    assert_eq!(whole.len(), 9);
}

/// Records come by (created_at, id), newest first.
pub async fn records_come_in_the_order_of_their_cursors(h: &dyn Harness) {
    let store = h.store();
    for i in 0..9 {
        publish(&*store, &format!("m{i}"), "payload").await;
        if i % 3 == 0 {
            h.advance(LEASE / 60).await;
        }
    }
    let page = store.list(&everything()).await.expect("list");
    let cursors: Vec<_> = page.records.iter().map(Cursor::after).collect();
    assert!(cursors.windows(2).all(|two| two[0] > two[1]), "{cursors:?}");
}

/// A cursor survives being written down.
pub async fn a_cursor_survives_being_written_down(h: &dyn Harness) {
    let store = some(h, &["a", "b", "c"]).await;
    let (_, mut query) = first_page(&*store).await;
    let text = query.after.expect("there is more").to_string();
    query.after = Some(text.parse().expect("a cursor"));
    assert_eq!(walk(&*other_process(h), &query).await, ["a"]);
}

/// Pages and filters go together.
pub async fn pages_and_filters_go_together(h: &dyn Harness) {
    let store = named(h).await;
    let query = ListQuery {
        session_id: Some(session("s1")),
        limit: 1,
        ..everything()
    };
    assert_eq!(walk(&*store, &query).await, ["4", "2", "1"]);
    let query = ListQuery {
        limit: 1,
        ..ListQuery::new(Principal::default())
    };
    begin_new(&*store, &message("pending")).await;
    assert_eq!(walk(&*store, &query).await, ["4", "3", "2", "1"]);
}

/// A page of nothing is refused.
pub async fn a_page_of_nothing_is_refused(h: &dyn Harness) {
    let store = h.store();
    let query = ListQuery {
        limit: 0,
        ..everything()
    };
    refused(store.list(&query).await, StoreErrorKind::InvalidInput);
}

/// A message that was deleted, purged or replaced is listed no more, or once.
pub async fn what_was_replaced_is_listed_once(h: &dyn Harness) {
    let store = h.store();
    let begun = begin_new(&*store, &message("m")).await;
    store.abort(&begun.token, "no").await.expect("abort");
    publish(&*store, "m", "one").await;
    h.advance(TTL).await;
    publish(&*store, "m", "two").await;
    assert_eq!(walk(&*store, &everything()).await, ["m"]);
    store.delete(&key("m")).await.expect("delete");
    assert_eq!(walk(&*store, &everything()).await, NOBODY);
}

/// Messages of these names, a second apart.
async fn some(h: &dyn Harness, names: &[&str]) -> std::sync::Arc<dyn Store> {
    let store = h.store();
    for name in names {
        publish(&*store, name, "payload").await;
        h.advance(LEASE / 60).await;
    }
    store
}

/// Four messages of different sessions, tools and providers.
async fn named(h: &dyn Harness) -> std::sync::Arc<dyn Store> {
    let store = h.store();
    let rows = [
        ("1", "s1", "t1", "p1"),
        ("2", "s1", "t1", "p2"),
        ("3", "s2", "t2", "p1"),
        ("4", "s1", "t2", "p2"),
    ];
    for (name, session_id, tool_name, provider_name) in rows {
        let mut message = message(name);
        message.attributes.session_id = session(session_id);
        message.attributes.tool_name = tool(tool_name);
        message.attributes.provider_name = provider(provider_name);
        publish_as(&*store, &message, "payload").await;
        h.advance(LEASE / 60).await;
    }
    store
}

/// The first page of two, and the query for the rest.
async fn first_page(store: &dyn Store) -> (Vec<String>, ListQuery) {
    let mut query = ListQuery {
        limit: 2,
        ..everything()
    };
    let page = store.list(&query).await.expect("list");
    query.after = Some(page.next.expect("there is more"));
    let names = page.records.iter().map(|r| r.transaction_id.to_string());
    (names.collect(), query)
}

fn session(name: &str) -> SessionId {
    SessionId::new(name).expect("the suite's session ids are legal")
}

fn tool(name: &str) -> ToolName {
    ToolName::new(name).expect("the suite's tool names are legal")
}

fn provider(name: &str) -> ProviderName {
    ProviderName::new(name).expect("the suite's provider names are legal")
}
