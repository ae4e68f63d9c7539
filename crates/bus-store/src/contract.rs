//! The [`Store`] trait: what every backend promises.

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use bus_model::{Manifest, MessageBusRecord, MessageId, MessageKey, Principal};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::{
    Begin, Capabilities, ListQuery, NewMessage, OpenMessage, Page, PurgeOptions, PurgeReport,
    PutOutcome, Stats, StoreError, StoreErrorKind, StoredChunk, UploadToken,
};

/// The stored bytes of chunks, in order.
pub type ChunkStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// How long after expiry a read that began before it may finish. Purge honours it.
pub const READ_GRACE: Duration = Duration::from_secs(600);

/// A store of messages, written and read in chunks.
///
/// # What every store promises
/// - **Whole or not at all.** The record is committed last. A reader sees a message only after
///   `commit`, and then all of it. Committed chunks never change.
/// - **One writer at a time.** Each writer holds an [`UploadToken`] with a fence of its own. A
///   writer that lost its upload gets [`StoreErrorKind::LeaseLost`] from every call, and changes
///   nothing.
/// - **Idempotent.** A repeated `put_chunk`, `commit`, `acknowledge` or `touch` succeeds and
///   changes nothing more.
/// - **Principals apart.** No call of one principal shows, changes or tells of another's message:
///   the answer is [`StoreErrorKind::NotFound`], as for one that does not exist.
/// - **The store's own clock** judges leases and expiry. An expired message is not opened any more
///   from the moment of `expires_at`, purged or not; reads that began before may finish within
///   [`READ_GRACE`].
/// - **Durable before acknowledged**, where [`Capabilities::durable`] says so.
///
/// # Cancellation
/// Dropping any future of a store leaves the store consistent. The call may or may not have taken
/// effect; repeating it is safe.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What the store can do.
    fn capabilities(&self) -> Capabilities;

    /// Asks for the right to write `message`.
    ///
    /// - Nothing under the key, or a message that expired or was given up: [`Begin::New`]. What
    ///   was there is replaced, under another id: a reader of an expired message that has not
    ///   asked for its chunks yet finds nothing, a stream that runs ends as under `delete`.
    /// - A live upload (its lease runs, or its writer is known to be alive): [`Begin::Busy`],
    ///   whatever its plan.
    /// - An upload whose writer is gone: with the same encoding, chunk size and expected digest
    ///   [`Begin::Resume`] under a new fence: `id`, `created_at` and the chunks stay, attributes
    ///   and expected size become those of the new writer. With another plan its chunks are
    ///   dropped and the answer is [`Begin::New`], under another id.
    /// - A complete message: [`Begin::Complete`], or an error of kind
    ///   [`StoreErrorKind::Conflict`] where the plan's expected digest is known and differs.
    ///
    /// While a message is pending, `expires_at` is what it would be if it were committed at the
    /// time of `begin`, and `accessed_at` is `created_at` until the first `touch`.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooLarge`] where the expected size cannot fit;
    /// [`StoreErrorKind::InvalidInput`] for a chunk size of 0 or above what the store takes.
    async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError>;

    /// Stores chunk `seq`, from 0, in any order; replaces one that is there already.
    /// Starts the lease anew.
    ///
    /// A writer whose lease is over may go on as long as nobody took over: only another writer,
    /// `delete` or `purge` makes its token stale. A call that fails does not start the lease.
    ///
    /// A store across a wire checks the digest on arrival ([`StoreErrorKind::Mismatch`]).
    ///
    /// # Errors
    /// [`StoreErrorKind::LeaseLost`] for a stale token, also of a message committed by it;
    /// [`StoreErrorKind::TooLarge`] above [`Capabilities::max_chunk_bytes`];
    /// [`StoreErrorKind::Full`]. What was there before stays.
    async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError>;

    /// Starts the lease anew, as long as the plan asked for. A writer that waits for its source
    /// calls this.
    ///
    /// # Errors
    /// [`StoreErrorKind::LeaseLost`] for a stale token.
    async fn renew(&self, token: &UploadToken) -> Result<(), StoreError>;

    /// Makes the message visible, atomically. Its time to live starts now.
    ///
    /// Chunks beyond the manifest's count are dropped. Repeating a commit that succeeded, with the
    /// same token and manifest, succeeds and answers the record as it is now, until the message
    /// is replaced, deleted or purged. The encoded digest is not recomputed: readers check it.
    ///
    /// # Errors
    /// [`StoreErrorKind::Mismatch`] where a chunk is missing or its size or digest is not what the
    /// manifest says, or where the plan said otherwise; the upload stays pending.
    /// [`StoreErrorKind::LeaseLost`] for a stale token, also after a commit of another manifest.
    async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError>;

    /// Gives the upload up: its space is freed, its record keeps `reason` under status `error`
    /// until it expires, and the key may be used again at once. Its time to live starts now; past
    /// it the status stays `error` until a purge removes it.
    ///
    /// # Errors
    /// [`StoreErrorKind::LeaseLost`] for a stale token, also where it is committed or given up
    /// already.
    async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError>;

    /// Writes a whole message that is in memory. A backend overrides this with one round trip or
    /// one transaction where it can.
    ///
    /// # Errors
    /// As `begin`, `put_chunk` and `commit`; [`StoreErrorKind::Conflict`] where the key is taken
    /// by another digest. After an error nothing is visible and no space is kept.
    async fn put(
        &self,
        message: &NewMessage,
        manifest: &Manifest,
        chunks: &[StoredChunk],
    ) -> Result<PutOutcome, StoreError> {
        put_in_steps(self, message, manifest, chunks).await
    }

    /// The record under `key`, whatever its status, without its payload.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    async fn record(&self, key: &MessageKey) -> Result<MessageBusRecord, StoreError>;

    /// The record and the manifest of a message that can be read.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], [`StoreErrorKind::Expired`],
    /// [`StoreErrorKind::NotComplete`], [`StoreErrorKind::Damaged`].
    async fn open(&self, key: &MessageKey) -> Result<OpenMessage, StoreError>;

    /// The stored bytes of the chunks in `range` of an opened message, in order. What is stored is
    /// handed out as it is: the reader checks each chunk's digest before it uses it.
    ///
    /// Works until [`READ_GRACE`] after expiry. An empty range within the message is an empty
    /// stream. A stream ends early with an error where the
    /// message is deleted under it and the store cannot finish it.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a range beyond the last chunk or one that ends before
    /// it starts,
    /// [`StoreErrorKind::NotFound`], [`StoreErrorKind::Expired`],
    /// [`StoreErrorKind::NotComplete`], [`StoreErrorKind::Damaged`].
    async fn chunks(
        &self,
        principal: &Principal,
        id: MessageId,
        range: Range<u32>,
    ) -> Result<ChunkStream, StoreError>;

    /// A page of records by (created_at, id), newest first. Inserts and deletes between two pages
    /// never make the second repeat or skip a message that was there all the time.
    ///
    /// The status that is filtered by is the one that the record shows: a complete message past
    /// `expires_at` is `expired`. [`Page::next`] is `None` on the last page.
    ///
    /// # Errors
    /// [`StoreErrorKind::InvalidInput`] for a limit of 0.
    async fn list(&self, query: &ListQuery) -> Result<Page, StoreError>;

    /// Stamps `accessed_at` of complete messages with now, best effort; keys that are unknown or
    /// of messages that cannot be read are ignored.
    async fn touch(&self, keys: &[MessageKey]) -> Result<(), StoreError>;

    /// Stamps `acknowledged_at` of a complete message; a second call keeps the first time.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`], [`StoreErrorKind::Expired`],
    /// [`StoreErrorKind::NotComplete`].
    async fn acknowledge(&self, key: &MessageKey) -> Result<DateTime<Utc>, StoreError>;

    /// Removes a message of any status and frees its space; a writer of it loses its lease.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    async fn delete(&self, key: &MessageKey) -> Result<(), StoreError>;

    /// Removes, in one bounded batch: complete messages [`READ_GRACE`] after their expiry, given
    /// up ones after their expiry, uploads whose lease is over and whose writer is gone, and
    /// acknowledged ones where `options` asks for it, expired or not. What is both acknowledged
    /// and past its grace counts as expired. A time that is reached counts as passed: leases and
    /// grace end at their very end. Never touches a live upload.
    async fn purge(&self, options: &PurgeOptions) -> Result<PurgeReport, StoreError>;

    /// Counts over all principals.
    async fn stats(&self) -> Result<Stats, StoreError>;

    /// Whether the store can be reached and is in a state to be used, cheaply.
    async fn check(&self) -> Result<(), StoreError>;

    /// Looks for damage that reading messages one by one cannot show (in the index, in rows that
    /// no listing gives, in files that belong to nothing): one sentence for each, saying what to
    /// do. May read much. A store that has nothing of the kind keeps the default.
    async fn inspect(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
}

