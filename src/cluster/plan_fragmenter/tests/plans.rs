//! Physical plans by hand. All have the columns of the [`super::tables`]: `k`, `v`, `f`, `t`.

use arrow::datatypes::DataType;
use operators::{
    Expression, Scalar,
    aggregate::{AggregateCall, AggregateFunction},
    expression::Comparison,
    hash_join::{JoinKey, JoinKind},
    set_operation::SetOperator,
    sort::SortKey,
};

use super::tables::{self, TYPES};
use crate::{
    plan::{
        logical::CteId,
        physical::{NodeId, PhysicalColumn, PhysicalJoin, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
    },
    planner::runtime_filters,
};

pub(super) const K: usize = 0;
pub(super) const V: usize = 1;
pub(super) const F: usize = 2;
pub(super) const T: usize = 3;

/// A node with the usual columns.
fn node(operator: PhysicalOperator, estimated_rows: f64) -> PhysicalPlan {
    let columns = ["k", "v", "f", "t"].iter().zip(TYPES).map(|(name, data_type)| PhysicalColumn { name: (*name).into(), data_type });
    PhysicalPlan { id: NodeId(0), operator, output: columns.collect(), estimated_rows }
}

/// A column of the usual type.
pub(super) fn column(index: usize) -> Expression {
    Expression::column(index, TYPES[index].clone())
}

pub(super) fn scan(table: &str, estimated_rows: f64) -> PhysicalPlan {
    let operator = PhysicalOperator::TableScan {
        table: tables::name(table),
        columns: vec![K, V, F, T],
        filter_columns: vec![],
        filter_column_names: vec![],
        filters: vec![],
        runtime_filters: vec![],
    };
    node(operator, estimated_rows)
}

pub(super) fn values() -> PhysicalPlan {
    let row = |k| vec![Scalar::Int64(k), Scalar::Int64(1), Scalar::Float64(2.0), Scalar::Utf8("a".into())];
    node(PhysicalOperator::Values { rows: vec![row(1), row(4)] }, 2.0)
}

pub(super) fn cte_scan(cte: u32, estimated_rows: f64) -> PhysicalPlan {
    node(PhysicalOperator::CteScan { cte: CteId(cte), columns: vec![K, V, F, T] }, estimated_rows)
}

pub(super) fn filter(input: PhysicalPlan, at_least: i64) -> PhysicalPlan {
    let limit = Box::new(Expression::Literal(Scalar::Int64(at_least)));
    let predicate = Expression::Compare { operator: Comparison::GreaterOrEqual, left: Box::new(column(V)), right: limit };
    let rows = input.estimated_rows / 2.0;
    node(PhysicalOperator::Filter { input: Box::new(input), predicate }, rows)
}

/// Columns of any position; types have to fit.
pub(super) fn project(input: PhysicalPlan, expressions: Vec<Expression>) -> PhysicalPlan {
    let rows = input.estimated_rows;
    node(PhysicalOperator::Project { input: Box::new(input), expressions }, rows)
}

/// A join on equal columns; without, on equal `k` by a nested loop. Its result has the usual columns; a mark becomes the text.
pub(super) fn join(kind: JoinKind, probe: PhysicalPlan, build: PhysicalPlan, keys: &[(usize, usize)]) -> PhysicalPlan {
    use JoinKind::*;
    let own = vec![K, V, F, T];
    let (probe_output, build_output) = match kind {
        Inner | ProbeOuter | BuildOuter | FullOuter | ProbeSingle => (vec![K, V], vec![F, T]),
        ProbeSemi | ProbeAnti | ProbeMark => (own, vec![]),
        BuildSemi | BuildAnti | BuildMark => (vec![], own),
    };
    joined(kind, probe, build, keys, probe_output, build_output)
}

/// An inner join whose key comes from the build side.
pub(super) fn join_with_build_key(probe: PhysicalPlan, build: PhysicalPlan, keys: &[(usize, usize)]) -> PhysicalPlan {
    let mut join = joined(JoinKind::Inner, probe, build, keys, vec![F, T], vec![K, V]);
    join.output.rotate_left(2);
    let at = |index: usize| Expression::column((index + 2) % 4, TYPES[index].clone());
    project(join, (0..4).map(at).collect())
}

fn joined(
    kind: JoinKind,
    probe: PhysicalPlan,
    build: PhysicalPlan,
    keys: &[(usize, usize)],
    probe_output: Vec<usize>,
    build_output: Vec<usize>,
) -> PhysicalPlan {
    let key = |(probe, build): &(usize, usize)| JoinKey { probe: column(*probe), build: column(*build), nulls_match: false };
    let equal = |probe: usize, build: usize| Expression::Compare {
        operator: Comparison::Equal,
        left: Box::new(column(probe)),
        right: Box::new(Expression::column(4 + build, TYPES[build].clone())),
    };
    let rows = if kind.emits_probe_side() { probe.estimated_rows } else { build.estimated_rows };
    let join = PhysicalJoin {
        probe: Box::new(probe),
        build: Box::new(build),
        kind,
        keys: keys.iter().map(key).collect(),
        residual: keys.is_empty().then(|| equal(K, K)),
        probe_output,
        build_output,
        runtime_filters: vec![None; keys.len()],
    };
    let is_mark = matches!(kind, JoinKind::ProbeMark | JoinKind::BuildMark);
    let is_nested = keys.is_empty();
    let mut plan = node(if is_nested { PhysicalOperator::NestedLoopJoin(join) } else { PhysicalOperator::HashJoin(join) }, rows);
    if !is_mark {
        return plan;
    }
    plan.output.push(PhysicalColumn { name: "mark".into(), data_type: DataType::Boolean });
    let mark = Expression::Cast { operand: Box::new(Expression::column(4, DataType::Boolean)), data_type: DataType::Utf8View };
    project(plan, vec![column(K), column(V), column(F), mark])
}

/// Gives the first key of a join a filter where joins have them.
pub(super) fn with_runtime_filter(mut plan: PhysicalPlan, id: u32) -> PhysicalPlan {
    if let PhysicalOperator::HashJoin(join) = &mut plan.operator
        && runtime_filters::drops_unmatched_probe_rows(join.kind)
        && let Expression::Column { index, data_type: DataType::Int64 } = join.keys[0].probe
        && runtime_filters::attach(&mut join.probe, index, RuntimeFilterId(id))
    {
        join.runtime_filters[0] = Some(RuntimeFilterId(id));
    }
    plan
}

/// Aggregates by what they are of.
pub(super) fn call(function: AggregateFunction, argument: Option<usize>) -> AggregateCall {
    let data_type = match function {
        AggregateFunction::CountStar | AggregateFunction::Count => DataType::Int64,
        _ => argument.map_or(DataType::Int64, |argument| TYPES[argument].clone()),
    };
    AggregateCall { function, arguments: argument.map(column).into_iter().collect(), distinct: false, filter: None, data_type }
}

pub(super) fn aggregate(input: PhysicalPlan, keys: &[usize], aggregates: Vec<AggregateCall>, groups: f64) -> PhysicalPlan {
    let operator = PhysicalOperator::HashAggregate {
        input: Box::new(input),
        keys: keys.iter().map(|key| column(*key)).collect(),
        aggregates,
        key_bounds: vec![None; keys.len()],
    };
    node(operator, groups)
}

/// Sorted by all columns: the result is the same however rows lay before.
pub(super) fn sort(input: PhysicalPlan, limit: Option<usize>, offset: usize) -> PhysicalPlan {
    let key = |index| SortKey { expression: column(index), descending: index == V, nulls_first: false };
    let rows = limit.map_or(input.estimated_rows, |limit| input.estimated_rows.min(limit as f64));
    node(PhysicalOperator::Sort { input: Box::new(input), keys: [T, V, K, F].map(key).to_vec(), limit, offset }, rows)
}

pub(super) fn limit(input: PhysicalPlan, limit: Option<usize>, offset: usize) -> PhysicalPlan {
    let rows = limit.map_or(input.estimated_rows, |limit| limit as f64);
    node(PhysicalOperator::Limit { input: Box::new(input), limit, offset }, rows)
}

pub(super) fn union(inputs: Vec<PhysicalPlan>) -> PhysicalPlan {
    let rows = inputs.iter().map(|input| input.estimated_rows).sum();
    node(PhysicalOperator::UnionAll { inputs }, rows)
}

pub(super) fn set_operation(operator: SetOperator, left: PhysicalPlan, right: PhysicalPlan) -> PhysicalPlan {
    let rows = left.estimated_rows;
    node(PhysicalOperator::SetOperation { operator, left: Box::new(left), right: Box::new(right) }, rows)
}

pub(super) fn with(ctes: Vec<PhysicalPlan>, input: PhysicalPlan) -> PhysicalPlan {
    let rows = input.estimated_rows;
    let ctes = ctes.into_iter().enumerate().map(|(number, plan)| (CteId(number as u32), plan)).collect();
    node(PhysicalOperator::With { ctes, input: Box::new(input) }, rows)
}

/// Numbers the nodes, as the planner does.
pub(super) fn numbered(mut plan: PhysicalPlan) -> PhysicalPlan {
    let mut next = 0;
    plan.for_each_mut(&mut |node| {
        node.id = NodeId(next);
        next += 1;
    });
    plan
}
