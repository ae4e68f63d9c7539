//! A connection that breaks at each stage of a download.

use bus_client::ClientErrorKind;
use bus_model::MessageKey;
use bus_store::{Store, StoreErrorKind as Kind};
use bus_testkit::Fault;
use bytes::Bytes;
use futures::StreamExt as _;
use rstest::rstest;

use crate::kit::{Body, HASTY, PATIENT, Rig, publish, read};

/// Many more than are on their way at a time.
const CHUNKS: usize = 24;
/// Where a chunk breaks off.
const MIDDLE: u64 = Body::CHUNK as u64 / 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Reset,
    Cut,
    Refused,
    Lost,
}

impl Way {
    fn after(self, bytes: u64) -> Fault {
        match self {
            Self::Reset => Fault::ResetAfter {
                up: None,
                down: Some(bytes),
            },
            Self::Cut => Fault::CutAfter {
                up: None,
                down: Some(bytes),
            },
            Self::Refused => Fault::Refuse,
            Self::Lost => Fault::HalfOpen,
        }
    }

    fn kind(self) -> Kind {
        if self == Self::Lost {
            Kind::Timeout
        } else {
            Kind::Unavailable
        }
    }

    async fn rig(self) -> (Rig, Body, MessageKey) {
        let rig = Rig::shared_with(if self == Self::Lost { HASTY } else { PATIENT }).await;
        let body = Body::of(CHUNKS, 7);
        let key = publish(rig.direct.as_ref(), "message", &body).await;
        (rig, body, key)
    }
}

async fn all_comes_now(rig: &Rig, key: &MessageKey, body: &Body) {
    rig.proxy.clear();
    let all = read(rig.store.as_ref(), key, 0..CHUNKS as u32)
        .await
        .unwrap();
    assert!(all == body.bytes());
    rig.works("afterwards").await;
}

#[rstest]
#[tokio::test]
async fn a_record_that_breaks_off_is_read_again(
    #[values(Way::Reset, Way::Cut, Way::Refused, Way::Lost)] way: Way,
    #[values(1, 300)] bytes: u64,
) {
    let (rig, body, key) = way.rig().await;
    rig.proxy.set(way.after(bytes));
    rig.transient(rig.store.open(&key).await, way.kind());
    all_comes_now(&rig, &key, &body).await;
}

/// Before the first chunk, or in the middle of it: the call itself fails.
#[rstest]
#[tokio::test]
async fn a_first_chunk_that_breaks_off_is_read_again(
    #[values(Way::Reset, Way::Cut, Way::Refused, Way::Lost)] way: Way,
    #[values(1, MIDDLE)] bytes: u64,
) {
    let (rig, body, key) = way.rig().await;
    let id = rig.store.open(&key).await.unwrap().record.id;
    rig.proxy.set(way.after(bytes));
    let stream = rig.store.chunks(&key.principal, id, 0..CHUNKS as u32).await;
    rig.transient(stream.map(|_| "chunks"), way.kind());
    all_comes_now(&rig, &key, &body).await;
}

/// Between two chunks or in the middle of one: what came is right, the end is an error, and the rest can be asked for.
#[rstest]
#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_goes_on_from_there(
    #[values(Way::Reset, Way::Cut, Way::Refused, Way::Lost)] way: Way,
    #[values(1, MIDDLE)] bytes: u64,
) {
    let (rig, body, key) = way.rig().await;
    let id = rig.store.open(&key).await.unwrap().record.id;
    let all = 0..CHUNKS as u32;
    let mut stream = rig
        .store
        .chunks(&key.principal, id, all.clone())
        .await
        .unwrap();
    let mut got: Vec<Bytes> = vec![stream.next().await.unwrap().unwrap()];
    rig.proxy.set(way.after(bytes));
    let error = loop {
        match stream
            .next()
            .await
            .expect("a stream that is not whole ends with an error")
        {
            Ok(chunk) => got.push(chunk),
            Err(error) => break error,
        }
    };
    rig.transient(Err::<(), _>(error), way.kind());
    drop(stream);
    assert!(got.len() < CHUNKS && got[..] == body.bytes()[..got.len()]);

    rig.proxy.clear();
    let rest = read(rig.store.as_ref(), &key, got.len() as u32..all.end)
        .await
        .unwrap();
    assert!(rest[..] == body.bytes()[got.len()..]);
    all_comes_now(&rig, &key, &body).await;
}

/// The reader of a client never takes a part for the whole.
#[rstest]
#[tokio::test]
async fn a_payload_that_breaks_off_ends_with_an_error(
    #[values(Way::Reset, Way::Cut, Way::Refused, Way::Lost)] way: Way,
) {
    let (rig, body, key) = way.rig().await;
    let client = rig.client();
    let fetched = client.fetch(&key.transaction_id).await.unwrap();
    let mut stream = fetched.stream();
    let mut got = stream.next().await.unwrap().unwrap().to_vec();
    rig.proxy.set(way.after(MIDDLE));
    let error = loop {
        match stream
            .next()
            .await
            .expect("a payload that is not whole ends with an error")
        {
            Ok(bytes) => got.extend_from_slice(&bytes),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ClientErrorKind::Unavailable, "{error:?}");
    assert!(error.is_transient());
    assert!(stream.next().await.is_none(), "an error is the last item");
    assert!(got.len() < body.payload.len() && got[..] == body.payload[..got.len()]);

    rig.proxy.clear();
    let again = client
        .fetch(&key.transaction_id)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(again == body.payload);
}
