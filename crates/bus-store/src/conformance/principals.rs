//! Principals are apart: a stranger's message is like one that does not exist.

use bus_model::{MessageKey, MessageStatus, Principal};

use super::{
    Harness,
    support::{
        LEASE, begin_new, body, everything, key, message, message_of, noise, principal, publish,
        publish_as, read, read_chunks, refused, stale, txn, upload, walk,
    },
};
use crate::{ListQuery, Store, StoreError, StoreErrorKind};

/// The same transaction id of two principals is two messages.
pub async fn the_same_id_of_two_principals_is_two_messages(h: &dyn Harness) {
    let store = h.store();
    for owner in ["a", "b"] {
        publish_as(
            &*store,
            &message_of(of(owner)),
            format!("payload of {owner}"),
        )
        .await;
    }
    for owner in ["a", "b"] {
        let payload = read(&*store, &of(owner)).await.expect("read");
        assert_eq!(payload, format!("payload of {owner}"));
    }
    store.delete(&of("a")).await.expect("delete");
    refused(store.open(&of("a")).await, StoreErrorKind::NotFound);
    assert_eq!(read(&*store, &of("b")).await.expect("read"), "payload of b");
}

/// Principals that differ only in case are two.
pub async fn principals_that_differ_in_case_are_two(h: &dyn Harness) {
    let store = h.store();
    publish_as(&*store, &message_of(of("Owner")), "payload").await;
    refused(store.open(&of("owner")).await, StoreErrorKind::NotFound);
}

/// Whatever a stranger asks, the message is not found, in the words for one that is not there.
pub async fn a_stranger_finds_nothing(h: &dyn Harness) {
    let store = h.store();
    let before = answers(&*store).await;
    publish(&*store, "m", "payload").await;
    assert_eq!(answers(&*store).await, before);
    assert_eq!(read(&*store, &key("m")).await.expect("read"), "payload");
    let record = store.record(&key("m")).await.expect("record");
    assert_eq!(record.acknowledged_at, None);
}

/// A stranger learns nothing of what is being written or was given up.
pub async fn a_stranger_learns_of_no_status(h: &dyn Harness) {
    let store = h.store();
    let before = answers(&*store).await;
    let begun = begin_new(&*store, &message("m")).await;
    assert_eq!(answers(&*store).await, before);
    store.abort(&begun.token, "no").await.expect("abort");
    assert_eq!(answers(&*store).await, before);
}

/// A stranger who knows the message's own id does not get its chunks.
pub async fn a_stranger_gets_no_chunks(h: &dyn Harness) {
    let store = h.store();
    let record = publish(&*store, "m", noise(70, 1)).await;
    let answer = read_chunks(&*store, &principal("stranger"), record.id, 0..5).await;
    refused(answer, StoreErrorKind::NotFound);
    let beyond = read_chunks(&*store, &principal("stranger"), record.id, 0..9).await;
    refused(beyond, StoreErrorKind::NotFound);
}

/// A stranger's list shows only its own.
pub async fn a_list_shows_only_ones_own(h: &dyn Harness) {
    let store = h.store();
    publish(&*store, "mine", "payload").await;
    let mut other = message("theirs");
    other.key.principal = principal("stranger");
    publish_as(&*store, &other, "payload").await;
    assert_eq!(walk(&*store, &everything()).await, ["mine"]);
    let query = ListQuery::new(principal("stranger"));
    assert_eq!(walk(&*store, &query).await, ["theirs"]);
    let query = ListQuery::new(principal("nobody"));
    assert_eq!(walk(&*store, &query).await, [""; 0]);
}

/// An upload token is worth nothing under another principal's name.
pub async fn a_token_is_bound_to_its_principal(h: &dyn Harness) {
    let (store, body) = (h.store(), body(noise(70, 1)));
    let begun = begin_new(&*store, &message("m")).await;
    upload(&*store, &begun.token, &body).await;
    let mut stolen = begun.token.clone();
    stolen.principal = principal("stranger");
    stale(&*store, &stolen, &body).await;
    store
        .commit(&begun.token, &body.manifest)
        .await
        .expect("commit");
    refused(
        store.commit(&stolen, &body.manifest).await,
        StoreErrorKind::LeaseLost,
    );
}

/// A stranger does not hold up a writer, nor a writer a stranger.
pub async fn a_writer_does_not_hold_up_a_stranger(h: &dyn Harness) {
    let store = h.store();
    let first = begin_new(&*store, &message_of(of("a"))).await;
    let second = begin_new(&*store, &message_of(of("b"))).await;
    store.abort(&first.token, "no").await.expect("abort");
    h.advance(LEASE / 2).await;
    store.renew(&second.token).await.expect("renew");
    let record = store.record(&of("b")).await.expect("record");
    assert_eq!(record.status, MessageStatus::Pending);
}

/// A stranger's touch stamps nothing.
pub async fn a_stranger_stamps_nothing(h: &dyn Harness) {
    let store = h.store();
    let before = publish(&*store, "m", "payload").await;
    h.advance(LEASE).await;
    store.touch(&[of("stranger")]).await.expect("touch");
    let after = store.record(&key("m")).await.expect("record");
    assert_eq!(after.accessed_at, before.accessed_at);
}

/// A page's cursor is no way into another principal's list.
pub async fn a_cursor_is_no_way_into_anothers_list(h: &dyn Harness) {
    let store = h.store();
    publish_as(&*store, &message_of(of("stranger")), "payload").await;
    h.advance(LEASE).await;
    for i in 0..3 {
        publish(&*store, &format!("m{i}"), "payload").await;
    }
    let mut query = ListQuery::new(Principal::default());
    query.limit = 2;
    let page = store.list(&query).await.expect("list");
    query.principal = principal("stranger");
    query.after = page.next;
    assert_eq!(walk(&*store, &query).await, ["m"]);
}

/// The key `m` of `owner`.
fn of(owner: &str) -> MessageKey {
    MessageKey::new(principal(owner), txn("m"))
}

/// What a stranger is told of the message `m`, call by call.
async fn answers(store: &dyn Store) -> Vec<String> {
    let key = of("stranger");
    vec![
        said(store.record(&key).await),
        said(store.open(&key).await),
        said(store.acknowledge(&key).await),
        said(store.delete(&key).await),
        format!(
            "{:?}",
            walk(
                store,
                &ListQuery {
                    principal: key.principal,
                    ..everything()
                }
            )
            .await
        ),
    ]
}

fn said<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let error = answer.expect_err("a stranger finds nothing");
    assert_eq!(error.kind(), StoreErrorKind::NotFound);
    error.to_string()
}
