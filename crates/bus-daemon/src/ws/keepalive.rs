//! Pings: when to send one, and when a silent client is given up. Pure but for waiting.
//!
//! The time to answer begins when the ping was handed to the socket, not when it was asked for, so
//! that a client on a slow link is not blamed for what is queued before it.

use std::time::{Duration, Instant};

use tokio::{sync::oneshot, time::sleep_until};

/// Where a session stands between two pings.
#[derive(Debug)]
pub(crate) struct KeepAlive {
    interval: Duration,
    patience: Duration,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Quiet { until: Instant },
    Queued(oneshot::Receiver<Instant>),
    Waiting { until: Instant },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send a ping and call [`KeepAlive::sent`].
    Ping,
    /// Nothing; go on waiting.
    Nothing,
    /// The client did not answer in time.
    Dead,
}

/// Longer than any session; an instant plus a time without end would be no instant.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

impl KeepAlive {
    pub(crate) fn new(interval: Duration, patience: Duration, now: Instant) -> Self {
        let (interval, patience) = (interval.min(FOREVER), patience.min(FOREVER));
        Self {
            interval,
            patience,
            phase: Phase::Quiet {
                until: now + interval,
            },
        }
    }

    /// Something came from the client: it is alive.
    pub(crate) fn heard(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.phase = Phase::Quiet {
                until: now + self.interval,
            };
        }
    }

    /// A ping was asked for; `written` tells when it was handed to the socket.
    pub(crate) fn sent(&mut self, written: oneshot::Receiver<Instant>) {
        self.phase = Phase::Queued(written);
    }

    /// Waits until something is due. Cancel safe.
    pub(crate) async fn due(&mut self) -> Due {
        match &mut self.phase {
            Phase::Quiet { until } => {
                sleep_until((*until).into()).await;
                Due::Ping
            }
            Phase::Queued(written) => match written.await {
                Ok(at) => {
                    self.phase = Phase::Waiting {
                        until: at + self.patience,
                    };
                    Due::Nothing
                }
                // The writer is gone, and the session with it.
                Err(_) => Due::Dead,
            },
            Phase::Waiting { until } => {
                sleep_until((*until).into()).await;
                Due::Dead
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(45);
    const PATIENCE: Duration = Duration::from_secs(30);

    /// The runtime's own time, which a paused test moves.
    fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn written(at: Instant) -> oneshot::Receiver<Instant> {
        let (tell, told) = oneshot::channel();
        tell.send(at).unwrap();
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_answers_is_pinged_again() {
        let mut keepalive = KeepAlive::new(INTERVAL, PATIENCE, now());
        for _ in 0..3 {
            let before = now();
            assert_eq!(keepalive.due().await, Due::Ping);
            assert_eq!((now() - before).as_secs(), 45);
            keepalive.sent(written(now()));
            assert_eq!(keepalive.due().await, Due::Nothing);
            keepalive.heard(now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_answer_is_given_up() {
        let mut keepalive = KeepAlive::new(INTERVAL, PATIENCE, now());
        assert_eq!(keepalive.due().await, Due::Ping);
        keepalive.sent(written(now()));
        assert_eq!(keepalive.due().await, Due::Nothing);
        let before = now();
        assert_eq!(keepalive.due().await, Due::Dead);
        assert_eq!((now() - before).as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn times_without_end_are_no_problem() {
        let mut keepalive = KeepAlive::new(Duration::MAX, Duration::MAX, now());
        assert_eq!(keepalive.due().await, Due::Ping);
        keepalive.sent(written(now()));
        assert_eq!(keepalive.due().await, Due::Nothing);
        keepalive.heard(now());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_to_answer_begins_when_the_ping_is_written() {
        let mut keepalive = KeepAlive::new(INTERVAL, PATIENCE, now());
        assert_eq!(keepalive.due().await, Due::Ping);
        keepalive.sent(written(now() + Duration::from_secs(100)));
        assert_eq!(keepalive.due().await, Due::Nothing);
        let before = now();
        assert_eq!(keepalive.due().await, Due::Dead);
        assert_eq!((now() - before).as_secs(), 130);
    }
}
