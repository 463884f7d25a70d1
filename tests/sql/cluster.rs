//! A cluster within this process: a coordinator and workers that talk Flight over loopback, all with the tables of the fixture.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arneb::{
    Engine,
    cluster::{
        coordinator::CoordinatorOptions,
        launch::{CoordinatorSetup, Routes, RunningWorker, WorkerSetup, start_coordinator, start_worker},
        membership::{Timing, advertise::Advertise},
        security::{Security, secret::Secret},
    },
    execution::distributed::{DistributionMode, RecoveryMode},
};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::fixture::{Shape, engine};

const PATIENCE: Duration = Duration::from_secs(30);

/// A coordinator with its workers; they end with it.
pub struct Cluster {
    /// The coordinator's engine.
    pub coordinator: Arc<Engine>,
    /// The workers' engines.
    pub workers: Vec<Arc<Engine>>,
    _running: Vec<RunningWorker>,
    _runtime: Runtime,
}

impl Cluster {
    /// Every query that can be is distributed, however small.
    pub fn start(shape: Shape, num_workers: usize) -> Cluster {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let coordinator = engine(shape);
        let workers: Vec<Arc<Engine>> = (0..num_workers).map(|_| engine(shape)).collect();
        let running = runtime.block_on(join(&coordinator, &workers));
        let cluster = Cluster { coordinator, workers, _running: running, _runtime: runtime };
        let start = Instant::now();
        while cluster.num_active() < num_workers {
            assert!(start.elapsed() < PATIENCE, "the workers do not join");
            std::thread::sleep(Duration::from_millis(5));
        }
        cluster
    }

    fn num_active(&self) -> usize {
        let nodes = self.coordinator.nodes.directory().nodes();
        nodes.iter().filter(|node| node.role == "worker" && node.state == "active").count()
    }

    /// Every node has given back all memory.
    pub fn assert_nothing_is_left(&self) {
        for engine in self.workers.iter().chain([&self.coordinator]) {
            let start = Instant::now();
            while engine.memory.used_bytes() > 0 {
                assert!(start.elapsed() < PATIENCE, "{} bytes are still reserved", engine.memory.used_bytes());
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

async fn join(coordinator: &Arc<Engine>, workers: &[Arc<Engine>]) -> Vec<RunningWorker> {
    let security = Security::new(&Secret::from_text("a secret of this test, long enough to be one").unwrap());
    let timing = Timing { heartbeat: Duration::from_millis(500), lease: Duration::from_secs(10) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let setup = CoordinatorSetup {
        id: "coordinator".to_owned(),
        address: address.clone(),
        options: CoordinatorOptions {
            distribution: DistributionMode::Always,
            recovery: RecoveryMode::Off,
            small_query_bytes: 0,
            holdback_bytes: 1 << 20,
            no_worker_grace: PATIENCE,
            query_memory_bytes: usize::MAX,
            speculation: true,
        },
        timing,
        security: Arc::clone(&security),
    };
    start_coordinator(coordinator, setup, listener, std::future::pending()).unwrap();
    let mut running = vec![];
    for (number, engine) in workers.iter().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let setup = WorkerSetup {
            id: format!("worker-{}", number + 1),
            coordinator: address.clone(),
            advertise: Advertise { configured: None, bind_address: "127.0.0.1".to_owned(), port },
            timing,
            security: Arc::clone(&security),
        };
        running.push(start_worker(engine, setup, listener, Routes::default(), std::future::pending()).unwrap());
    }
    running
}
