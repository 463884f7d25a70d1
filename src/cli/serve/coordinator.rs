//! The role coordinator: takes SQL, has workers do the work.

use std::{pin::pin, sync::Arc, time::Duration};

use super::{ClientPorts, Stop, access_policy, bracketed, client_ports, listen, log_tables};
use crate::{
    Engine,
    cluster::{
        coordinator::CoordinatorOptions,
        launch::{CoordinatorSetup, start_coordinator},
        membership::Timing,
        security::Security,
    },
    config::{Config, Role},
    error::{Error, Result},
    server::{
        self,
        web::{WebOptions, serve_web},
    },
};

/// Serves SQL, the web and the workers until a signal says stop.
///
/// # Errors
/// A port that is taken, a secret that cannot be read.
pub(super) async fn serve(engine: Arc<Engine>, config: &Config) -> Result<()> {
    let ClientPorts { address, listener, web_address, web_listener } = client_ports(config).await?;
    let hint = "choose another with rpc_port in [cluster], or stop the process that has it";
    let (rpc_address, rpc_listener) = listen(config, config.cluster.rpc_port(), hint).await?;
    let stop = Stop::at_signal();
    let setup = CoordinatorSetup {
        id: engine.options.node_id.clone(),
        address: config.cluster.advertised_address.clone().unwrap_or_else(|| own_address(config)),
        options: options(&engine, config),
        timing: Timing::from(&config.cluster),
        security: Security::open(&config.cluster)?,
    };
    let (_cluster, flight) = start_coordinator(&engine, setup, rpc_listener, stop.clone().wait())?;
    tracing::info!(
        %address,
        web = %web_address,
        flight = %rpc_address,
        threads = engine.options.num_threads,
        memory_mb = engine.options.memory_bytes >> 20,
        "arneb listening as coordinator"
    );
    log_tables(config);
    let policy = access_policy(config);
    let web = WebOptions { role: Role::Coordinator, policy, host_name: config.host_name.clone() };
    let mut flight = flight;
    let mut doors = pin!(async {
        tokio::join!(
            server::pgwire::serve(Arc::clone(&engine), listener, policy, stop.clone().wait()),
            serve_web(Arc::clone(&engine), web_listener, web, stop.clone().wait()),
        )
    });
    let served = tokio::select! {
        // Without it no query finds a worker: better no coordinator than such a one.
        served = &mut flight => {
            served.unwrap_or_else(|panic| Err(Error::internal(format!("the Flight port failed: {panic}"))))?;
            doors.await;
            Ok(())
        }
        _ = &mut doors => flight.await.unwrap_or(Ok(())),
    };
    tracing::info!("arneb stopped");
    served
}

/// Where the coordinator is as far as it knows itself; workers on other hosts use the address at which they have found it.
fn own_address(config: &Config) -> String {
    let bare = config.bind_address.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<std::net::IpAddr>() {
        Ok(ip) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        _ => bracketed(&config.bind_address),
    };
    format!("{host}:{}", config.cluster.rpc_port())
}

fn options(engine: &Engine, config: &Config) -> CoordinatorOptions {
    let cluster = &config.cluster;
    CoordinatorOptions {
        distribution: cluster.distribution,
        recovery: cluster.recovery,
        small_query_bytes: (cluster.small_query_mb as u64) << 20,
        holdback_bytes: cluster.holdback_mb << 20,
        no_worker_grace: Duration::from_secs(cluster.no_worker_grace_s),
        query_memory_bytes: engine.options.query_memory_bytes,
        speculation: true,
    }
}
