//! A serial hash beside parallel work: bytes go in in order, a blocking thread hashes them while
//! there are any.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bus_model::{Digest, Hasher};
use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::jobs::Lost;

/// One serial SHA-256. No thread waits while there is nothing to hash. Dropping it empties its
/// queue; the piece being hashed is finished.
pub(crate) struct HashLane(Arc<Mutex<State>>);

struct State {
    queue: VecDeque<Bytes>,
    /// Here while no thread works on the queue.
    hasher: Option<Hasher>,
    /// How many pieces have been hashed.
    hashed: u64,
    lost: bool,
    waker: Option<Waker>,
}

impl HashLane {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            queue: VecDeque::new(),
            hasher: Some(Hasher::new()),
            hashed: 0,
            lost: false,
            waker: None,
        })))
    }

    /// Adds a piece, and a thread where none is at work.
    pub(crate) fn push(&self, piece: Bytes) {
        let idle = {
            let mut state = lock(&self.0);
            state.queue.push_back(piece);
            state.hasher.take()
        };
        // Not under the lock: a runtime that is gone drops the worker at once, which takes it.
        if let Some(hasher) = idle {
            let worker = Worker {
                state: Arc::clone(&self.0),
                hasher: Some(hasher),
            };
            spawn_blocking(move || worker.run());
        }
    }

    /// Ready once `count` pieces have been hashed.
    pub(crate) fn poll_hashed(&self, cx: &mut Context<'_>, count: u64) -> Poll<Result<(), Lost>> {
        let mut state = lock(&self.0);
        if state.hashed >= count {
            return Poll::Ready(Ok(()));
        }
        if state.lost {
            return Poll::Ready(Err(Lost));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The digest of all pieces, once all have been hashed; the lane starts over.
    pub(crate) fn digest(&self) -> Option<Digest> {
        let mut state = lock(&self.0);
        if !state.queue.is_empty() {
            return None;
        }
        let hasher = state.hasher.take()?;
        state.hasher = Some(Hasher::new());
        Some(hasher.finish())
    }
}

impl Drop for HashLane {
    fn drop(&mut self) {
        lock(&self.0).queue.clear();
    }
}

/// What runs on the blocking thread.
struct Worker {
    state: Arc<Mutex<State>>,
    hasher: Option<Hasher>,
}

impl Worker {
    fn run(mut self) {
        let mut next = self.first_piece();
        while let Some(piece) = next {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            drop(piece);
            next = self.count();
        }
    }

    fn first_piece(&mut self) -> Option<Bytes> {
        let shared = Arc::clone(&self.state);
        self.take_piece(&mut lock(&shared))
    }

    /// Says that one more piece is in the hash, and takes the next one under the same lock: whoever
    /// sees the last piece counted finds the hasher back in its place.
    fn count(&mut self) -> Option<Bytes> {
        let shared = Arc::clone(&self.state);
        let mut state = lock(&shared);
        state.hashed += 1;
        let next = self.take_piece(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        next
    }

    /// The next piece. Where there is none the hasher goes back, so that a push either is seen here
    /// or starts a worker of its own.
    fn take_piece(&mut self, state: &mut State) -> Option<Bytes> {
        let piece = state.queue.pop_front();
        if piece.is_none() {
            state.hasher = self.hasher.take();
        }
        piece
    }
}

impl Drop for Worker {
    /// A worker that ends with the hasher still in hand was dropped by a runtime that stops.
    fn drop(&mut self) {
        if self.hasher.is_none() {
            return;
        }
        let waker = {
            let mut state = lock(&self.state);
            state.lost = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// No code that holds the lock can panic, so a poisoned one is as good as any.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
