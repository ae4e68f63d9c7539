//! The HTTP API: publish and redeem from any language, look at the daemon, and the upgrade to
//! WebSocket. `openapi.json` describes all of it; errors are problem details (RFC 9457).
//!
//! | module | holds |
//! |---|---|
//! | `routes` | every path and method, in one table |
//! | `messages` | publish, list, look at, acknowledge, delete |
//! | `headers`, `upload` | what a publishing request says, and its body |
//! | `payload` | redeeming a claim |
//! | `accept`, `range`, `condition` | which form, which bytes and whether a client gets them, pure |
//! | `framing` | where a request's body ends, and the rest that nobody reads |
//! | `health`, `page`, `openapi` | the daemon's own state and description |
//! | `socket` | where HTTP becomes WebSocket |
//! | `guard` | keeps web pages away |
//! | `auth` | the token |
//! | `observe` | request ids, spans, counters, headers of every answer |
//! | `problem` | errors and their status |
//! | `connection` | the accept loop and its limits |

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    http::{Method, StatusCode, Uri},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::state::AppState;
use problem::Problem;

mod accept;
mod auth;
mod condition;
pub(crate) mod connection;
mod framing;
mod guard;
mod headers;
mod health;
mod messages;
mod observe;
mod openapi;
mod page;
mod payload;
mod problem;
mod range;
mod routes;
mod socket;
mod upload;

/// The whole API of one daemon. From the outside in: counters and request id, the body's framing,
/// a net for panics, the guard against web pages, the token, the routes.
pub(crate) fn router(state: Arc<AppState>) -> Router {
    routes::router()
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(&state), auth::require_token))
        .layer(from_fn_with_state(Arc::clone(&state), guard::guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(framing::framing))
        .layer(from_fn_with_state(Arc::clone(&state), observe::observe))
        .with_state(state)
}

async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(120).collect();
    Problem::new(
        StatusCode::NOT_FOUND,
        "NO_SUCH_PATH",
        format!("there is nothing at {path}"),
        "look at /openapi.json for what is there",
    )
}

async fn no_such_method(method: Method) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "NO_SUCH_METHOD",
        format!("this path does not take {method}"),
        "look at Allow, or at /openapi.json",
    )
}

/// A bug must cost one request, not the daemon. What it said is for the log only.
#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| cause.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a request handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "INTERNAL",
        "the daemon failed at this request",
        "report it with the request id of this answer",
    )
    .into_response()
}
