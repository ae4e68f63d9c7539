//! From what a tool gave to the frame that answers its call.
//!
//! What decides is the frame as it would be sent (DESIGN 6): it fits, so it goes inline; it does
//! not, so the payload is published and a claim goes in its place; or neither is possible, and a
//! typed error says why. Nothing here ever drops a reply: every path ends in a frame.

use std::{error::Error, io, time::Instant};

use bus_client::{
    ClientError, ClientErrorKind, Message, MessageBusClient, Published, Route, Source,
    settings::Settings,
};
use bus_model::{ContentType, MessageBusRecord, ProviderName, Retrieval, SessionId, ToolName};
use bus_protocol::{
    CallError, CallToolRes, ErrorCode, InlineResult, Output, OutputsPayload, RequestId, ServerFrame,
};
use bus_store::records::RouteTaken;
use chrono::Utc;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::{
    audit::Why,
    metrics::Metrics,
    tools::{ToolError, ToolOutput},
};

/// The call that a payload answers.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) session_id: SessionId,
    pub(crate) request_id: RequestId,
    pub(crate) tool_name: ToolName,
    pub(crate) provider_name: ProviderName,
}

/// A frame that answers a call, and how the payload travels.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) frame: String,
    /// `inline`, `claim` or `none`.
    pub(crate) route: &'static str,
    /// `ok` or the label of an error code.
    pub(crate) outcome: &'static str,
    /// Size of the payload, as far as it is known.
    pub(crate) payload_bytes: u64,
    /// For the audit log.
    pub(crate) why: Why,
}

impl Delivered {
    /// The call ended in `error`.
    pub(crate) fn failed(origin: &Origin, error: CallError, payload_bytes: u64) -> Self {
        let outcome = error.code.as_label();
        let why = Why::failed(&error);
        let frame = CallToolRes::failed(origin.request_id.clone(), error);
        Self {
            frame: ServerFrame::CallToolRes(frame).to_json(),
            route: "none",
            outcome,
            payload_bytes,
            why,
        }
    }

    /// The same, after the steps that `why` tells of.
    fn after(mut self, why: Why) -> Self {
        self.why.skipped = why.skipped;
        self.why.store = why.store;
        self
    }
}

/// How a payload that is in memory is to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Inline { with_text: bool },
    Publish,
    TooLarge { limit: u64 },
}

/// `text` is a courtesy to old clients: it is added only where the frame still fits with it.
fn decide(bare: u64, with_text: u64, route: impl Fn(u64) -> Route) -> Decision {
    if route(with_text) == Route::Inline {
        return Decision::Inline { with_text: true };
    }
    match route(bare) {
        Route::Inline => Decision::Inline { with_text: false },
        Route::Publish => Decision::Publish,
        Route::TooLarge { limit } => Decision::TooLarge { limit },
    }
}

/// Delivers payloads: decides, and publishes where that is the decision.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) client: &'a MessageBusClient,
    pub(crate) metrics: &'a Metrics,
    pub(crate) origin: &'a Origin,
}

