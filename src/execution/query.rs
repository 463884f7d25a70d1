//! One query from bound plan to running pipelines, and the times its phases took.
//!
//! Position: called by `session`; the one place where optimizer, planner and scheduler meet.

use std::time::Instant;

use pipelines::{CancelToken, QueryMemory, QueryOptions};

use super::{
    profile::{Phases, Profile},
    results::{ResultChannel, ResultStream},
};
use crate::{
    engine::Engine,
    error::Result,
    optimizer::{OptimizerContext, optimize},
    plan::{logical::Query, physical::PhysicalPlan},
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
    /// Which stage of the graph belongs to which node of the plan.
    pub stages: Vec<StageLabel>,
    /// What planning took.
    pub phases: Phases,
}

/// Starts a planned query. It stops when `cancel` is set or the rows are dropped.
///
/// # Errors
/// Tables that are gone or cannot be opened.
pub fn start(engine: &Engine, planned: PlannedQuery, cancel: CancelToken) -> Result<RunningQuery> {
    let PlannedQuery { plan, mut phases } = planned;
    let start = Instant::now();
    let channel = ResultChannel::new();
    let built = build(&plan, &engine.catalogs, channel.sink())?;
    let options = QueryOptions {
        batch_rows: engine.options.batch_rows,
        memory: QueryMemory::new(engine.memory.clone(), engine.options.query_memory_bytes),
        cancel: cancel.clone(),
        max_chains: None,
    };
    let handle = engine.scheduler.submit(built.graph, options);
    phases.build_ns = start.elapsed().as_nanos() as u64;
    let columns = plan.output.iter().map(|c| ResultColumn { name: c.name.clone(), data_type: c.data_type.clone() }).collect();
    Ok(RunningQuery { rows: channel.stream(columns, handle, cancel), plan, stages: built.stages, phases })
}

impl RunningQuery {
    /// The profile of the query, once its rows have ended.
    pub fn profile(&self, sql: &str) -> Profile {
        let metrics = self.rows.metrics().cloned().unwrap_or_default();
        Profile::new(sql, &self.plan, self.phases.clone(), Some((&self.stages, &metrics)))
    }
}
