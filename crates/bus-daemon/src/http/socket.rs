//! Where HTTP becomes WebSocket: `/` (the original's clients name no path) and `/ws`.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts as _, Request, State, WebSocketUpgrade},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{auth, page, problem::Problem};
use crate::{state::AppState, ws};

/// `GET /`: the page of a browser, or an upgrade.
pub(super) async fn page_or_upgrade(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Response {
    if auth::is_upgrade(&request) {
        upgrade(State(state), request).await
    } else {
        page::page(State(state)).await.into_response()
    }
}

/// `GET /ws`.
pub(super) async fn upgrade(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &state).await {
        Ok(upgrade) => match state.try_open_socket() {
            Some(place) => ws::upgrade(upgrade, state, place),
            None => Problem::over_capacity("too many WebSockets are open").into_response(),
        },
        Err(error) => upgrade_required(error.body_text()).into_response(),
    }
}

fn upgrade_required(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::UPGRADE_REQUIRED,
        "UPGRADE_REQUIRED",
        detail,
        "connect with a WebSocket client (RFC 6455, version 13)",
    )
    .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
    .with_header(header::CONNECTION, HeaderValue::from_static("upgrade"))
}
