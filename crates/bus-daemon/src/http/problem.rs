//! Errors as problem details (RFC 9457): a `code` for programs, a `detail` and an `action` for
//! people, and never a secret.

use std::{error::Error as _, io, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bus_client::{ClientError, ClientErrorKind};
use serde::Serialize;

/// What `Retry-After` says where the store named no time.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// An answer that says why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    detail: String,
    action: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The JSON form.
#[derive(Serialize)]
struct Shape<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    action: &'a str,
}

impl Problem {
    /// A problem; `action` says what to do about it.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        action: &'static str,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            detail: detail.into(),
            action,
            headers: Vec::new(),
        }))
    }

    /// The request itself is at fault.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            code,
            detail,
            "correct the request and send it again",
        )
    }

    /// All places for what was asked for are taken.
    pub(crate) fn over_capacity(detail: &'static str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "OVER_CAPACITY",
            detail,
            "wait for Retry-After seconds and send the same request again",
        )
        .with_retry_after(DEFAULT_RETRY)
    }

    /// The same, with another header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The same; another try is worth it after `delay`, rounded up to whole seconds.
    pub(crate) fn with_retry_after(self, delay: Duration) -> Self {
        let seconds = delay.as_millis().div_ceil(1000).max(1);
        match HeaderValue::from_str(&seconds.to_string()) {
            Ok(value) => self.with_header(header::RETRY_AFTER, value),
            Err(_) => self,
        }
    }

    /// The status that it answers with.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner {
            status,
            code,
            detail,
            action,
            headers,
        } = *self.0;
        let shape = Shape {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code,
            detail: &detail,
            action,
        };
        // A struct of texts always serialises; an empty body would still carry the status.
        let body = serde_json::to_vec(&shape).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        for (name, value) in headers {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let (status, code, action) = describe(error.kind());
        // DENIED is a 403, and yet only the operator can let the daemon into its store.
        if status.is_server_error() || error.kind() == ClientErrorKind::Denied {
            tracing::error!(code, error = %error, cause = %chain(&error), "a request failed");
        }
        if error.kind() == ClientErrorKind::Source {
            return from_source(&error);
        }
        let problem = Self::new(status, code, error.to_string(), action);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            problem.with_retry_after(error.retry_after().unwrap_or(DEFAULT_RETRY))
        } else {
            problem
        }
    }
}

/// Status, code and what to do, for each kind of error.
fn describe(kind: ClientErrorKind) -> (StatusCode, &'static str, &'static str) {
    use ClientErrorKind as Kind;
    match kind {
        Kind::NotFound => (
            StatusCode::NOT_FOUND,
            "NOT_FOUND",
            "check the transaction id",
        ),
        Kind::NotComplete => (
            StatusCode::NOT_FOUND,
            "NOT_COMPLETE",
            "look at the record's status; publish the message again if its writer gave up",
        ),
        Kind::Expired => (
            StatusCode::GONE,
            "EXPIRED",
            "call the tool again, or publish with a longer Bus-Ttl-Hours",
        ),
        Kind::Conflict => (
            StatusCode::CONFLICT,
            "CONFLICT",
            "use another transaction id for other bytes",
        ),
        Kind::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "BUSY",
            "wait for Retry-After seconds and send the same request again",
        ),
        Kind::TooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            "send less, or raise MESSAGE_BUS_MAX_PAYLOAD_MB at the daemon",
        ),
        Kind::DigestMismatch => (
            StatusCode::BAD_REQUEST,
            "DIGEST_MISMATCH",
            "send the bytes again; nothing was kept",
        ),
        Kind::Source => (
            StatusCode::BAD_REQUEST,
            "BODY_TRUNCATED",
            "send the whole body again; nothing was kept",
        ),
        Kind::InvalidInput => (
            StatusCode::BAD_REQUEST,
            "INVALID_INPUT",
            "correct the request and send it again",
        ),
        Kind::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "STORE_FULL",
            "free space or purge the store (bus purge), then send it again",
        ),
        Kind::Denied => (
            StatusCode::FORBIDDEN,
            "DENIED",
            "let the daemon write to its store",
        ),
        Kind::Disabled => (
            StatusCode::FORBIDDEN,
            "DISABLED",
            "set MESSAGE_BUS_ENABLED=true at the daemon to publish",
        ),
        _ => describe_failure(kind),
    }
}

/// The kinds that no caller is to blame for.
fn describe_failure(kind: ClientErrorKind) -> (StatusCode, &'static str, &'static str) {
    use ClientErrorKind as Kind;
    match kind {
        Kind::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "STORE_UNAVAILABLE",
            "wait for Retry-After seconds and send the same request again",
        ),
        Kind::Cancelled => (
            StatusCode::SERVICE_UNAVAILABLE,
            "SHUTTING_DOWN",
            "send the same request again once the daemon is back",
        ),
        Kind::Damaged => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "DAMAGED",
            "delete the message and publish it again; bus verify lists what is damaged",
        ),
        Kind::NewerFormat => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "NEWER_FORMAT",
            "upgrade the daemon",
        ),
        Kind::Settings => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "SETTINGS",
            "correct the daemon's settings and start it again",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            "look into the daemon's log under the request id of this answer",
        ),
    }
}

/// The body of a request failed: it stood still, or it ended too early.
fn from_source(error: &ClientError) -> Problem {
    let stalled = sources(error)
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::TimedOut);
    if stalled {
        return Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "BODY_STALLED",
            "the request's body stood still for too long",
            "send the whole body again, without pauses; nothing was kept",
        );
    }
    let (status, code, action) = describe(ClientErrorKind::Source);
    Problem::new(
        status,
        code,
        "the request's body ended before its announced end, or is not well formed",
        action,
    )
}

fn sources<'a>(
    error: &'a ClientError,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let first: Option<&'a (dyn std::error::Error + 'static)> = error.source();
    std::iter::successors(first, |&error| error.source())
}

/// Every cause, for the log only.
fn chain(error: &ClientError) -> String {
    let causes: Vec<String> = sources(error).map(ToString::to_string).collect();
    causes.join(": ")
}