impl Delivery<'_> {
    /// Delivers what a tool gave. Dropping the future gives the delivery up; nothing of it is
    /// visible then.
    pub(crate) async fn deliver(&self, output: ToolOutput) -> Delivered {
        match output {
            ToolOutput::Outputs(outputs) => self.outputs(outputs).await,
            ToolOutput::Stream {
                content_type,
                length,
                reader,
            } => self.stream(content_type, length, reader).await,
        }
    }

    async fn outputs(&self, outputs: Vec<Output>) -> Delivered {
        let payload = match serialise(outputs).await {
            Ok(payload) => payload,
            Err(error) => return self.failed(error, 0),
        };
        let bytes = payload.as_json().len() as u64;
        let inline = InlineResult::outputs(&self.origin.request_id, &payload);
        match self.decide(&inline) {
            Decision::Inline { with_text } => self.inline(&inline, with_text, bytes),
            Decision::Publish => {
                let why = self.not_inline(inline.frame_bytes());
                let source = Source::bytes(payload.into_bytes());
                self.publish(source, ContentType::json(), Some(bytes), why)
                    .await
            }
            Decision::TooLarge { limit } => self.too_large(inline.frame_bytes(), limit),
        }
    }

    /// Buffers the stream up to the threshold; beyond it, what was buffered and what is still to
    /// come go to the store as one stream.
    async fn stream(
        &self,
        content_type: ContentType,
        length: Option<u64>,
        mut reader: Box<dyn AsyncRead + Send + Unpin>,
    ) -> Delivered {
        let limit = self.threshold();
        let (head, ended) = match read_up_to(&mut reader, limit.saturating_add(1)).await {
            Ok(read) => read,
            Err(error) => return self.failed(tool_failed(&error), 0),
        };
        let bytes = head.len() as u64;
        if !ended {
            return match self.client.route(bytes) {
                Route::TooLarge { limit } => self.too_large(bytes, limit),
                Route::Inline | Route::Publish => {
                    let source = Source::reader(io::Cursor::new(head).chain(reader), length);
                    let why = self.not_inline(bytes);
                    self.publish(source, content_type, length, why).await
                }
            };
        }
        drop(reader);
        if let Some(length) = length.filter(|length| *length != bytes) {
            return self.failed(cut_short(length, bytes), bytes);
        }
        let Ok(text) = std::str::from_utf8(&head) else {
            return self.binary(head, content_type).await;
        };
        let inline = InlineResult::stream(&self.origin.request_id, text, &content_type);
        match self.decide(&inline) {
            Decision::Inline { with_text } => self.inline(&inline, with_text, bytes),
            Decision::TooLarge { limit } => self.too_large(inline.frame_bytes(), limit),
            Decision::Publish => {
                let why = self.not_inline(inline.frame_bytes());
                let source = Source::bytes(head);
                self.publish(source, content_type, Some(bytes), why).await
            }
        }
    }

    /// Bytes that are not UTF-8 have no place in a JSON frame, however few they are.
    async fn binary(&self, payload: Vec<u8>, content_type: ContentType) -> Delivered {
        let bytes = payload.len() as u64;
        let why = Why::new("no text").not(
            RouteTaken::INLINE,
            "bytes that are not UTF-8 have no place in a frame",
        );
        if self.client.is_enabled() {
            let source = Source::bytes(payload);
            return self.publish(source, content_type, Some(bytes), why).await;
        }
        let message = format!(
            "the result has {bytes} bytes that are not UTF-8, which cannot go inline, and the \
             message bus is disabled: set MESSAGE_BUS_ENABLED=true"
        );
        let error = CallError::new(ErrorCode::Undeliverable, message);
        let why = why.not(RouteTaken::CLAIM, "the message bus is disabled");
        self.failed(error, bytes).after(why)
    }

    /// Why a payload whose frame has at least so many bytes does not go inline.
    fn not_inline(&self, frame_bytes: u64) -> Why {
        Why::new("too big for one frame").not(
            RouteTaken::INLINE,
            format!(
                "the frame has {frame_bytes} bytes or more, at most {} go inline",
                self.threshold()
            ),
        )
    }

    fn decide(&self, inline: &InlineResult<'_>) -> Decision {
        let (bare, with_text) = (inline.frame_bytes(), inline.frame_bytes_with_text());
        decide(bare, with_text, |bytes| self.client.route(bytes))
    }

    fn inline(&self, inline: &InlineResult<'_>, with_text: bool, payload_bytes: u64) -> Delivered {
        let frame = inline.render(with_text);
        let tool = self.origin.tool_name.as_str();
        tracing::info!(
            tool,
            payload_bytes,
            frame_bytes = frame.len(),
            "below threshold"
        );
        Delivered {
            frame,
            route: "inline",
            outcome: "ok",
            payload_bytes,
            why: Why::new("it fits one frame"),
        }
    }

    async fn publish(
        &self,
        source: Source,
        content_type: ContentType,
        payload_bytes: Option<u64>,
        mut why: Why,
    ) -> Delivered {
        let tool = self.origin.tool_name.as_str();
        tracing::info!(tool, payload_bytes, "storing large payload");
        let start = Instant::now();
        let published = self
            .client
            .publish(self.message(content_type), source)
            .await;
        let took = start.elapsed();
        why.store = Some(took);
        self.metrics.store_latency("publish", took.as_secs_f64());
        match published.map(|published| self.reference(&published, why.clone())) {
            Ok(Some(delivered)) => delivered,
            Ok(None) => {
                let message = "the store gave no digest of what it stored: this is a bug";
                let error = CallError::new(ErrorCode::Undeliverable, message);
                let why = why.not(RouteTaken::CLAIM, message);
                self.failed(error, payload_bytes.unwrap_or_default())
                    .after(why)
            }
            Err(error) => {
                tracing::warn!(tool, payload_bytes, error = %chain(&error), "not published");
                let error = not_published(&error);
                let why = why.not(RouteTaken::CLAIM, error.message.as_str());
                self.failed(error, payload_bytes.unwrap_or_default())
                    .after(why)
            }
        }
    }

    fn message(&self, content_type: ContentType) -> Message {
        let origin = self.origin;
        let mut message = Message::new(origin.session_id.clone(), origin.tool_name.clone());
        message.provider_name = origin.provider_name.clone();
        message.content_type = Some(content_type);
        let metadata = &mut message.metadata;
        metadata.insert("request_id".to_owned(), origin.request_id.as_str().into());
        metadata.insert("timestamp".to_owned(), unix_seconds().into());
        message
    }

    /// `None` where the record lacks what a complete message has.
    fn reference(&self, published: &Published, mut why: Why) -> Option<Delivered> {
        why.transaction_id = Some(published.record.transaction_id.clone());
        let retrieval = retrieval(&published.record)?;
        let request_id = self.origin.request_id.clone();
        let frame = CallToolRes::reference(request_id, &published.claim(), retrieval);
        Some(Delivered {
            frame: ServerFrame::CallToolRes(frame).to_json(),
            route: "claim",
            outcome: "ok",
            payload_bytes: published.record.payload_size_bytes,
            why,
        })
    }

    fn too_large(&self, frame_bytes: u64, limit: u64) -> Delivered {
        let why = match self.client.settings() {
            Ok(_) => "the message bus is disabled: set MESSAGE_BUS_ENABLED=true".to_owned(),
            Err(error) => format!("its settings are not legal: {}", chain(&error)),
        };
        let message = format!(
            "the result needs a frame of at least {frame_bytes} bytes, inline at most {limit} are \
             sent, and {why}"
        );
        let skipped = self.not_inline(frame_bytes).not(RouteTaken::CLAIM, why);
        let error = CallError::new(ErrorCode::TooLarge, message);
        self.failed(error, frame_bytes).after(skipped)
    }

    fn failed(&self, error: CallError, payload_bytes: u64) -> Delivered {
        Delivered::failed(self.origin, error, payload_bytes)
    }

    fn threshold(&self) -> u64 {
        match self.client.settings() {
            Ok(settings) => settings.threshold_bytes,
            Err(_) => Settings::default().threshold_bytes,
        }
    }
}

