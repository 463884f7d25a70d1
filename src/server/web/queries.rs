//! Queries as JSON: list them, look at one, stop one.

use std::{collections::HashMap, time::Duration};

use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    WebState,
    answer::{json_now, refusal},
};
use crate::execution::registry::{QueryInfo, QueryState, Stop, TaskInfo};

/// `GET /api/v1/queries[?state=RUNNING]`; a state that does not exist filters nothing.
pub async fn list(State(state): State<WebState>, Query(parameters): Query<HashMap<String, String>>) -> Response {
    let wanted = parameters.get("state").and_then(|name| QueryState::ALL.into_iter().find(|s| s.name().eq_ignore_ascii_case(name)));
    let queries = state.engine.registry.list();
    let queries: Vec<Value> = queries.iter().filter(|query| wanted.is_none_or(|wanted| query.state == wanted)).map(summary).collect();
    json_now(&json!({ "queries": queries }))
}

/// `GET /api/v1/queries/{id}`: the same with its tasks.
pub async fn show(State(state): State<WebState>, Path(id): Path<String>) -> Response {
    let Some(id) = parse_id(&id) else { return not_an_id() };
    let Some(query) = state.engine.registry.get(id) else { return unknown(id) };
    let mut value = summary(&query);
    value["tasks"] = query.tasks.iter().map(task).collect();
    json_now(&value)
}

/// `DELETE /api/v1/queries/{id}`: stops it. To stop what has ended is no mistake.
pub async fn stop(State(state): State<WebState>, Path(id): Path<String>) -> Response {
    let Some(id) = parse_id(&id) else { return not_an_id() };
    match state.engine.registry.cancel(id) {
        Stop::Stopped | Stop::HasEnded => StatusCode::NO_CONTENT.into_response(),
        Stop::Unknown => unknown(id),
    }
}

fn parse_id(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok()
}

fn not_an_id() -> Response {
    refusal(StatusCode::BAD_REQUEST, "the id of a query is a UUID", None)
}

fn unknown(id: Uuid) -> Response {
    let hint = "it may have ended long ago: only the last queries are remembered";
    refusal(StatusCode::NOT_FOUND, &format!("there is no query {id}"), Some(hint))
}

fn summary(query: &QueryInfo) -> Value {
    json!({
        "query_id": query.id.to_string(),
        "state": query.state.name(),
        "sql": query.sql,
        "error": query.error.as_ref().map(|error| &error.message),
        "sqlstate": query.error.as_ref().map(|error| error.sqlstate),
        "user": query.user,
        "application": query.application,
        "submitted_at": query.submitted_at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "elapsed_ms": milliseconds(query.elapsed),
        "queued_ms": milliseconds(query.queued),
        "queue_position": query.queue_position,
        "rows": query.rows,
        "units_done": query.units_done,
        "units_total": query.units_total,
        "progress": progress(query),
        "attempts": query.attempts,
        "restart_reason": query.restart_reason,
        "peak_memory_bytes": query.peak_memory_bytes,
    })
}

fn task(task: &TaskInfo) -> Value {
    json!({
        "fragment": task.fragment,
        "node_id": task.node_id,
        "state": task.state.name(),
        "units_done": task.units_done,
        "units_running": task.units_running,
        "rows_in": task.rows_in,
        "rows_out": task.rows_out,
        "bytes_sent": task.bytes_sent,
        "busy_ms": task.busy_ns / 1_000_000,
        "blocked_ms": task.blocked_ns / 1_000_000,
        "peak_memory_bytes": task.peak_memory_bytes,
    })
}

/// The share of the work that is done, 0 to 1.
fn progress(query: &QueryInfo) -> f64 {
    match (query.state, query.units_total) {
        (QueryState::Finished, _) => 1.0,
        (_, 0) => 0.0,
        (_, total) => (query.units_done as f64 / total as f64).min(1.0),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
