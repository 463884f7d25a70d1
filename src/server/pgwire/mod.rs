//! The PostgreSQL protocol over sessions.

use std::{future::Future, sync::Arc};

use tokio::net::TcpListener;

use crate::engine::Engine;

/// Answers clients on `listener` until `stop` ends; then open queries are cancelled and connections closed.
pub async fn serve(_engine: Arc<Engine>, _listener: TcpListener, stop: impl Future<Output = ()>) {
    stop.await;
}
