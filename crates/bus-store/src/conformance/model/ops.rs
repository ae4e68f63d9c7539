//! The operations, and how random sequences of them are made.

use std::time::Duration;

use bus_model::{Digest, MessageKey, MessageStatus, SessionId};
use proptest::{collection::vec, option, prelude::*};

use crate::{
    ListQuery, NewMessage,
    conformance::support::{Body, body, message_of, noise, principal, ttl, txn},
};

/// The time to live of the model's messages: short, so that many expire.
const TTL: Duration = Duration::from_secs(600);

/// One of a few keys of two principals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    principal: u8,
    name: u8,
}

impl Key {
    pub(super) fn get(self) -> MessageKey {
        let owner = principal(["one", "two"][usize::from(self.principal)]);
        MessageKey::new(owner, txn(&format!("m{}", self.name)))
    }
}

/// One of a few bodies, of 0 to 4 chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyNo(u8);

impl BodyNo {
    pub(super) fn get(self) -> Body {
        let len = [0, 20, 50, 50][usize::from(self.0)];
        body(noise(len, self.0.into()))
    }
}

/// What a plan says of the payload before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Size,
    DigestAndSize,
    AnotherDigest,
}

/// A writer, counted back from the last one that began.
pub(super) type Writer = usize;

/// Which messages to list.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    key: Key,
    by_session: bool,
    status: Option<MessageStatus>,
    pub(super) limit: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Begin(Key, BodyNo, Known),
    /// Begins what a writer began, once its lease is over.
    TakeOver(Writer),
    /// Uploads one chunk of the writer's own body, or of another.
    PutChunk(Writer, u8, Option<BodyNo>),
    /// Uploads all chunks of the writer's body.
    Upload(Writer),
    Renew(Writer),
    /// Commits the writer's body, or another.
    Commit(Writer, Option<BodyNo>),
    Abort(Writer),
    Put(Key, BodyNo, Known),
    Record(Key),
    Read(Key),
    /// Reads these chunks of a message by its id, counted back; as its owner or a stranger.
    Chunks(usize, bool, u8, u8),
    /// Lists page by page.
    List(Listing),
    /// Lists one page, for `NextPage` to go on.
    FirstPage(Listing),
    NextPage,
    Touch(Key, Key),
    Acknowledge(Key),
    Delete(Key),
    Purge(u32, Option<u16>),
    Stats,
    /// Moves the clock by this many seconds.
    Advance(u16),
}

impl Op {
    /// Whose token it is done with, where it is done with one.
    pub(super) fn writer(&self) -> Option<Writer> {
        match self {
            Self::PutChunk(writer, ..)
            | Self::Upload(writer)
            | Self::Renew(writer)
            | Self::Commit(writer, _)
            | Self::Abort(writer) => Some(*writer),
            _ => None,
        }
    }
}

/// The message that a writer of `body` begins under `key`.
pub(super) fn new_message(key: Key, body: &Body, known: Known) -> NewMessage {
    let mut message = message_of(key.get());
    message.attributes.ttl = ttl(TTL);
    message.attributes.session_id = session(key);
    let size = Some(body.manifest.payload_size());
    let plan = &mut message.plan;
    (plan.expected_digest, plan.expected_size) = match known {
        Known::Nothing => (None, None),
        Known::Size => (None, size),
        Known::DigestAndSize => (Some(body.manifest.payload_digest()), size),
        Known::AnotherDigest => (Some(Digest::of(b"another")), None),
    };
    message
}

pub(super) fn query(listing: &Listing) -> ListQuery {
    ListQuery {
        session_id: listing.by_session.then(|| session(listing.key)),
        status: listing.status,
        ..ListQuery::new(listing.key.get().principal)
    }
}

/// Sequences of operations.
pub(super) fn sequences() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..50)
}

fn op() -> impl Strategy<Value = Op> {
    let short = prop_oneof![Just(10_u16), Just(30), Just(60)];
    let long = prop_oneof![Just(600_u16), Just(1200)];
    prop_oneof![
        5 => (key(), body_no(), known()).prop_map(|(k, b, d)| Op::Begin(k, b, d)),
        3 => writer().prop_map(Op::TakeOver),
        3 => (writer(), 0..5_u8, maybe_body()).prop_map(|(w, s, b)| Op::PutChunk(w, s, b)),
        5 => writer().prop_map(Op::Upload),
        2 => writer().prop_map(Op::Renew),
        5 => (writer(), maybe_body()).prop_map(|(w, b)| Op::Commit(w, b)),
        1 => writer().prop_map(Op::Abort),
        5 => (key(), body_no(), known()).prop_map(|(k, b, d)| Op::Put(k, b, d)),
        2 => key().prop_map(Op::Record),
        4 => key().prop_map(Op::Read),
        3 => (0..4_usize, prop::bool::weighted(0.2), 0..5_u8, 0..6_u8)
            .prop_map(|(i, stranger, a, b)| Op::Chunks(i, stranger, a, b)),
        3 => listing().prop_map(Op::List),
        3 => listing().prop_map(Op::FirstPage),
        4 => Just(Op::NextPage),
        1 => (key(), key()).prop_map(|(a, b)| Op::Touch(a, b)),
        2 => key().prop_map(Op::Acknowledge),
        2 => key().prop_map(Op::Delete),
        2 => (1..4_u32, option::of(prop_oneof![Just(0_u16), Just(60)]))
            .prop_map(|(limit, after)| Op::Purge(limit, after)),
        1 => Just(Op::Stats),
        4 => short.prop_map(Op::Advance),
        3 => long.prop_map(Op::Advance),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    let owner = prop_oneof![3 => Just(0_u8), 1 => Just(1)];
    (owner, 0..4_u8).prop_map(|(principal, name)| Key { principal, name })
}

fn body_no() -> impl Strategy<Value = BodyNo> {
    (0..4_u8).prop_map(BodyNo)
}

fn maybe_body() -> impl Strategy<Value = Option<BodyNo>> {
    option::weighted(0.2, body_no())
}

fn known() -> impl Strategy<Value = Known> {
    prop_oneof![
        6 => Just(Known::Nothing),
        1 => Just(Known::Size),
        2 => Just(Known::DigestAndSize),
        1 => Just(Known::AnotherDigest),
    ]
}

fn writer() -> impl Strategy<Value = Writer> {
    prop_oneof![5 => Just(0_usize), 3 => Just(1), 1 => Just(2), 1 => Just(3)]
}

fn listing() -> impl Strategy<Value = Listing> {
    let one = prop::sample::select(MessageStatus::ALL.to_vec());
    let status = option::weighted(0.3, one);
    (key(), prop::bool::weighted(0.2), status, 1..3_u32).prop_map(
        |(key, by_session, status, limit)| Listing {
            key,
            by_session,
            status,
            limit,
        },
    )
}

/// Two sessions, by the name of the message.
fn session(key: Key) -> SessionId {
    SessionId::new(["even", "odd"][usize::from(key.name % 2)]).expect("legal")
}
