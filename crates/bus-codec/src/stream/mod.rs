//! The codec, async: from an `AsyncRead` or a `Stream` to chunks, and back.
//!
//! Compression, decompression and hashing run on tokio's blocking threads, never on the reactor.
//! Both directions keep the order, work on several chunks at once, and hold a bounded number of
//! them:
//!
//! - **Back-pressure.** Work happens only on behalf of whoever polls. At most `parallelism` chunks
//!   are in flight (taken from the source, and not yet both handed out and hashed); on the way in
//!   one more is being read. Nothing is read ahead beyond that.
//! - **Cancellation.** Every future may be dropped at any time without losing bytes. Dropping an
//!   [`Encoder`] or a [`Decode`] drops its source at once; jobs that wait for a thread never
//!   start, and one that runs ends with its chunk.
//! - **The two serial digests**, of the payload and of the stored bytes, are computed beside the
//!   compression of the chunks that follow.
//!
//! Everything here must be polled inside a tokio runtime.

mod decode;
mod encode;
mod jobs;
mod lane;
mod source;

pub use decode::{Decode, DecodeOptions, StreamDecodeError, decode};
pub use encode::{EncodeOptions, Encoder};

/// How many chunks are worked on at once unless the caller says otherwise: one for every core, and
/// one that waits, so that no core does.
#[must_use]
pub fn default_parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get) + 1
}
