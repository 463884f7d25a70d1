//! Probes: whether the process answers, and whether it should be sent clients.

use axum::{extract::State, http::StatusCode};

use super::WebState;

/// `GET /health/live`: 200 as long as anything answers.
pub async fn live() -> &'static str {
    "live\n"
}

/// `GET /health/ready`: 200 if queries can be answered, else 503 and why not.
pub async fn ready(State(state): State<WebState>) -> (StatusCode, String) {
    match state.engine.nodes.directory().readiness() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
    }
}
