//! Turns a physical plan into a graph of pipelines.
//!
//! Position: after [`super::physical`], before the scheduler. Works from the sink backwards: [`Builder::feed`]
//! gets a node and the chain its rows go through, puts the node's operator in front of the chain, and goes on
//! with the node's input; a pipeline breaker ends one pipeline in its sink and starts the next from its source.
//!
//! ```text
//!  HashJoin                      feed(build side)  → pipeline:  … → [build sink]
//!   ├ probe side   becomes       feed(probe side)  → pipeline:  … → probe → rest of the chain   (after the build sink)
//!   └ build side                 unmatched rows    → pipeline:  unmatched → rest of the chain   (after the probes)
//! ```
//!
//! A plan that runs on one node is built whole ([`build`]). A fragment of a distributed plan is built unit by unit
//! ([`build_unit`]) after what its units have in common ([`build_shared`]).

mod fragment;

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, new_empty_array},
    compute::concat,
    datatypes::DataType,
};
use operators::{
    Expression, Scalar,
    aggregate::{Aggregate, AggregateSpec},
    buffer::Buffer,
    filter::filter,
    hash_join::{HashJoin, JoinSpec},
    limit::limit,
    nested_loop_join::NestedLoopJoin,
    project::project,
    runtime_filter::RuntimeFilterSlot,
    set_operation::SetOperation,
    sort::{Sort, SortSpec},
    values::values,
};
use pipelines::{After, Batch, Operator, OperatorId, Pipeline, PipelineGraph, PipelineId, Sink, SinkId, Source};

pub use self::fragment::{FilterListener, SharedParts, UnitInputs, build_shared, build_unit};
use crate::{
    catalog::Catalogs,
    connectors::ScanRequest,
    error::{Error, Result},
    plan::{
        logical::{CteId, TableName},
        physical::{NodeId, PhysicalJoin, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
    },
};

/// A graph that is ready to run, and which node of the plan each of its stages belongs to.
pub struct Built {
    /// What runs.
    pub graph: PipelineGraph,
    /// Indexed by `OperatorId`.
    pub stages: Vec<StageLabel>,
}

/// What a stage of the graph is.
#[derive(Debug, Clone)]
pub struct StageLabel {
    /// The node it belongs to.
    pub node: NodeId,
    /// Its part in it: `"scan"`, `"build"`, `"probe"`, ….
    pub role: &'static str,
}

/// Builds the pipelines of `plan`, whose rows end in `result`.
///
/// # Errors
/// Tables that are gone or cannot be opened.
pub fn build(plan: &PhysicalPlan, catalogs: &Catalogs, result: Arc<dyn Sink>) -> Result<Built> {
    let mut builder = Builder::new(catalogs, None);
    let sink = builder.sink(plan.id, "result", result);
    builder.feed(plan, Chain::into_sink(sink))?;
    Ok(builder.built())
}

/// Where a node's rows go: the operators still before them, and the sink.
#[derive(Clone)]
struct Chain {
    operators: Vec<(OperatorId, Arc<dyn Operator>)>,
    sink: SinkId,
    after: Vec<After>,
}

impl Chain {
    fn into_sink(sink: SinkId) -> Self {
        Chain { operators: vec![], sink, after: vec![] }
    }

    fn before(mut self, id: OperatorId, operator: Arc<dyn Operator>) -> Self {
        self.operators.insert(0, (id, operator));
        self
    }

    fn waiting_for(mut self, after: impl IntoIterator<Item = After>) -> Self {
        self.after.extend(after);
        self
    }
}

struct Builder<'a> {
    catalogs: &'a Catalogs,
    /// What the unit of a fragment has beyond its plan; `None` for a plan that is built whole.
    unit: Option<&'a UnitInputs<'a>>,
    graph: PipelineGraph,
    stages: Vec<StageLabel>,
    /// The slot of every runtime filter, and the sink of this graph that fills it, if it is not filled already.
    filters: HashMap<RuntimeFilterId, (Arc<RuntimeFilterSlot>, Option<SinkId>)>,
    /// The rows of every shared CTE, the sink of this graph that gathers them, if they are not there already, and their types.
    ctes: HashMap<CteId, (Arc<Buffer>, Option<SinkId>, Vec<DataType>)>,
}

/// The three roles of a join, hash or nested-loop.
struct JoinRoles {
    build_sink: Arc<dyn Sink>,
    probe: Arc<dyn Operator>,
    unmatched: Option<Arc<dyn Source>>,
}

