//! The nodes as JSON, and which of them get work.

use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    WebState,
    answer::{failure, json_now},
};
use crate::{
    error::Result,
    execution::nodes::{ACTIVE, NodeRow, WORKER},
};

/// `GET /api/v1/cluster`
pub async fn summary(State(state): State<WebState>) -> Response {
    let workers = state.workers();
    let (queued, running) = state.engine.registry.queued_and_running();
    json_now(&json!({
        "worker_count": workers.iter().filter(|node| node.state == ACTIVE).count(),
        "role": state.options.role.name(),
        "workers_known": workers.len(),
        "running_queries": running,
        "queued_queries": queued,
    }))
}

/// `GET /api/v1/cluster/workers`: all that are known, also those that are not alive.
pub async fn workers(State(state): State<WebState>) -> Response {
    json_now(&state.workers().iter().map(worker).collect())
}

/// `GET /api/v1/info`
pub async fn info(State(state): State<WebState>) -> Response {
    let engine = &state.engine;
    json_now(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_secs": engine.started.elapsed().as_secs(),
        "role": state.options.role.name(),
        "node_id": engine.options.node_id,
        "threads": engine.options.num_threads,
        "memory_bytes": engine.memory.budget_bytes(),
        "memory_used_bytes": engine.memory.used_bytes(),
    }))
}

/// `POST /api/v1/cluster/workers/{id}/drain`
pub async fn drain(State(state): State<WebState>, Path(id): Path<String>) -> Response {
    done(state.engine.nodes.directory().drain(&id))
}

/// `DELETE /api/v1/cluster/workers/{id}/drain`
pub async fn resume(State(state): State<WebState>, Path(id): Path<String>) -> Response {
    done(state.engine.nodes.directory().resume(&id))
}

fn done(result: Result<()>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => failure(&error),
    }
}

impl WebState {
    fn workers(&self) -> Vec<NodeRow> {
        let mut nodes = self.engine.nodes.directory().nodes();
        nodes.retain(|node| node.role == WORKER);
        nodes
    }
}

fn worker(node: &NodeRow) -> Value {
    json!({
        "worker_id": node.node_id,
        "address": node.address,
        "alive": matches!(node.state.as_str(), ACTIVE | "draining"),
        "max_splits": node.threads,
        "last_heartbeat_secs_ago": node.last_heartbeat_ms.map(|ms| ms / 1000),
        "last_heartbeat_ms": node.last_heartbeat_ms,
        "state": node.state,
        "reason": node.reason,
        "version": node.version,
        "threads": node.threads,
        "memory_bytes": node.memory_bytes,
        "memory_used_bytes": node.memory_used_bytes,
        "running_tasks": node.running_tasks,
        "incarnation": node.incarnation.to_string(),
    })
}
