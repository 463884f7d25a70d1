//! The Flight port: one listener for calls of other nodes and, besides, plain HTTP of people and monitors.
//!
//! Position: started by `cli::serve` on coordinators and workers. Deliberately elsewhere: what calls do (`service`, [`Doors`]), and what is
//! answered to plain HTTP, which is handed in ready-made.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{net::TcpListener, sync::watch};
pub use tonic::service::Routes;
use tonic::transport::{Server, server::TcpIncoming};

use super::{CONNECTION_WINDOW, Doors, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW, service};
use crate::{
    cluster::security::Security,
    error::{Error, Result},
};

/// How long calls that are under way when the server stops may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// A peer can have many queries, each a control stream and a data stream.
const STREAMS_MAX: u32 = 16_384;

/// Serves until `stop`, and then a moment more for answers under way; connections that are still open after that end with the runtime.
///
/// `extra` answers plain HTTP/1 on the same port, without a token: a router of paths such as `/health`, or `Routes::default()`. With
/// TLS configured it is reached with a client certificate only, as everything on this port.
///
/// # Errors
/// Certificates that TLS cannot use, a listener that fails.
pub async fn serve(
    listener: TcpListener,
    doors: Arc<dyn Doors>,
    security: Arc<Security>,
    extra: impl Into<Routes>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let failed = |error: tonic::transport::Error| Error::internal(format!("the Flight port failed: {}", super::client::causes(&error)));
    let mut server = Server::builder()
        .accept_http1(true)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
    if let Some(tls) = security.tls() {
        server = server.tls_config(tls.server()).map_err(failed)?;
    }
    let routes = extra.into().add_service(service::guarded(doors, security));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (stopped, mut stopping) = watch::channel(false);
    let stop = stop.map(|()| _ = stopped.send_replace(true));
    let serving = server.add_routes(routes).serve_with_incoming_shutdown(incoming, stop);
    let overdue = async {
        let _ = stopping.wait_for(|stopped| *stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving => served.map_err(failed),
        () = pin!(overdue) => Ok(()),
    }
}
