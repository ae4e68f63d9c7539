//! Storing a payload: its headers and its body.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bus_model::{Attributes, Digest, MessageBusRecord, TransactionId, Ttl};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use reqwest::{
    RequestBuilder, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::problem;
use crate::{DaemonUrl, RemoteError, RemoteErrorKind};

/// How much is read at a time, in bytes.
const PIECE: usize = 256 << 10;
/// How often a silent daemon is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What is said of a payload that is stored.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// The idempotency key; the daemon mints one where it is `None`.
    pub transaction_id: Option<TransactionId>,
    /// What is said of the message; its own time to live is not looked at.
    pub attributes: Attributes,
    /// How long it lives; the daemon's setting where it is `None`.
    pub ttl: Option<Ttl>,
    /// SHA-256 of the payload where it is known; the daemon refuses anything else.
    pub digest: Option<Digest>,
}

/// The body of a payload that is stored.
pub struct Body {
    stream: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'static>>,
    length: Option<u64>,
}

/// A message that a daemon stored.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its record, without the payload.
    pub record: MessageBusRecord,
    /// Whether this call wrote it; false where it was there already, with the same digest.
    pub created: bool,
}

impl Body {
    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        Self {
            stream: futures::stream::iter([Ok(bytes)]).boxed(),
            length,
        }
    }

    /// Everything that `reader` gives; `length` is its number of bytes where that is known.
    pub fn reader(reader: impl AsyncRead + Send + 'static, length: Option<u64>) -> Self {
        Self {
            stream: ReaderStream::with_capacity(reader, PIECE).boxed(),
            length,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl PutOptions {
    /// The headers that carry it. Values are UTF-8.
    pub(super) fn headers(&self) -> Result<HeaderMap, RemoteError> {
        let attributes = &self.attributes;
        let mut headers = HeaderMap::new();
        let mut put = |name: HeaderName, value: &str| match HeaderValue::from_str(value)
            .or_else(|_| HeaderValue::from_bytes(value.as_bytes()))
        {
            Ok(value) => {
                headers.insert(name, value);
                Ok(())
            }
            Err(error) => {
                let message =
                    format!("{name} cannot carry {value:?}: control characters are not taken");
                Err(RemoteError::new(RemoteErrorKind::InvalidInput, message).with_source(error))
            }
        };
        put(CONTENT_TYPE, attributes.content_type.as_str())?;
        put(
            HeaderName::from_static("bus-session"),
            attributes.session_id.as_str(),
        )?;
        put(
            HeaderName::from_static("bus-tool"),
            attributes.tool_name.as_str(),
        )?;
        put(
            HeaderName::from_static("bus-provider"),
            attributes.provider_name.as_str(),
        )?;
        put(
            HeaderName::from_static("bus-priority"),
            attributes.priority.as_str(),
        )?;
        if !attributes.metadata.is_empty() {
            let metadata = serde_json::Value::Object(attributes.metadata.clone()).to_string();
            put(HeaderName::from_static("bus-metadata"), &metadata)?;
        }
        if let Some(ttl) = self.ttl {
            put(HeaderName::from_static("bus-ttl-hours"), &hours(ttl))?;
        }
        if let Some(digest) = self.digest {
            put(
                HeaderName::from_static("repr-digest"),
                &digest.to_repr_digest(),
            )?;
        }
        Ok(headers)
    }
}

/// A time to live in hours, as exact as a float is.
fn hours(ttl: Ttl) -> String {
    #[expect(clippy::cast_precision_loss, reason = "ten years in ms fit 53 bits")]
    let ms = ttl.as_millis() as f64;
    (ms / 3_600_000.0).to_string()
}

/// Sends the body and waits for the answer. How long it takes is nobody's business as long as it
/// moves, or the body's own source is what is slow.
pub(super) async fn send(
    request: RequestBuilder,
    body: Body,
    idle: Duration,
    url: &DaemonUrl,
) -> Result<Response, RemoteError> {
    let pace = Arc::new(Pace::default());
    let request = match body.length {
        Some(length) => request.header(CONTENT_LENGTH, length),
        None => request,
    };
    let paced = Paced {
        inner: body.stream,
        pace: Arc::clone(&pace),
    };
    let sending = request.body(reqwest::Body::wrap_stream(paced)).send();
    let answer = tokio::select! {
        answer = sending => answer,
        () = pace.stalled(idle) => return Err(problem::silent(url, idle)),
    };
    match answer {
        Ok(answer) => problem::check(answer, url).await,
        Err(error) => Err(pace
            .source_failure()
            .unwrap_or_else(|| problem::unreachable(error, url))),
    }
}

/// Whose turn it is, and what became of the body's source.
#[derive(Default)]
struct Pace(Mutex<Turn>);

#[derive(Default)]
struct Turn {
    /// Since when the daemon is the one to move; `None` while the source is.
    daemon_since: Option<Instant>,
    failure: Option<io::Error>,
}

impl Pace {
    /// Resolves once the daemon has not moved for `idle`.
    async fn stalled(&self, idle: Duration) {
        loop {
            tokio::time::sleep(LOOK.min(idle)).await;
            if self
                .turn()
                .daemon_since
                .is_some_and(|since| since.elapsed() >= idle)
            {
                return;
            }
        }
    }

    /// The error, where it was the body's own source that failed.
    fn source_failure(&self) -> Option<RemoteError> {
        let error = self.turn().failure.take()?;
        let message = "the payload's source failed before its end; nothing was stored";
        Some(RemoteError::new(RemoteErrorKind::Io, message).with_source(error))
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The body's stream, noting whose turn it is.
struct Paced {
    inner: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send + 'static>>,
    pace: Arc<Pace>,
}

impl Stream for Paced {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.poll_next_unpin(cx);
        let mut turn = self.pace.turn();
        turn.daemon_since = polled.is_ready().then(Instant::now);
        match polled {
            Poll::Ready(Some(Err(error))) => {
                let shown = io::Error::new(error.kind(), error.to_string());
                turn.failure = Some(error);
                Poll::Ready(Some(Err(shown)))
            }
            other => other,
        }
    }
}