/// Serialising is CPU work: from some size on it leaves the reactor.
async fn serialise(outputs: Vec<Output>) -> Result<OutputsPayload, CallError> {
    const SMALL: usize = 256 << 10;
    let bytes: usize = outputs.iter().map(|output| output.as_text().len()).sum();
    if bytes <= SMALL {
        return Ok(OutputsPayload::new(outputs));
    }
    tokio::task::spawn_blocking(move || OutputsPayload::new(outputs))
        .await
        .map_err(|_| CallError::new(ErrorCode::ReplyLost, "the daemon is shutting down"))
}

/// Reads until the end or until `most` bytes are there; tells which of the two it was.
async fn read_up_to(
    reader: &mut (dyn AsyncRead + Send + Unpin),
    most: u64,
) -> io::Result<(Vec<u8>, bool)> {
    const STEP: usize = 64 << 10;
    let mut head = Vec::new();
    let mut limited = reader.take(most);
    loop {
        head.reserve(STEP);
        if limited.read_buf(&mut head).await? == 0 {
            return Ok((head, limited.limit() > 0));
        }
    }
}

/// How to redeem the claim on `record`; `None` where it is not complete.
fn retrieval(record: &MessageBusRecord) -> Option<Retrieval> {
    Some(Retrieval {
        path: format!("/v1/messages/{}/payload", record.transaction_id),
        token: None,
        expires_at: record.expires_at,
        sha256: record.checksum?,
        manifest_sha256: record.manifest_sha256?,
        encoding: record.compression_type,
        stored_bytes: record.compressed_size_bytes?,
        content_type: record.content_type.as_str().to_owned(),
    })
}

