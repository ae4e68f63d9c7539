//! How a store is opened, and the hook that sees the order of its durable steps.

use std::{fmt, sync::Arc, time::Duration};

use bus_store::{Clock, SystemClock};

/// How an [`EmbeddedStore`](crate::EmbeddedStore) is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Judges leases and expiry. Processes that share a store should share a clock: the machine's,
    /// by default.
    pub clock: Arc<dyn Clock>,
    /// Bodies up to this many bytes that arrive whole are kept inside the index: 64 KiB.
    pub inline_bytes: u64,
    /// After this many bytes an upload's chunks are made durable, so that another process can
    /// resume them after a crash: 32 MiB. Less costs more syncs; 0 makes each chunk durable by
    /// itself.
    pub checkpoint_bytes: u64,
    /// How long a call waits for another process that holds the index: 10 seconds.
    pub busy_timeout: Duration,
    /// Calls that read at the same time, each with a connection of its own: 8. More wait.
    pub readers: usize,
    /// Is told of every durable step, in order; for tests of that order, and for tests that stop
    /// a process between two steps.
    pub on_step: StepHook,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            inline_bytes: 64 << 10,
            checkpoint_bytes: 32 << 20,
            busy_timeout: Duration::from_secs(10),
            readers: 8,
            on_step: StepHook::default(),
        }
    }
}

/// A step after which the disk holds something that it did not hold before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The row of a new upload is durable.
    RowPending,
    /// The body file exists and is locked by its writer.
    FileCreated,
    /// A chunk is in the file, not yet durable.
    ChunkWritten,
    /// All chunks written so far are durable.
    DataSynced,
    /// The name of the body file is durable.
    FolderSynced,
    /// Chunk rows of an upload that goes on are durable.
    RowsCheckpointed,
    /// The message is complete, durably.
    Committed,
    /// A message's row is gone and its file is in the trash list, durably.
    RowDeleted,
    /// A body file is gone.
    FileRemoved,
    /// The trash list has forgotten removed files.
    TrashCleared,
}

/// A function that is told of each [`Step`], or none.
#[derive(Clone, Default)]
pub struct StepHook(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl StepHook {
    /// A hook that calls `told` right after each step, on the thread that did it.
    #[must_use]
    pub fn new(told: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    pub(crate) fn done(&self, step: Step) {
        if let Some(told) = &self.0 {
            told(step);
        }
    }
}

impl fmt::Debug for StepHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "StepHook" } else { "None" })
    }
}
