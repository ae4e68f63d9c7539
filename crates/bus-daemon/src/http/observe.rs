//! A request id, a tracing span and counters around every request, and headers that belong on
//! every answer. No header of a request is logged, since one may hold a token.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    Error,
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tracing::Instrument as _;
use uuid::Uuid;

use super::routes;
use crate::state::AppState;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The middleware; the outermost one.
pub(super) async fn observe(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let in_flight = InFlight::new(Arc::clone(&state));
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = routes::label(matched.map(MatchedPath::as_str));
    let method = method_label(request.method());
    let id = request_id(request.headers());
    let span = tracing::info_span!("http", %id, method, path = request.uri().path());
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    let seconds = started.elapsed().as_secs_f64();
    state.metrics.http_answered(route, method, status, seconds);
    span.in_scope(|| tracing::debug!(status, seconds, "answered"));
    finish_headers(response.headers_mut(), &id);
    response.map(|inner| Body::new(Counted { inner, in_flight }))
}

/// The client's own id where it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let harmless = |text: &&str| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    headers
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(harmless)
        .map_or_else(|| Uuid::new_v4().simple().to_string(), ToOwned::to_owned)
}

fn finish_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    }
}

/// A label from a closed set: an unknown method must not make a series of its own.
fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| *known == method.as_str())
        .unwrap_or("other")
}

/// Counts a request as in flight for as long as it lives.
struct InFlight(Arc<AppState>);

impl InFlight {
    fn new(state: Arc<AppState>) -> Self {
        state.metrics.http_started();
        Self(state)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.http_finished();
    }
}

/// The body of an answer; the request is in flight until it is dropped.
struct Counted {
    inner: Body,
    #[expect(dead_code, reason = "held for its Drop")]
    in_flight: InFlight,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("abc-1.2_3", true)]
    #[case("", false)]
    #[case("a b", false)]
    #[case("a\tb", false)]
    fn a_request_id_of_the_client(#[case] sent: &'static str, #[case] kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static(sent));
        assert_eq!(request_id(&headers) == sent, kept);
    }

    #[test]
    fn an_unknown_method_has_no_series_of_its_own() {
        assert_eq!(method_label(&Method::PUT), "PUT");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
