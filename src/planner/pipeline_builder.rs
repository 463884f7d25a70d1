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

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, new_empty_array},
    compute::concat,
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

use crate::{
    catalog::Catalogs,
    connectors::{ScanPart, ScanRequest},
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
    let mut builder = Builder { catalogs, graph: PipelineGraph::new(), stages: vec![], filters: HashMap::new(), ctes: HashMap::new() };
    let sink = builder.sink(plan.id, "result", result);
    builder.feed(plan, Chain { operators: vec![], sink, after: vec![] })?;
    Ok(Built { graph: builder.graph, stages: builder.stages })
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
    graph: PipelineGraph,
    stages: Vec<StageLabel>,
    /// The slot of every runtime filter, and the sink that fills it.
    filters: HashMap<RuntimeFilterId, (Arc<RuntimeFilterSlot>, SinkId)>,
    ctes: HashMap<CteId, (Arc<Buffer>, SinkId, Vec<arrow::datatypes::DataType>)>,
}

/// The three roles of a join, hash or nested-loop.
struct JoinRoles {
    build_sink: Arc<dyn Sink>,
    probe: Arc<dyn Operator>,
    unmatched: Option<Arc<dyn Source>>,
}

impl Builder<'_> {
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
        match &plan.operator {
            PhysicalOperator::TableScan { table, columns, filter_columns, filters, runtime_filters, .. } => {
                let request = ScanRequest {
                    columns: columns.clone(),
                    filter_columns: filter_columns.clone(),
                    filters: filters.clone(),
                    runtime_filters: vec![],
                    estimated_selectivity: 1.0,
                    part: ScanPart::All,
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
            PhysicalOperator::NestedLoopJoin(join) => {
                let nested = NestedLoopJoin::new(join_spec(join, vec![]));
                let roles = JoinRoles {
                    build_sink: nested.build_sink(),
                    probe: nested.probe(),
                    unmatched: join.kind.emits_build_side().then(|| nested.unmatched()),
                };
                let sink = self.sink(id, "build", roles.build_sink.clone());
                self.join(id, join, roles, sink, chain)
            }
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
                for (cte, plan) in ctes {
                    let buffer = Buffer::new();
                    let sink = self.sink(plan.id, "buffer", buffer.sink());
                    self.feed(plan, Chain::into_sink(sink))?;
                    self.ctes.insert(*cte, (buffer, sink, plan.types()));
                }
                self.feed(input, chain)
            }
            PhysicalOperator::CteScan { cte, columns } => {
                let (buffer, sink, types) =
                    self.ctes.get(cte).ok_or_else(|| Error::internal("a common table expression is read before it is computed"))?;
                let (source, sink) = (buffer.source(), *sink);
                let expressions =
                    columns.iter().map(|index| Expression::Column { index: *index, data_type: types[*index].clone() }).collect();
                let chain = self.operator(id, "columns", project(expressions), chain);
                Ok(vec![self.pipeline(id, "read", source, chain.waiting_for([After::Sink(sink)]))])
            }
            PhysicalOperator::Exchange(_) => Err(Error::internal("an exchange outside of a fragment")),
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
            let (slot, sink) = &self.filters[filter];
            request.runtime_filters.push((Arc::clone(slot), *column));
            chain.after.push(After::Sink(*sink));
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
        let slots: Vec<_> = join.runtime_filters.iter().map(|filter| filter.map(|_| RuntimeFilterSlot::new())).collect();
        let hash = HashJoin::new(join_spec(join, slots.clone()));
        let roles = JoinRoles {
            build_sink: hash.build_sink(),
            probe: hash.probe(),
            unmatched: join.kind.emits_build_side().then(|| hash.unmatched()),
        };
        let sink = self.sink(id, "build", roles.build_sink.clone());
        for (filter, slot) in join.runtime_filters.iter().zip(slots) {
            if let (Some(filter), Some(slot)) = (filter, slot) {
                self.filters.insert(*filter, (slot, sink));
            }
        }
        self.join(id, join, roles, sink, chain)
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
