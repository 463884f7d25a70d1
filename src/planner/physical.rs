//! Chooses algorithms and positions: a logical plan becomes a physical one.
//!
//! Position: after the optimizer, before [`super::pipeline_builder`]. Inner joins keep the sides the optimizer
//! gave them (right is the build side); for joins whose sides mean something the smaller one is built.
//! Every node hands up only columns that somebody above uses.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use operators::{
    Expression, Scalar,
    aggregate::AggregateCall,
    hash_join::{JoinKey, JoinKind},
    sort,
};

use super::{expression::to_positions, runtime_filters};
use crate::{
    catalog::Catalogs,
    error::{Error, Result},
    optimizer::statistics::{Estimate, Estimator},
    plan::{
        logical::{self, ColumnId, Columns, Expr, Join, LogicalPlan, Query},
        physical::{NodeId, PhysicalColumn, PhysicalJoin, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
    },
};

/// Plans an optimized query; the output columns are those of the query, in order.
///
/// # Errors
/// Statistics that cannot be read, or an internal error where the plan is not what the optimizer promises.
pub fn plan(query: &Query, catalogs: &Catalogs) -> Result<PhysicalPlan> {
    let mut planner = Planner { columns: &query.columns, estimator: Estimator::new(catalogs, query), num_filters: 0 };
    let ctes = query
        .ctes
        .iter()
        .map(|cte| {
            let planned = planner.plan(&cte.plan, &cte.output.iter().copied().collect())?;
            Ok((cte.id, planner.arrange(planned, &cte.output)))
        })
        .collect::<Result<Vec<_>>>()?;
    let output: Vec<ColumnId> = query.output.iter().map(|o| o.column).collect();
    let planned = planner.plan(&query.root, &output.iter().copied().collect())?;
    let mut root = planner.arrange(planned, &output);
    for (column, output) in root.output.iter_mut().zip(&query.output) {
        column.name.clone_from(&output.name);
    }
    if !ctes.is_empty() {
        let (columns, estimated_rows) = (root.output.clone(), root.estimated_rows);
        root = node(PhysicalOperator::With { ctes, input: Box::new(root) }, columns, estimated_rows);
    }
    number(&mut root, &mut 0);
    Ok(root)
}

/// A plan and which column stands at which position of its output.
struct Planned {
    plan: PhysicalPlan,
    layout: Vec<ColumnId>,
}

struct Planner<'a> {
    columns: &'a Columns,
    estimator: Estimator<'a>,
    num_filters: u32,
}

fn node(operator: PhysicalOperator, output: Vec<PhysicalColumn>, estimated_rows: f64) -> PhysicalPlan {
    PhysicalPlan { id: NodeId(0), operator, output, estimated_rows }
}

/// Numbers the nodes in the order of a walk from the root.
fn number(plan: &mut PhysicalPlan, next: &mut u32) {
    plan.id = NodeId(*next);
    *next += 1;
    plan.inputs_mut().into_iter().for_each(|input| number(input, next));
}

