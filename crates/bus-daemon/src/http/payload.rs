//! Redeeming a claim: the payload of a message, and its manifest.
//!
//! The bytes are decoded on the way unless the client may have them as they are stored
//! ([`super::accept`]). Ranges are over the decoded bytes. `ETag` and `Repr-Digest` (RFC 9530) are
//! of the representation that is sent, also beside a part of it.
//!
//! A payload may be anything, a page with scripts too, so it never becomes part of the daemon's
//! origin: it is an attachment, it is not sniffed, and it is sandboxed. `Cache-Control` is
//! `private, no-store`: a payload is protected by a token and ends at its expiry, and neither
//! holds for a copy in a cache. A client that keeps its own copy asks with `If-None-Match`.

use std::{io, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bus_client::{Fetched, PayloadStream};
use bus_model::Digest;
use futures::{StreamExt as _, stream};

use super::{
    accept::{Accepts, Form},
    condition,
    headers::list,
    messages::Txn,
    problem::Problem,
    range::{self, Wanted},
};
use crate::state::AppState;

/// Named by a client that decodes all frames of a body, such as `zstd, gzip`.
pub(super) const ACCEPT_FRAMES: &str = "bus-accept-frames";
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// `GET` and `HEAD /v1/messages/{txn}/payload`.
pub(super) async fn get(
    State(state): State<Arc<AppState>>,
    Txn(txn): Txn,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let fetched = state
        .metrics
        .timed("open", state.client.fetch(&txn))
        .await?;
    let representation = Representation::choose(&fetched, &method, &headers)?;
    if condition::copy_is_current(&headers, &representation.etag)? {
        return Ok(representation.not_modified());
    }
    let wanted = representation.wanted(&method, &headers);
    let (status, stream, length) = match &wanted {
        Wanted::Unsatisfiable => return Err(representation.unsatisfiable()),
        Wanted::Whole => (
            StatusCode::OK,
            representation.whole(&fetched),
            representation.size,
        ),
        Wanted::Part(part) => (
            StatusCode::PARTIAL_CONTENT,
            fetched.range(part.clone())?,
            part.end - part.start,
        ),
    };
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => send(&state, txn.as_str(), stream).await?,
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    representation.describe(response.headers_mut(), &fetched, length)?;
    if let Wanted::Part(part) = wanted {
        let value = text(&range::content_range(&part, representation.size))?;
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// `GET` and `HEAD /v1/messages/{txn}/manifest`: the binary manifest, so that a client verifies
/// ranges and stored frames by itself.
pub(super) async fn manifest(
    State(state): State<Arc<AppState>>,
    Txn(txn): Txn,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let fetched = state
        .metrics
        .timed("open", state.client.fetch(&txn))
        .await?;
    let bytes = fetched.manifest().to_bytes();
    let digest = Digest::of(&bytes);
    let etag = format!("\"{digest}\"");
    let mut response = if condition::copy_is_current(&headers, &etag)? {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, "application/vnd.bus.manifest")];
        (kind, bytes).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, text(&etag)?);
    headers.insert(REPR_DIGEST, text(&digest.to_repr_digest())?);
    private(headers);
    Ok(response)
}

/// The form of a payload that one client gets.
struct Representation {
    form: Form,
    /// Size of the whole in bytes.
    size: u64,
    digest: Digest,
    etag: String,
    coding: Option<&'static str>,
}

impl Representation {
    /// A range is always of the decoded bytes, so whoever asks for one by a tag gets the tag of
    /// those.
    fn choose(fetched: &Fetched, method: &Method, headers: &HeaderMap) -> Result<Self, Problem> {
        let encoding = list(headers, header::ACCEPT_ENCODING.as_str());
        let frames = list(headers, ACCEPT_FRAMES);
        let accepts = Accepts {
            encoding: encoding.as_deref(),
            frames: frames.as_deref(),
        };
        let decoded = Self::of(fetched, Form::Decoded);
        let part =
            accepts.takes_decoded() && !matches!(decoded.wanted(method, headers), Wanted::Whole);
        if part {
            return Ok(decoded);
        }
        let manifest = fetched.manifest();
        let (chunks, size) = (manifest.chunk_count(), manifest.payload_size());
        match accepts.choose(manifest.encoding(), chunks, size) {
            Some(form) => Ok(Self::of(fetched, form)),
            None => Err(not_acceptable(chunks)),
        }
    }

    fn of(fetched: &Fetched, form: Form) -> Self {
        let manifest = fetched.manifest();
        match (form, manifest.encoding().content_coding()) {
            (Form::Stored, Some(coding)) => Self {
                form,
                size: manifest.encoded_size(),
                digest: manifest.encoded_digest(),
                etag: format!("\"{}.{coding}\"", manifest.encoded_digest()),
                coding: Some(coding),
            },
            _ => Self {
                form: Form::Decoded,
                size: manifest.payload_size(),
                digest: manifest.payload_digest(),
                etag: format!("\"{}\"", manifest.payload_digest()),
                coding: None,
            },
        }
    }

    /// Which bytes of it are asked for. `HEAD` knows no range (RFC 9110, section 14.2), nor does
    /// the stored form.
    fn wanted(&self, method: &Method, headers: &HeaderMap) -> Wanted {
        let condition = list(headers, "if-range");
        // Several fields are several ranges once they are joined: those get the whole.
        let field = list(headers, "range");
        match field.as_deref() {
            Some(field)
                if method == Method::GET
                    && self.form == Form::Decoded
                    && range::if_range_holds(condition.as_deref(), &self.etag) =>
            {
                range::parse(field, self.size)
            }
            _ => Wanted::Whole,
        }
    }

    fn whole(&self, fetched: &Fetched) -> PayloadStream {
        match self.form {
            Form::Decoded => fetched.stream(),
            Form::Stored => fetched.stored(),
        }
    }

    /// The headers beside `length` bytes of it.
    fn describe(
        &self,
        headers: &mut HeaderMap,
        fetched: &Fetched,
        length: u64,
    ) -> Result<(), Problem> {
        let record = fetched.record();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CONTENT_TYPE, text(record.content_type.as_str())?);
        headers.insert(header::ETAG, text(&self.etag)?);
        headers.insert(REPR_DIGEST, text(&self.digest.to_repr_digest())?);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let file = format!("attachment; filename=\"{}\"", record.transaction_id);
        headers.insert(header::CONTENT_DISPOSITION, text(&file)?);
        if let Some(coding) = self.coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; sandbox"),
        );
        vary(headers);
        private(headers);
        Ok(())
    }

    fn not_modified(&self) -> Response {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        if let Ok(etag) = text(&self.etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        vary(response.headers_mut());
        private(response.headers_mut());
        response
    }

    fn unsatisfiable(&self) -> Problem {
        let problem = Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BAD_RANGE",
            format!(
                "the payload has {} bytes; the range begins beyond them",
                self.size
            ),
            "ask for bytes that exist",
        );
        match text(&range::unsatisfied_range(self.size)) {
            Ok(value) => problem.with_header(header::CONTENT_RANGE, value),
            Err(_) => problem,
        }
    }
}

