//! The web: the API of operators, metrics, and probes.
//!
//! | path | what |
//! |---|---|
//! | `/api/v1/queries`, `/api/v1/queries/{id}` | [`queries`]: list, look at, stop |
//! | `/api/v1/cluster`, `/api/v1/cluster/workers`, `/api/v1/info` | [`cluster`]: nodes, drain |
//! | `/metrics` | [`metrics`]: for Prometheus |
//! | `/health/live`, `/health/ready` | [`health`] |
//! | `/` | [`page`]: what is here |
//!
//! Position: a door beside [`super::pgwire`]; every answer is made from the live state of the engine. Who may ask is decided first, in
//! [`access`]. Deliberately elsewhere: what is known of queries and nodes (`execution::registry`, `execution::nodes`).

pub mod access;
pub mod answer;
pub mod cluster;
pub mod health;
pub mod metrics;
pub mod page;
pub mod queries;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router, middleware,
    routing::{get, post},
};
use tokio::net::TcpListener;

use super::policy::AccessPolicy;
use crate::{config::Role, engine::Engine};

/// How long requests may go on after the server was told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What the web needs to know besides the engine.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// What this process is.
    pub role: Role,
    /// Who may ask.
    pub policy: AccessPolicy,
    /// The name browsers know this machine by, besides its addresses and `localhost`.
    pub host_name: Option<String>,
}

/// What all requests share.
#[derive(Clone)]
pub struct WebState {
    /// The node.
    pub engine: Arc<Engine>,
    /// How the door is set up.
    pub options: Arc<WebOptions>,
}

/// All paths, with the checks before them. To be served with the addresses of peers.
pub fn router(engine: Arc<Engine>, options: WebOptions) -> Router {
    let state = WebState { engine, options: Arc::new(options) };
    Router::new()
        .route("/", get(page::index))
        .route("/api/v1/queries", get(queries::list))
        .route("/api/v1/queries/{id}", get(queries::show).delete(queries::stop))
        .route("/api/v1/cluster", get(cluster::summary))
        .route("/api/v1/cluster/workers", get(cluster::workers))
        .route("/api/v1/cluster/workers/{id}/drain", post(cluster::drain).delete(cluster::resume))
        .route("/api/v1/info", get(cluster::info))
        .route("/metrics", get(metrics::render))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .fallback(page::nothing_here)
        .layer(middleware::from_fn_with_state(state.clone(), access::check))
        .with_state(state)
}

/// What a node without a web answers all the same, on the port it has: whether it lives, whether it is ready, and its numbers.
pub fn probes(engine: Arc<Engine>) -> Router {
    let options = WebOptions { role: Role::Worker, policy: AccessPolicy::Trust, host_name: None };
    let state = WebState { engine, options: Arc::new(options) };
    Router::new()
        .route("/metrics", get(metrics::render))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(state)
}

/// Answers requests on `listener` until `stop` ends; then open requests have a moment to end.
pub async fn serve_web(engine: Arc<Engine>, listener: TcpListener, options: WebOptions, stop: impl Future<Output = ()> + Send + 'static) {
    let service = router(engine, options).into_make_service_with_connect_info::<SocketAddr>();
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let stop = async move {
        stop.await;
        // Nobody listens any more if the server ended by itself.
        let _ = stopping.send(());
    };
    let server = axum::serve(listener, service).with_graceful_shutdown(stop);
    let patience = async {
        let _ = stopped.await;
        tokio::time::sleep(STOP_PATIENCE).await;
    };
    tokio::select! {
        result = server => {
            if let Err(error) = result {
                tracing::warn!(%error, "the web port is closed");
            }
        }
        () = patience => {}
    }
}
