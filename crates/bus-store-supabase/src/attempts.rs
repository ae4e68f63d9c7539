//! The fences of calls whose answer was lost.
//!
//! `begin` and `put` mint the fence that they write with. Where the answer does not come, the call
//! may have taken effect all the same, and a new fence would find the key busy until the lease is over. So
//! the fence is kept, and the same message asked for again is asked for with it: the functions
//! then answer as they would have. It is handed out once; a second writer of the same key in this
//! process gets one of its own.

use std::time::Duration;

use bus_store::NewMessage;
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// How many are remembered; beyond that the oldest is forgotten.
const MOST: usize = 256;
/// The longest that one is remembered.
const LONGEST: Duration = Duration::from_secs(600);

/// Calls whose answer was lost.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Vec<Lost>>);

#[derive(Debug)]
struct Lost {
    message: NewMessage,
    fence: Uuid,
    until: Instant,
}

/// One call. Dropped before it is settled, its fence is kept.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    all: &'a Attempts,
    message: &'a NewMessage,
    fence: Uuid,
    settled: bool,
}

impl Attempts {
    /// A call for `message`: with the fence of one that was lost, else with a new one.
    pub(crate) fn start<'a>(&'a self, message: &'a NewMessage) -> Attempt<'a> {
        let now = Instant::now();
        let mut lost = self.0.lock();
        lost.retain(|lost| lost.until > now);
        let known = lost.iter().position(|lost| lost.message == *message);
        let fence = known.map_or_else(Uuid::new_v4, |place| lost.remove(place).fence);
        Attempt {
            all: self,
            message,
            fence,
            settled: false,
        }
    }
}

impl Attempt<'_> {
    /// What the call writes with.
    pub(crate) fn fence(&self) -> Uuid {
        self.fence
    }

    /// The answer has come.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let mut lost = self.all.0.lock();
        if lost.len() >= MOST {
            lost.remove(0);
        }
        lost.push(Lost {
            message: self.message.clone(),
            fence: self.fence,
            until: Instant::now() + self.message.plan.lease.min(LONGEST),
        });
    }
}

#[cfg(test)]
mod tests {
    use bus_model::{Attributes, CompressionType, MessageKey, Principal, TransactionId};
    use bus_store::Plan;

    use super::*;

    fn message(name: &str) -> NewMessage {
        NewMessage {
            key: MessageKey::new(
                Principal::default(),
                TransactionId::new(name).expect("an id"),
            ),
            attributes: Attributes::new(
                "session".parse().expect("a session"),
                "tool".parse().expect("a tool"),
            ),
            plan: Plan {
                encoding: CompressionType::None,
                chunk_size: 1,
                expected_digest: None,
                expected_size: None,
                lease: Duration::from_secs(60),
            },
        }
    }

    #[tokio::test]
    async fn a_lost_call_is_repeated_with_its_fence_once() {
        let (attempts, message) = (Attempts::default(), message("m"));
        let lost = attempts.start(&message).fence();
        let again = attempts.start(&message);
        assert_eq!(again.fence(), lost);
        assert_ne!(
            attempts.start(&message).fence(),
            lost,
            "it is handed out once"
        );
        again.settle();
    }

    #[tokio::test]
    async fn a_settled_call_is_forgotten() {
        let (attempts, message) = (Attempts::default(), message("m"));
        let first = attempts.start(&message);
        let fence = first.fence();
        first.settle();
        assert_ne!(attempts.start(&message).fence(), fence);
    }

    #[tokio::test]
    async fn another_message_has_another_fence() {
        let attempts = Attempts::default();
        let fence = attempts.start(&message("m")).fence();
        let mut other = message("m");
        other.plan.chunk_size = 2;
        assert_ne!(attempts.start(&other).fence(), fence);
        assert_ne!(attempts.start(&message("n")).fence(), fence);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_kept_as_long_as_the_lease() {
        let (attempts, message) = (Attempts::default(), message("m"));
        let fence = attempts.start(&message).fence();
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_ne!(attempts.start(&message).fence(), fence);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let attempts = Attempts::default();
        for number in 0..MOST + 10 {
            drop(attempts.start(&message(&format!("m{number}"))));
        }
        assert_eq!(attempts.0.lock().len(), MOST);
    }
}
