//! The audit log: one entry a call, written behind the calls' backs.
//!
//! A call hands its entry to a bounded queue and goes on; a task of its own writes what has come, in
//! batches. Where the store does not keep up, entries are dropped and counted, and a delivery never
//! waits or fails for it.

mod entry;
mod writer;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bus_store::records::AuditEntry;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    entry::{Times, Why, of_call, of_refusal},
    writer::write,
};
use crate::metrics::Metrics;

/// Entries that may wait: some megabytes at the very most.
const WAITING: usize = 1024;
/// Time between two lines of the log about dropped entries.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// The way into the audit log.
#[derive(Debug)]
pub(crate) struct Audit {
    way: Mutex<Option<Sender<AuditEntry>>>,
    queue: Mutex<Option<Receiver<AuditEntry>>>,
    /// Cancelled when nothing more comes.
    closing: CancellationToken,
    /// Entries that were handed over, and neither written nor dropped yet.
    waiting: AtomicU64,
    /// Dropped since the log was told.
    unsaid: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Audit {
    /// A queue that nobody reads yet; without `enabled` there is none.
    pub(crate) fn new(enabled: bool) -> Self {
        let (way, queue) = mpsc::channel(WAITING);
        Self {
            way: Mutex::new(enabled.then_some(way)),
            queue: Mutex::new(enabled.then_some(queue)),
            closing: CancellationToken::new(),
            waiting: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
            said: Mutex::new(None),
        }
    }

    /// Hands over an entry, without waiting.
    pub(crate) fn offer(&self, metrics: &Metrics, entry: impl FnOnce() -> AuditEntry) {
        // Cloned, so that no call waits for the entry of another one to be made.
        let way = self.way.lock().clone();
        let Some(way) = way.filter(|way| !way.is_closed()) else {
            return;
        };
        // Counted first: the writer may be done with it before we go on.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match way.try_send(entry()) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.lost(metrics, 1),
            Err(TrySendError::Closed(_)) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Nothing more comes; what has come is still written.
    pub(crate) fn close(&self) {
        self.way.lock().take();
        self.closing.cancel();
    }

    /// The end of the queue that [`write`] reads; `None` the second time, and where there is none.
    pub(crate) fn take_queue(&self) -> Option<Receiver<AuditEntry>> {
        self.queue.lock().take()
    }

    /// Counts what waits still as dropped, since nobody is going to write it; how many those are.
    pub(crate) fn give_up(&self, metrics: &Metrics) -> u64 {
        let left = self.waiting.swap(0, Ordering::Relaxed);
        metrics.audit_entries("dropped", left);
        left
    }

    /// Counts entries that were written.
    fn written(&self, metrics: &Metrics, count: u64) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        metrics.audit_entries("written", count);
    }

    /// Counts entries that are not going to be written. The log is told now and then.
    fn lost(&self, metrics: &Metrics, count: u64) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        metrics.audit_entries("dropped", count);
        self.unsaid.fetch_add(count, Ordering::Relaxed);
        let mut said = self.said.lock();
        if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            *said = Some(Instant::now());
            let entries = self.unsaid.swap(0, Ordering::Relaxed);
            tracing::warn!(
                entries,
                "audit entries dropped: more wait than the queue takes, or the store refused them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use bus_model::{Principal, SessionId};
    use bus_protocol::{CallError, ErrorCode, RequestId};

    use super::*;

    fn entry() -> AuditEntry {
        let error = CallError::new(ErrorCode::OverCapacity, "later");
        let session = SessionId::new("s").unwrap();
        let request = RequestId::new("r").unwrap();
        of_refusal(&Principal::default(), &session, &request, "tool", &error)
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (audit, metrics) = (Audit::new(true), Metrics::new());
        for _ in 0..WAITING + 3 {
            audit.offer(&metrics, entry);
        }
        let text = metrics.render();
        assert!(
            text.contains(r#"bus_audit_entries_total{result="dropped"} 3"#),
            "{text}"
        );
        assert_eq!(audit.take_queue().unwrap().len(), WAITING);
    }

    #[test]
    fn a_log_that_is_off_makes_no_entries() {
        let (audit, metrics) = (Audit::new(false), Metrics::new());
        audit.offer(&metrics, || unreachable!("nobody asked for it"));
        assert!(audit.take_queue().is_none());
        let closed = Audit::new(true);
        closed.close();
        closed.offer(&metrics, || unreachable!("nobody asked for it"));
    }
}