impl<'a> Builder<'a> {
    fn new(catalogs: &'a Catalogs, unit: Option<&'a UnitInputs<'a>>) -> Self {
        Builder { catalogs, unit, graph: PipelineGraph::new(), stages: vec![], filters: HashMap::new(), ctes: HashMap::new() }
    }

    fn built(self) -> Built {
        Built { graph: self.graph, stages: self.stages }
    }

    fn stage(&mut self, node: NodeId, role: &'static str) -> OperatorId {
        self.stages.push(StageLabel { node, role });
        OperatorId(self.stages.len() as u32 - 1)
    }

    fn sink(&mut self, node: NodeId, role: &'static str, sink: Arc<dyn Sink>) -> SinkId {
        let id = self.stage(node, role);
        self.graph.add_sink(id, sink)
    }

    fn pipeline(&mut self, node: NodeId, role: &'static str, source: Arc<dyn Source>, chain: Chain) -> PipelineId {
        let id = self.stage(node, role);
        let name = format!("{role} of node {}", node.0);
        self.graph.add_pipeline(Pipeline { name, source: (id, source), operators: chain.operators, sink: chain.sink, after: chain.after })
    }

    fn operator(&mut self, node: NodeId, role: &'static str, operator: Arc<dyn Operator>, chain: Chain) -> Chain {
        let id = self.stage(node, role);
        chain.before(id, operator)
    }

    /// Builds everything that makes the rows of `plan` go through `chain`; answers the pipelines that push into it.
    fn feed(&mut self, plan: &PhysicalPlan, chain: Chain) -> Result<Vec<PipelineId>> {
        let id = plan.id;
        if let Some(buffer) = self.unit.and_then(|unit| unit.shared.buffers.get(&id)) {
            return Ok(vec![self.pipeline(id, "read", buffer.source(), chain)]);
        }
        match &plan.operator {
            PhysicalOperator::TableScan { table, columns, filter_columns, filters, runtime_filters, .. } => {
                let request = ScanRequest {
                    columns: columns.clone(),
                    filter_columns: filter_columns.clone(),
                    filters: filters.clone(),
                    runtime_filters: vec![],
                    estimated_selectivity: 1.0,
                    part: self.unit.and_then(|unit| unit.parts.get(&id)).cloned().unwrap_or_default(),
                };
                Ok(vec![self.scan(plan, table, request, runtime_filters, chain)?])
            }
            PhysicalOperator::Values { rows } => {
                let batch = rows_to_batch(rows, plan)?;
                Ok(vec![self.pipeline(id, "values", values(vec![batch]), chain)])
            }
            PhysicalOperator::Filter { input, predicate } => {
                let chain = self.operator(id, "filter", filter(predicate.clone()), chain);
                self.feed(input, chain)
            }
            PhysicalOperator::Project { input, expressions } => {
                let chain = self.operator(id, "project", project(expressions.clone()), chain);
                self.feed(input, chain)
            }
            PhysicalOperator::Limit { input, limit: rows, offset } => {
                let chain = self.operator(id, "limit", limit(*rows, *offset), chain);
                self.feed(input, chain)
            }
            PhysicalOperator::HashJoin(join) => self.hash_join(id, join, chain),
            PhysicalOperator::NestedLoopJoin(join) => self.nested_loop_join(id, join, chain),
            PhysicalOperator::HashAggregate { input, keys, aggregates, key_bounds } => {
                let aggregate = Aggregate::new(AggregateSpec {
                    keys: keys.clone(),
                    aggregates: aggregates.clone(),
                    input_types: input.types(),
                    key_bounds: key_bounds.clone(),
                    estimated_groups: plan.estimated_rows as usize,
                });
                let sink = self.sink(id, "aggregate", aggregate.sink());
                self.feed(input, Chain::into_sink(sink))?;
                Ok(vec![self.pipeline(id, "groups", aggregate.source(), chain.waiting_for([After::Sink(sink)]))])
            }
            PhysicalOperator::Sort { input, keys, limit, offset } => {
                let sort = Sort::new(SortSpec { keys: keys.clone(), input_types: input.types(), limit: *limit, offset: *offset });
                let sink = self.sink(id, "sort", sort.sink());
                self.feed(input, Chain::into_sink(sink))?;
                Ok(vec![self.pipeline(id, "sorted", sort.source(), chain.waiting_for([After::Sink(sink)]))])
            }
            PhysicalOperator::UnionAll { inputs } => {
                let pipelines = inputs.iter().map(|input| self.feed(input, chain.clone())).collect::<Result<Vec<_>>>()?;
                Ok(pipelines.concat())
            }
            PhysicalOperator::SetOperation { operator, left, right } => {
                let operation = SetOperation::new(*operator, plan.types());
                let left_sink = self.sink(id, "left", operation.left_sink());
                self.feed(left, Chain::into_sink(left_sink))?;
                let right_sink = self.sink(id, "right", operation.right_sink());
                self.feed(right, Chain::into_sink(right_sink).waiting_for([After::Sink(left_sink)]))?;
                Ok(vec![self.pipeline(id, "set operation", operation.source(), chain.waiting_for([After::Sink(right_sink)]))])
            }
            PhysicalOperator::With { ctes, input } => {
                ctes.iter().try_for_each(|(cte, plan)| self.shared_cte(*cte, plan).map(drop))?;
                self.feed(input, chain)
            }
            PhysicalOperator::CteScan { cte, columns } => {
                let (buffer, sink, types) =
                    self.ctes.get(cte).ok_or_else(|| Error::internal("a common table expression is read before it is computed"))?;
                let (source, sink) = (buffer.source(), *sink);
                let expressions =
                    columns.iter().map(|index| Expression::Column { index: *index, data_type: types[*index].clone() }).collect();
                let chain = self.operator(id, "columns", project(expressions), chain);
                Ok(vec![self.pipeline(id, "read", source, chain.waiting_for(sink.map(After::Sink)))])
            }
            PhysicalOperator::Exchange(spec) => {
                let unit = self.unit.ok_or_else(|| Error::internal("an exchange outside of a fragment"))?;
                Ok(vec![self.pipeline(id, "receive", (unit.exchange)(spec)?, chain)])
            }
        }
    }

