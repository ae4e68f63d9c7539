//! Blocking jobs whose results are taken in the order of their start.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::task::{JoinHandle, spawn_blocking};

/// The runtime stopped, or a job did not end well.
#[derive(Debug)]
pub(crate) struct Lost;

/// A queue of running jobs. Dropping it keeps those from starting that have not.
pub(crate) struct Jobs<T>(VecDeque<JoinHandle<T>>);

impl<T: Send + 'static> Jobs<T> {
    pub(crate) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(crate) fn push(&mut self, job: impl FnOnce() -> T + Send + 'static) {
        self.0.push_back(spawn_blocking(job));
    }

    /// The result of the oldest job; `None` where there is none.
    pub(crate) fn poll_oldest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Lost>>> {
        let Some(oldest) = self.0.front_mut() else {
            return Poll::Ready(None);
        };
        let result = ready!(Pin::new(oldest).poll(cx));
        self.0.pop_front();
        Poll::Ready(Some(result.map_err(|_| Lost)))
    }
}

impl<T> Jobs<T> {
    /// Drops all jobs; one that runs already ends by itself, unseen.
    pub(crate) fn clear(&mut self) {
        for job in self.0.drain(..) {
            job.abort();
        }
    }
}

impl<T> Drop for Jobs<T> {
    fn drop(&mut self) {
        self.clear();
    }
}
