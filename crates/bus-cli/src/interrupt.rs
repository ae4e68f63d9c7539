//! Ctrl-C and SIGTERM: the first ends the work cleanly, the second ends the program.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::exit::{Exit, Failure};

/// Cancelled by the first Ctrl-C or SIGTERM.
///
/// # Errors
/// Where the handlers cannot be installed.
pub(crate) fn watch() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let cancelled = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// Runs `work` until it ends, or until `clean_up` after `stop`: an upload gets the time to be
/// aborted, so that nothing half-written is left behind.
///
/// # Errors
/// What `work` fails with; [`Failure::interrupted`] where that was after a stop.
pub(crate) async fn guard<T>(
    stop: &CancellationToken,
    clean_up: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::pin!(work);
    let done = tokio::select! {
        done = &mut work => done,
        () = stop.cancelled() => {
            // What fails after a stop fails because of it.
            match tokio::time::timeout(clean_up, work).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(_)) | Err(_) => Err(Failure::interrupted().into()),
            }
        }
    };
    match done {
        Err(_) if stop.is_cancelled() => Err(Failure::interrupted().into()),
        done => done,
    }
}

/// A reader that fails once `stop` is cancelled, so that whoever reads it gives up cleanly.
pub(crate) struct Interruptible<R> {
    inner: R,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<R> Interruptible<R> {
    /// Reads `inner` until `stop`.
    pub(crate) fn new(inner: R, stop: CancellationToken) -> Self {
        Self {
            inner,
            stopped: Box::pin(stop.cancelled_owned()),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Interruptible<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::other("interrupted")));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}
