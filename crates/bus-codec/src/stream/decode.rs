//! The way out: stored chunks to the bytes of a payload, or of a range of it.

use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bus_model::Manifest;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};

use super::{
    default_parallelism,
    jobs::{Jobs, Lost},
    lane::HashLane,
};
use crate::{
    DecodeError,
    body::{check_payload, chunks_to_read, decode_seq},
};

/// How stored chunks are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeOptions {
    /// How many chunks may be in flight; 0 counts as 1.
    pub parallelism: usize,
    /// Whether the digest of the whole payload is checked, where the whole is read.
    pub check_whole: bool,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            parallelism: default_parallelism(),
            check_whole: true,
        }
    }
}

/// Why decoding a stream ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamDecodeError<E> {
    /// The stored chunks could not be read.
    #[error("reading the stored chunks failed")]
    Source(#[source] E),
    /// The stored chunks are not what the manifest says.
    #[error("the stored chunks are not what their manifest says")]
    Decode(#[source] DecodeError),
    /// The runtime stopped while a chunk was being decoded.
    #[error("decoding was cut short: the runtime is shutting down")]
    Stopped,
}

/// Decodes the bytes `bytes` of a payload from its stored chunks.
///
/// `stored` yields the chunks [`crate::chunks_to_read`]`(manifest, bytes)`, in order and no others.
/// The items are the decoded bytes, cut to the range; a range that reaches beyond the payload ends
/// with it. Nothing of a chunk comes out before its digest was right.
///
/// Where `bytes` is the whole payload and `check_whole` is set, the last chunk is held back until
/// the digest of the whole is right too: whoever counts bytes never sees a whole that is not. The
/// manifest itself is taken as it is: compare its digest with the claim's before.
///
/// After an error the stream ends. Chunks before the bad one come out first.
pub fn decode<E, S>(
    manifest: Arc<Manifest>,
    bytes: Range<u64>,
    options: DecodeOptions,
    stored: S,
) -> Decode<E>
where
    E: Send + 'static,
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
{
    let chunks = chunks_to_read(&manifest, bytes.clone());
    let whole = bytes.start == 0 && bytes.end >= manifest.payload_size();
    Decode {
        stored: Some(stored.boxed()),
        jobs: Jobs::new(),
        payload: (whole && options.check_whole).then(HashLane::new),
        parallelism: options.parallelism.max(1) as u64,
        first: chunks.start,
        admitted: chunks.start,
        delivered: chunks.start,
        end: chunks.end,
        last: None,
        failure: None,
        bytes,
        manifest,
    }
}

/// What [`decode`] returns. Dropping it drops the source; what runs ends with its chunk.
pub struct Decode<E> {
    manifest: Arc<Manifest>,
    bytes: Range<u64>,
    stored: Option<BoxStream<'static, Result<Bytes, E>>>,
    jobs: Jobs<Result<Bytes, DecodeError>>,
    payload: Option<HashLane>,
    parallelism: u64,
    first: u32,
    /// Chunks before this one were taken from the source.
    admitted: u32,
    /// Chunks before this one came out of their jobs.
    delivered: u32,
    end: u32,
    /// The last chunk, held back for the digest of the whole.
    last: Option<Bytes>,
    /// What went wrong with the source, told after the chunks before it.
    failure: Option<StreamDecodeError<E>>,
}

/// No field is ever pinned but the source, which is in a box.
impl<E> Unpin for Decode<E> {}

impl<E: Send + 'static> Stream for Decode<E> {
    type Item = Result<Bytes, StreamDecodeError<E>>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(this.poll_item(cx));
        if !matches!(item, Ok(Some(_))) {
            this.stop();
        }
        Poll::Ready(item.transpose())
    }
}

