//! Where a payload comes from, cut into chunks.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::Stream;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::EncodeError;

/// Where the first chunk's buffer starts; it doubles up to the chunk size, so that a small payload
/// does not cost a large buffer.
const FIRST_BUFFER: usize = 64 * 1024;

/// What is read.
pub(crate) enum Input {
    Bytes(Bytes),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
    Stream {
        pieces: Box<dyn Stream<Item = io::Result<Bytes>> + Send + Unpin>,
        piece: Bytes,
    },
}

/// Cuts an input into chunks. The input is dropped as soon as it has ended or failed.
pub(crate) struct Chunker {
    input: Option<Input>,
    chunk_size: usize,
    limit: u64,
    /// Bytes taken from the input.
    taken: u64,
    /// Bytes of the next chunk.
    buffer: BytesMut,
    /// Whether a chunk has come out yet: the first may be empty, no other.
    begun: bool,
}

impl Chunker {
    pub(crate) fn new(input: Input, chunk_size: u32, limit: u64) -> Self {
        Self {
            input: Some(input),
            chunk_size: usize::try_from(chunk_size).unwrap_or(usize::MAX),
            limit,
            taken: 0,
            buffer: BytesMut::new(),
            begun: false,
        }
    }

    /// Whether the input has been read to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.input.is_none()
    }

    /// Drops the input.
    pub(crate) fn close(&mut self) {
        self.input = None;
        self.buffer = BytesMut::new();
    }

    /// The next chunk; `None` after the last. Loses no bytes where it is polled again later.
    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, EncodeError>>> {
        let chunk = match &mut self.input {
            None => return Poll::Ready(None),
            Some(Input::Bytes(_)) => Ok(self.cut_bytes()),
            Some(Input::Reader(_)) => ready!(self.poll_reader(cx)),
            Some(Input::Stream { .. }) => ready!(self.poll_stream(cx)),
        };
        let last = match &chunk {
            Ok(chunk) => chunk.len() < self.chunk_size,
            Err(_) => true,
        };
        let chunk = chunk.and_then(|chunk| self.within_limit().map(|()| chunk));
        if last || chunk.is_err() {
            self.close();
        }
        match chunk {
            Ok(chunk) if chunk.is_empty() && self.begun => Poll::Ready(None),
            chunk => {
                self.begun = true;
                Poll::Ready(Some(chunk))
            }
        }
    }

    fn within_limit(&self) -> Result<(), EncodeError> {
        if self.taken > self.limit {
            return Err(EncodeError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// Slices the next chunk off bytes that are there already.
    fn cut_bytes(&mut self) -> Bytes {
        let Some(Input::Bytes(rest)) = &mut self.input else {
            return Bytes::new();
        };
        if self.taken == 0 {
            self.taken = rest.len() as u64;
        }
        rest.split_to(rest.len().min(self.chunk_size))
    }

    /// Reads straight into the chunk's buffer, at most one byte beyond the limit.
    fn poll_reader(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, EncodeError>> {
        while self.buffer.len() < self.chunk_size {
            self.within_limit()?;
            self.grow_buffer();
            let Some(Input::Reader(reader)) = &mut self.input else {
                break;
            };
            let allowed = self.limit.saturating_add(1) - self.taken;
            let room = (self.chunk_size - self.buffer.len())
                .min(usize::try_from(allowed).unwrap_or(usize::MAX));
            let mut target = (&mut self.buffer).limit(room);
            let read = ready!(pin!(reader.read_buf(&mut target)).poll(cx));
            match read.map_err(EncodeError::Source)? {
                0 => break,
                more => self.taken += more as u64,
            }
        }
        Poll::Ready(Ok(self.take_buffer()))
    }

    /// Gathers pieces in the buffer; slices a chunk off a piece that holds a whole one.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, EncodeError>> {
        loop {
            self.within_limit()?;
            let Some(Input::Stream { pieces, piece }) = &mut self.input else {
                break;
            };
            let wanted = self.chunk_size - self.buffer.len();
            if self.buffer.is_empty() && piece.len() >= wanted {
                return Poll::Ready(Ok(piece.split_to(wanted)));
            }
            let part = piece.split_to(piece.len().min(wanted));
            self.buffer.extend_from_slice(&part);
            if self.buffer.len() == self.chunk_size {
                break;
            }
            match ready!(Pin::new(pieces).poll_next(cx)) {
                None => break,
                Some(next) => {
                    *piece = next.map_err(EncodeError::Source)?;
                    self.taken += piece.len() as u64;
                }
            }
        }
        Poll::Ready(Ok(self.take_buffer()))
    }

    fn take_buffer(&mut self) -> Bytes {
        std::mem::take(&mut self.buffer).freeze()
    }

    /// Makes room for more, up to the chunk size.
    fn grow_buffer(&mut self) {
        let len = self.buffer.len();
        if len < self.buffer.capacity() {
            return;
        }
        let wanted = match (self.begun, len) {
            (true, _) => self.chunk_size,
            (false, 0) => FIRST_BUFFER.min(self.chunk_size),
            (false, _) => (2 * len).min(self.chunk_size),
        };
        self.buffer.reserve(wanted - len);
    }
}