fn not_published(error: &ClientError) -> CallError {
    let code = match error.kind() {
        ClientErrorKind::Source => return tool_failed(error),
        ClientErrorKind::TooLarge => ErrorCode::TooLarge,
        ClientErrorKind::Cancelled => ErrorCode::ReplyLost,
        _ => ErrorCode::Undeliverable,
    };
    CallError::new(
        code,
        format!("the result could not be stored: {}", chain(error)),
    )
}

fn cut_short(length: u64, bytes: u64) -> CallError {
    let message = format!("the tool said that it gives {length} bytes and gave {bytes}");
    CallError::new(ErrorCode::ExecError, message)
}

/// The tool's own words where they are somewhere in `error`, else all of it.
pub(crate) fn tool_failed(error: &(dyn Error + 'static)) -> CallError {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tool = inner.map_or_else(
            || error.downcast_ref::<ToolError>(),
            |inner| inner.downcast_ref::<ToolError>(),
        );
        if let Some(tool) = tool {
            return CallError::new(ErrorCode::ExecError, chain(tool));
        }
        next = error.source();
    }
    CallError::new(ErrorCode::ExecError, chain(error))
}

/// An error with its causes, as one sentence of at most 8 KiB.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.truncate(text.floor_char_boundary(8 << 10));
    text
}

/// Seconds since 1970, UTC, with fractions.
pub(crate) fn unix_seconds() -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds fit 53 bits for ages"
    )]
    let millis = Utc::now().timestamp_millis() as f64;
    millis / 1000.0
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(10, 20, true, Decision::Inline { with_text: true })]
    #[case(90, 100, true, Decision::Inline { with_text: true })]
    #[case(90, 101, true, Decision::Inline { with_text: false })]
    #[case(100, 200, true, Decision::Inline { with_text: false })]
    #[case(101, 200, true, Decision::Publish)]
    #[case(100, 200, false, Decision::Inline { with_text: false })]
    #[case(101, 200, false, Decision::TooLarge { limit: 100 })]
    fn the_frame_decides_with_text_only_where_it_fits(
        #[case] bare: u64,
        #[case] with_text: u64,
        #[case] enabled: bool,
        #[case] expected: Decision,
    ) {
        let decision = decide(bare, with_text, |bytes| Route::of(bytes, 100, enabled));
        assert_eq!(decision, expected);
    }

    #[rstest]
    #[case(0, 10, 0, true)]
    #[case(9, 10, 9, true)]
    #[case(10, 10, 10, false)]
    #[case(200_000, 150_000, 150_000, false)]
    #[tokio::test]
    async fn a_stream_is_buffered_no_further_than_asked(
        #[case] bytes: usize,
        #[case] most: u64,
        #[case] expected: usize,
        #[case] ended: bool,
    ) {
        let data = vec![7; bytes];
        let (head, done) = read_up_to(&mut data.as_slice(), most).await.unwrap();
        assert_eq!((head.len(), done), (expected, ended));
    }

    #[test]
    fn the_words_of_a_tool_are_found_inside_other_errors() {
        let tool = io::Error::other(ToolError::new("exit status 3"));
        let client = ClientError::new(ClientErrorKind::Source, "reading failed").with_source(tool);
        let error = not_published(&client);
        assert_eq!(
            (error.code, error.message.as_str()),
            (ErrorCode::ExecError, "exit status 3")
        );
    }
}
