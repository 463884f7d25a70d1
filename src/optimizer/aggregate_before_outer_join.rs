//! Counts the right side of a left join before joining it: one row per key is joined instead of many.
//!
//! `SELECT l.k, count(r.x) … FROM l LEFT JOIN r ON l.k = r.k GROUP BY l.k` becomes a join of `l` with the counts of `r`
//! per `r.k`, and a sum of these counts per group. What the left join pads counts as no row (or one, for `count(*)`).
//! (Eager aggregation: Yan and Larson 1995; below outer joins: Galindo-Legaria and Joshi 2001.)
//!
//! Position: after pushdown, so that conditions on the right side alone are within it. Guards: the left join is all there is
//! below the aggregation; its condition equates columns and nothing else; groups are made of left columns; counts, minima and
//! maxima only; and the right side is expected to shrink, else a row is handled twice for nothing.

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Comparison, ScalarFunction},
};

use crate::{
    error::Result,
    plan::logical::{Aggregate, AggregateExpr, ColumnId, Columns, Expr, Join, JoinKind, LogicalPlan, Query},
};

use super::{OptimizerContext, rule::Rule, statistics::Estimator};

/// The right side must shrink at least to this share.
const SHARE_MAX: f64 = 0.5;

/// The rule.
pub struct AggregateBeforeOuterJoin;

impl Rule for AggregateBeforeOuterJoin {
    fn name(&self) -> &'static str {
        "aggregate_before_outer_join"
    }

    fn apply(&self, mut query: Query, context: &OptimizerContext<'_>) -> Result<Query> {
        let mut estimator = Estimator::new(context.catalogs, &query);
        let mut columns = std::mem::take(&mut query.columns);
        let mut rewrite = |plan: LogicalPlan| -> Result<LogicalPlan> {
            match keys_of(&plan) {
                Some(keys) if shrinks(&plan, &keys, &mut estimator)? => Ok(split(plan, keys, &mut columns)),
                _ => Ok(plan),
            }
        };
        for cte in &mut query.ctes {
            cte.plan = std::mem::take(&mut cte.plan).transform(&mut rewrite)?;
        }
        query.root = std::mem::take(&mut query.root).transform(&mut rewrite)?;
        query.columns = columns;
        Ok(query)
    }
}

fn left_join(plan: &LogicalPlan) -> Option<(&Aggregate, &Join)> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return None };
    let mut input = &*aggregate.input;
    // A projection that only leaves columns out is nothing to an aggregation.
    while let LogicalPlan::Project { input: below, expressions } = input
        && expressions.iter().all(|(id, expr)| *expr == Expr::Column(*id))
    {
        input = below;
    }
    match input {
        LogicalPlan::Join(join) if join.kind == JoinKind::Left => Some((aggregate, join)),
        _ => None,
    }
}

/// The right columns that the condition equates, if the aggregation can be split.
fn keys_of(plan: &LogicalPlan) -> Option<Vec<ColumnId>> {
    let (aggregate, join) = left_join(plan)?;
    let (left, right) = (join.left.output_set(), join.right.output_set());
    let key = |conjunct: &Expr| {
        let Expr::Compare(Comparison::Equal, a, b) = conjunct else { return None };
        match (a.as_column(), b.as_column()) {
            (_, Some(key)) if right.contains(&key) && a.columns().is_subset(&left) => Some(key),
            (Some(key), _) if right.contains(&key) && b.columns().is_subset(&left) => Some(key),
            _ => None,
        }
    };
    let mut keys = join.condition.iter().map(key).collect::<Option<Vec<_>>>()?;
    keys.sort();
    keys.dedup();
    let is_grouped_by_left = aggregate.keys.iter().all(|(_, expr)| expr.columns().is_subset(&left));
    let is_splittable = |call: &AggregateExpr| {
        let is_of_right = call.arguments.iter().all(|argument| {
            let used = argument.columns();
            // Of a padded row the argument is NULL, which none of these functions sees.
            !used.is_empty() && used.is_subset(&right) && argument.is_null_for(&right) && !argument.can_fail()
        });
        let is_known = match call.function {
            AggregateFunction::CountStar => true,
            AggregateFunction::Count | AggregateFunction::Min | AggregateFunction::Max => call.arguments.len() == 1,
            _ => false,
        };
        let is_duplicate_free = matches!(call.function, AggregateFunction::Min | AggregateFunction::Max) || !call.distinct;
        is_of_right && is_known && is_duplicate_free && call.filter.is_none()
    };
    let all_splittable = aggregate.aggregates.iter().all(|(_, call)| is_splittable(call));
    // Without keys there is a group even where there is no row, and its count is 0, not the NULL of a sum.
    let has_groups = !aggregate.keys.is_empty() && !aggregate.aggregates.is_empty();
    (!keys.is_empty() && has_groups && is_grouped_by_left && all_splittable).then_some(keys)
}

fn shrinks(plan: &LogicalPlan, keys: &[ColumnId], estimator: &mut Estimator<'_>) -> Result<bool> {
    let Some((_, join)) = left_join(plan) else { return Ok(false) };
    let right = estimator.estimate(&join.right)?;
    Ok(estimator.group_count(keys, &right) <= SHARE_MAX * right.rows)
}

