//! One query from bound plan to running pipelines, and the times its phases took.
//!
//! Position: called by `session`; the one place where optimizer, planner and scheduler meet.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use pipelines::{CancelToken, QueryMemory, QueryOptions};

use super::{
    admission::Permit,
    distributed::{DistributedOutcome, DistributionOptions},
    profile::{Phases, Profile},
    registry::{QueryEntry, TaskInfo},
    results::{ResultChannel, ResultStream, Tracking},
};
use crate::{
    catalog,
    engine::Engine,
    error::Result,
    optimizer::{OptimizerContext, optimize},
    plan::{
        logical::Query,
        physical::{PhysicalOperator, PhysicalPlan},
    },
    planner::{
        physical,
        pipeline_builder::{StageLabel, build},
    },
    session::ResultColumn,
};

/// A query that is planned and not yet running.
pub struct PlannedQuery {
    /// What will run.
    pub plan: PhysicalPlan,
    /// What planning took.
    pub phases: Phases,
}

/// Optimizes and plans a bound query.
///
/// # Errors
/// Statistics that cannot be read, and whatever rules fail with.
pub fn plan(engine: &Engine, query: Query, mut phases: Phases) -> Result<PlannedQuery> {
    let start = Instant::now();
    let context = OptimizerContext { catalogs: &engine.catalogs };
    let query = optimize(query, &context, &mut |rule, _| tracing::trace!(rule, "plan changed"))?;
    phases.optimize_ns = start.elapsed().as_nanos() as u64;
    let start = Instant::now();
    let plan = physical::plan(&query, &engine.catalogs)?;
    phases.plan_ns = start.elapsed().as_nanos() as u64;
    Ok(PlannedQuery { plan, phases })
}

/// A query that runs.
pub struct RunningQuery {
    /// Its rows.
    pub rows: ResultStream,
    /// What runs.
    pub plan: PhysicalPlan,
    /// Where it runs.
    pub place: Place,
    /// What planning took.
    pub phases: Phases,
}

/// Where a query runs.
pub enum Place {
    /// On this node; which stage of its graph belongs to which node of the plan.
    Here(Vec<StageLabel>),
    /// On several nodes; what happened there, once its rows have ended.
    Cluster(Arc<OnceLock<DistributedOutcome>>),
}

/// Starts a planned query when it is its turn. It stops when `cancel` is set or the rows are dropped.
///
/// # Errors
/// Too many queries, and tables that are gone or cannot be opened.
pub fn start(
    engine: &Arc<Engine>,
    planned: PlannedQuery,
    options: DistributionOptions,
    cancel: CancelToken,
    entry: Arc<QueryEntry>,
) -> Result<RunningQuery> {
    let permit = match needs_place(&planned.plan) {
        true => engine.admission.admit(&entry, &cancel)?,
        false => Permit::without_place(),
    };
    entry.running();
    if let Some(distributor) = engine.distributor.get()
        && let Some(run) = distributor.start(engine, &planned, options, &entry, &cancel)?
    {
        let PlannedQuery { plan, phases } = planned;
        let mut rows = ResultStream::driven(result_columns(&plan), run.rows, cancel);
        rows.track(Tracking::new(entry, permit));
        return Ok(RunningQuery { rows, plan, place: Place::Cluster(run.outcome), phases });
    }
    let memory = QueryMemory::new(engine.memory.clone(), engine.options.query_memory_bytes);
    entry.set_memory(Arc::clone(&memory));
    let task = TaskInfo { units_running: 1, ..TaskInfo::new(0, &engine.options.node_id) };
    entry.set_tasks(vec![task]);
    entry.set_progress(0, 1);
    let mut running = submit(engine, planned, cancel, memory)?;
    running.rows.track(Tracking::new(entry, permit));
    Ok(running)
}

/// Starts a planned query that is a part of another statement: it is not registered and does not wait.
///
/// # Errors
/// Tables that are gone or cannot be opened.
pub fn start_within(engine: &Engine, planned: PlannedQuery, cancel: CancelToken) -> Result<RunningQuery> {
    let memory = QueryMemory::new(engine.memory.clone(), engine.options.query_memory_bytes);
    submit(engine, planned, cancel, memory)
}

fn submit(engine: &Engine, planned: PlannedQuery, cancel: CancelToken, memory: Arc<QueryMemory>) -> Result<RunningQuery> {
    let PlannedQuery { plan, mut phases } = planned;
    let start = Instant::now();
    let channel = ResultChannel::new();
    let built = build(&plan, &engine.catalogs, channel.sink())?;
    let options = QueryOptions { batch_rows: engine.options.batch_rows, memory, cancel: cancel.clone(), max_chains: None };
    let handle = engine.scheduler.submit(built.graph, options);
    phases.build_ns = start.elapsed().as_nanos() as u64;
    let rows = channel.stream(result_columns(&plan), handle, cancel);
    Ok(RunningQuery { rows, plan, place: Place::Here(built.stages), phases })
}

fn result_columns(plan: &PhysicalPlan) -> Vec<ResultColumn> {
    plan.output.iter().map(|c| ResultColumn { name: c.name.clone(), data_type: c.data_type.clone() }).collect()
}

/// Whether a query has to wait where too many run: an operator must be able to look at a full node.
fn needs_place(plan: &PhysicalPlan) -> bool {
    match &plan.operator {
        PhysicalOperator::TableScan { table, .. } => !catalog::is_of_the_node(table),
        _ => plan.inputs().into_iter().any(needs_place),
    }
}

impl RunningQuery {
    /// The profile of the query, once its rows have ended.
    pub fn profile(&self, sql: &str) -> Profile {
        match &self.place {
            Place::Here(stages) => {
                let metrics = self.rows.metrics().cloned().unwrap_or_default();
                Profile::new(sql, &self.plan, self.phases.clone(), Some((stages, &metrics)))
            }
            Place::Cluster(outcome) => match outcome.get() {
                Some(outcome) => Profile::distributed(sql, self.phases.clone(), outcome),
                None => Profile::new(sql, &self.plan, self.phases.clone(), None),
            },
        }
    }
}
