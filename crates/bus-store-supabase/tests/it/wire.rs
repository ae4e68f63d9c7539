//! What travels: how many requests a call takes, and in which form chunks go up.

use bus_model::{MessageKey, Principal};
use bus_store::{PutOutcome, Store as _, StoreErrorKind, StoredChunk};
use bus_store_supabase::SupabaseStore;
use bus_testkit::{Answer, Project, Server, random_payload};
use bytes::Bytes;
use futures::TryStreamExt as _;
use rstest::rstest;

use crate::support::{
    config,
    writing::{Body, begin_new, body, message, read, stored, upload, write},
};

async fn project(server: Server) -> (Project, SupabaseStore) {
    let project = Project::take(server).await.unwrap();
    let store = SupabaseStore::new(config(&project)).unwrap();
    project.gateway().reset_counts();
    (project, store)
}

/// How often each function was called since the last look.
fn calls(project: &Project) -> Vec<(String, u64)> {
    let counts = project.gateway().counts();
    project.gateway().reset_counts();
    let name = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
    counts
        .into_iter()
        .map(|(path, n)| (name(path), n))
        .collect()
}

#[track_caller]
fn expect(project: &Project, wanted: &[(&str, u64)]) {
    let found = calls(project);
    let found: Vec<(&str, u64)> = found.iter().map(|(name, n)| (&**name, *n)).collect();
    assert_eq!(found, wanted);
}

/// Random bytes in three chunks above the size from which on they go raw.
fn large() -> Body {
    body(random_payload(300_000, 3), 100_000)
}

#[rstest]
#[tokio::test]
async fn a_message_of_one_chunk_is_one_request(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let (project, store) = project(server).await;
    let (one, two) = (body("one", 100), body("two", 100));
    let message = message("m", &one);
    let put = store
        .put(&message, &one.manifest, &one.chunks)
        .await
        .unwrap();
    assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");
    expect(&project, &[("bus_put", 1)]);
    let put = store
        .put(&message, &one.manifest, &one.chunks)
        .await
        .unwrap();
    assert!(matches!(put, PutOutcome::AlreadyThere(_)), "{put:?}");
    expect(&project, &[("bus_put", 1)]);
    let other = store.put(&message, &two.manifest, &two.chunks).await;
    assert_eq!(other.unwrap_err().kind(), StoreErrorKind::Conflict);
    expect(&project, &[("bus_put", 1)]);
    assert_eq!(read(&store, "m").await, b"one");
    expect(&project, &[("bus_chunk", 1), ("bus_open", 1)]);
}

#[rstest]
#[tokio::test]
async fn a_larger_message_is_a_request_a_chunk_and_two(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let (project, store) = project(server).await;
    let body = body(random_payload(1000, 3), 100);
    let message = message("m", &body);
    store
        .put(&message, &body.manifest, &body.chunks)
        .await
        .unwrap();
    expect(
        &project,
        &[("bus_begin", 1), ("bus_commit", 1), ("bus_put_chunk", 10)],
    );
}

#[rstest]
#[tokio::test]
async fn a_range_asks_for_its_chunks_only(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let (project, store) = project(server).await;
    let body = body(random_payload(1000, 3), 100);
    write(&store, "m", &body).await;
    let key = MessageKey::new(Principal::default(), "m".parse().unwrap());
    let id = store.record(&key).await.unwrap().id;
    for range in [3..4, 2..9, 9..10] {
        calls(&project);
        let chunks = store
            .chunks(&key.principal, id, range.clone())
            .await
            .unwrap();
        let chunks: Vec<Bytes> = chunks.try_collect().await.unwrap();
        let wanted = &body.chunks[range.start as usize..range.end as usize];
        let wanted: Vec<_> = wanted.iter().map(|chunk| chunk.bytes.clone()).collect();
        assert_eq!(chunks, wanted);
        expect(&project, &[("bus_chunk", range.len() as u64)]);
    }
}

/// A reader that stops has not asked for more than the next few chunks.
#[tokio::test]
async fn a_reader_that_stops_has_asked_for_a_few_chunks_only() {
    let (project, store) = project(Server::Postrust).await;
    let body = body(random_payload(10_000, 3), 100);
    write(&store, "m", &body).await;
    let key = MessageKey::new(Principal::default(), "m".parse().unwrap());
    let id = store.record(&key).await.unwrap().id;
    calls(&project);
    let mut chunks = store.chunks(&key.principal, id, 0..100).await.unwrap();
    let first = chunks.try_next().await.unwrap();
    assert_eq!(first.as_ref(), Some(&body.chunks[0].bytes));
    drop(chunks);
    let asked = project.gateway().count("rpc/bus_chunk");
    assert!((1..=8).contains(&asked), "{asked} chunks were asked for");
}

/// PostgREST takes raw bytes; the gateway stands in for it. The server is asked once.
#[tokio::test]
async fn chunks_go_raw_where_the_server_takes_them() {
    let (project, store) = project(Server::Postrust).await;
    project.gateway().octet_stream(true);
    let body = large();
    write(&store, "a", &body).await;
    let raw = [
        ("bus_begin", 1),
        ("bus_commit", 1),
        ("bus_echo_digest", 1),
        ("bus_put_chunk_raw", 3),
    ];
    expect(&project, &raw);
    write(&store, "b", &body).await;
    expect(&project, &[raw[0], raw[1], raw[3]]);
    for name in ["a", "b"] {
        assert!(
            read(&store, name).await == random_payload(300_000, 3),
            "{name} differs"
        );
    }
}

