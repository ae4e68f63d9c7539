//! The HTTP API of the daemon.

use std::sync::Arc;

use axum::Router;

use crate::state::AppState;

/// All HTTP routes.
pub fn router(_state: Arc<AppState>) -> Router {
    Router::new()
}
