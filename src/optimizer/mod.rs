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
mod testing;
#[cfg(test)]
mod tpch_plans;
mod unnest_subqueries;

use crate::{catalog::Catalogs, error::Result, plan::logical::Query};

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
pub fn optimize(mut query: Query, context: &OptimizerContext<'_>, observe: &mut dyn FnMut(&'static str, &Query)) -> Result<Query> {
    for rule in rules() {
        let before = query.clone();
        query = rule.apply(query, context)?;
        if query != before {
            observe(rule.name(), &query);
        }
    }
    Ok(query)
}
