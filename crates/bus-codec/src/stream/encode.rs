//! The way in: a payload to chunks and their manifest.

use std::{
    fmt,
    future::poll_fn,
    io, mem,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bus_model::{CompressionType, Manifest};
use bytes::Bytes;
use futures::Stream;
use tokio::io::AsyncRead;

use super::{
    default_parallelism,
    jobs::{Jobs, Lost},
    lane::HashLane,
    source::{Chunker, Input},
};
use crate::{
    ChunkEncoder, DEFAULT_CHUNK_SIZE, EncodeError, EncodedChunk, Level,
    builder::{Tally, check_chunk_size},
};

/// How a payload is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeOptions {
    /// How the chunks are encoded.
    pub encoding: CompressionType,
    /// The encoding's level; `None` is its default.
    pub level: Option<i32>,
    /// Original size of every chunk but the last, in bytes: 1 to [`crate::MAX_CHUNK_SIZE`].
    pub chunk_size: u32,
    /// How many chunks may be in flight; 0 counts as 1.
    pub parallelism: usize,
    /// Largest payload in bytes.
    pub max_payload: u64,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            encoding: CompressionType::default(),
            level: None,
            chunk_size: DEFAULT_CHUNK_SIZE,
            parallelism: default_parallelism(),
            max_payload: u64::MAX,
        }
    }
}

/// Encodes a payload, chunk by chunk in order, several at once.
///
/// ```
/// use bus_codec::stream::{EncodeOptions, Encoder};
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let payload = tokio::io::repeat(b'a');
/// let payload = tokio::io::AsyncReadExt::take(payload, 5_000_000);
/// let mut encoder = Encoder::from_reader(payload, EncodeOptions::default());
/// while let Some(chunk) = encoder.next().await {
///     let chunk = chunk?; // store it
/// }
/// let manifest = encoder.finish()?;
/// assert_eq!(manifest.payload_size(), 5_000_000);
/// # Ok::<(), bus_codec::EncodeError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Encoder {
    options: EncodeOptions,
    state: State,
    chunks: Chunker,
    /// A chunk that was read and waits for room.
    waiting: Option<Bytes>,
    jobs: Jobs<Result<EncodedChunk, EncodeError>>,
    encoders: Encoders,
    payload: HashLane,
    encoded: HashLane,
    /// The first encoded chunk: it is hashed only once there is a second.
    held: Option<Bytes>,
    tally: Tally,
    admitted: u64,
    delivered: u64,
}

enum State {
    Running,
    Failing(EncodeError),
    Done,
    Failed,
}

impl Encoder {
    /// An encoder of what `reader` yields. Options that are not possible are told by the first
    /// [`Encoder::next`].
    pub fn from_reader(
        reader: impl AsyncRead + Send + Unpin + 'static,
        options: EncodeOptions,
    ) -> Self {
        Self::new(Input::Reader(Box::new(reader)), options)
    }

    /// An encoder of `payload`, which is sliced and never copied.
    #[must_use]
    pub fn from_bytes(payload: Bytes, options: EncodeOptions) -> Self {
        Self::new(Input::Bytes(payload), options)
    }

    /// An encoder of the concatenated items of `pieces`. An item may be longer than a chunk.
    pub fn from_stream(
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
        options: EncodeOptions,
    ) -> Self {
        let pieces = Box::new(pieces);
        let piece = Bytes::new();
        Self::new(Input::Stream { pieces, piece }, options)
    }

    fn new(input: Input, mut options: EncodeOptions) -> Self {
        options.parallelism = options.parallelism.max(1);
        let legal = check_chunk_size(options.chunk_size)
            .and_then(|()| Level::new(options.encoding, options.level));
        Self {
            state: legal.map_or_else(State::Failing, |_| State::Running),
            chunks: Chunker::new(input, options.chunk_size, options.max_payload),
            waiting: None,
            jobs: Jobs::new(),
            encoders: Encoders::default(),
            payload: HashLane::new(),
            encoded: HashLane::new(),
            held: None,
            tally: Tally::new(options.encoding, options.chunk_size),
            admitted: 0,
            delivered: 0,
            options,
        }
    }

