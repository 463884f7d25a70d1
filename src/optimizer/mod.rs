//! The optimizer: rules over logical plans, one file each, in one visible order.
//!
//! Position: between `sql::binder` and `planner`. Deliberately elsewhere: the choice of algorithms and build
//! sides (`planner::physical`), which asks [`statistics`] the same questions.

mod prune_columns;
mod push_down_filters;
pub mod rule;
pub mod statistics;
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
        // Every later rule works on joins alone.
        Box::new(unnest_subqueries::UnnestSubqueries),
        // Gives cross joins their conditions, before joins are ordered.
        Box::new(push_down_filters::PushDownFilters),
        // Last of the rewrites: by now it is settled which expression is computed where.
        Box::new(prune_columns::PruneColumns),
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
