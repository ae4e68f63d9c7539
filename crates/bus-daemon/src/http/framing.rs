//! The framing of a request's body (RFC 9112, section 6), and the part of it that nobody reads.
//!
//! Two things must hold for every request, whoever answers it. Where a body ends must be beyond
//! doubt: a proxy before the daemon that sees another end would pass a request on that it never
//! saw. And a client must get to read its answer: closing a socket that still holds unread bytes
//! resets the connection, and most clients send all of a body before they read.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Error,
    body::{Body, BodyDataStream, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};
use tokio::{runtime::Handle, time::timeout};

use super::{headers::list, problem::Problem};

/// How much of a body is still read after its request was answered.
const DRAIN_BYTES: usize = 16 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The middleware.
pub(super) async fn framing(request: Request, next: Next) -> Response {
    if let Err(problem) = check(request.headers()) {
        return problem.into_response();
    }
    let waits = waits_for_continue(request.headers());
    next.run(request.map(|body| drained(body, waits))).await
}

/// Only `chunked` is undone on the way in: with another coding the payload would be other bytes
/// than the client meant. A `Content-Length` beside it is not seen here: hyper goes by the chunks
/// then and closes the connection after the answer, as RFC 9112, section 6.1 asks.
fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(codings) = list(headers, header::TRANSFER_ENCODING.as_str()) else {
        return Ok(());
    };
    if !codings.trim().eq_ignore_ascii_case("chunked") {
        return Err(unclear(format!(
            "Transfer-Encoding {codings:?}: only chunked is taken"
        )));
    }
    Ok(())
}

/// The connection ends with the answer: what follows may be a part of the body.
fn unclear(why: impl Into<String>) -> Problem {
    Problem::bad_request("BAD_FRAMING", why)
        .with_header(header::CONNECTION, HeaderValue::from_static("close"))
}

fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn drained(body: Body, waits_for_continue: bool) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(Drained {
        body: Some(body),
        waits_for_continue,
    })
}

/// A body that, dropped before its end, reads a bounded rest in the background. A client that
/// waits for `100 Continue` sends nothing before its answer, so nothing is read from it.
struct Drained {
    /// `None` once it has ended or failed.
    body: Option<Body>,
    waits_for_continue: bool,
}

impl HttpBody for Drained {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.waits_for_continue = false;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let answer = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(answer, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(answer)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), false, Ok(runtime)) =
            (unread, self.waits_for_continue, Handle::try_current())
        {
            runtime.spawn(timeout(DRAIN_TIME, drain(body.into_data_stream())));
        }
    }
}

async fn drain(mut body: BodyDataStream) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(bytes)) = body.next().await {
        match left.checked_sub(bytes.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], true)]
    #[case(&[("content-length", "4")], true)]
    #[case(&[("transfer-encoding", "chunked")], true)]
    #[case(&[("transfer-encoding", " Chunked ")], true)]
    #[case(&[("transfer-encoding", "gzip, chunked")], false)]
    #[case(&[("transfer-encoding", "chunked, chunked")], false)]
    #[case(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false)]
    #[case(&[("transfer-encoding", "identity")], false)]
    #[case(&[("transfer-encoding", "")], false)]
    fn where_a_body_ends(#[case] sent: &[(&'static str, &'static str)], #[case] clear: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(check(&headers).is_ok(), clear);
    }
}
