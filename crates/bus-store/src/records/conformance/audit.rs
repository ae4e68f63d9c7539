//! The audit log: what an entry keeps, idempotency, principals, purging.

use bus_model::ProviderName;

use super::{
    RecordsHarness,
    support::{
        AWKWARD, append, days, entry, entry_of, everything, ids, other_process, principal, refused,
        txn, walk,
    },
};
use crate::{
    StoreErrorKind,
    records::{
        AuditCursor, AuditEntry, AuditId, AuditQuery, AuditText, MAX_AUDIT_BATCH, MAX_SKIPPED,
        Outcome, RouteTaken, SkippedStep,
    },
};

/// An empty log shows nothing, and there is nothing to purge.
pub async fn an_empty_log_shows_nothing(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let page = log.query(&everything()).await.expect("query");
    assert_eq!((page.entries.len(), page.next), (0, None));
    let purged = log.purge(days(0), 10).await.expect("purge");
    assert_eq!((purged.removed, purged.more), (0, false));
}

/// An entry comes back as it was, every field of it.
pub async fn an_audit_entry_comes_back_as_it_was(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let full = AuditEntry {
        request_id: AWKWARD.into(),
        transaction_id: Some(txn("txn_1")),
        provider_name: ProviderName::new("provider ü").expect("a legal name"),
        payload_size_bytes: (1 << 53) + 1,
        frame_bytes: 0,
        route: RouteTaken::CLAIM,
        reason: AWKWARD.into(),
        skipped: vec![
            step("inline", "too big"),
            step("a-step_of-its-OWN", AWKWARD),
            step("spool", ""),
        ],
        tool_ms: None,
        store_ms: Some(0),
        total_ms: 86_400_000,
        outcome: Outcome::new("EXEC_ERROR").expect("a legal outcome"),
        error_message: Some(AWKWARD.into()),
        ..entry(h, 1)
    };
    let bare = entry(h, 2);
    append(&*log, &[full.clone(), bare.clone()]).await;
    assert_eq!(walk(&*log, &everything()).await, [full, bare]);
}

/// A batch that is sent again changes nothing.
pub async fn a_batch_may_be_sent_again(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let batch = [entry(h, 2), entry(h, 1)];
    assert_eq!(append(&*log, &batch).await, 2);
    let mut again = batch.to_vec();
    again[0].reason = "something else".into();
    again.push(entry(h, 0));
    let log = other_process(h).audit;
    assert_eq!(append(&*log, &again).await, 1, "only the new one");
    let [a, b] = batch;
    assert_eq!(walk(&*log, &everything()).await, [again[2].clone(), b, a]);
}

/// An id that is twice in a batch is one entry.
pub async fn an_id_twice_in_a_batch_is_one_entry(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let one = entry(h, 1);
    assert_eq!(append(&*log, &[one.clone(), one.clone()]).await, 1);
    assert_eq!(ids(&*log, &everything()).await, [one.id]);
}

/// An empty batch is nothing.
pub async fn an_empty_batch_is_nothing(h: &dyn RecordsHarness) {
    assert_eq!(append(&*h.records().audit, &[]).await, 0);
}

/// The largest batch is taken, a larger one is refused as a whole.
pub async fn a_batch_is_bounded(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let mut batch: Vec<_> = (0..=MAX_AUDIT_BATCH).map(|_| entry(h, 1)).collect();
    refused(log.append(&batch).await, StoreErrorKind::InvalidInput);
    assert!(walk(&*log, &everything()).await.is_empty());
    batch.pop();
    assert_eq!(append(&*log, &batch).await, MAX_AUDIT_BATCH as u64);
    assert_eq!(walk(&*log, &everything()).await.len(), MAX_AUDIT_BATCH);
}

/// Texts of the longest kind are taken, in whichever characters.
pub async fn the_longest_audit_texts_are_taken(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let long = AuditText::new("\0".repeat(AuditText::MAX_BYTES));
    let stuffed = AuditEntry {
        request_id: long.clone(),
        reason: long.clone(),
        skipped: vec![step("inline", long.as_str()); MAX_SKIPPED],
        error_message: Some(long),
        ..entry(h, 1)
    };
    append(&*log, std::slice::from_ref(&stuffed)).await;
    assert_eq!(walk(&*log, &everything()).await, [stuffed]);
}