/// The default of [`Store::put`]: begin, chunk by chunk, commit; aborts where a step fails.
///
/// # Errors
/// As [`Store::put`].
pub async fn put_in_steps<S: Store + ?Sized>(
    store: &S,
    message: &NewMessage,
    manifest: &Manifest,
    chunks: &[StoredChunk],
) -> Result<PutOutcome, StoreError> {
    put_in_steps_telling(store, message, manifest, chunks, |_| {}).await
}

/// The same; `begun` is told the token of the upload as soon as there is one, for a store that has to
/// give it up where the future is dropped.
///
/// # Errors
/// As [`Store::put`].
pub async fn put_in_steps_telling<S: Store + ?Sized>(
    store: &S,
    message: &NewMessage,
    manifest: &Manifest,
    chunks: &[StoredChunk],
    begun: impl FnOnce(&UploadToken) + Send,
) -> Result<PutOutcome, StoreError> {
    let (upload, durable) = match store.begin(message).await? {
        Begin::New(upload) => (upload, Vec::new()),
        Begin::Resume(upload, durable) => (upload, durable),
        Begin::Busy { retry_after } => return Ok(PutOutcome::Busy { retry_after }),
        Begin::Complete(record) if record.checksum == Some(manifest.payload_digest()) => {
            return Ok(PutOutcome::AlreadyThere(record));
        }
        Begin::Complete(_) => return Err(conflict(&message.key)),
    };
    begun(&upload.token);
    let written = async {
        for (seq, chunk) in (0_u32..).zip(chunks) {
            let kept = durable
                .iter()
                .any(|d| d.seq == seq && d.digest == chunk.digest);
            if !kept {
                store.put_chunk(&upload.token, seq, chunk.clone()).await?;
            }
        }
        store.commit(&upload.token, manifest).await
    }
    .await;
    match written {
        Ok(record) => Ok(PutOutcome::Created(Box::new(record))),
        Err(error) => {
            // Best effort: what is left is pending and swept once its lease is over.
            let _ = store.abort(&upload.token, &error.to_string()).await;
            Err(error)
        }
    }
}

/// The error for a key that is taken by other bytes.
#[must_use]
pub fn conflict(key: &MessageKey) -> StoreError {
    StoreError::new(
        StoreErrorKind::Conflict,
        format!(
            "transaction id {} is taken by a message with another digest: use a new id for other bytes",
            key.transaction_id
        ),
    )
}
