//! The life of a distributed query: workers are there, attempts until one succeeds, rows to the client.
//!
//! Position: spawned by [`super::Coordinator`] for every query it does not run on its own node; one tokio task per query. Deliberately
//! elsewhere: one attempt (`attempt`), rows that are held back (`outbox`), what is done about a fault (`query_machine`).

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use pipelines::{Batch, CancelToken, QueryMemory};
use tokio::sync::{Notify, broadcast, mpsc};

use super::{
    Cluster,
    attempt::{Attempt, AttemptSpec, End, cancel_signal},
    outbox::Outbox,
    progress,
};
use crate::{
    Engine,
    cluster::{
        control::QueryAttempt,
        membership::NodeEvent,
        node::NodeInfo,
        plan_fragmenter::{self, ClusterShape},
        query_machine::Recovery,
    },
    error::{Error, ErrorKind, Result},
    execution::{
        distributed::{DistributedOutcome, DistributionMode},
        registry::QueryEntry,
    },
    plan::{fragment::DistributedPlan, physical::PhysicalPlan},
};

/// Attempts at one query; after as many losses of nodes something else is wrong.
const ATTEMPTS_MAX: u32 = 8;

/// Pause before the second restart; each further one waits as much longer.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// A query to be run on workers.
pub struct ClusterQuery {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// The coordinator's engine.
    pub engine: Arc<Engine>,
    /// The plan as for one node.
    pub plan: PhysicalPlan,
    /// The same cut, and for which cluster.
    pub first: (ClusterShape, DistributedPlan),
    /// When queries are distributed.
    pub mode: DistributionMode,
    /// What is done when a node is lost.
    pub recovery: Recovery,
    /// Its entry in the list of queries.
    pub entry: Arc<QueryEntry>,
    /// Stops it.
    pub cancel: CancelToken,
    /// Filled before the rows end.
    pub outcome: Arc<OnceLock<DistributedOutcome>>,
}

impl ClusterQuery {
    /// Runs to the end; rows, and at last an error if there is one, go to `client`.
    pub async fn run(self, client: mpsc::Sender<Result<Batch>>) {
        let began = Instant::now();
        let memory = QueryMemory::new(Arc::clone(&self.engine.memory), usize::MAX);
        let mut outbox = Outbox::new(self.cluster.options.holdback_bytes, &memory, client);
        let cancelled = cancel_signal(&self.cancel);
        let mut membership = self.cluster.membership.subscribe();
        let mut restarts: Vec<String> = vec![];
        let result = loop {
            match self.attempt(&mut membership, &cancelled, &mut outbox, &restarts, began).await {
                Ok(End::Succeeded) => break Ok(()),
                Ok(End::Failed(error)) | Err(error) => break Err(error),
                Ok(End::Restart(reason)) => {
                    tracing::warn!(query = %self.entry.id(), reason, "the attempt at a query was given up");
                    if let Some(error) = self.cannot_restart(&reason, &restarts, &outbox) {
                        break Err(error);
                    }
                    self.entry.restarted(&reason);
                    restarts.push(reason);
                    outbox.clear();
                    // The second time, the cluster may need a moment to know who is there.
                    tokio::time::sleep(RESTART_PAUSE * (restarts.len() as u32 - 1)).await;
                }
            }
        };
        match result {
            Ok(()) => outbox.flush().await,
            Err(error) => outbox.fail(error).await,
        }
    }

    fn cannot_restart(&self, reason: &str, restarts: &[String], outbox: &Outbox) -> Option<Error> {
        if outbox.is_released() {
            return Some(
                Error::new(
                    ErrorKind::Cluster,
                    "40001",
                    format!("the query lost a part of the cluster after its first rows were sent: {reason}"),
                )
                .with_hint("run it again, or raise holdback_mb so that results are held back until they are complete"),
            );
        }
        if restarts.len() as u32 + 1 >= ATTEMPTS_MAX {
            let error = Error::new(ErrorKind::Cluster, "58000", format!("the query was given up after {ATTEMPTS_MAX} attempts: {reason}"));
            return Some(error.with_detail(restarts.join("; ")));
        }
        None
    }

    async fn attempt(
        &self,
        membership: &mut broadcast::Receiver<NodeEvent>,
        cancelled: &Arc<Notify>,
        outbox: &mut Outbox,
        restarts: &[String],
        began: Instant,
    ) -> Result<End> {
        let workers = self.workers(membership, cancelled).await?;
        let plan = Arc::new(self.cut(&workers)?);
        let attempt = QueryAttempt { query: self.entry.id(), attempt: restarts.len() as u32 };
        let spec = AttemptSpec { attempt, plan: Arc::clone(&plan), workers, recovery: self.recovery };
        let mut running = Attempt::begin(&self.cluster, &self.engine, &self.entry, &self.cancel, Arc::clone(cancelled), spec).await?;
        let end = running.run(membership, outbox).await;
        if matches!(end, End::Succeeded) {
            let _ = self.outcome.set(self.outcome(&plan, &running, restarts, began));
        }
        Ok(end)
    }

    /// The plan for these workers. It was decided that the query is distributed, so it is, even if these would not make it worth it.
    fn cut(&self, workers: &[NodeInfo]) -> Result<DistributedPlan> {
        for mode in [self.mode, DistributionMode::Always] {
            let shape = self.cluster.shape(workers, mode);
            if shape == self.first.0 {
                return Ok(self.first.1.clone());
            }
            if let Some(plan) = plan_fragmenter::fragment(&self.plan, &self.engine.catalogs, &shape)? {
                return Ok(plan);
            }
        }
        Err(Error::internal("a query that was to run on workers cannot be distributed"))
    }

    fn outcome(&self, plan: &DistributedPlan, attempt: &Attempt<'_>, restarts: &[String], began: Instant) -> DistributedOutcome {
        DistributedOutcome {
            plan: plan.clone(),
            tasks: attempt.tasks().into_iter().map(|(node, stats)| progress::profile(node, stats, |index| attempt.name(index))).collect(),
            restarts: restarts.to_vec(),
            elapsed_ns: began.elapsed().as_nanos() as u64,
        }
    }

    /// The workers that take work now; waits a while for the first.
    async fn workers(&self, membership: &mut broadcast::Receiver<NodeEvent>, cancelled: &Notify) -> Result<Vec<NodeInfo>> {
        let deadline = tokio::time::Instant::now() + self.cluster.options.no_worker_grace;
        loop {
            let workers = self.cluster.membership.active();
            if !workers.is_empty() {
                return Ok(workers);
            }
            if self.cancel.is_cancelled() {
                return Err(pipelines::Error::Cancelled.into());
            }
            tokio::select! {
                _ = membership.recv() => {}
                () = cancelled.notified() => {}
                () = tokio::time::sleep_until(deadline) => {
                    let waited = self.cluster.options.no_worker_grace.as_secs_f64();
                    return Err(Error::new(ErrorKind::Cluster, "57P03", format!("no worker is available: none joined within {waited:.0} s"))
                        .with_hint("start a worker with --role worker, look at system.nodes, or SET distribution = never to run on the coordinator"));
                }
            }
        }
    }
}
