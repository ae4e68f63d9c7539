//! Answers that no server here can be made to give, given by the gateway: those of proxies, of content networks, of a
//! project that is paused, and of servers that are not well.

use std::time::Duration;

use bus_client::ClientErrorKind;
use bus_store::{PutOutcome, Store, StoreError, StoreErrorKind as Kind};
use bus_testkit::Answer;
use chrono::{TimeDelta, Utc};
use rstest::rstest;

use crate::kit::{Body, Rig, begin_new, key, message, publish, send};

/// What is expected of an answer: kind, whether to try again, and a word of its advice.
struct Expected {
    kind: Kind,
    transient: bool,
    advice: &'static str,
}

fn expect(kind: Kind, transient: bool, advice: &'static str) -> Expected {
    Expected {
        kind,
        transient,
        advice,
    }
}

impl Expected {
    fn check<T: std::fmt::Debug>(&self, rig: &Rig, result: Result<T, StoreError>) -> StoreError {
        let error = rig.failed(result, self.kind);
        assert_eq!(error.is_transient(), self.transient, "{error:?}");
        assert!(error.to_string().contains(self.advice), "{error}");
        error
    }
}

/// Gives `answer` to each call of a message's life, and looks at what comes of it.
async fn at_every_call(answer: &Answer, expected: &Expected) {
    let rig = Rig::shared().await;
    let (store, gateway) = (rig.store.as_ref(), rig.project.gateway());
    let (new, body) = (message("steps"), Body::of(2, 1));
    let (small, one) = (message("small"), Body::of(1, 2));

    gateway.answer_next(1, "bus_put", answer);
    expected.check(&rig, store.put(&small, &one.manifest, &one.chunks).await);
    rig.absent(&small.key, &one).await;
    let put = store.put(&small, &one.manifest, &one.chunks).await.unwrap();
    assert!(matches!(put, PutOutcome::Created(_)), "{put:?}");

    gateway.answer_next(1, "bus_begin", answer);
    expected.check(&rig, store.begin(&new).await);
    let token = begin_new(store, &new).await.token;
    gateway.answer_next(1, "bus_put_chunk", answer);
    expected.check(
        &rig,
        store.put_chunk(&token, 0, body.chunks[0].clone()).await,
    );
    send(store, &token, &body, 0..2).await;
    gateway.answer_next(1, "bus_commit", answer);
    expected.check(&rig, store.commit(&token, &body.manifest).await);
    rig.absent(&new.key, &body).await;
    store.commit(&token, &body.manifest).await.unwrap();
    rig.whole(&new.key, &body).await;

    gateway.answer_next(1, "bus_open", answer);
    expected.check(&rig, store.open(&new.key).await);
    let id = store.open(&new.key).await.unwrap().record.id;
    gateway.answer_next(1, "bus_chunk", answer);
    let chunks = store.chunks(&new.key.principal, id, 0..1).await;
    expected.check(&rig, chunks.map(|_| "chunks"));
    assert_eq!(gateway.clear_answers(), 0);
    rig.works("afterwards").await;
}

fn html(status: u16) -> Answer {
    let page = "<html><head><title>Bad gateway</title></head><body>cloudflare</body></html>";
    Answer {
        status,
        headers: vec![("content-type", "text/html; charset=UTF-8".to_owned())],
        body: page.as_bytes().to_vec(),
    }
}

fn json(status: u16, text: &str) -> Answer {
    Answer {
        body: text.as_bytes().to_vec(),
        ..Answer::new(status, "")
    }
}