    fn scan(
        &mut self,
        plan: &PhysicalPlan,
        name: &TableName,
        mut request: ScanRequest,
        runtime_filters: &[(RuntimeFilterId, usize)],
        mut chain: Chain,
    ) -> Result<PipelineId> {
        let table = self.catalogs.table(name)?.ok_or_else(|| Error::binding("42P01", format!("table \"{name}\" is gone")))?;
        for (filter, column) in runtime_filters {
            // A filter made per unit is not there for what the units share: a scan without it reads more, and is as right.
            let Some((slot, sink)) = self.filters.get(filter) else { continue };
            request.runtime_filters.push((Arc::clone(slot), *column));
            chain.after.extend(sink.map(After::Sink));
        }
        let num_rows = table.statistics()?.num_rows as f64;
        request.estimated_selectivity = if num_rows > 0.0 { (plan.estimated_rows / num_rows).clamp(0.0, 1.0) } else { 1.0 };
        if !table.applies_filters() && !request.filters.is_empty() {
            let mut filters = std::mem::take(&mut request.filters);
            let num_output = request.columns.len();
            let filter_columns = std::mem::take(&mut request.filter_columns);
            if !filter_columns.is_empty() {
                let kept = plan.output.iter().enumerate();
                let expressions = kept.map(|(index, c)| Expression::Column { index, data_type: c.data_type.clone() }).collect();
                chain = self.operator(plan.id, "columns", project(expressions), chain);
            }
            debug_assert_eq!(num_output, plan.output.len());
            request.columns.extend(filter_columns);
            let predicate = if filters.len() == 1 { filters.remove(0) } else { Expression::And(filters) };
            chain = self.operator(plan.id, "filter", filter(predicate), chain);
        }
        let source = table.scan(request)?;
        Ok(self.pipeline(plan.id, "scan", source, chain))
    }

    fn hash_join(&mut self, id: NodeId, join: &PhysicalJoin, chain: Chain) -> Result<Vec<PipelineId>> {
        if let Some(probe) = self.shared_probe(id) {
            let chain = self.operator(id, "probe", probe, chain);
            return self.feed(&join.probe, chain);
        }
        let (roles, sink) = self.hash_roles(id, join);
        self.join(id, join, roles, sink, chain)
    }

    fn nested_loop_join(&mut self, id: NodeId, join: &PhysicalJoin, chain: Chain) -> Result<Vec<PipelineId>> {
        if let Some(probe) = self.shared_probe(id) {
            let chain = self.operator(id, "probe", probe, chain);
            return self.feed(&join.probe, chain);
        }
        let (roles, sink) = self.nested_loop_roles(id, join);
        self.join(id, join, roles, sink, chain)
    }

    /// The probe of a join whose build side was computed before.
    fn shared_probe(&self, id: NodeId) -> Option<Arc<dyn Operator>> {
        self.unit.and_then(|unit| unit.shared.probes.get(&id)).cloned()
    }

