//! What supervisors and monitoring ask: `/healthz`, `/readyz`, `/metrics`.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use tokio::time::timeout;

use super::problem::Problem;
use crate::{metrics::Metrics, state::AppState};

/// How long the store may take to say that it is there.
const CHECK_TIME: Duration = Duration::from_secs(5);

/// `GET /healthz`: the process answers. It says nothing of the store, so that a store that is away
/// never gets the daemon restarted.
pub(super) async fn healthz() -> &'static str {
    "ok"
}

/// The answer of a daemon that can be used.
#[derive(Serialize)]
pub(super) struct Ready {
    status: &'static str,
}

/// `GET /readyz`: whether a call would be served now.
pub(super) async fn readyz(State(state): State<Arc<AppState>>) -> Result<Json<Ready>, Problem> {
    if state.shutdown.is_cancelled() {
        return Err(not_ready("the daemon is shutting down"));
    }
    let check = state.metrics.timed("check", state.client.check());
    match timeout(CHECK_TIME, check).await {
        Ok(Ok(())) => Ok(Json(Ready { status: "ready" })),
        Ok(Err(error)) => Err(not_ready(format!("the store: {error}"))),
        Err(_) => Err(not_ready(format!(
            "the store gave no answer in {CHECK_TIME:?}"
        ))),
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(State(state): State<Arc<AppState>>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)];
    (kind, state.metrics.render())
}

fn not_ready(why: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "NOT_READY",
        why,
        "wait, or look into the daemon's log",
    )
    .with_retry_after(Duration::from_secs(1))
}