impl<E: Send + 'static> Decode<E> {
    fn poll_item(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamDecodeError<E>>> {
        loop {
            self.fill(cx)?;
            let Some(plain) = ready!(self.jobs.poll_oldest(cx)) else {
                return self.poll_end(cx);
            };
            let plain = plain.map_err(stopped)?.map_err(StreamDecodeError::Decode)?;
            let part = self.cut(&plain);
            self.delivered += 1;
            if let Some(lane) = &self.payload {
                lane.push(plain);
                if self.delivered == self.end {
                    self.last = Some(part);
                    continue;
                }
            }
            self.fill(cx)?;
            if !part.is_empty() {
                return Poll::Ready(Ok(Some(part)));
            }
        }
    }

    /// What comes once no job is left: an error of the source, the held chunk, the end.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamDecodeError<E>>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        if self.stored.is_some() {
            return Poll::Pending;
        }
        if let Some(lane) = &self.payload {
            let pieces = u64::from(self.delivered - self.first);
            ready!(lane.poll_hashed(cx, pieces)).map_err(stopped)?;
            let found = lane.digest().ok_or(StreamDecodeError::Stopped)?;
            check_payload(&self.manifest, found).map_err(StreamDecodeError::Decode)?;
            self.payload = None;
        }
        let last = self.last.take().filter(|part| !part.is_empty());
        Poll::Ready(Ok(last))
    }

    /// Takes chunks from the source while there is room, and sees to it that it ends in time.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), StreamDecodeError<E>> {
        while self.stored.is_some() {
            if self.admitted < self.end && !self.has_room(cx)? {
                return Ok(());
            }
            let Some(Poll::Ready(item)) = self.stored.as_mut().map(|s| s.poll_next_unpin(cx))
            else {
                return Ok(());
            };
            self.take(item);
        }
        Ok(())
    }

    /// Whether one more chunk may be in flight; where not, whatever makes room wakes the caller.
    fn has_room(&self, cx: &mut Context<'_>) -> Result<bool, StreamDecodeError<E>> {
        let admitted = u64::from(self.admitted - self.first);
        let ended = (admitted + 1).saturating_sub(self.parallelism);
        if u64::from(self.delivered - self.first) < ended {
            return Ok(false);
        }
        match &self.payload {
            None => Ok(true),
            Some(lane) => match lane.poll_hashed(cx, ended) {
                Poll::Ready(done) => done.map(|()| true).map_err(stopped),
                Poll::Pending => Ok(false),
            },
        }
    }

    /// Starts the work on an item of the source, or notes what is wrong with it.
    fn take(&mut self, item: Option<Result<Bytes, E>>) {
        let expected = self.end - self.first;
        let failure = match item {
            Some(Ok(stored)) if self.admitted < self.end => return self.start(stored),
            Some(Ok(_)) => StreamDecodeError::Decode(DecodeError::TooManyChunks { expected }),
            Some(Err(error)) => StreamDecodeError::Source(error),
            None => {
                self.stored = None;
                if self.admitted == self.end {
                    return;
                }
                let missing = self.admitted;
                StreamDecodeError::Decode(DecodeError::MissingChunks { missing, expected })
            }
        };
        self.stored = None;
        self.failure = Some(failure);
    }

    fn start(&mut self, stored: Bytes) {
        let manifest = Arc::clone(&self.manifest);
        let seq = self.admitted;
        self.admitted += 1;
        self.jobs.push(move || decode_seq(&manifest, seq, &stored));
    }

    /// The part of the chunk that is due that lies in the range.
    fn cut(&self, plain: &Bytes) -> Bytes {
        let start = u64::from(self.delivered) * self.manifest.chunk_size();
        let within = |offset: u64| {
            let offset = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
            offset.min(plain.len())
        };
        let (from, to) = (within(self.bytes.start), within(self.bytes.end));
        plain.slice(from..to.max(from))
    }

    /// Lets go of everything.
    fn stop(&mut self) {
        self.stored = None;
        self.jobs.clear();
        self.payload = None;
        self.last = None;
        self.failure = None;
    }
}

impl<E> std::fmt::Debug for Decode<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decode")
            .field("bytes", &self.bytes)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

fn stopped<E>(_: Lost) -> StreamDecodeError<E> {
    StreamDecodeError::Stopped
}