#[rstest]
#[case::too_many(
    Answer::new(429, "too many requests"),
    expect(Kind::Overloaded, true, "try again later")
)]
#[case::unavailable(
    Answer::new(503, "upstream is away"),
    expect(Kind::Unavailable, true, "")
)]
#[case::bad_gateway(html(502), expect(Kind::Unavailable, true, "502"))]
#[case::gateway_timeout(html(504), expect(Kind::Timeout, true, "504"))]
#[case::request_timeout(html(408), expect(Kind::Timeout, true, "try again"))]
#[case::web_server_down(html(521), expect(Kind::Unavailable, true, "521"))]
#[case::origin_timeout(html(524), expect(Kind::Timeout, true, "524"))]
#[case::project_timeout(Answer::new(544, "timed out"), expect(Kind::Timeout, true, "544"))]
#[case::paused(
    Answer::new(540, "project paused"),
    expect(Kind::Unavailable, false, "dashboard")
)]
#[case::too_large(html(413), expect(Kind::TooLarge, false, "smaller chunks"))]
#[case::bare_error(html(500), expect(Kind::Internal, false, "logs"))]
#[case::redirect(html(302), expect(Kind::InvalidInput, false, "SUPABASE_URL"))]
#[case::no_path(html(404), expect(Kind::InvalidInput, false, "SUPABASE_URL"))]
#[case::pool_empty(
    json(
        504,
        r#"{"code":"PGRST003","message":"Timed out acquiring connection from connection pool."}"#
    ),
    expect(Kind::Timeout, true, "try again")
)]
#[case::no_database(
    json(503, r#"{"code":"PGRST002","message":"Could not query the database for the schema cache. Retrying."}"#),
    expect(Kind::Unavailable, true, "try again")
)]
#[case::read_only(
    json(
        500,
        r#"{"code":"25006","message":"cannot execute INSERT in a read-only transaction"}"#
    ),
    expect(Kind::Unavailable, false, "enlarge its disk")
)]
#[case::too_many_connections(
    json(503, r#"{"code":"53300","message":"sorry, too many clients already"}"#),
    expect(Kind::Overloaded, true, "try again later")
)]
#[case::lite_has_one_code(
    json(
        500,
        r#"{"code":"SUP","message":"canceling statement due to statement timeout"}"#
    ),
    expect(Kind::Timeout, false, "statement timeout")
)]
#[case::a_page_that_is_no_error(html(200), expect(Kind::Internal, false, "SUPABASE_URL"))]
#[tokio::test]
async fn an_answer_of_something_between_says_what_to_do(
    #[case] answer: Answer,
    #[case] expected: Expected,
) {
    at_every_call(&answer, &expected).await;
}

/// Seconds or a date, with either status; the wait is handed on, and to the user of a client, too.
#[rstest]
#[tokio::test]
async fn the_wait_that_is_asked_for_is_handed_on(
    #[values(429, 503)] status: u16,
    #[values(true, false)] as_date: bool,
) {
    let rig = Rig::shared().await;
    let at = (Utc::now() + TimeDelta::seconds(90)).format("%a, %d %b %Y %H:%M:%S GMT");
    let value = if as_date {
        at.to_string()
    } else {
        "90".to_owned()
    };
    let answer = Answer::new(status, "later").header("retry-after", value);
    let (new, body) = (message("m"), Body::of(1, 1));
    rig.project.gateway().answer_next(2, "bus_put", &answer);
    let error = rig
        .store
        .put(&new, &body.manifest, &body.chunks)
        .await
        .unwrap_err();
    let wait = error.retry_after().expect("a wait");
    assert!(
        wait <= Duration::from_secs(90) && wait > Duration::from_secs(60),
        "{wait:?}"
    );
    assert!(error.is_transient(), "{error:?}");

    let told = rig
        .client()
        .publish(client_message("m"), body.payload.clone())
        .await
        .unwrap_err();
    assert_eq!(told.kind(), ClientErrorKind::Unavailable);
    assert!(
        told.retry_after()
            .is_some_and(|wait| wait > Duration::from_secs(60)),
        "{told:?}"
    );
    let done = rig
        .client()
        .publish(client_message("m"), body.payload.clone())
        .await
        .unwrap();
    rig.whole(&done.record.key(), &body).await;
}

fn client_message(id: &str) -> bus_client::Message {
    bus_client::Message {
        transaction_id: Some(id.parse().unwrap()),
        ..bus_client::Message::new("session".parse().unwrap(), "tool".parse().unwrap())
    }
}

/// A paused project stays so for long: whoever waits is told for how long to leave it alone.
#[tokio::test]
async fn a_paused_project_is_left_alone_for_long() {
    let rig = Rig::shared().await;
    rig.project
        .gateway()
        .answer_next(1, "", &Answer::new(540, "project paused"));
    let error = rig.failed(rig.store.check().await, Kind::Unavailable);
    assert!(
        error
            .retry_after()
            .is_some_and(|wait| wait >= Duration::from_secs(60))
    );
}

