//! The body of a publishing request as a reader that gives up where the client stands still.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, HttpBody as _},
    http::{HeaderMap, header},
};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep, timeout},
};

/// How much of a refused body is still read, so that its sender gets to see the answer.
const DRAIN_BYTES: usize = 16 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A request's body. Its end is the end that the client meant: a transfer that was cut off is an
/// error.
///
/// Dropped before its end, it reads a bounded rest in the background. Closing a socket that still
/// holds unread bytes resets the connection, and a client that was still sending would see that
/// reset instead of the reason. A client that waits for `100 Continue` sends nothing before it
/// gets the answer, so nothing is read from it.
pub(super) struct UploadBody {
    /// `None` once it has ended or failed.
    body: Option<BodyDataStream>,
    declared: Option<u64>,
    waits_for_continue: bool,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether the deadline runs. It does only while somebody waits for the client: a store that
    /// takes its time is not the client's fault.
    waiting: bool,
}

impl UploadBody {
    /// The body of a request with `headers`; it may pause for at most `idle`.
    pub(super) fn new(body: Body, headers: &HeaderMap, idle: Duration) -> Self {
        Self {
            declared: body.size_hint().exact(),
            body: Some(body.into_data_stream()),
            waits_for_continue: headers.contains_key(header::EXPECT),
            idle,
            deadline: Box::pin(sleep(idle)),
            waiting: false,
        }
    }

    /// The length that the client announced; `None` for a chunked body.
    pub(super) fn declared(&self) -> Option<u64> {
        self.declared
    }
}

impl Stream for UploadBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        this.waits_for_continue = false;
        let answer = match body.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(bytes))) => {
                this.waiting = false;
                return Poll::Ready(Some(Ok(bytes)));
            }
            Poll::Ready(Some(Err(error))) => Some(Err(io::Error::other(error))),
            Poll::Ready(None) => None,
            Poll::Pending => {
                if !this.waiting {
                    this.waiting = true;
                    this.deadline.as_mut().reset(Instant::now() + this.idle);
                }
                if this.deadline.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let message = format!("the body stood still for {:?}", this.idle);
                Some(Err(io::Error::new(io::ErrorKind::TimedOut, message)))
            }
        };
        this.body = None;
        Poll::Ready(answer)
    }
}

impl Drop for UploadBody {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else {
            return;
        };
        if self.waits_for_continue {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(DRAIN_TIME, drain(body)));
        }
    }
}

async fn drain(mut body: BodyDataStream) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(bytes)) = body.next().await {
        match left.checked_sub(bytes.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt as _, stream};

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn upload(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> UploadBody {
        UploadBody::new(Body::from_stream(parts), &HeaderMap::new(), IDLE)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_given_up() {
        let parts = stream::iter([Ok(Bytes::from("some"))]).chain(stream::pending());
        let error = upload(parts).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_is_waited_for() {
        let parts = stream::iter(0..5).then(|_| async {
            sleep(IDLE / 2).await;
            Ok(Bytes::from("x"))
        });
        let read: Vec<Bytes> = upload(parts).try_collect().await.unwrap();
        assert_eq!(read.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_not_the_clients_fault() {
        let parts = stream::iter(0..3).then(|_| async {
            sleep(IDLE / 2).await;
            Ok(Bytes::from("x"))
        });
        let mut body = upload(parts);
        while body.try_next().await.unwrap().is_some() {
            sleep(IDLE * 2).await;
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_an_end() {
        let parts = stream::iter([Ok(Bytes::from("some")), Err(io::Error::other("cut"))]);
        assert!(upload(parts).try_collect::<Vec<_>>().await.is_err());
    }
}
