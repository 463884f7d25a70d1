//! The optimizer: rules over logical plans, one file each, in one visible order.
//!
//! Position: between `sql::binder` and `planner`. Deliberately elsewhere: the choice of algorithms and build
//! sides (`planner::physical`), which asks [`statistics`] the same questions.

mod cost;
pub mod order_joins;
mod rewrite;
pub mod rule;
pub mod statistics;

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
        // Needs the conditions where pushdown has put them.
        Box::new(order_joins::OrderJoins),
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