    /// The next chunk; `None` after the last one, and after an error. An empty payload has one
    /// chunk. Cancellation safe.
    ///
    /// # Errors
    /// [`EncodeError::Source`] where the caller's reader failed, [`EncodeError::TooLarge`] as soon
    /// as the payload passes its limit (nothing beyond is read), or the options' fault. Chunks in
    /// flight are dropped, and the source with them.
    pub async fn next(&mut self) -> Option<Result<EncodedChunk, EncodeError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The manifest of all chunks. It does not wait: `next` has, before it returned `None`.
    ///
    /// # Errors
    /// [`EncodeError::NotFinished`] unless [`Encoder::next`] returned `None` without an error
    /// before.
    pub fn finish(self) -> Result<Manifest, EncodeError> {
        if !matches!(self.state, State::Done) {
            return Err(EncodeError::NotFinished);
        }
        let payload = self.payload.digest().ok_or(EncodeError::Stopped)?;
        let encoded = if self.tally.needs_encoded_hash() {
            Some(self.encoded.digest().ok_or(EncodeError::Stopped)?)
        } else {
            None
        };
        self.tally.finish(payload, encoded)
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<EncodedChunk, EncodeError>>> {
        match mem::replace(&mut self.state, State::Running) {
            State::Running => {}
            State::Failing(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            ended => {
                self.state = ended;
                return Poll::Ready(None);
            }
        }
        match ready!(self.poll_chunk(cx)) {
            Ok(Some(chunk)) => Poll::Ready(Some(Ok(chunk))),
            Ok(None) => {
                self.state = State::Done;
                Poll::Ready(None)
            }
            Err(error) => Poll::Ready(Some(Err(self.fail(error)))),
        }
    }

    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<EncodedChunk>, EncodeError>> {
        self.fill(cx)?;
        match ready!(self.jobs.poll_oldest(cx)) {
            Some(chunk) => {
                let chunk = chunk.map_err(stopped)??;
                self.hand_out(&chunk)?;
                // The place of the chunk that goes out is taken before the caller gets busy.
                if let Err(error) = self.fill(cx) {
                    self.state = State::Failing(error);
                }
                Poll::Ready(Ok(Some(chunk)))
            }
            None if self.chunks.is_done() && self.waiting.is_none() => {
                ready!(self.poll_hashed(cx, self.admitted)).map_err(stopped)?;
                Poll::Ready(Ok(None))
            }
            None => Poll::Pending,
        }
    }

    /// Reads and starts chunks while there is room for them and the source has some.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<(), EncodeError> {
        loop {
            if self.waiting.is_none() {
                match self.chunks.poll_chunk(cx) {
                    Poll::Ready(Some(chunk)) => self.waiting = Some(chunk?),
                    Poll::Ready(None) | Poll::Pending => return Ok(()),
                }
            }
            if !self.has_room(cx)? {
                return Ok(());
            }
            if let Some(original) = self.waiting.take() {
                self.start(original)?;
            }
        }
    }

    /// Whether one more chunk may be in flight; where not, whatever makes room wakes the caller.
    fn has_room(&self, cx: &mut Context<'_>) -> Result<bool, EncodeError> {
        let ended = (self.admitted + 1).saturating_sub(self.options.parallelism as u64);
        if self.delivered < ended {
            return Ok(false);
        }
        match self.poll_hashed(cx, ended) {
            Poll::Ready(done) => done.map(|()| true).map_err(stopped),
            Poll::Pending => Ok(false),
        }
    }

    /// Ready once the first `count` chunks are in both digests.
    fn poll_hashed(&self, cx: &mut Context<'_>, count: u64) -> Poll<Result<(), Lost>> {
        ready!(self.payload.poll_hashed(cx, count))?;
        if self.tally.needs_encoded_hash() {
            return self.encoded.poll_hashed(cx, count);
        }
        Poll::Ready(Ok(()))
    }

    /// Starts the work on a chunk.
    fn start(&mut self, original: Bytes) -> Result<(), EncodeError> {
        let seq = u32::try_from(self.admitted).map_err(|_| EncodeError::TooManyChunks {
            chunk_size: u64::from(self.options.chunk_size),
        })?;
        self.admitted += 1;
        self.payload.push(original.clone());
        let encoders = self.encoders.clone();
        let (encoding, level) = (self.options.encoding, self.options.level);
        self.jobs.push(move || {
            let mut encoder = encoders.take(encoding, level)?;
            let chunk = encoder.encode(seq, &original)?;
            encoders.put_back(encoder);
            Ok(chunk)
        });
        Ok(())
    }

    /// Notes a chunk that goes out.
    fn hand_out(&mut self, chunk: &EncodedChunk) -> Result<(), EncodeError> {
        self.tally.add(chunk)?;
        self.delivered += 1;
        if self.tally.needs_encoded_hash() {
            if let Some(first) = self.held.take() {
                self.encoded.push(first);
            }
            self.encoded.push(chunk.bytes.clone());
        } else if self.delivered == 1 {
            self.held = Some(chunk.bytes.clone());
        }
        Ok(())
    }

    /// Lets go of everything.
    fn fail(&mut self, error: EncodeError) -> EncodeError {
        self.state = State::Failed;
        self.chunks.close();
        self.waiting = None;
        self.held = None;
        self.jobs.clear();
        self.payload = HashLane::new();
        self.encoded = HashLane::new();
        error
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder")
            .field("options", &self.options)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

/// Chunk encoders that nobody uses at the moment; at most as many as chunks in flight.
#[derive(Clone, Default)]
struct Encoders(Arc<Mutex<Vec<ChunkEncoder>>>);

impl Encoders {
    fn take(
        &self,
        encoding: CompressionType,
        level: Option<i32>,
    ) -> Result<ChunkEncoder, EncodeError> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| ChunkEncoder::new(encoding, level), Ok)
    }

    fn put_back(&self, encoder: ChunkEncoder) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(encoder);
    }
}

fn stopped(_: Lost) -> EncodeError {
    EncodeError::Stopped
}
