//! Harnesses over the reference.
#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

pub mod wrapper;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bus_store::{ManualClock, MemoryStore, Store, conformance::Harness};

use self::wrapper::{Transparent, Wrapper};

/// A store over the reference, and the clock that both go by.
pub struct Memory {
    clock: Arc<ManualClock>,
    store: Arc<dyn Store>,
    second: Arc<dyn Store>,
}

impl Memory {
    /// The reference behind what `wrap` makes of it.
    pub fn new(wrap: impl FnOnce(MemoryStore) -> Arc<dyn Store>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let memory = MemoryStore::with_clock(Arc::clone(&clock) as _);
        Self {
            clock,
            second: Arc::new(memory.clone()),
            store: wrap(memory),
        }
    }
}

#[async_trait]
impl Harness for Memory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn second_store(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::clone(&self.second))
    }
}

/// The reference as it is.
pub async fn memory() -> Memory {
    Memory::new(|memory| Arc::new(memory))
}

/// The reference behind a wrapper that passes every call on.
pub async fn wrapped() -> Memory {
    Memory::new(|memory| Arc::new(Wrapper::new(memory, Transparent)))
}