/// The body of an answer. It fails before the answer begins where the first bytes already fail,
/// and breaks the connection off where a later check does. The stream keeps its last bytes back
/// until the whole is verified, so an answer that is complete is the payload.
async fn send(state: &Arc<AppState>, txn: &str, stream: PayloadStream) -> Result<Body, Problem> {
    let place = state
        .start_transfer()
        .await
        .ok_or_else(|| Problem::over_capacity("too many payloads are on their way over HTTP"))?;
    let mut verified = stream.fuse();
    let first = match state.metrics.timed("read", verified.next()).await {
        Some(first) => Some(first?),
        None => None,
    };
    let (state, txn) = (Arc::clone(state), txn.to_owned());
    let body = stream::iter(first.map(Ok))
        .chain(verified)
        .map(move |item| match item {
            Ok(bytes) => {
                // Held until the body is dropped.
                let _ = &place;
                state.metrics.http_payload("out", bytes.len() as u64);
                Ok(bytes)
            }
            Err(error) => {
                state.metrics.http_aborted();
                tracing::error!(transaction_id = %txn, %error, "broke a transfer off");
                Err(io::Error::other(error))
            }
        });
    Ok(Body::from_stream(body))
}

fn not_acceptable(chunks: u32) -> Problem {
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "NOT_ACCEPTABLE",
        format!(
            "Accept-Encoding refuses identity, and the {chunks} stored chunks cannot go as they are"
        ),
        "allow identity, or send Bus-Accept-Frames: zstd, gzip and decode every frame",
    )
}

fn vary(headers: &mut HeaderMap) {
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Accept-Encoding, Bus-Accept-Frames"),
    );
}

fn private(headers: &mut HeaderMap) {
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
}

/// A header value of what a record says. Records are checked, so this fails only on damage.
fn text(value: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(value).map_err(|_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            format!("{value:?} in the record cannot be sent as a header"),
            "delete the message and publish it again",
        )
    })
}