/// Neither of the two takes raw bytes, so they answer or spoil the probe; base64 works on both.
#[rstest]
#[tokio::test]
async fn chunks_go_as_base64_where_it_does_not(
    #[values(Server::Postrust, Server::Lite)] server: Server,
) {
    let (project, store) = project(server).await;
    let body = large();
    write(&store, "a", &body).await;
    let coded = [
        ("bus_begin", 1),
        ("bus_commit", 1),
        ("bus_echo_digest", 1),
        ("bus_put_chunk", 3),
    ];
    expect(&project, &coded);
    write(&store, "b", &body).await;
    expect(&project, &[coded[0], coded[1], coded[3]]);
    for name in ["a", "b"] {
        assert!(
            read(&store, name).await == random_payload(300_000, 3),
            "{name} differs"
        );
    }
}

/// A server that was away when it was asked is asked again.
#[tokio::test]
async fn an_answer_that_did_not_come_is_not_remembered() {
    let (project, store) = project(Server::Postrust).await;
    project.gateway().octet_stream(true);
    let body = large();
    let begun = begin_new(&store, &message("m", &body)).await;
    let away = Answer::new(503, "away");
    project
        .gateway()
        .answer_next(1, "rpc/bus_echo_digest", &away);
    let put = store
        .put_chunk(&begun.token, 0, body.chunks[0].clone())
        .await;
    assert!(put.unwrap_err().is_transient());
    upload(&store, &begun, &body).await;
    assert_eq!(project.gateway().count("rpc/bus_echo_digest"), 2);
    assert_eq!(project.gateway().count("rpc/bus_put_chunk_raw"), 3);
}

/// A firewall may let the probe pass, and no more.
#[rstest]
#[tokio::test]
async fn a_raw_chunk_that_is_refused_goes_as_base64_and_so_do_the_next(
    #[values(400, 403, 413, 500)] status: u16,
) {
    let (project, store) = project(Server::Postrust).await;
    project.gateway().octet_stream(true);
    let refusal = Answer::new(status, "<html>blocked</html>");
    let raw = "rpc/bus_put_chunk_raw";
    project.gateway().answer_next(100, raw, &refusal);
    let body = large();
    write(&store, "m", &body).await;
    assert!(read(&store, "m").await == random_payload(300_000, 3));
    assert_eq!(project.gateway().count("rpc/bus_put_chunk"), 3);
    let asked = project.gateway().count(raw);
    write(&store, "n", &body).await;
    assert_eq!(project.gateway().count(raw), asked, "the way is closed");
}

/// A key that was refused, or a schema that is being reloaded, says nothing of raw bytes.
#[tokio::test]
async fn a_probe_that_was_denied_is_not_remembered() {
    let (project, store) = project(Server::Postrust).await;
    project.gateway().octet_stream(true);
    let denied = Answer::new(403, "not now");
    project
        .gateway()
        .answer_next(1, "rpc/bus_echo_digest", &denied);
    let body = large();
    let begun = begin_new(&store, &message("m", &body)).await;
    let first = body.chunks[0].clone();
    store.put_chunk(&begun.token, 0, first).await.unwrap();
    assert_eq!(project.gateway().count("rpc/bus_put_chunk"), 1);
    upload(&store, &begun, &body).await;
    assert_eq!(project.gateway().count("rpc/bus_put_chunk_raw"), 3);
}

/// The digest is checked on arrival, whichever way the bytes came.
#[rstest]
#[tokio::test]
async fn a_chunk_that_is_not_what_it_says_is_refused_on_arrival(
    #[values(true, false)] raw: bool,
    #[values(100, 100_000)] len: usize,
) {
    let (project, store) = project(Server::Postrust).await;
    project.gateway().octet_stream(raw);
    let body = large();
    let begun = begin_new(&store, &message("m", &body)).await;
    let wrong = StoredChunk {
        bytes: random_payload(len, 1).into(),
        digest: stored("other").digest,
    };
    let refused = store.put_chunk(&begun.token, 0, wrong).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Mismatch);
    upload(&store, &begun, &body).await;
    store.commit(&begun.token, &body.manifest).await.unwrap();
    assert!(read(&store, "m").await == random_payload(300_000, 3));
}

/// The cases that write chunks hold on the raw way as well.
#[rstest]
#[case("a_chunk_replaces_the_one_before")]
#[case("a_replaced_chunk_is_found_out")]
#[case("a_repeated_chunk_is_harmless")]
#[case("a_chunk_starts_the_lease_anew")]
#[case("an_invented_token_is_stale")]
#[case("an_empty_payload_is_one_empty_chunk")]
#[case("every_byte_value_is_read_back")]
#[case("committed_chunks_never_change")]
#[case("the_next_writer_is_told_the_durable_chunks")]
#[case("the_old_token_is_stale")]
#[case("a_token_is_bound_to_its_principal")]
#[tokio::test]
async fn the_raw_way_keeps_the_contract(#[case] name: &str) {
    let fixture = crate::support::Fixture::take_raw(Server::Postrust).await;
    let cases = bus_store::conformance::cases();
    let case = cases.iter().find(|case| case.name == name).unwrap();
    (case.run)(&fixture).await;
    assert_eq!(fixture.project.gateway().count("rpc/bus_put_chunk"), 0);
    assert!(fixture.project.gateway().count("rpc/bus_put_chunk_raw") > 0);
}