/// Splits every aggregate into one per key of the right side and one over the joined results.
fn split(plan: LogicalPlan, keys: Vec<ColumnId>, columns: &mut Columns) -> LogicalPlan {
    let LogicalPlan::Aggregate(aggregate) = plan else { return plan };
    let mut input = *aggregate.input;
    while let LogicalPlan::Project { input: below, .. } = input {
        input = *below;
    }
    let LogicalPlan::Join(join) = input else { return LogicalPlan::Aggregate(Aggregate { input: Box::new(input), ..aggregate }) };
    let mut parts = Vec::new();
    let mut totals = Vec::new();
    let mut output: Vec<(ColumnId, Expr)> = aggregate.keys.iter().map(|(id, _)| (*id, Expr::Column(*id))).collect();
    for (id, call) in aggregate.aggregates {
        let name = columns.get(id).name.clone();
        let data_type = columns.get(id).data_type.clone();
        // NULL where the left join pads.
        let part = columns.add(name.clone(), data_type.clone(), true);
        let (function, argument) = match call.function {
            AggregateFunction::Count => (AggregateFunction::Sum, or_else(part, 0)),
            AggregateFunction::CountStar => (AggregateFunction::Sum, or_else(part, 1)),
            same => (same, Expr::Column(part)),
        };
        parts.push((part, call));
        let total = AggregateExpr { function, arguments: vec![argument], distinct: false, filter: None };
        if function == AggregateFunction::Sum {
            // Sums of bigint are numeric; counts of rows that were there before fit.
            let sum = columns.add(name, DataType::Decimal128(38, 0), true);
            totals.push((sum, total));
            output.push((id, Expr::Cast(Box::new(Expr::Column(sum)), data_type)));
        } else {
            totals.push((id, total));
            output.push((id, Expr::Column(id)));
        }
    }
    let keys = keys.into_iter().map(|key| (key, Expr::Column(key))).collect();
    let right = LogicalPlan::Aggregate(Aggregate { input: join.right, keys, aggregates: parts });
    let joined = join.left.joined(JoinKind::Left, right, join.condition);
    LogicalPlan::Aggregate(Aggregate { input: Box::new(joined), keys: aggregate.keys, aggregates: totals }).projected(output)
}

fn or_else(column: ColumnId, default: i64) -> Expr {
    Expr::Function(ScalarFunction::Coalesce, vec![Expr::Column(column), Expr::Literal(Scalar::Int64(default))], DataType::Int64)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{Plans, shape, tpch_sf10},
        *,
    };

    fn split_shape(function: AggregateFunction, key: &str, counted: &str, condition: impl FnOnce(&Plans) -> Vec<Expr>) -> String {
        let mut p = Plans::default();
        let (left, right) = (p.scan("customer", "customer"), p.scan("orders", "orders"));
        let condition = condition(&p);
        let argument = p.column(counted);
        let join = left.joined(JoinKind::Left, right, condition);
        let plan = p.aggregate(join, &[key], "n", function, argument, DataType::Int64);
        let query = AggregateBeforeOuterJoin.apply(p.query(plan), &OptimizerContext { catalogs: &tpch_sf10() }).unwrap();
        assert_eq!(query.columns.get(p.id("n")).data_type, DataType::Int64);
        assert!(query.root.output().contains(&p.id("n")));
        shape(&query.root)
    }

    #[test]
    fn query_13_counts_orders_per_customer_before_joining() {
        let shape = split_shape(AggregateFunction::Count, "c_custkey", "o_orderkey", |p| vec![p.equal("c_custkey", "o_custkey")]);
        assert_eq!(shape, "g[(customer left g[orders])]");
    }

    #[test]
    fn what_cannot_be_split_stays() {
        let whole = "g[(customer left orders)]";
        let on = |p: &Plans| vec![p.equal("c_custkey", "o_custkey")];
        // Averages are no sum of averages.
        assert_eq!(split_shape(AggregateFunction::Average, "c_custkey", "o_totalprice", on), whole);
        // Left columns are not there below the join.
        assert_eq!(split_shape(AggregateFunction::Count, "c_custkey", "c_name", on), whole);
        // Groups by right columns need them above it.
        assert_eq!(split_shape(AggregateFunction::Count, "o_orderdate", "o_orderkey", on), whole);
        // The condition compares more than keys.
        let more = |p: &Plans| {
            vec![p.equal("c_custkey", "o_custkey"), Expr::compare(Comparison::Less, p.column("c_acctbal"), p.column("o_totalprice"))]
        };
        assert_eq!(split_shape(AggregateFunction::Count, "c_custkey", "o_orderkey", more), whole);
        // Keys that are all different do not shrink.
        let unique = |p: &Plans| vec![p.equal("c_custkey", "o_orderkey")];
        assert_eq!(split_shape(AggregateFunction::Count, "c_custkey", "o_custkey", unique), whole);
    }
}
