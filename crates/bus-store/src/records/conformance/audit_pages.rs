//! The audit log: filters and pages.

use chrono::TimeDelta;

use super::{
    RecordsHarness,
    support::{append, entry, everything, ids, other_process, refused, session, tool, txn, walk},
};
use crate::{
    StoreErrorKind,
    records::{AuditCursor, AuditEntry, AuditId, AuditQuery, MAX_AUDIT_PAGE},
};

/// The newest entry comes first, by its own time and not by when it was appended.
pub async fn the_newest_entry_comes_first(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let [a, b, c] = [3, 1, 2].map(|ago| entry(h, ago));
    append(&*log, &[a.clone(), b.clone()]).await;
    append(&*log, std::slice::from_ref(&c)).await;
    assert_eq!(ids(&*log, &everything()).await, [b.id, c.id, a.id]);
}

/// Each filter filters, and together they narrow each other.
pub async fn each_audit_filter_filters(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let made = |ago, session_id, tool_name, transaction: Option<&str>| AuditEntry {
        session_id: session(session_id),
        tool_name: tool(tool_name),
        transaction_id: transaction.map(txn),
        ..entry(h, ago)
    };
    let batch = [
        made(1, "s1", "t1", Some("x")),
        made(2, "s1", "t2", None),
        made(3, "s2", "t1", Some("y")),
        made(4, "s2", "t1", Some("x")),
    ];
    append(&*log, &batch).await;
    let id = |at: usize| batch[at].id;
    let all = everything;
    let (s1, t1, x) = (Some(session("s1")), Some(tool("t1")), Some(txn("x")));
    let found = ids(
        &*log,
        &AuditQuery {
            session_id: s1.clone(),
            ..all()
        },
    )
    .await;
    assert_eq!(found, [id(0), id(1)]);
    let found = ids(
        &*log,
        &AuditQuery {
            tool_name: t1.clone(),
            ..all()
        },
    )
    .await;
    assert_eq!(found, [id(0), id(2), id(3)]);
    let found = ids(
        &*log,
        &AuditQuery {
            transaction_id: x.clone(),
            ..all()
        },
    )
    .await;
    assert_eq!(found, [id(0), id(3)]);
    let every = AuditQuery {
        session_id: s1,
        tool_name: t1,
        transaction_id: x,
        ..all()
    };
    assert_eq!(ids(&*log, &every).await, [id(0)]);
    let none = AuditQuery {
        session_id: Some(session("s3")),
        ..every
    };
    assert!(walk(&*log, &none).await.is_empty());
}

/// A filter is the whole name as it is: no pattern, no prefix, no statement.
pub async fn an_audit_filter_is_no_pattern(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let named = |name: &str| AuditEntry {
        session_id: session(name),
        ..entry(h, 1)
    };
    let batch = ["s_1", "sx1", "s_1x", "S_1", "s%", "s'; --"].map(named);
    append(&*log, &batch).await;
    for (at, name) in ["s_1", "sx1", "s_1x", "S_1", "s%", "s'; --"]
        .iter()
        .enumerate()
    {
        let query = AuditQuery {
            session_id: Some(session(name)),
            ..everything()
        };
        assert_eq!(ids(&*log, &query).await, [batch[at].id], "{name}");
    }
}

/// A window of time has its start and not its end.
pub async fn a_window_of_the_log_has_its_start_and_not_its_end(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let batch = [4, 3, 2, 1].map(|ago| entry(h, ago));
    append(&*log, &batch).await;
    let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| batch[at].id);
    let (from, before) = (Some(batch[1].at), Some(batch[3].at));
    let window = |from, before| AuditQuery {
        from,
        before,
        ..everything()
    };
    assert_eq!(ids(&*log, &window(from, None)).await, [d, c, b]);
    assert_eq!(ids(&*log, &window(None, before)).await, [c, b, a]);
    assert_eq!(ids(&*log, &window(from, before)).await, [c, b]);
    assert!(ids(&*log, &window(before, from)).await.is_empty());
}

/// Pages together hold every entry once, in order, also of one millisecond.
pub async fn audit_pages_together_hold_everything_once(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let same = entry(h, 5);
    let mut batch: Vec<_> = (0..7)
        .map(|_| AuditEntry {
            id: AuditId::mint(),
            ..same.clone()
        })
        .collect();
    batch.extend((1..5).map(|ago| entry(h, ago)));
    append(&*log, &batch).await;
    batch.sort_by_key(|entry| std::cmp::Reverse(AuditCursor::after(entry)));
    for limit in [1, 2, 3, 10, 11, 12] {
        let query = AuditQuery {
            limit,
            ..everything()
        };
        assert_eq!(walk(&*log, &query).await, batch, "{limit} a page");
    }
}

/// The last page has no next, also where it is full.
pub async fn the_last_audit_page_has_no_next(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    append(&*log, &[entry(h, 2), entry(h, 1)]).await;
    for (limit, more) in [(1, true), (2, false), (3, false)] {
        let query = AuditQuery {
            limit,
            ..everything()
        };
        let page = log.query(&query).await.expect("query");
        assert_eq!(page.next.is_some(), more, "{limit} a page");
    }
}

/// What comes between two pages does not disturb the second.
pub async fn audit_pages_stay_exact_while_entries_come_and_go(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let batch = [40, 3, 2, 1].map(|ago| entry(h, ago * 86_400));
    append(&*log, &batch).await;
    let mut query = AuditQuery {
        limit: 2,
        ..everything()
    };
    let first = log.query(&query).await.expect("query");
    append(&*other_process(h).audit, &[entry(h, 0)]).await;
    log.purge(super::support::days(30), 10)
        .await
        .expect("purge");
    query.after = first.next;
    let second = log.query(&query).await.expect("query");
    let seen: Vec<_> = first
        .entries
        .iter()
        .chain(&second.entries)
        .map(|e| e.id)
        .collect();
    assert_eq!(seen, [batch[3].id, batch[2].id, batch[1].id]);
    assert_eq!(second.next, None);
}

/// Pages and filters go together.
pub async fn audit_pages_and_filters_go_together(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let at = entry(h, 9).at;
    let batch: Vec<_> = (0..12_usize)
        .map(|n| AuditEntry {
            tool_name: tool(if n.is_multiple_of(3) { "a" } else { "b" }),
            at: at + TimeDelta::milliseconds(n as i64),
            ..entry(h, 0)
        })
        .collect();
    append(&*log, &batch).await;
    let query = AuditQuery {
        tool_name: Some(tool("a")),
        limit: 1,
        ..everything()
    };
    let wanted = [9, 6, 3, 0].map(|n: usize| batch[n].id);
    assert_eq!(ids(&*log, &query).await, wanted);
}

/// A page of nothing is refused; one of too many is cut.
pub async fn an_audit_page_has_a_size(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let sized = |limit| AuditQuery {
        limit,
        ..everything()
    };
    refused(log.query(&sized(0)).await, StoreErrorKind::InvalidInput);
    let batch: Vec<_> = (0..MAX_AUDIT_PAGE).map(|_| entry(h, 1)).collect();
    append(&*log, &batch).await;
    append(&*log, &[entry(h, 1)]).await;
    let page = log.query(&sized(u32::MAX)).await.expect("query");
    assert!(page.entries.len() <= MAX_AUDIT_PAGE as usize && page.next.is_some());
    let all = walk(&*log, &sized(u32::MAX)).await;
    assert_eq!(all.len(), MAX_AUDIT_PAGE as usize + 1);
}
