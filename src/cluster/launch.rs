//! Starts a node's part in a cluster: its Flight port, and what stands behind it.
//!
//! Position: called by `cli::serve` and by tests that run a cluster in one process. Deliberately elsewhere: SQL clients, the web,
//! signals of the operating system.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};

use super::{
    PROTOCOL,
    attempts::Attempts,
    coordinator::{Cluster, ClusterDirectory, Coordinator, CoordinatorDoors, CoordinatorOptions},
    flight::{client::Peers, server},
    membership::{Heartbeat, HeartbeatOptions, Hooks, Load, Membership, Timing, advertise::Advertise, fingerprint},
    node::{Incarnation, NodeId, NodeInfo},
    security::Security,
    worker::{Worker, WorkerDoors},
    worker_directory::WorkerDirectory,
};
use crate::{
    Engine,
    error::{Error, Result},
};

pub use super::flight::server::Routes;

/// What a coordinator starts from.
pub struct CoordinatorSetup {
    /// Its name.
    pub id: String,
    /// Where it can be reached as far as it knows itself: `host:port`.
    pub address: String,
    /// How queries are run.
    pub options: CoordinatorOptions,
    /// Heartbeats and leases.
    pub timing: Timing,
    /// Secrets.
    pub security: Arc<Security>,
}

/// What a worker starts from.
pub struct WorkerSetup {
    /// Its name.
    pub id: String,
    /// Where the coordinator is: `host:port`.
    pub coordinator: String,
    /// What its own address is found out from.
    pub advertise: Advertise,
    /// Until the coordinator has said what holds.
    pub timing: Timing,
    /// Secrets.
    pub security: Arc<Security>,
}

/// A worker that runs.
pub struct RunningWorker {
    /// Its heart.
    pub heartbeat: Arc<Heartbeat>,
    /// Attempts that run on it.
    pub attempts: Arc<Attempts>,
    /// Resolves when it has been drained.
    pub drained: tokio::sync::oneshot::Receiver<()>,
    /// Its Flight port.
    pub server: JoinHandle<Result<()>>,
}

fn info(id: &str, address: &str, engine: &Engine) -> NodeInfo {
    NodeInfo {
        id: NodeId(id.to_owned()),
        incarnation: Incarnation::draw(),
        address: address.to_owned(),
        threads: u16::try_from(engine.options.num_threads).unwrap_or(u16::MAX),
        memory_bytes: engine.options.memory_bytes as u64,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: PROTOCOL,
    }
}

/// Makes `engine` the engine of a coordinator, whose Flight port is `listener`; serves until `stop` ends.
///
/// # Errors
/// Tables that cannot be read; an engine that is part of a cluster already.
pub fn start_coordinator(
    engine: &Arc<Engine>,
    setup: CoordinatorSetup,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(Arc<Cluster>, JoinHandle<Result<()>>)> {
    let me = info(&setup.id, &setup.address, engine);
    let peers = Peers::new(Arc::clone(&setup.security));
    let membership = Membership::new(me.clone(), fingerprint(&engine.catalogs)?, setup.timing, Arc::clone(&peers));
    let cluster = Arc::new(Cluster {
        me,
        options: setup.options,
        membership,
        peers,
        security: Arc::clone(&setup.security),
        attempts: Arc::default(),
    });
    let coordinator = Coordinator::new(Arc::clone(&cluster), Handle::current());
    engine.distributor.set(coordinator).map_err(|_| Error::internal("the engine is part of a cluster already"))?;
    engine.nodes.set(Arc::new(ClusterDirectory::new(Arc::clone(&cluster), Arc::clone(engine))));
    let doors = Arc::new(CoordinatorDoors(Arc::clone(&cluster)));
    let server = tokio::spawn(server::serve(listener, doors, setup.security, Routes::default(), stop));
    Ok((cluster, server))
}

/// Makes `engine` the engine of a worker, whose Flight port is `listener`; serves until `stop` ends. `routes` answers plain HTTP
/// on the same port.
///
/// # Errors
/// Tables that cannot be read; no thread for the heartbeat.
pub fn start_worker(
    engine: &Arc<Engine>,
    setup: WorkerSetup,
    listener: TcpListener,
    routes: Routes,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<RunningWorker> {
    // The address is found out by the heartbeat, when it knows how it reaches the coordinator.
    let info = info(&setup.id, "", engine);
    let attempts: Arc<Attempts> = Arc::default();
    let peers = Peers::new(Arc::clone(&setup.security));
    let worker = Worker::new(Arc::clone(engine), Arc::clone(&peers), Arc::clone(&attempts), info.incarnation);
    let doors = Arc::new(WorkerDoors(Arc::clone(&worker)));
    let server = tokio::spawn(server::serve(listener, doors, Arc::clone(&setup.security), routes, stop));
    let (told_drained, drained) = tokio::sync::oneshot::channel();
    let hooks =
        WorkerHooks { engine: Arc::clone(engine), attempts: Arc::clone(&attempts), drained: parking_lot::Mutex::new(Some(told_drained)) };
    let options = HeartbeatOptions {
        info,
        tables: fingerprint(&engine.catalogs)?,
        coordinator: setup.coordinator,
        advertise: setup.advertise,
        timing: setup.timing,
        security: setup.security,
    };
    let heartbeat = Arc::new(Heartbeat::start(options, Arc::new(hooks))?);
    worker.listen_to(&heartbeat);
    engine.nodes.set(Arc::new(WorkerDirectory::new(engine, Arc::clone(&attempts), &heartbeat)));
    Ok(RunningWorker { heartbeat, attempts, drained, server })
}

/// What a worker's heartbeat asks and tells.
struct WorkerHooks {
    engine: Arc<Engine>,
    attempts: Arc<Attempts>,
    drained: parking_lot::Mutex<Option<tokio::sync::oneshot::Sender<()>>>,
}

impl Hooks for WorkerHooks {
    fn load(&self) -> Load {
        Load { memory_used_bytes: self.engine.memory.used_bytes() as u64, running_tasks: self.attempts.num_tasks() }
    }

    fn on_fenced(&self, _reason: &str) {
        self.attempts.stop_all();
    }

    fn on_drained(&self) {
        if let Some(drained) = self.drained.lock().take() {
            // Nobody waits when the process is on its way out already.
            let _ = drained.send(());
        }
    }
}

/// How long a node that stops lets its last streams end.
pub const STOP_PATIENCE: Duration = Duration::from_secs(2);
