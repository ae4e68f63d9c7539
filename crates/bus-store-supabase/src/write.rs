//! Writing: begin, chunks, commit, and a message of one chunk in one round trip.

use std::sync::atomic::{AtomicBool, Ordering};

use bus_model::{Digest, Manifest, MessageBusRecord, MessageId};
use bus_store::{
    Begin, NewMessage, PutOutcome, Store, StoreError, StoreErrorKind as Kind, StoredChunk, Upload,
    UploadToken,
    contract::{conflict, put_in_steps_telling},
};
use bytes::Bytes;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::{
    SupabaseStore,
    attempts::Attempt,
    errors::Call,
    row::{self, Answer, NewRow, Outcome, WriterRow, lacking},
    rpc,
    store::{Core, MAX_CHUNK_BYTES},
};

const BEGIN: &str = "bus_begin";
const PUT: &str = "bus_put";
const PUT_CHUNK: &str = "bus_put_chunk";
const PUT_CHUNK_RAW: &str = "bus_put_chunk_raw";
const ECHO: &str = "bus_echo_digest";
const COMMIT: &str = "bus_commit";

/// Bytes that a way which is not clean for all of them changes or refuses.
const PROBE: &[u8] = b"\0\x01\x7f\x80\xff\xfe\xc3\x28 \"\\\r\n\0bus";

impl Core {
    pub(crate) async fn begin(&self, message: &NewMessage) -> Result<Begin, StoreError> {
        check_plan(message)?;
        let attempt = self.attempts.start(message);
        let fence = attempt.fence();
        let request = NewRow::of(message, fence, None)?;
        let mut answer: Answer = settled(attempt, self.http.call(BEGIN, &request).await)?;
        let call = Call::of(BEGIN);
        match answer.outcome {
            Outcome::New => Ok(Begin::New(upload(message, fence, &answer)?)),
            Outcome::Resume => Ok(Begin::Resume(
                upload(message, fence, &answer)?,
                answer.durable(),
            )),
            Outcome::Busy => Ok(Begin::Busy {
                retry_after: answer.retry_after(),
            }),
            Outcome::Complete => Ok(Begin::Complete(Box::new(answer.record(call)?))),
            Outcome::Conflict => Err(conflict(&message.key)),
            _ => Err(unforeseen(call, &answer)),
        }
    }

    pub(crate) async fn put_chunk(
        &self,
        token: &UploadToken,
        seq: u32,
        chunk: StoredChunk,
    ) -> Result<(), StoreError> {
        let len = chunk.bytes.len() as u64;
        if len > MAX_CHUNK_BYTES {
            return Err(StoreError::new(
                Kind::TooLarge,
                format!(
                    "chunk {seq} has {len} stored bytes, the store takes {MAX_CHUNK_BYTES}: use smaller chunks"
                ),
            ));
        }
        let place = i32::try_from(seq).map_err(|_| {
            StoreError::new(
                Kind::InvalidInput,
                format!(
                    "chunk {seq} is beyond the {} that a message may have",
                    i32::MAX
                ),
            )
        })?;
        let request = WriterRow::of(token).chunk(place, chunk.digest);
        let raw = self.takes_raw(chunk.bytes.len()).await?;
        if raw {
            let bytes = chunk.bytes.clone();
            let sent = self.http.call_raw(PUT_CHUNK_RAW, &request, bytes).await;
            match sent {
                // Something on the way let the probe pass, but not this.
                Err(error) if refuses_its_form(&error) => {}
                sent => return done(PUT_CHUNK_RAW, token, &sent?),
            }
        }
        let bytes = chunk.bytes;
        let answer = self.http.call_with(PUT_CHUNK, &request, bytes).await?;
        if raw && let Some(raw) = self.raw.get() {
            raw.store(false, Ordering::Relaxed);
        }
        done(PUT_CHUNK, token, &answer)
    }