/// What an entry has too much of is cut: no call is lost from the log for that.
pub async fn what_is_too_much_is_cut(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let wild = AuditEntry {
        payload_size_bytes: u64::MAX,
        tool_ms: Some(u64::MAX),
        skipped: vec![step("inline", "no"); MAX_SKIPPED + 1],
        ..entry(h, 1)
    };
    append(&*log, std::slice::from_ref(&wild)).await;
    assert_eq!(walk(&*log, &everything()).await, [wild.as_stored()]);
}

/// A batch may hold entries of several principals, who see their own.
pub async fn each_principal_sees_its_own_log(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let (mine, theirs) = (entry_of(h, 1, "alice"), entry_of(h, 1, "bob"));
    assert_eq!(append(&*log, &[mine.clone(), theirs.clone()]).await, 2);
    for (owner, entry) in [
        ("alice", Some(&mine)),
        ("bob", Some(&theirs)),
        ("eve", None),
    ] {
        let seen = walk(&*log, &AuditQuery::new(principal(owner))).await;
        assert_eq!(seen.iter().collect::<Vec<_>>(), Vec::from_iter(entry));
    }
}

/// The same id of two principals is two entries: nobody learns of another's id.
pub async fn the_same_audit_id_of_two_principals_is_two_entries(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let mine = entry_of(h, 1, "alice");
    let theirs = AuditEntry {
        principal: principal("bob"),
        ..mine.clone()
    };
    append(&*log, &[mine]).await;
    assert_eq!(append(&*log, std::slice::from_ref(&theirs)).await, 1);
    let seen = walk(&*log, &AuditQuery::new(principal("bob"))).await;
    assert_eq!(seen, [theirs]);
}

/// Another's cursor is a place in time, and no way into another's log.
pub async fn a_cursor_is_no_way_into_anothers_log(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let theirs = [entry_of(h, 3, "bob"), entry_of(h, 1, "bob")];
    append(&*log, &theirs).await;
    let query = AuditQuery {
        after: Some(AuditCursor::after(&theirs[1])),
        ..AuditQuery::new(principal("alice"))
    };
    assert!(walk(&*log, &query).await.is_empty());
}

/// A purge takes what is older than asked for, of every principal, and nothing else.
pub async fn a_purge_takes_what_is_old(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let day = 86_400;
    let old = [entry(h, 31 * day), entry_of(h, 40 * day, "bob")];
    let young = [entry(h, 29 * day), entry(h, 0), entry(h, -day)];
    append(&*log, &old).await;
    append(&*log, &young).await;
    let purged = log.purge(days(30), 100).await.expect("purge");
    assert_eq!((purged.removed, purged.more), (2, false));
    let [a, b, c] = young.map(|entry| entry.id);
    assert_eq!(ids(&*log, &everything()).await, [c, b, a]);
    let theirs = AuditQuery::new(principal("bob"));
    assert!(walk(&*log, &theirs).await.is_empty());
    let again = log.purge(days(30), 100).await.expect("purge");
    assert_eq!((again.removed, again.more), (0, false));
}

/// A purge is bounded, takes the oldest first and says that there is more.
pub async fn a_purge_of_the_log_is_bounded(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    let batch: Vec<_> = [5, 1, 4, 2, 3].map(|ago| entry(h, ago * 86_400)).into();
    append(&*log, &batch).await;
    let purged = log.purge(days(0), 2).await.expect("purge");
    assert_eq!((purged.removed, purged.more), (2, true));
    let left: Vec<AuditId> = [1, 3, 4].map(|at: usize| batch[at].id).into();
    assert_eq!(ids(&*log, &everything()).await, left);
    let purged = log.purge(days(0), 10).await.expect("purge");
    assert_eq!((purged.removed, purged.more), (3, false));
}

/// An age beyond all time takes nothing.
pub async fn an_endless_age_takes_nothing(h: &dyn RecordsHarness) {
    let log = h.records().audit;
    append(&*log, &[entry(h, 5)]).await;
    for age in [days(40_000), std::time::Duration::MAX] {
        let purged = log.purge(age, 10).await.expect("purge");
        assert_eq!(purged.removed, 0);
    }
}

fn step(step: &str, reason: &str) -> SkippedStep {
    SkippedStep {
        step: RouteTaken::new(step).expect("the suite's routes are legal"),
        reason: reason.into(),
    }
}
