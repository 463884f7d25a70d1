//! Pipelines of the units of a fragment, and of what the units on one node have in common.
//!
//! ```text
//!   shared, once a node:   broadcast input ──► [build sink]              small table ──► [build sink]
//!   unit i:                part i of the scan ──► probe ──► probe ──► … ──► [exchange sink]
//! ```
//!
//! Position: called by `cluster::task`; the rest of the builder does not know whether it builds a whole plan or a unit. What
//! is shared is whatever does not depend on a driving scan: build sides of joins, the inputs that units read again and again
//! (kept in a buffer), and CTEs. A join's probe finds the table that the shared graph has finished.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use operators::{
    buffer::Buffer,
    runtime_filter::{RuntimeFilter, RuntimeFilterSlot},
};
use pipelines::{Operator, Sink, Source};

use super::{Builder, Built, Chain};
use crate::{
    catalog::Catalogs,
    connectors::ScanPart,
    error::Result,
    plan::{
        fragment::ExchangeSpec,
        logical::CteId,
        physical::{NodeId, PhysicalJoin, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
    },
};

/// What a unit has beyond its fragment's plan.
pub struct UnitInputs<'a> {
    /// Makes the source of an exchange.
    pub exchange: &'a dyn Fn(&ExchangeSpec) -> Result<Arc<dyn Source>>,
    /// What the unit reads of its driving scans; other scans read all.
    pub parts: &'a HashMap<NodeId, ScanPart>,
    /// Filters that other fragments have made.
    pub filters: &'a HashMap<RuntimeFilterId, Arc<RuntimeFilterSlot>>,
    /// What was computed before, for all units of this node.
    pub shared: &'a SharedParts,
    /// Told of every filter that a join of this graph publishes.
    pub on_filter: Option<FilterListener>,
}

/// Told of filters: which, and what it is; `None`: everything passes.
pub type FilterListener = Arc<dyn Fn(RuntimeFilterId, Option<Arc<RuntimeFilter>>) + Send + Sync>;

/// What the units of a fragment on one node have in common, once its graph has run.
#[derive(Default)]
pub struct SharedParts {
    /// Probes of joins whose build side is complete.
    pub(super) probes: HashMap<NodeId, Arc<dyn Operator>>,
    /// Rows of plan nodes that every unit reads whole.
    pub(super) buffers: HashMap<NodeId, Arc<Buffer>>,
    ctes: HashMap<CteId, (Arc<Buffer>, Vec<arrow::datatypes::DataType>)>,
    filters: HashMap<RuntimeFilterId, Arc<RuntimeFilterSlot>>,
}

/// Builds the pipelines of one unit of a fragment with `plan`, whose rows end in `result`.
///
/// # Errors
/// Tables that are gone or cannot be opened; inputs that are not there.
pub fn build_unit(plan: &PhysicalPlan, catalogs: &Catalogs, inputs: &UnitInputs<'_>, result: Arc<dyn Sink>) -> Result<Built> {
    let mut builder = Builder::for_unit(catalogs, inputs);
    let sink = builder.sink(plan.id, "result", result);
    builder.feed(plan, Chain::into_sink(sink))?;
    Ok(builder.built())
}

/// Builds what the units of a leaf fragment have in common; its graph has to end before the parts are used. `None` if there is
/// nothing. `inputs.shared` is not looked at.
///
/// # Errors
/// As [`build_unit`].
pub fn build_shared(
    plan: &PhysicalPlan,
    drivers: &HashSet<NodeId>,
    catalogs: &Catalogs,
    inputs: &UnitInputs<'_>,
) -> Result<Option<(Built, SharedParts)>> {
    let mut builder = Builder::for_unit(catalogs, inputs);
    let mut parts = SharedParts::default();
    builder.feed_shared(plan, drivers, &mut parts)?;
    if builder.graph.pipelines().is_empty() {
        return Ok(None);
    }
    parts.ctes = builder.ctes.drain().map(|(cte, (buffer, _, types))| (cte, (buffer, types))).collect();
    parts.filters = builder.filters.drain().filter(|(_, (_, sink))| sink.is_some()).map(|(id, (slot, _))| (id, slot)).collect();
    Ok(Some((builder.built(), parts)))
}

fn has_driver(plan: &PhysicalPlan, drivers: &HashSet<NodeId>) -> bool {
    drivers.contains(&plan.id) || plan.inputs().into_iter().any(|input| has_driver(input, drivers))
}

impl<'a> Builder<'a> {
    fn for_unit(catalogs: &'a Catalogs, inputs: &'a UnitInputs<'a>) -> Self {
        let mut builder = Builder::new(catalogs, Some(inputs));
        let known = inputs.filters.iter().chain(&inputs.shared.filters);
        builder.filters = known.map(|(id, slot)| (*id, (Arc::clone(slot), None))).collect();
        let ctes = inputs.shared.ctes.iter();
        builder.ctes = ctes.map(|(cte, (buffer, types))| (*cte, (Arc::clone(buffer), None, types.clone()))).collect();
        builder
    }

    /// Builds what does not depend on a driving scan; `plan` itself does. Builds come before what their filters may serve, as in
    /// [`Builder::join`].
    fn feed_shared(&mut self, plan: &PhysicalPlan, drivers: &HashSet<NodeId>, parts: &mut SharedParts) -> Result<()> {
        match &plan.operator {
            PhysicalOperator::HashJoin(join) if !has_driver(&join.build, drivers) => {
                let (roles, sink) = self.hash_roles(plan.id, join);
                self.feed(&join.build, Chain::into_sink(sink))?;
                parts.probes.insert(plan.id, roles.probe);
                self.feed_shared_inputs(&[&join.probe], drivers, parts)
            }
            PhysicalOperator::NestedLoopJoin(join) if !has_driver(&join.build, drivers) => {
                let (roles, sink) = self.nested_loop_roles(plan.id, join);
                self.feed(&join.build, Chain::into_sink(sink))?;
                parts.probes.insert(plan.id, roles.probe);
                self.feed_shared_inputs(&[&join.probe], drivers, parts)
            }
            PhysicalOperator::HashJoin(PhysicalJoin { probe, build, .. })
            | PhysicalOperator::NestedLoopJoin(PhysicalJoin { probe, build, .. }) => {
                self.feed_shared_inputs(&[build, probe], drivers, parts)
            }
            PhysicalOperator::With { ctes, input } => {
                ctes.iter().try_for_each(|(cte, plan)| self.shared_cte(*cte, plan).map(drop))?;
                self.feed_shared_inputs(&[input], drivers, parts)
            }
            _ => self.feed_shared_inputs(&plan.inputs(), drivers, parts),
        }
    }

    /// Goes on where a driving scan is below; keeps the rows of inputs without one.
    fn feed_shared_inputs(&mut self, inputs: &[&PhysicalPlan], drivers: &HashSet<NodeId>, parts: &mut SharedParts) -> Result<()> {
        for input in inputs {
            if has_driver(input, drivers) {
                self.feed_shared(input, drivers, parts)?;
            } else {
                let buffer = Buffer::new();
                let sink = self.sink(input.id, "buffer", buffer.sink());
                self.feed(input, Chain::into_sink(sink))?;
                parts.buffers.insert(input.id, buffer);
            }
        }
        Ok(())
    }
}
