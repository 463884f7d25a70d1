//! The coordinator: which queries run on workers, and how.
//!
//! Position: behind `execution::distributed::Distributor`, so that sessions do not know whether there is a cluster; the doors of the
//! coordinator's Flight port. Deliberately elsewhere: who is alive (`membership`), how a plan is cut (`plan_fragmenter`), the SQL side.

mod attempt;
mod directory;
mod outbox;
mod progress;
mod query;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use pipelines::CancelToken;
use tokio::{runtime::Handle, sync::mpsc};
use tonic::Status;

pub use self::directory::ClusterDirectory;
use self::query::ClusterQuery;
use super::{
    attempts::Attempts,
    flight::{Doors, FlightReceiver, FlightSender, Peers, StreamOpen},
    membership::Membership,
    node::NodeInfo,
    plan_fragmenter::{self, ClusterShape},
    query_machine::Recovery,
    security::Security,
    worker::answer_probe,
};
use crate::{
    Engine,
    error::{Error, Result},
    execution::{
        distributed::{DistributedRun, DistributionMode, DistributionOptions, Distributor, RecoveryMode},
        query::PlannedQuery,
        registry::QueryEntry,
    },
    plan::fragment::DistributedPlan,
};

/// Batches between a query and its client.
const CLIENT_BATCHES: usize = 4;

/// How a coordinator runs queries.
#[derive(Debug, Clone)]
pub struct CoordinatorOptions {
    /// When queries run on workers.
    pub distribution: DistributionMode,
    /// What is done when a node is lost.
    pub recovery: RecoveryMode,
    /// Queries that read less than this, in stored bytes, run on the coordinator.
    pub small_query_bytes: u64,
    /// Bytes of a result that are held back until it is complete.
    pub holdback_bytes: usize,
    /// How long a query waits for a first worker.
    pub no_worker_grace: Duration,
    /// Memory a query may use on each node, in bytes.
    pub query_memory_bytes: usize,
    /// Whether units that take unusually long are run a second time.
    pub speculation: bool,
}

/// What everything on the coordinator's side shares.
pub struct Cluster {
    /// This node.
    pub me: NodeInfo,
    /// How queries are run.
    pub options: CoordinatorOptions,
    /// Who is alive.
    pub membership: Arc<Membership>,
    /// Connections to nodes.
    pub peers: Arc<Peers>,
    /// Secrets.
    pub security: Arc<Security>,
    /// Attempts that run.
    pub attempts: Arc<Attempts>,
}

impl Cluster {
    /// The cluster as the fragmenter sees it; at least one worker.
    fn shape(&self, workers: &[NodeInfo], mode: DistributionMode) -> ClusterShape {
        ClusterShape {
            workers: workers.len().max(1),
            threads: workers.iter().map(|worker| usize::from(worker.threads)).sum::<usize>().max(1),
            worker_memory_bytes: workers.iter().map(|worker| worker.memory_bytes).min().unwrap_or(1 << 30),
            small_query_bytes: self.options.small_query_bytes,
            mode,
        }
    }
}

/// Runs queries on workers.
pub struct Coordinator {
    cluster: Arc<Cluster>,
    runtime: Handle,
}

impl Coordinator {
    /// A coordinator whose queries' tasks run on `runtime`.
    pub fn new(cluster: Arc<Cluster>, runtime: Handle) -> Arc<Self> {
        Arc::new(Coordinator { cluster, runtime })
    }

    fn mode(&self, options: DistributionOptions) -> DistributionMode {
        options.distribution.unwrap_or(self.cluster.options.distribution)
    }

    /// The plan, and the cluster that it is for; `None` if the query runs on this node.
    fn cut(
        &self,
        engine: &Engine,
        planned: &PlannedQuery,
        options: DistributionOptions,
    ) -> Result<Option<(ClusterShape, DistributedPlan)>> {
        let mode = self.mode(options);
        if mode == DistributionMode::Never {
            return Ok(None);
        }
        let shape = self.cluster.shape(&self.cluster.membership.active(), mode);
        Ok(plan_fragmenter::fragment(&planned.plan, &engine.catalogs, &shape)?.map(|plan| (shape, plan)))
    }
}

impl Distributor for Coordinator {
    fn start(
        &self,
        engine: &Arc<Engine>,
        planned: &PlannedQuery,
        options: DistributionOptions,
        entry: &Arc<QueryEntry>,
        cancel: &CancelToken,
    ) -> Result<Option<DistributedRun>> {
        let Some(first) = self.cut(engine, planned, options)? else { return Ok(None) };
        let outcome = Arc::new(OnceLock::new());
        let query = ClusterQuery {
            cluster: Arc::clone(&self.cluster),
            engine: Arc::clone(engine),
            plan: planned.plan.clone(),
            first,
            mode: self.mode(options),
            recovery: recovery(options.recovery.unwrap_or(self.cluster.options.recovery)),
            entry: Arc::clone(entry),
            cancel: cancel.clone(),
            outcome: Arc::clone(&outcome),
        };
        let (client, rows) = mpsc::channel(CLIENT_BATCHES);
        let last = client.clone();
        let driver = self.runtime.spawn(query.run(client));
        // Rows end when nobody holds the channel: a driver that fails must not look like one that has finished.
        self.runtime.spawn(async move {
            if let Err(panic) = driver.await {
                // A client that is gone needs no reason.
                let _ = last.send(Err(Error::internal(format!("the query's driver failed: {panic}")))).await;
            }
        });
        Ok(Some(DistributedRun { rows, outcome }))
    }

    fn explain(&self, engine: &Arc<Engine>, planned: &PlannedQuery, options: DistributionOptions) -> Result<Vec<String>> {
        Ok(match self.cut(engine, planned, options)? {
            Some((_, plan)) => plan_fragmenter::explain::explain_distributed(&plan),
            None => vec!["The query runs on the coordinator alone.".to_owned()],
        })
    }
}

fn recovery(mode: RecoveryMode) -> Recovery {
    match mode {
        RecoveryMode::Auto => Recovery::Auto,
        RecoveryMode::Restart => Recovery::Restart,
        RecoveryMode::Off => Recovery::Off,
    }
}

/// The doors of a coordinator's Flight port.
pub struct CoordinatorDoors(pub Arc<Cluster>);

#[tonic::async_trait]
impl Doors for CoordinatorDoors {
    async fn stream(&self, open: StreamOpen, outbound: FlightSender, inbound: FlightReceiver) -> Result<(), Status> {
        match open {
            StreamOpen::Membership(info, tables) => {
                self.0.membership.accept(*info, tables, outbound, inbound);
                Ok(())
            }
            StreamOpen::Data(ticket) => self.0.attempts.serve_data(&ticket, outbound, inbound),
            StreamOpen::Control => Err(Status::failed_precondition("this node is a coordinator: it runs nobody's units")),
        }
    }

    async fn action(&self, kind: &str, _body: Bytes) -> Result<Bytes, Status> {
        answer_probe(kind, self.0.membership.answer())
    }
}
