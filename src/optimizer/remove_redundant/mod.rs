//! Removes nodes that change nothing: projections that only pass columns on or can be merged, orders that nobody
//! sees, DISTINCT of what is unique, limits above limits, and everything above an input without rows.
//!
//! Position: after filters have been pushed down (which finds contradictions and makes inputs adjacent), and
//! before joins are ordered, so that nothing stands between joins.
//!
//! A projection that only passes columns on is removed although it hides some of its input's: columns are found
//! by their id, and what is not needed is pruned where it is made.

mod empty;
mod limits;
mod orders;
mod projections;

use std::collections::BTreeSet;

use super::{OptimizerContext, rule::Rule};
use crate::{
    error::Result,
    plan::{logical::*, rewrite::add_new},
};

/// The rule.
pub struct RemoveRedundant;

impl Rule for RemoveRedundant {
    fn name(&self) -> &'static str {
        "remove_redundant"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        let columns = query.columns.clone();
        let remove = |plan: LogicalPlan, order_matters: bool| {
            let plan = orders::remove_unseen(plan, order_matters);
            plan.transform(&mut |node| Ok(remove_node(node, &columns)))
        };
        for cte in &mut query.ctes {
            cte.plan = remove(std::mem::take(&mut cte.plan), false)?;
        }
        query.root = remove(query.root, true)?;
        Ok(query)
    }
}

/// One node whose inputs are done.
fn remove_node(plan: LogicalPlan, columns: &Columns) -> LogicalPlan {
    let plan = empty::propagate(plan, columns);
    let plan = match plan {
        LogicalPlan::Filter { input, predicate } => merge_filters(*input, predicate),
        LogicalPlan::Project { input, expressions } => projections::merge(*input, expressions),
        LogicalPlan::Aggregate(aggregate) => distinct_of_unique(aggregate),
        LogicalPlan::Limit { input, limit, offset } => limits::push_down(*input, limit, offset),
        LogicalPlan::Sort { input, .. } if input.has_at_most_one_row() => *input,
        LogicalPlan::UnionAll { inputs, output } => flatten_union(inputs, output),
        LogicalPlan::Join(join) => join_with_constants(join),
        other => other,
    };
    // What became of it may have no row either.
    empty::propagate(plan, columns)
}

fn merge_filters(input: LogicalPlan, predicate: Vec<Expr>) -> LogicalPlan {
    if predicate.iter().any(Expr::is_never_true) {
        return input.emptied();
    }
    let mut predicate: Vec<Expr> = predicate.into_iter().filter(|conjunct| !conjunct.is_true()).collect();
    match input {
        LogicalPlan::Filter { input, predicate: mut below } => {
            predicate.drain(..).for_each(|conjunct| add_new(&mut below, conjunct));
            input.filtered(below)
        }
        input => input.filtered(predicate),
    }
}

/// Groups without aggregates are DISTINCT.
fn distinct_of_unique(aggregate: Aggregate) -> LogicalPlan {
    let key_columns: BTreeSet<ColumnId> = aggregate.keys.iter().filter_map(|(_, expr)| expr.as_column()).collect();
    if aggregate.aggregates.is_empty() && !aggregate.keys.is_empty() && aggregate.input.is_unique_in(&key_columns) {
        return projections::merge(*aggregate.input, aggregate.keys);
    }
    LogicalPlan::Aggregate(aggregate)
}

/// Unions in a union become one; a union of one input is a renaming.
fn flatten_union(inputs: Vec<LogicalPlan>, output: Vec<(ColumnId, Vec<ColumnId>)>) -> LogicalPlan {
    let mut flat = vec![];
    let mut sources: Vec<Vec<ColumnId>> = vec![vec![]; output.len()];
    for (index, input) in inputs.into_iter().enumerate() {
        match input {
            LogicalPlan::UnionAll { inputs: nested, output: nested_output }
                if output.iter().all(|(_, from)| nested_output.iter().any(|(id, _)| *id == from[index])) =>
            {
                for ((_, from), sources) in output.iter().zip(&mut sources) {
                    let nested_sources = nested_output.iter().find(|(id, _)| *id == from[index]).map(|(_, nested)| nested.clone());
                    sources.extend(nested_sources.into_iter().flatten());
                }
                flat.extend(nested);
            }
            input => {
                output.iter().zip(&mut sources).for_each(|((_, from), sources)| sources.push(from[index]));
                flat.push(input);
            }
        }
    }
    let output: Vec<(ColumnId, Vec<ColumnId>)> = output.into_iter().map(|(id, _)| id).zip(sources).collect();
    if flat.len() == 1 {
        let renamed = output.into_iter().map(|(id, from)| (id, Expr::Column(from[0]))).collect();
        return projections::merge(flat.remove(0), renamed);
    }
    LogicalPlan::UnionAll { inputs: flat, output }
}

/// An inner join with one constant row adds constants to the other side.
fn join_with_constants(join: Join) -> LogicalPlan {
    if join.kind != JoinKind::Inner {
        return LogicalPlan::Join(join);
    }
    match (*join.left, *join.right) {
        (LogicalPlan::Values(mut values), other) | (other, LogicalPlan::Values(mut values)) if values.rows.len() == 1 => {
            let constants = values.columns.into_iter().zip(values.rows.remove(0).into_iter().map(Expr::Literal)).collect();
            other.extended(constants).filtered(join.condition)
        }
        (left, right) => left.joined(JoinKind::Inner, right, join.condition),
    }
}
