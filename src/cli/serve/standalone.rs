//! The role standalone: everything in one process, no other nodes.

use std::sync::Arc;

use super::{ClientPorts, Stop, access_policy, client_ports, log_tables};
use crate::{
    Engine,
    config::{Config, Role},
    error::Result,
    execution::nodes::StandaloneNode,
    server::{
        self,
        web::{WebOptions, serve_web},
    },
};

/// Serves SQL and the web until a signal says stop.
///
/// # Errors
/// A port that is taken.
pub(super) async fn serve(engine: Arc<Engine>, config: &Config) -> Result<()> {
    let ClientPorts { address, listener, web_address, web_listener } = client_ports(config).await?;
    let itself =
        StandaloneNode::new(&engine.options.node_id, engine.options.num_threads, Arc::clone(&engine.memory), engine.registry.clone());
    engine.nodes.set(Arc::new(itself.at(&address)));
    tracing::info!(
        %address,
        web = %web_address,
        threads = engine.options.num_threads,
        memory_mb = engine.options.memory_bytes >> 20,
        "arneb listening"
    );
    log_tables(config);
    let (policy, stop) = (access_policy(config), Stop::at_signal());
    let web = WebOptions { role: Role::Standalone, policy, host_name: config.host_name.clone() };
    tokio::join!(
        server::pgwire::serve(Arc::clone(&engine), listener, policy, stop.clone().wait()),
        serve_web(Arc::clone(&engine), web_listener, web, stop.wait()),
    );
    tracing::info!("arneb stopped");
    Ok(())
}
