//! The one task that writes to a session's socket.
//!
//! Pings go before queued frames. The queue is bounded, so a client that stops reading stops its
//! own reader loop and its own calls, and the socket's stall deadline
//! ([`listener`](crate::listener)) ends the session in the end.

use std::time::Instant;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::{SinkExt as _, stream::SplitSink};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinHandle,
};

/// Frames that wait for the socket, beside the results of calls, which their permits bound.
const QUEUE: usize = 32;

/// The way to a session's socket. Cheap to clone; the writer ends when all clones are gone.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    urgent: mpsc::Sender<oneshot::Sender<Instant>>,
    frames: mpsc::Sender<Outgoing>,
}

/// The socket is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

#[derive(Debug)]
enum Outgoing {
    Text {
        frame: Utf8Bytes,
        /// Held until the frame is handed to the socket.
        place: Option<OwnedSemaphorePermit>,
    },
    Close(CloseFrame),
}

impl Outbox {
    /// Starts the writer of `sink`.
    pub(crate) fn start(sink: SplitSink<WebSocket, Message>) -> (Self, JoinHandle<()>) {
        let (urgent, pings) = mpsc::channel(1);
        let (frames, queue) = mpsc::channel(QUEUE);
        let writer = tokio::spawn(write(sink, pings, queue));
        (Self { urgent, frames }, writer)
    }

    /// Queues a frame; waits while the queue is full.
    pub(crate) async fn send(&self, frame: impl Into<Utf8Bytes>) -> Result<(), Gone> {
        self.queue(frame.into(), None).await
    }

    /// Queues the result of a call, whose place in its session is free once it is written.
    pub(crate) async fn send_result(
        &self,
        frame: Utf8Bytes,
        place: OwnedSemaphorePermit,
    ) -> Result<(), Gone> {
        self.queue(frame, Some(place)).await
    }

    /// Queues a frame that may be dropped where the client does not keep up.
    pub(crate) fn offer(&self, frame: String) {
        let frame = frame.into();
        let _ = self.frames.try_send(Outgoing::Text { frame, place: None });
    }

    /// Asks for a ping; the answer tells when it was handed to the socket.
    pub(crate) fn ping(&self) -> oneshot::Receiver<Instant> {
        let (written, when) = oneshot::channel();
        // One ping at a time is asked for, so that there is always room for it.
        let _ = self.urgent.try_send(written);
        when
    }

    /// Says goodbye after everything that is queued. Nothing is written afterwards.
    pub(crate) async fn close(&self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        // Where the socket is gone there is nobody to say goodbye to.
        let _ = self.frames.send(Outgoing::Close(frame)).await;
    }

    async fn queue(
        &self,
        frame: Utf8Bytes,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Gone> {
        let item = Outgoing::Text { frame, place };
        self.frames.send(item).await.map_err(|_| Gone)
    }
}

async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut pings: mpsc::Receiver<oneshot::Sender<Instant>>,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    loop {
        let written = tokio::select! {
            biased;
            Some(written) = pings.recv() => {
                let sent = sink.send(Message::Ping(Bytes::new())).await;
                let _ = written.send(Instant::now());
                sent
            }
            next = queue.recv() => match next {
                Some(Outgoing::Text { frame, place }) => {
                    let sent = sink.send(Message::Text(frame)).await;
                    drop(place);
                    sent
                }
                Some(Outgoing::Close(frame)) => {
                    let _ = sink.send(Message::Close(Some(frame))).await;
                    return;
                }
                None => return,
            },
        };
        if let Err(error) = written {
            tracing::debug!(%error, "the socket takes no more");
            return;
        }
    }
}
