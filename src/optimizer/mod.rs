//! The optimizer: rules over logical plans, one file each, in one visible order.
//!
//! Position: between `sql::binder` and `planner`. Deliberately elsewhere: the choice of algorithms and build
//! sides (`planner::physical`), which asks [`statistics`] the same questions.

mod aggregate_before_outer_join;
mod cost;
mod factor_disjunctions;
mod inline_ctes;
mod narrow_decimals;
mod order_joins;
mod prune_columns;
mod push_down_filters;
mod remove_dependent_group_keys;
mod remove_redundant;
pub mod rule;
mod share_subplans;
mod simplify_expressions;
mod split_averages;
pub mod statistics;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tpch_plans;
mod unnest_subqueries;

use crate::{
    catalog::Catalogs,
    error::Result,
    plan::logical::{Expr, LogicalPlan, Query},
    sql::parser::on_large_stack,
};

use rule::Rule;

/// What rules may ask.
pub struct OptimizerContext<'a> {
    /// Tables, for their statistics.
    pub catalogs: &'a Catalogs,
}

/// All rules, in order.
pub fn rules() -> Vec<Box<dyn Rule>> {
    vec![
        // A plan in its place can be rewritten together with what is around it.
        Box::new(inline_ctes::InlineCtes),
        // Constants and simple conjuncts are what the rules below look for.
        Box::new(simplify_expressions::SimplifyExpressions),
        // Every later rule works on joins alone.
        Box::new(unnest_subqueries::UnnestSubqueries),
        // Needs the joins that unnesting has made; gives conjuncts to push.
        Box::new(factor_disjunctions::FactorDisjunctions),
        // Gives cross joins their conditions, before joins are ordered.
        Box::new(push_down_filters::PushDownFilters),
        // Conjuncts that have met in one place are combined; contradictions become empty inputs.
        Box::new(simplify_expressions::SimplifyExpressions),
        // Nothing that computes nothing stands between joins now.
        Box::new(remove_redundant::RemoveRedundant),
        // Equalities stand where they hold.
        Box::new(remove_dependent_group_keys::RemoveDependentGroupKeys),
        // Nothing is moved through aggregations any more.
        Box::new(split_averages::SplitAverages),
        // Before joins are ordered: what it makes smaller is joined elsewhere.
        Box::new(aggregate_before_outer_join::AggregateBeforeOuterJoin),
        // Filters are in place, and all columns are still there.
        Box::new(share_subplans::ShareSubplans),
        // Costs count the columns that are carried along.
        Box::new(prune_columns::PruneColumns),
        // Needs conditions at joins and filters in scans.
        Box::new(order_joins::OrderJoins),
        // Last of the rewrites: by now it is settled which expression is computed where.
        Box::new(prune_columns::PruneColumns),
        // Expressions stay what they are from here on; only their types change.
        Box::new(narrow_decimals::NarrowDecimals),
    ]
}

/// Applies all rules. `observe` is told after every rule that changed the plan.
///
/// # Errors
/// What rules fail with: statistics that cannot be read, constants that cannot be folded.
pub fn optimize(query: Query, context: &OptimizerContext<'_>, observe: &mut dyn FnMut(&'static str, &Query)) -> Result<Query> {
    if depth(&query.root).max(query.ctes.iter().map(|cte| depth(&cte.plan)).max().unwrap_or(0)) <= DEPTH_WITHOUT_CARE {
        return apply_rules(query, context, observe);
    }
    let mut steps = vec![];
    let query = on_large_stack(STACK_BYTES, || apply_rules(query, context, &mut |rule, query| steps.push((rule, query.clone()))))?;
    steps.iter().for_each(|(rule, query)| observe(rule, query));
    Ok(query)
}

/// Stack for plans of the deepest nesting that the binder allows; only what is used of it costs memory.
const STACK_BYTES: usize = 1 << 30;
/// Nodes and operands within each other that the calling thread's own stack is surely good for.
const DEPTH_WITHOUT_CARE: usize = 100;

fn apply_rules(mut query: Query, context: &OptimizerContext<'_>, observe: &mut dyn FnMut(&'static str, &Query)) -> Result<Query> {
    for rule in rules() {
        let before = query.clone();
        query = rule.apply(query, context)?;
        if query != before {
            observe(rule.name(), &query);
        }
    }
    Ok(query)
}

/// How deep nodes and operands of their expressions lie within each other.
fn depth(plan: &LogicalPlan) -> usize {
    let below = plan.inputs().into_iter().map(depth).max().unwrap_or(0);
    let mut in_expressions = 0;
    plan.for_each_expr(|expr| in_expressions = in_expressions.max(depth_of_expression(expr)));
    1 + below.max(in_expressions)
}

fn depth_of_expression(expr: &Expr) -> usize {
    let mut below = match expr {
        Expr::Subquery(subquery) => depth(&subquery.plan),
        _ => 0,
    };
    expr.for_each_child(|child| below = below.max(depth_of_expression(child)));
    1 + below
}