impl Planner<'_> {
    fn plan(&mut self, plan: &LogicalPlan, required: &BTreeSet<ColumnId>) -> Result<Planned> {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(plan, scan, required),
            LogicalPlan::CteScan(scan) => {
                let kept: Vec<(ColumnId, usize)> = scan.columns.iter().filter(|(id, _)| required.contains(id)).copied().collect();
                let operator = PhysicalOperator::CteScan { cte: scan.cte, columns: kept.iter().map(|(_, index)| *index).collect() };
                self.finish(plan, operator, kept.into_iter().map(|(id, _)| id).collect())
            }
            LogicalPlan::Values(values) => {
                let operator = PhysicalOperator::Values { rows: values.rows.clone() };
                self.finish(plan, operator, values.columns.clone())
            }
            LogicalPlan::Filter { input, predicate } => {
                let child = self.plan(input, &with_columns(required, predicate))?;
                let operator =
                    PhysicalOperator::Filter { predicate: self.conjunction(predicate, &child.layout)?, input: Box::new(child.plan) };
                self.finish(plan, operator, child.layout)
            }
            LogicalPlan::Project { input, expressions } => self.project(plan, input, expressions, required),
            LogicalPlan::Join(join) => self.join(plan, join, required),
            LogicalPlan::Apply(_) => Err(Error::internal("a dependent join was left after unnesting")),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(plan, aggregate, required),
            LogicalPlan::Sort { input, keys } => self.sort(plan, input, keys, None, 0, required),
            LogicalPlan::Limit { input, limit, offset } => self.limit(plan, input, *limit, *offset, required),
            LogicalPlan::UnionAll { inputs, output } => {
                let kept: Vec<_> = output.iter().filter(|(id, _)| required.contains(id)).collect();
                let planned = inputs
                    .iter()
                    .enumerate()
                    .map(|(i, input)| {
                        let order: Vec<ColumnId> = kept.iter().map(|(_, columns)| columns[i]).collect();
                        let child = self.plan(input, &order.iter().copied().collect())?;
                        Ok(self.arrange(child, &order))
                    })
                    .collect::<Result<Vec<_>>>()?;
                self.finish(plan, PhysicalOperator::UnionAll { inputs: planned }, kept.iter().map(|(id, _)| *id).collect())
            }
            LogicalPlan::SetOperation { operator, left, right, output } => {
                // Every column decides which rows are equal, used above or not.
                let (lefts, rights): (Vec<_>, Vec<_>) = output.iter().map(|(_, l, r)| (*l, *r)).unzip();
                let left = self.plan(left, &lefts.iter().copied().collect())?;
                let right = self.plan(right, &rights.iter().copied().collect())?;
                let operator = PhysicalOperator::SetOperation {
                    operator: *operator,
                    left: Box::new(self.arrange(left, &lefts)),
                    right: Box::new(self.arrange(right, &rights)),
                };
                self.finish(plan, operator, output.iter().map(|(id, ..)| *id).collect())
            }
        }
    }

    /// Wraps `operator`, whose columns are `layout`, with what is expected of `logical`.
    fn finish(&mut self, logical: &LogicalPlan, operator: PhysicalOperator, layout: Vec<ColumnId>) -> Result<Planned> {
        let estimated_rows = self.estimate(logical)?.rows;
        Ok(Planned { plan: node(operator, self.describe(&layout), estimated_rows), layout })
    }

    fn estimate(&mut self, plan: &LogicalPlan) -> Result<Estimate> {
        self.estimator.estimate(plan)
    }

    fn describe(&self, layout: &[ColumnId]) -> Vec<PhysicalColumn> {
        layout
            .iter()
            .map(|id| {
                let info = self.columns.get(*id);
                PhysicalColumn { name: info.name.clone(), data_type: info.data_type.clone() }
            })
            .collect()
    }

    /// Brings the columns of `planned` into `order` (with repetitions, without the others).
    fn arrange(&self, planned: Planned, order: &[ColumnId]) -> PhysicalPlan {
        if planned.layout == order {
            return planned.plan;
        }
        let expressions = order
            .iter()
            .map(|id| {
                let index = planned.layout.iter().position(|c| c == id).expect("a required column is planned");
                Expression::Column { index, data_type: self.columns.get(*id).data_type.clone() }
            })
            .collect();
        let estimated_rows = planned.plan.estimated_rows;
        node(PhysicalOperator::Project { input: Box::new(planned.plan), expressions }, self.describe(order), estimated_rows)
    }

    fn expressions(&self, exprs: &[Expr], layout: &[ColumnId]) -> Result<Vec<Expression>> {
        exprs.iter().map(|e| to_positions(e, layout, self.columns)).collect()
    }

    fn conjunction(&self, conjuncts: &[Expr], layout: &[ColumnId]) -> Result<Expression> {
        let mut all = self.expressions(conjuncts, layout)?;
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn scan(&mut self, plan: &LogicalPlan, scan: &logical::TableScan, required: &BTreeSet<ColumnId>) -> Result<Planned> {
        let in_filters = with_columns(&BTreeSet::new(), &scan.filters);
        let (output, rest): (Vec<_>, Vec<_>) = scan.columns.iter().copied().partition(|(id, _)| required.contains(id));
        let filter_only: Vec<_> = rest.into_iter().filter(|(id, _)| in_filters.contains(id)).collect();
        let layout: Vec<ColumnId> = output.iter().map(|(id, _)| *id).collect();
        let filter_layout: Vec<ColumnId> = output.iter().chain(&filter_only).map(|(id, _)| *id).collect();
        let operator = PhysicalOperator::TableScan {
            table: scan.table.clone(),
            columns: output.iter().map(|(_, index)| *index).collect(),
            filter_columns: filter_only.iter().map(|(_, index)| *index).collect(),
            filter_column_names: filter_only.iter().map(|(id, _)| self.columns.get(*id).name.clone()).collect(),
            filters: self.expressions(&scan.filters, &filter_layout)?,
            runtime_filters: vec![],
        };
        self.finish(plan, operator, layout)
    }

    fn project(
        &mut self,
        plan: &LogicalPlan,
        input: &LogicalPlan,
        expressions: &[(ColumnId, Expr)],
        required: &BTreeSet<ColumnId>,
    ) -> Result<Planned> {
        let kept: Vec<&(ColumnId, Expr)> = expressions.iter().filter(|(id, _)| required.contains(id)).collect();
        let mut needed = BTreeSet::new();
        kept.iter().for_each(|(_, e)| e.collect_columns(&mut needed));
        let child = self.plan(input, &needed)?;
        let layout: Vec<ColumnId> = kept.iter().map(|(id, _)| *id).collect();
        let only_passes_on = kept.iter().all(|(id, e)| *e == Expr::Column(*id));
        if only_passes_on && child.layout == layout {
            return Ok(child);
        }
        let expressions = kept.iter().map(|(_, e)| to_positions(e, &child.layout, self.columns)).collect::<Result<_>>()?;
        self.finish(plan, PhysicalOperator::Project { input: Box::new(child.plan), expressions }, layout)
    }

    fn aggregate(&mut self, plan: &LogicalPlan, aggregate: &logical::Aggregate, required: &BTreeSet<ColumnId>) -> Result<Planned> {
        let kept: Vec<_> = aggregate.aggregates.iter().filter(|(id, _)| required.contains(id)).collect();
        let mut needed = BTreeSet::new();
        aggregate.keys.iter().for_each(|(_, e)| e.collect_columns(&mut needed));
        for (_, call) in &kept {
            call.arguments.iter().chain(call.filter.as_deref()).for_each(|e| e.collect_columns(&mut needed));
        }
        let child = self.plan(&aggregate.input, &needed)?;
        let estimate = self.estimate(plan)?;
        let key_bounds = aggregate
            .keys
            .iter()
            .map(|(id, _)| {
                let column = estimate.columns.get(id)?;
                Some((as_integer(column.min.as_ref()?)?, as_integer(column.max.as_ref()?)?))
            })
            .collect();
        let keys = aggregate.keys.iter().map(|(_, e)| to_positions(e, &child.layout, self.columns)).collect::<Result<_>>()?;
        let aggregates = kept
            .iter()
            .map(|(id, call)| {
                Ok(AggregateCall {
                    function: call.function,
                    arguments: self.expressions(&call.arguments, &child.layout)?,
                    distinct: call.distinct,
                    filter: call.filter.as_deref().map(|e| to_positions(e, &child.layout, self.columns)).transpose()?,
                    data_type: self.columns.get(*id).data_type.clone(),
                })
            })
            .collect::<Result<_>>()?;
        let layout = aggregate.keys.iter().map(|(id, _)| *id).chain(kept.iter().map(|(id, _)| *id)).collect();
        self.finish(plan, PhysicalOperator::HashAggregate { input: Box::new(child.plan), keys, aggregates, key_bounds }, layout)
    }

    fn sort(
        &mut self,
        plan: &LogicalPlan,
        input: &LogicalPlan,
        keys: &[logical::SortKey],
        limit: Option<u64>,
        offset: u64,
        required: &BTreeSet<ColumnId>,
    ) -> Result<Planned> {
        let mut needed = required.clone();
        keys.iter().for_each(|key| key.expr.collect_columns(&mut needed));
        let child = self.plan(input, &needed)?;
        let keys = keys
            .iter()
            .map(|key| {
                Ok(sort::SortKey {
                    expression: to_positions(&key.expr, &child.layout, self.columns)?,
                    descending: key.descending,
                    nulls_first: key.nulls_first,
                })
            })
            .collect::<Result<_>>()?;
        let operator =
            PhysicalOperator::Sort { input: Box::new(child.plan), keys, limit: limit.map(|n| n as usize), offset: offset as usize };
        self.finish(plan, operator, child.layout)
    }

    fn limit(
        &mut self,
        plan: &LogicalPlan,
        input: &LogicalPlan,
        limit: Option<u64>,
        offset: u64,
        required: &BTreeSet<ColumnId>,
    ) -> Result<Planned> {
        match input {
            LogicalPlan::Sort { input, keys } => self.sort(plan, input, keys, limit, offset, required),
            // A projection neither drops nor adds rows: the limit belongs to the sort below it.
            LogicalPlan::Project { input: below, expressions } if matches!(**below, LogicalPlan::Sort { .. }) => {
                let limited = LogicalPlan::Limit { input: below.clone(), limit, offset };
                self.project(plan, &limited, expressions, required)
            }
            _ => {
                let child = self.plan(input, required)?;
                let operator =
                    PhysicalOperator::Limit { input: Box::new(child.plan), limit: limit.map(|n| n as usize), offset: offset as usize };
                self.finish(plan, operator, child.layout)
            }
        }
    }

    fn join(&mut self, plan: &LogicalPlan, join: &Join, required: &BTreeSet<ColumnId>) -> Result<Planned> {
        let (left_rows, right_rows) = (self.estimate(&join.left)?.rows, self.estimate(&join.right)?.rows);
        let (kind, right_is_build) = physical_kind(join.kind, left_rows, right_rows);
        let (probe_logical, build_logical) = if right_is_build { (&*join.left, &*join.right) } else { (&*join.right, &*join.left) };
        let probe_columns: BTreeSet<ColumnId> = probe_logical.output().into_iter().collect();
        let build_columns: BTreeSet<ColumnId> = build_logical.output().into_iter().collect();
        let (equalities, residual) = split_condition(&join.condition, &probe_columns, &build_columns);

        let needed = with_columns(required, &join.condition);
        let probe = self.plan(probe_logical, &needed.intersection(&probe_columns).copied().collect())?;
        let build = self.plan(build_logical, &needed.intersection(&build_columns).copied().collect())?;

        let keys = equalities
            .iter()
            .map(|e| {
                Ok(JoinKey {
                    probe: to_positions(e.probe, &probe.layout, self.columns)?,
                    build: to_positions(e.build, &build.layout, self.columns)?,
                    nulls_match: e.nulls_match,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let pair_layout: Vec<ColumnId> = probe.layout.iter().chain(&build.layout).copied().collect();
        let residual = (!residual.is_empty()).then(|| self.conjunction(&residual, &pair_layout)).transpose()?;

        let kept = |layout: &[ColumnId], emitted: bool| -> Vec<usize> {
            (0..layout.len()).filter(|i| emitted && required.contains(&layout[*i])).collect()
        };
        let emits_probe = kind.emits_probe_side();
        let emits_build = kind.emits_build_side() || matches!(kind, JoinKind::Inner | JoinKind::ProbeOuter | JoinKind::ProbeSingle);
        let probe_output = kept(&probe.layout, emits_probe);
        let build_output = kept(&build.layout, emits_build);
        let mut layout: Vec<ColumnId> =
            probe_output.iter().map(|i| probe.layout[*i]).chain(build_output.iter().map(|i| build.layout[*i])).collect();
        if let logical::JoinKind::Mark(mark) = join.kind {
            layout.push(mark);
        }

        let mut probe_plan = probe.plan;
        let runtime_filters = self.runtime_filters(kind, &keys, &mut probe_plan, probe_logical, &equalities, &build.plan)?;
        let physical = PhysicalJoin {
            probe: Box::new(probe_plan),
            build: Box::new(build.plan),
            kind,
            keys,
            residual,
            probe_output,
            build_output,
            runtime_filters,
        };
        let operator =
            if physical.keys.is_empty() { PhysicalOperator::NestedLoopJoin(physical) } else { PhysicalOperator::HashJoin(physical) };
        self.finish(plan, operator, layout)
    }

    /// Makes a runtime filter of every key that is worth it.
    fn runtime_filters(
        &mut self,
        kind: JoinKind,
        keys: &[JoinKey],
        probe: &mut PhysicalPlan,
        probe_logical: &LogicalPlan,
        equalities: &[Equality<'_>],
        build: &PhysicalPlan,
    ) -> Result<Vec<Option<RuntimeFilterId>>> {
        let estimate = self.estimate(probe_logical)?;
        Ok(keys
            .iter()
            .zip(equalities)
            .map(|(key, equality)| {
                let (Expression::Column { index, data_type }, Expr::Column(id)) = (&key.probe, equality.probe) else { return None };
                let can_filter = runtime_filters::drops_unmatched_probe_rows(kind) && !key.nulls_match && is_integer_like(data_type);
                // A build side that holds about every key there is would let everything through.
                let key_count = estimate.columns.get(id).map_or(f64::INFINITY, |c| c.distinct);
                if !can_filter || build.estimated_rows > 0.9 * key_count {
                    return None;
                }
                let filter = RuntimeFilterId(self.num_filters);
                runtime_filters::attach(probe, *index, filter).then(|| {
                    self.num_filters += 1;
                    filter
                })
            })
            .collect())
    }
}

fn with_columns(required: &BTreeSet<ColumnId>, exprs: &[Expr]) -> BTreeSet<ColumnId> {
    let mut columns = required.clone();
    exprs.iter().for_each(|e| e.collect_columns(&mut columns));
    columns
}

fn is_integer_like(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Decimal64(..))
}

fn as_integer(scalar: &Scalar) -> Option<i64> {
    match scalar {
        Scalar::Boolean(v) => Some(i64::from(*v)),
        Scalar::Int16(v) => Some(i64::from(*v)),
        Scalar::Int32(v) | Scalar::Date32(v) => Some(i64::from(*v)),
        Scalar::Int64(v) | Scalar::Timestamp(v) | Scalar::TimestampTz(v) => Some(*v),
        Scalar::Decimal(v, ..) => i64::try_from(*v).ok(),
        _ => None,
    }
}

/// The physical kind, and whether the right side is the build side. Where the kind leaves a choice, the
/// smaller side is built.
fn physical_kind(kind: logical::JoinKind, left_rows: f64, right_rows: f64) -> (JoinKind, bool) {
    let right_is_smaller = right_rows <= left_rows;
    match (kind, right_is_smaller) {
        (logical::JoinKind::Inner, _) => (JoinKind::Inner, true),
        (logical::JoinKind::Left, true) => (JoinKind::ProbeOuter, true),
        (logical::JoinKind::Left, false) => (JoinKind::BuildOuter, false),
        (logical::JoinKind::Right, true) => (JoinKind::BuildOuter, true),
        (logical::JoinKind::Right, false) => (JoinKind::ProbeOuter, false),
        (logical::JoinKind::Full, right_is_build) => (JoinKind::FullOuter, right_is_build),
        (logical::JoinKind::Semi, true) => (JoinKind::ProbeSemi, true),
        (logical::JoinKind::Semi, false) => (JoinKind::BuildSemi, false),
        (logical::JoinKind::Anti, true) => (JoinKind::ProbeAnti, true),
        (logical::JoinKind::Anti, false) => (JoinKind::BuildAnti, false),
        (logical::JoinKind::Mark(_), true) => (JoinKind::ProbeMark, true),
        (logical::JoinKind::Mark(_), false) => (JoinKind::BuildMark, false),
        (logical::JoinKind::Single, _) => (JoinKind::ProbeSingle, true),
    }
}

struct Equality<'a> {
    probe: &'a Expr,
    build: &'a Expr,
    nulls_match: bool,
}

/// Splits a join condition into equalities between the sides and the rest.
fn split_condition<'a>(
    condition: &'a [Expr],
    probe_columns: &BTreeSet<ColumnId>,
    build_columns: &BTreeSet<ColumnId>,
) -> (Vec<Equality<'a>>, Vec<Expr>) {
    use operators::expression::Comparison;
    let mut equalities = vec![];
    let mut rest = vec![];
    for conjunct in condition {
        let Expr::Compare(comparison @ (Comparison::Equal | Comparison::NotDistinct), left, right) = conjunct else {
            rest.push(conjunct.clone());
            continue;
        };
        let (l, r) = (left.columns(), right.columns());
        let nulls_match = *comparison == Comparison::NotDistinct;
        if l.is_empty() || r.is_empty() {
            rest.push(conjunct.clone());
        } else if l.is_subset(probe_columns) && r.is_subset(build_columns) {
            equalities.push(Equality { probe: left, build: right, nulls_match });
        } else if r.is_subset(probe_columns) && l.is_subset(build_columns) {
            equalities.push(Equality { probe: right, build: left, nulls_match });
        } else {
            rest.push(conjunct.clone());
        }
    }
    (equalities, rest)
}
