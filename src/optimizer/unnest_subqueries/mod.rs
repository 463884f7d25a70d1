//! Turns subqueries and dependent joins into joins, in general: no pattern of SQL is needed for it.
//!
//! Position: early, on the bound plan: no later rule knows what a subquery is. After Neumann and Kemper,
//! "Unnesting Arbitrary Queries" (BTW 2015), and Neumann, "Improving Unnesting of Complex Queries" (BTW 2025).
//!
//! ```text
//!  Filter x = (subquery)            Filter x = s                  Filter x = s
//!    L                        →       Apply Left               →    Join Left on L.k = R'.k
//!                                       L                             L
//!                                       R(L.k)                        R'     R for every k at once
//! ```
//! Inputs and inner subqueries come first, so that an `Apply` never stands below the one being eliminated:
//!
//! 1. [`subqueries`]: an expression's subquery becomes an `Apply` over the node's input. Conjuncts of filters
//!    become semi and anti joins; elsewhere EXISTS and ANY become a mark, a scalar becomes a column.
//! 2. [`applies`]: an `Apply` becomes a join. Predicates that use outer columns move up into its condition;
//!    where that is not enough,
//! 3. [`dependent`] computes the right side for all values of the outer columns at once, finding these values in
//!    the right side itself where an equality says so, and else joining it with their domain.

mod applies;
mod dependent;
mod first_rows;
mod subqueries;

use std::collections::BTreeSet;

use super::{OptimizerContext, rule::Rule};
use crate::{
    error::Result,
    plan::logical::{ColumnId, Columns, Join, LogicalPlan, Query},
};

/// The rule.
pub struct UnnestSubqueries;

impl Rule for UnnestSubqueries {
    fn name(&self) -> &'static str {
        "unnest_subqueries"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        let mut unnesting = Unnesting { columns: &mut query.columns };
        for cte in &mut query.ctes {
            cte.plan = unnesting.unnest(std::mem::take(&mut cte.plan))?;
        }
        query.root = unnesting.unnest(query.root)?;
        Ok(query)
    }
}

/// The rewrite in progress: what gives new columns.
struct Unnesting<'a> {
    columns: &'a mut Columns,
}

impl Unnesting<'_> {
    /// `plan` without subqueries and dependent joins. Columns of outer queries stay what they are.
    fn unnest(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = plan.map_inputs(&mut |input| self.unnest(input))?;
        match plan {
            LogicalPlan::Apply(join) => self.eliminate(join),
            LogicalPlan::Filter { input, predicate } => self.unnest_filter(*input, predicate),
            LogicalPlan::Join(join) => self.unnest_join(join),
            other => self.unnest_expressions(other),
        }
    }
}

/// The columns of `join`'s left side that its right side uses.
fn outer_columns(join: &Join) -> BTreeSet<ColumnId> {
    let left = join.left.output_set();
    join.right.free_columns().intersection(&left).copied().collect()
}
