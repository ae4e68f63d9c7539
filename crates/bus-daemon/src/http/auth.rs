//! The token, where the daemon has one: `Authorization: Bearer`, compared in constant time.
//!
//! Open without it: `/healthz`, so that a supervisor needs no secret, and the upgrade to a
//! WebSocket, whose `hello` carries the token.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::problem::Problem;
use crate::state::AppState;

/// The middleware.
pub(super) async fn require_token(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let open = request.uri().path() == "/healthz" || is_upgrade(&request);
    if open || state.token.accepts(bearer(request.headers())) {
        return next.run(request).await;
    }
    refusal(request.headers()).into_response()
}

/// Whether the request asks for a WebSocket, at a path that has one. Elsewhere an `Upgrade` header
/// opens nothing.
pub(super) fn is_upgrade(request: &Request) -> bool {
    let wants = request
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    wants && request.method() == Method::GET && matches!(request.uri().path(), "/" | "/ws")
}

/// The token that the request shows; the scheme's name has no case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (only, second) = (values.next()?, values.next());
    // A token may be any text, and a WebSocket's `hello` shows it as UTF-8 too.
    let text = std::str::from_utf8(only.as_bytes()).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    (second.is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

fn refusal(headers: &HeaderMap) -> Problem {
    let (detail, challenge) = if headers.contains_key(header::AUTHORIZATION) {
        (
            "the token is not the daemon's",
            "Bearer realm=\"bus\", error=\"invalid_token\"",
        )
    } else {
        ("the daemon asks for a token", "Bearer realm=\"bus\"")
    };
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        detail,
        "send Authorization: Bearer with the daemon's token (BUS_TOKEN)",
    )
    .with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], None)]
    #[case(&["Bearer secret"], Some("secret"))]
    #[case(&["bearer   secret "], Some("secret"))]
    #[case(&["Basic secret"], None)]
    #[case(&["secret"], None)]
    #[case(&["Bearer"], None)]
    #[case(&["Bearer secret", "Bearer secret"], None)]
    fn a_bearer(#[case] values: &[&'static str], #[case] token: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(bearer(&headers), token);
    }
}
