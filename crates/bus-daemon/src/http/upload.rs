//! The body of a publishing request as a reader that gives up where the client stands still.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, BodyDataStream, HttpBody as _};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::time::{Sleep, sleep};

/// A request's body. Its end is the end that the client meant: a transfer that was cut off is an
/// error.
pub(super) struct UploadBody {
    /// `None` once it has ended or failed.
    body: Option<BodyDataStream>,
    declared: Option<u64>,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Whether the deadline runs. It does only while somebody waits for the client: a store that
    /// takes its time is not the client's fault.
    waiting: bool,
}

impl UploadBody {
    /// A body that may pause for at most `idle`.
    pub(super) fn new(body: Body, idle: Duration) -> Self {
        Self {
            declared: body.size_hint().exact(),
            body: Some(body.into_data_stream()),
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
                    this.deadline.set(sleep(this.idle));
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

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt as _, stream};

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn upload(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> UploadBody {
        UploadBody::new(Body::from_stream(parts), IDLE)
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

    #[tokio::test(start_paused = true)]
    async fn a_pause_may_be_without_end() {
        let parts = stream::once(async { Ok::<_, io::Error>(Bytes::from("some")) })
            .chain(stream::pending());
        let mut body = UploadBody::new(Body::from_stream(parts), Duration::MAX);
        assert!(body.try_next().await.unwrap().is_some());
        let year = Duration::from_secs(365 * 24 * 3600);
        assert!(tokio::time::timeout(year, body.try_next()).await.is_err());
    }
}
