//! What the tests of the client share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "each test binary uses a part of it"
)]

use std::sync::Arc;

use bus_client::{Message, MessageBusClient};
use bus_model::{ByteSize, CompressionType};
use bus_store::{ManualClock, MemoryStore, Store};
use bytes::Bytes;

/// A chunk size that makes many chunks of little data.
pub(crate) const CHUNK: u32 = 1000;

pub(crate) struct Bus {
    pub(crate) client: MessageBusClient,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
}

/// A client of a fresh memory store, with small chunks and a maximum of 1 MiB.
pub(crate) fn bus() -> Bus {
    bus_with(CompressionType::Zstd)
}

pub(crate) fn bus_with(compression: CompressionType) -> Bus {
    let clock = Arc::new(ManualClock::default());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::with_clock(clock.clone()));
    Bus {
        client: client_of(store.clone(), compression),
        store,
        clock,
    }
}

pub(crate) fn client_of(store: Arc<dyn Store>, compression: CompressionType) -> MessageBusClient {
    MessageBusClient::builder()
        .store(store)
        .compression(compression)
        .chunk_size(CHUNK)
        .parallelism(3)
        .max_payload(ByteSize::mib(1))
        .build()
}

pub(crate) fn message() -> Message {
    Message::new("s1".parse().unwrap(), "tool".parse().unwrap())
}

pub(crate) fn message_as(id: &str) -> Message {
    Message {
        transaction_id: Some(id.parse().unwrap()),
        ..message()
    }
}

/// `len` bytes that do not repeat within a chunk.
pub(crate) fn payload(len: usize) -> Bytes {
    (0..len)
        .map(|i| (i * 31 + i / 251) as u8)
        .collect::<Vec<_>>()
        .into()
}
