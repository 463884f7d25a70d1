//! The role worker: runs pieces of queries for a coordinator. SIGTERM lets it finish what it has; a second signal, or Ctrl-C, does not.

use std::{sync::Arc, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::{listen, mistake};
use crate::{
    Engine,
    cluster::{
        launch::{Routes, RunningWorker, STOP_PATIENCE, WorkerSetup, start_worker},
        membership::{Timing, advertise::Advertise, heartbeat::Standing},
        security::Security,
    },
    config::Config,
    error::{Error, Result},
    server::web,
};

/// How often a draining worker looks whether its coordinator is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Works until it is drained or a signal says stop.
///
/// # Errors
/// A port that is taken, a secret that cannot be read.
pub(super) async fn serve(engine: Arc<Engine>, config: &Config) -> Result<()> {
    let cluster = &config.cluster;
    let hint = "choose another with rpc_port in [cluster]: every node on a host needs its own";
    let (address, listener) = listen(config, cluster.rpc_port(), hint).await?;
    let coordinator = cluster.coordinator().map_err(mistake)?.to_owned();
    let setup = WorkerSetup {
        id: engine.options.node_id.clone(),
        coordinator: coordinator.clone(),
        advertise: Advertise {
            configured: cluster.advertised_address.clone(),
            bind_address: config.bind_address.clone(),
            port: cluster.rpc_port(),
        },
        timing: Timing::from(cluster),
        security: Security::open(cluster)?,
    };
    tracing::info!(
        %address,
        worker = engine.options.node_id,
        coordinator,
        threads = engine.options.num_threads,
        memory_mb = engine.options.memory_bytes >> 20,
        "arneb worker starting"
    );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let until_stopped = async {
        // Dropped or used, it is the end.
        let _ = stopped.await;
    };
    let mut worker = start_worker(&engine, setup, listener, Routes::from(web::probes(Arc::clone(&engine))), until_stopped)?;
    until_end(&mut worker).await?;
    worker.attempts.stop_all();
    let heartbeat = Arc::clone(&worker.heartbeat);
    // It waits for its thread.
    let _ = tokio::task::spawn_blocking(move || heartbeat.stop()).await;
    drop(stop);
    let served = tokio::time::timeout(STOP_PATIENCE, worker.server).await;
    tracing::info!("arneb stopped");
    match served {
        Ok(Ok(result)) => result,
        // Streams that do not end are cut.
        _ => Ok(()),
    }
}

/// Resolves when the node is to end: drained after SIGTERM, or told a second time, or by Ctrl-C, or when its port has failed.
async fn until_end(worker: &mut RunningWorker) -> Result<()> {
    let no_signals = |error: std::io::Error| Error::internal(format!("signals cannot be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut is_draining = false;
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    loop {
        tokio::select! {
            _ = look.tick(), if is_draining => {
                // Nobody is left who could say that it has finished, and nothing is left to finish.
                if !is_member(&worker.heartbeat.standing().borrow()) && worker.attempts.num_tasks() == 0 {
                    return Ok(());
                }
            }
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => {
                if is_draining || !is_member(&worker.heartbeat.standing().borrow()) {
                    return Ok(());
                }
                is_draining = true;
                tracing::info!("draining: what runs here is finished first; a second signal ends it");
                worker.heartbeat.drain();
            }
            _ = &mut worker.drained => return Ok(()),
            served = &mut worker.server => return served.unwrap_or_else(|panic| Err(Error::internal(panic.to_string()))),
        }
    }
}

/// Whether a coordinator counts on the node.
fn is_member(standing: &Standing) -> bool {
    !matches!(standing, Standing::Alone(_) | Standing::Refused(_))
}
