//! Cuts a physical plan into fragments for several nodes: data in, data out.
//!
//! ```text
//!  PhysicalPlan ──[cut, from the leaves up]──► drafts of fragments, joined by exchanges
//!                                                 │ [ctes]     one exchange per reader of a shared CTE
//!                                                 │ [filters]  which join filters cross fragments
//!                                                 │ [units]    which part of a table a unit reads
//!                                                 ▼
//!                                            DistributedPlan
//! ```
//!
//! Every node of the plan hands up a subplan and its [`distribution`]. What needs rows together that lie apart ends the fragments
//! below it in an exchange and begins the next one above.
//!
//! | file | what |
//! |---|---|
//! | [`distribution`] | how rows lie, and which columns tell |
//! | [`scans`], [`sizes`], [`units`] | tables and their splits, estimates, parts of driving scans |
//! | [`drafts`] | fragments and exchanges as they are made |
//! | [`joins`], [`aggregations`], [`orders`], [`unions`] | one kind of node each |
//! | [`ctes`], [`filters`], [`assembly`] | what is settled when all cuts are made |
//! | [`explain`] | the text of the result |
//!
//! Position: after `planner::physical`, on the coordinator. Deliberately elsewhere: which node runs which unit.

mod aggregations;
mod assembly;
mod ctes;
mod distribution;
mod drafts;
pub mod explain;
mod filters;
mod joins;
mod orders;
mod scans;
mod sizes;
#[cfg(test)]
mod tests;
mod unions;
mod units;

use self::{
    assembly::assemble,
    distribution::{Cut, Distribution, through_expressions},
    drafts::Drafts,
    scans::Scans,
    sizes::Limits,
};
use crate::execution::distributed::DistributionMode;
use crate::{
    catalog::Catalogs,
    error::{Error, Result},
    plan::{
        fragment::DistributedPlan,
        physical::{NodeId, PhysicalOperator, PhysicalPlan},
    },
};

/// The nodes that a query may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterShape {
    /// How many workers.
    pub workers: usize,
    /// Threads that run queries, of all workers together.
    pub threads: usize,
    /// Memory for queries of the worker that has least, in bytes.
    pub worker_memory_bytes: u64,
    /// Queries that read fewer stored bytes run on the coordinator alone, unless distribution is always wanted.
    pub small_query_bytes: u64,
    /// Whether to distribute.
    pub mode: DistributionMode,
}

/// Cuts `plan` for a cluster; `None` if it is to run whole on the coordinator.
///
/// # Errors
/// Tables that are gone or cannot be opened.
pub fn fragment(plan: &PhysicalPlan, catalogs: &Catalogs, shape: &ClusterShape) -> Result<Option<DistributedPlan>> {
    if shape.workers == 0 || shape.mode == DistributionMode::Never {
        return Ok(None);
    }
    let Some(scans) = Scans::load(plan, catalogs)? else { return Ok(None) };
    if shape.mode == DistributionMode::Auto && scans.total_bytes() < shape.small_query_bytes {
        return Ok(None);
    }
    let mut fragmenter = Fragmenter { shape, limits: Limits::new(shape), scans, drafts: Drafts::new(plan) };
    let root = fragmenter.cut(plan.clone())?;
    fragmenter.drafts.finish(root);
    let Fragmenter { limits, scans, mut drafts, .. } = fragmenter;
    drafts.connect_ctes();
    if drafts.is_one_piece() {
        return Ok(None);
    }
    assemble(drafts, &scans, shape, &limits).map(Some)
}

/// The walk over the plan.
struct Fragmenter<'a> {
    shape: &'a ClusterShape,
    limits: Limits,
    scans: Scans,
    drafts: Drafts,
}

impl Fragmenter<'_> {
    /// Cuts a subplan; its rows lie as the answer says.
    fn cut(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        match &mut plan.operator {
            PhysicalOperator::TableScan { .. } => {
                let distribution = self.scans.get(plan.id)?.distribution(plan.id);
                Ok(Cut { plan, distribution })
            }
            PhysicalOperator::Values { .. } | PhysicalOperator::CteScan { .. } => Ok(Cut { plan, distribution: Distribution::Replicated }),
            PhysicalOperator::Filter { input, .. } => {
                let below = self.cut_input(input)?;
                Ok(Cut { plan, distribution: below })
            }
            PhysicalOperator::Project { input, expressions } => {
                let below = self.cut_input(input)?;
                let distribution = below.map(|positions| through_expressions(positions, expressions));
                Ok(Cut { plan, distribution })
            }
            PhysicalOperator::HashJoin(_) | PhysicalOperator::NestedLoopJoin(_) => self.join(plan),
            PhysicalOperator::HashAggregate { .. } => self.aggregate(plan),
            PhysicalOperator::Sort { .. } => self.sort(plan),
            PhysicalOperator::Limit { .. } => self.limit(plan),
            PhysicalOperator::UnionAll { .. } => self.union(plan),
            PhysicalOperator::SetOperation { .. } => self.set_operation(plan),
            PhysicalOperator::With { ctes, input } => {
                for (cte, plan) in ctes.drain(..) {
                    let cut = self.cut(plan)?;
                    self.drafts.define(cte, cut);
                }
                let input = take(input);
                self.cut(input)
            }
            PhysicalOperator::Exchange(_) => Err(Error::internal("a plan that is to be cut has an exchange")),
        }
    }

    /// Cuts an input in its place.
    fn cut_input(&mut self, input: &mut PhysicalPlan) -> Result<Distribution> {
        let below = self.cut(take(input))?;
        *input = below.plan;
        Ok(below.distribution)
    }
}

/// Moves a subplan out of a plan that will get another in its place.
fn take(plan: &mut PhysicalPlan) -> PhysicalPlan {
    let hole = PhysicalPlan { id: NodeId(0), operator: PhysicalOperator::Values { rows: vec![] }, output: vec![], estimated_rows: 0.0 };
    std::mem::replace(plan, hole)
}
