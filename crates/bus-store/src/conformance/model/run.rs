//! One sequence of operations, on both stores.

use std::{sync::Arc, time::Duration};

use bus_model::MessageStatus;
use proptest::test_runner::TestCaseError;

use super::{ops::Op, side::Side};
use crate::{
    Clock as _, ManualClock, MemoryStore, Store as _,
    conformance::{Harness, support::LEASE},
};

/// What passes before each message is begun, so that no two are of the same time. As all that passes in the model is a
/// multiple of it, a store whose clock runs on meanwhile stays on the same side of every border.
const TICK: Duration = Duration::from_secs(10);

/// Does `ops` on the store of `h` and on the reference.
///
/// # Errors
/// Where an answer differs.
pub(super) async fn run(h: &dyn Harness, ops: &[Op]) -> Result<(), TestCaseError> {
    let mut both = Both::new(h);
    for (step, op) in ops.iter().enumerate() {
        if let Some(writer) = op.writer()
            && both.is_dead(writer).await
        {
            continue;
        }
        match op {
            Op::Advance(seconds) => both.advance(Duration::from_secs((*seconds).into())).await,
            Op::TakeOver(_) => both.advance(LEASE).await,
            Op::Begin(..) | Op::Put(..) => both.advance(TICK).await,
            _ => {}
        }
        let wanted = both.reference.apply(op).await;
        let got = both.tested.apply(op).await;
        if got != wanted {
            return Err(TestCaseError::fail(format!(
                "operation {step}, {op:?}: the store said\n{got:#?}\nthe reference\n{wanted:#?}\n"
            )));
        }
    }
    Ok(())
}

struct Both<'a> {
    harness: &'a dyn Harness,
    tested: Side,
    reference: Side,
    memory: MemoryStore,
    clock: Arc<ManualClock>,
    /// Writers whose process is gone.
    dead: Vec<bool>,
}

impl<'a> Both<'a> {
    fn new(harness: &'a dyn Harness) -> Self {
        let clock = Arc::new(ManualClock::default());
        let memory = MemoryStore::with_clock(Arc::clone(&clock) as _);
        Self {
            harness,
            tested: Side::new(harness.store()),
            reference: Side::new(Arc::new(memory.clone())),
            memory,
            clock,
            dead: Vec::new(),
        }
    }

    /// Moves both clocks. A writer whose lease is over by then is gone.
    async fn advance(&mut self, by: Duration) {
        self.harness.advance(by).await;
        self.clock.advance(by);
        self.dead.resize(self.tested.writers.len(), false);
        for place in 0..self.dead.len() {
            if !self.dead[place] && self.is_late(place).await {
                self.dead[place] = true;
                let token = &self.tested.writers[place].token;
                self.harness.writer_dies(token).await;
            }
        }
    }

    /// Whether a writer is gone and nobody took its upload over: it cannot make a call any more.
    /// Once somebody did, its late calls have to be refused.
    async fn is_dead(&self, back: usize) -> bool {
        match self.reference.writer(back) {
            Some(place) => {
                self.dead.get(place).is_some_and(|dead| *dead) && self.holds(place).await
            }
            None => false,
        }
    }

    /// Whether the lease of a writer that still holds its upload is over.
    async fn is_late(&self, place: usize) -> bool {
        let key = &self.reference.writers[place].key;
        let record = self.memory.record(key).await;
        let until = record.ok().and_then(|record| record.lease_expires_at);
        until.is_some_and(|until| until <= self.clock.now()) && self.holds(place).await
    }

    /// Whether a writer holds its upload.
    async fn holds(&self, place: usize) -> bool {
        let slot = &self.reference.writers[place];
        let last = self
            .reference
            .writers
            .iter()
            .rposition(|other| other.token.id == slot.token.id);
        let record = self.memory.record(&slot.key).await;
        last == Some(place)
            && record.is_ok_and(|record| {
                record.id == slot.token.id && record.status == MessageStatus::Pending
            })
    }
}