/// What breaks off inside, is not what our functions answer, or promises what it does not hold.
#[rstest]
#[case::truncated("\"{\\\"outcome\\\":\\\"ok\\\",\\\"rec")]
#[case::truncated_inside("\"{\\\"outcome\\\":\\\"ok\\\",\\\"rec\"")]
#[case::empty("")]
#[case::null("null")]
#[case::list("[]")]
#[case::unknown_outcome("\"{\\\"outcome\\\":\\\"fine\\\"}\"")]
#[case::lacking("\"{\\\"outcome\\\":\\\"ok\\\"}\"")]
#[case::other_function("\"{\\\"outcome\\\":\\\"ok\\\",\\\"record\\\":7}\"")]
#[tokio::test]
async fn an_answer_that_is_none_is_told_as_such(#[case] text: &str) {
    let rig = Rig::shared().await;
    let (store, gateway) = (rig.store.as_ref(), rig.project.gateway());
    let (new, body) = (message("steps"), Body::of(2, 1));
    let answer = json(200, text);
    gateway.answer_next(1, "bus_begin", &answer);
    let error = rig.failed(store.begin(&new).await, Kind::Internal);
    assert!(error.to_string().contains("bus migrate"), "{error}");
    let token = begin_new(store, &new).await.token;
    send(store, &token, &body, 0..2).await;
    gateway.answer_next(1, "bus_commit", &answer);
    rig.failed(store.commit(&token, &body.manifest).await, Kind::Internal);
    rig.absent(&new.key, &body).await;
    store.commit(&token, &body.manifest).await.unwrap();
    gateway.answer_next(1, "bus_open", &answer);
    rig.failed(store.open(&new.key).await, Kind::Internal);
    rig.whole(&new.key, &body).await;
}

/// A chunk that comes as something else is not taken for bytes.
#[rstest]
#[case::json("application/json")]
#[case::html("text/html")]
#[case::text("text/plain; charset=utf-8")]
#[tokio::test]
async fn a_chunk_of_another_content_type_is_refused(#[case] content_type: &str) {
    let rig = Rig::shared().await;
    let body = Body::of(2, 1);
    let key = publish(rig.direct.as_ref(), "message", &body).await;
    let id = rig.store.open(&key).await.unwrap().record.id;
    let answer = Answer {
        status: 200,
        headers: vec![("content-type", content_type.to_owned())],
        body: body.chunks[0].bytes.to_vec(),
    };
    rig.project.gateway().answer_next(1, "bus_chunk", &answer);
    let chunks = rig.store.chunks(&key.principal, id, 0..1).await;
    let error = rig.failed(chunks.map(|_| "chunks"), Kind::Internal);
    assert!(error.to_string().contains("octet-stream"), "{error}");
    rig.whole(&key, &body).await;
}

/// More than a chunk may have is neither read to its end nor handed out.
#[tokio::test]
async fn a_chunk_that_does_not_end_is_refused() {
    let rig = Rig::shared().await;
    let body = Body::of(2, 1);
    let key = publish(rig.direct.as_ref(), "message", &body).await;
    let id = rig.store.open(&key).await.unwrap().record.id;
    let answer = Answer {
        status: 200,
        headers: vec![("content-type", "application/octet-stream".to_owned())],
        body: vec![7; (4 << 20) + 1],
    };
    rig.project.gateway().answer_next(1, "bus_chunk", &answer);
    let chunks = rig.store.chunks(&key.principal, id, 0..1).await;
    rig.failed(chunks.map(|_| "chunks"), Kind::Damaged);
    rig.whole(&key, &body).await;
}

/// An answer of another chunk, an empty one, a shorter one: a client hands out no byte of it.
#[rstest]
#[tokio::test]
async fn a_chunk_with_other_bytes_is_not_handed_out(#[values(0, 100, Body::CHUNK)] len: usize) {
    let rig = Rig::shared().await;
    let body = Body::of(3, 1);
    publish(rig.direct.as_ref(), "message", &body).await;
    let answer = Answer {
        status: 200,
        headers: vec![("content-type", "application/octet-stream".to_owned())],
        body: vec![7; len],
    };
    let client = rig.client();
    let fetched = client.fetch(&"message".parse().unwrap()).await.unwrap();
    rig.project.gateway().answer_next(1, "bus_chunk", &answer);
    let error = fetched.bytes().await.unwrap_err();
    let kinds = [ClientErrorKind::Damaged, ClientErrorKind::DigestMismatch];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert!(fetched.bytes().await.unwrap() == body.payload);
    rig.whole(&key("message"), &body).await;
}