    /// Whether a chunk of `len` bytes may be sent as it is: PostgREST hands raw bytes on, what
    /// resembles it does not always. The server is asked once.
    async fn takes_raw(&self, len: usize) -> Result<bool, StoreError> {
        if len < self.http.raw_from_bytes() {
            return Ok(false);
        }
        let asked = self
            .raw
            .get_or_try_init(async || {
                let call = Call::of(ECHO);
                let body = Bytes::from_static(PROBE);
                let echoed = match self
                    .http
                    .post_raw(call, None, body, rpc::answer(None))
                    .await
                {
                    Ok(body) => row::text_in(call, &body),
                    Err(error) => Err(error),
                };
                match echoed {
                    Ok(text) => Ok(AtomicBool::new(text == Digest::of(PROBE).to_string())),
                    // What may be otherwise next time is not remembered.
                    Err(error) if error.is_transient() || error.kind() == Kind::Denied => {
                        Err(error)
                    }
                    Err(_) => Ok(AtomicBool::new(false)),
                }
            })
            .await;
        match asked {
            Ok(raw) => Ok(raw.load(Ordering::Relaxed)),
            // Whether that is so for the chunk as well, its own call tells.
            Err(error) if error.kind() == Kind::Denied => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn renew(&self, token: &UploadToken) -> Result<(), StoreError> {
        let answer = self.http.call("bus_renew", &WriterRow::of(token)).await?;
        done("bus_renew", token, &answer)
    }

    pub(crate) async fn commit(
        &self,
        token: &UploadToken,
        manifest: &Manifest,
    ) -> Result<MessageBusRecord, StoreError> {
        let request = WriterRow::of(token).manifest(manifest);
        let mut answer: Answer = self.http.call(COMMIT, &request).await?;
        done(COMMIT, token, &answer)?;
        answer.record(Call::of(COMMIT))
    }

    pub(crate) async fn abort(&self, token: &UploadToken, reason: &str) -> Result<(), StoreError> {
        let request = WriterRow::of(token).reason(reason);
        let answer = self.http.call("bus_abort", &request).await?;
        done("bus_abort", token, &answer)
    }

    /// A message of one chunk, in one round trip.
    async fn put_one(
        &self,
        message: &NewMessage,
        manifest: &Manifest,
        chunk: &StoredChunk,
    ) -> Result<PutOutcome, StoreError> {
        check_plan(message)?;
        let attempt = self.attempts.start(message);
        let request = NewRow::of(message, attempt.fence(), Some(manifest))?;
        let answer = self
            .http
            .call_with(PUT, &request, chunk.bytes.clone())
            .await;
        let mut answer: Answer = settled(attempt, answer)?;
        let call = Call::of(PUT);
        match answer.outcome {
            Outcome::Created => Ok(PutOutcome::Created(Box::new(answer.record(call)?))),
            Outcome::Exists => Ok(PutOutcome::AlreadyThere(Box::new(answer.record(call)?))),
            Outcome::Busy => Ok(PutOutcome::Busy {
                retry_after: answer.retry_after(),
            }),
            Outcome::Conflict => Err(conflict(&message.key)),
            _ => Err(unforeseen(call, &answer)),
        }
    }
}

/// Writes a whole message: in one round trip where it is one chunk.
pub(crate) async fn put(
    store: &SupabaseStore,
    message: &NewMessage,
    manifest: &Manifest,
    chunks: &[StoredChunk],
) -> Result<PutOutcome, StoreError> {
    if let [chunk] = chunks
        && chunk.bytes.len() as u64 <= MAX_CHUNK_BYTES
    {
        match store.core().put_one(message, manifest, chunk).await {
            // Whatever its size, a message that is not what it says leaves the same trace.
            Err(error) if error.kind() == Kind::Mismatch => {}
            outcome => return outcome,
        }
    }
    let mut begun = Begun { store, token: None };
    let told = |token: &UploadToken| begun.token = Some(token.clone());
    let done = put_in_steps_telling(store as &dyn Store, message, manifest, chunks, told).await;
    begun.token = None;
    done
}

/// An upload that is given up where its `put` is dropped: else the same `put` made again would have to
/// wait until the lease is over.
struct Begun<'a> {
    store: &'a SupabaseStore,
    token: Option<UploadToken>,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the lease frees the upload.
        if let (Some(token), Ok(runtime)) = (self.token.take(), Handle::try_current()) {
            let store = self.store.clone();
            runtime.spawn(async move {
                // Best effort: what is left is swept once its lease is over.
                let _ = store.abort(&token, "the put was cancelled").await;
            });
        }
    }
}

fn check_plan(message: &NewMessage) -> Result<(), StoreError> {
    let plan = &message.plan;
    if plan.chunk_size == 0 || plan.chunk_size > MAX_CHUNK_BYTES {
        return Err(StoreError::new(
            Kind::InvalidInput,
            format!(
                "a chunk size of {} bytes is not legal: 1 to {MAX_CHUNK_BYTES} are taken",
                plan.chunk_size
            ),
        ));
    }
    match plan.expected_size {
        Some(size) if i64::try_from(size).is_err() => Err(StoreError::new(
            Kind::TooLarge,
            format!("{size} bytes are more than a store can count"),
        )),
        _ => Ok(()),
    }
}

/// Forgets an attempt whose answer has come: also one that says no, as long as it is certain that
/// nothing was written.
fn settled<T>(attempt: Attempt<'_>, answer: Result<T, StoreError>) -> Result<T, StoreError> {
    let lost = match &answer {
        Ok(_) => false,
        Err(error) => {
            error.is_transient() || matches!(error.kind(), Kind::Timeout | Kind::Internal)
        }
    };
    if !lost {
        attempt.settle();
    }
    answer
}

fn upload(message: &NewMessage, fence: Uuid, answer: &Answer) -> Result<Upload, StoreError> {
    let id = answer.id.ok_or_else(|| lacking(Call::of(BEGIN), "an id"))?;
    // With the token of a user, the store says who that is.
    let principal = answer.principal.clone();
    Ok(Upload {
        token: UploadToken {
            principal: principal.unwrap_or_else(|| message.key.principal.clone()),
            id: MessageId::from(id),
            fence,
        },
        lease: message.plan.lease,
    })
}

/// The answer to a call with a token.
fn done(function: &'static str, token: &UploadToken, answer: &Answer) -> Result<(), StoreError> {
    match answer.outcome {
        Outcome::Ok => Ok(()),
        Outcome::LeaseLost => Err(StoreError::new(
            Kind::LeaseLost,
            format!(
                "the upload of message {} is not this writer's any more: begin again",
                token.id
            ),
        )),
        _ => Err(unforeseen(Call::of(function), answer)),
    }
}

/// Whether another form of the same request may pass where this was refused.
fn refuses_its_form(error: &StoreError) -> bool {
    let kinds = [
        Kind::Denied,
        Kind::InvalidInput,
        Kind::TooLarge,
        Kind::Internal,
    ];
    !error.is_transient() && kinds.contains(&error.kind())
}

/// An outcome that is an error wherever it comes.
fn unforeseen(call: Call, answer: &Answer) -> StoreError {
    let kind = match answer.outcome {
        Outcome::Mismatch => Kind::Mismatch,
        Outcome::TooLarge => Kind::TooLarge,
        _ => return lacking(call, "an outcome that is known"),
    };
    let detail = answer
        .detail
        .as_deref()
        .unwrap_or("what was sent is not what it was said to be");
    StoreError::new(kind, detail)
}
