//! How long a call waits for its answer, where several share one way.
//!
//! A time for its own bytes alone would cut every call of a transfer on a way that is slow, but whole:
//! four chunks beside each other take four times as long as one.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

/// The bytes that are on their way now.
#[derive(Debug, Default)]
pub(crate) struct Load(AtomicU64);

/// The bytes of one call, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    load: &'a Load,
    bytes: u64,
}

impl Load {
    pub(crate) fn enter(&self, bytes: u64) -> Share<'_> {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Share { load: self, bytes }
    }
}

impl Share<'_> {
    /// The bytes that this call waits for: its own and those beside it, but no more than `most` times
    /// its own, so that a way that is dead is not waited for all too long.
    fn bytes(&self, most: u64) -> u64 {
        let all = self.load.0.load(Ordering::Relaxed);
        all.min(self.bytes.saturating_mul(most))
    }

    /// Waits for `work` as long as `time` says of the bytes on their way; looked at again when the
    /// time is up, since calls may have come beside this one.
    ///
    /// # Errors
    /// The time that was waited in vain.
    pub(crate) async fn wait<T>(
        &self,
        most: u64,
        time: impl Fn(u64) -> Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Duration> {
        let start = Instant::now();
        let mut work = pin!(work);
        let mut bytes = self.bytes(most);
        loop {
            // What is beyond all clocks is never.
            let Some(until) = start.checked_add(time(bytes)) else {
                return Ok(work.await);
            };
            if let Ok(done) = timeout_at(until, work.as_mut()).await {
                return Ok(done);
            }
            let now = self.bytes(most);
            if now <= bytes {
                return Err(time(bytes));
            }
            bytes = now;
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.load.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    /// A second and one more for each byte.
    fn time(bytes: u64) -> Duration {
        Duration::from_secs(1 + bytes)
    }

    async fn waits(share: &Share<'_>) -> u64 {
        let start = Instant::now();
        let waited = share.wait(4, time, pending::<()>()).await.unwrap_err();
        assert_eq!(waited, start.elapsed());
        waited.as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_alone_has_the_time_for_its_own_bytes() {
        let load = Load::default();
        let share = load.enter(10);
        assert_eq!(waits(&share).await, 11);
        let done = share.wait(4, time, sleep(Duration::from_secs(9))).await;
        assert_eq!(done, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn those_beside_it_count_until_they_are_gone() {
        let load = Load::default();
        let (share, beside) = (load.enter(10), load.enter(20));
        assert_eq!(waits(&share).await, 31);
        drop(beside);
        assert_eq!(waits(&share).await, 11);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_later_counts_as_well() {
        let load = Load::default();
        let share = load.enter(10);
        let later = async {
            sleep(Duration::from_secs(5)).await;
            let _beside = load.enter(10);
            pending::<()>().await;
        };
        tokio::select! {
            waited = waits(&share) => assert_eq!(waited, 21),
            () = later => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_call_is_not_kept_waiting_by_large_ones() {
        let load = Load::default();
        let (small, _large) = (load.enter(1), load.enter(1_000_000));
        assert_eq!(waits(&small).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_beyond_all_clocks_is_never() {
        let load = Load::default();
        let share = load.enter(1);
        let done = share.wait(4, |_| Duration::MAX, async { 7 }).await;
        assert_eq!(done, Ok(7));
    }
}