    /// The roles of a hash join, its build sink placed; scans that are fed after it find its runtime filters.
    fn hash_roles(&mut self, id: NodeId, join: &PhysicalJoin) -> (JoinRoles, SinkId) {
        let slots: Vec<_> = join.runtime_filters.iter().map(|filter| filter.map(|filter| self.filter_slot(filter))).collect();
        let hash = HashJoin::new(join_spec(join, slots.clone()));
        let roles = JoinRoles {
            build_sink: hash.build_sink(),
            probe: hash.probe(),
            unmatched: join.kind.emits_build_side().then(|| hash.unmatched()),
        };
        let sink = self.sink(id, "build", roles.build_sink.clone());
        for (filter, slot) in join.runtime_filters.iter().zip(slots) {
            if let (Some(filter), Some(slot)) = (filter, slot) {
                self.filters.insert(*filter, (slot, Some(sink)));
            }
        }
        (roles, sink)
    }

    fn nested_loop_roles(&mut self, id: NodeId, join: &PhysicalJoin) -> (JoinRoles, SinkId) {
        let nested = NestedLoopJoin::new(join_spec(join, vec![]));
        let roles = JoinRoles {
            build_sink: nested.build_sink(),
            probe: nested.probe(),
            unmatched: join.kind.emits_build_side().then(|| nested.unmatched()),
        };
        let sink = self.sink(id, "build", roles.build_sink.clone());
        (roles, sink)
    }

    fn filter_slot(&self, filter: RuntimeFilterId) -> Arc<RuntimeFilterSlot> {
        match self.unit.and_then(|unit| unit.on_filter.as_ref()) {
            Some(on_filter) => {
                let on_filter = Arc::clone(on_filter);
                RuntimeFilterSlot::with_listener(Box::new(move |value| on_filter(filter, value)))
            }
            None => RuntimeFilterSlot::new(),
        }
    }

    /// Gathers the rows of a shared CTE, unless they are there already; answers the buffer.
    fn shared_cte(&mut self, cte: CteId, plan: &PhysicalPlan) -> Result<Arc<Buffer>> {
        if let Some((buffer, ..)) = self.ctes.get(&cte) {
            return Ok(Arc::clone(buffer));
        }
        let buffer = Buffer::new();
        let sink = self.sink(plan.id, "buffer", buffer.sink());
        self.feed(plan, Chain::into_sink(sink))?;
        self.ctes.insert(cte, (Arc::clone(&buffer), Some(sink), plan.types()));
        Ok(buffer)
    }

    fn join(&mut self, id: NodeId, join: &PhysicalJoin, roles: JoinRoles, sink: SinkId, chain: Chain) -> Result<Vec<PipelineId>> {
        self.feed(&join.build, Chain::into_sink(sink))?;
        let chain = chain.waiting_for([After::Sink(sink)]);
        let probe_chain = if join.kind.emits_probe_side() {
            chain.clone()
        } else {
            // Nothing comes out of the probe but marks: its pipelines end here.
            let nowhere = self.sink(id, "matched", Buffer::new().sink());
            Chain { operators: vec![], sink: nowhere, after: chain.after.clone() }
        };
        let probe_chain = self.operator(id, "probe", roles.probe, probe_chain);
        let mut pipelines = self.feed(&join.probe, probe_chain)?;
        if let Some(unmatched) = roles.unmatched {
            let probes: Vec<After> = pipelines.iter().map(|id| After::Pipeline(*id)).collect();
            if !join.kind.emits_probe_side() {
                pipelines.clear();
            }
            pipelines.push(self.pipeline(id, "unmatched", unmatched, chain.waiting_for(probes)));
        }
        Ok(pipelines)
    }
}

fn join_spec(join: &PhysicalJoin, runtime_filters: Vec<Option<Arc<RuntimeFilterSlot>>>) -> JoinSpec {
    JoinSpec {
        kind: join.kind,
        keys: join.keys.clone(),
        residual: join.residual.clone(),
        probe_types: join.probe.types(),
        build_types: join.build.types(),
        probe_output: join.probe_output.clone(),
        build_output: join.build_output.clone(),
        runtime_filters,
        estimated_build_rows: join.build.estimated_rows as usize,
    }
}

fn rows_to_batch(rows: &[Vec<Scalar>], plan: &PhysicalPlan) -> Result<Batch> {
    let columns = plan
        .output
        .iter()
        .enumerate()
        .map(|(index, column)| match rows.is_empty() {
            true => Ok(new_empty_array(&column.data_type)),
            false => {
                let cells =
                    rows.iter().map(|row| Ok(row[index].cast_to(&column.data_type)?.to_array(1))).collect::<Result<Vec<ArrayRef>>>()?;
                let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
                concat(&cells).map_err(|error| Error::internal(error.to_string()))
            }
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Batch::new(columns, rows.len()))
}
