//! Orders joins: finds the cheapest tree for every region of inner joins, with the semi, anti, mark and left joins that
//! hang on it.
//!
//! Position: after unnesting and pushdown, before columns are pruned for good. The right side of an inner join that comes
//! out is the build side. Deliberately elsewhere: how many rows joins give ([`super::statistics`]), what they cost
//! ([`super::cost`]), which algorithm runs them (`planner::physical`).
//!
//! | file | what it does |
//! |---|---|
//! | [`region`] | takes a plan apart into relations and conditions, and puts it together again |
//! | [`hypergraph`] | which sets can be joined |
//! | [`search`] | the cheapest tree |
//! | [`model`] | what joining two sets costs |

mod hypergraph;
mod model;
mod region;
mod search;

use crate::{
    error::Result,
    plan::logical::{LogicalPlan, Query},
};

use super::{OptimizerContext, rule::Rule, statistics::Estimator};

use region::Region;

/// The rule.
pub struct OrderJoins;

impl Rule for OrderJoins {
    fn name(&self) -> &'static str {
        "order_joins"
    }

    fn apply(&self, mut query: Query, context: &OptimizerContext<'_>) -> Result<Query> {
        let mut estimator = Estimator::new(context.catalogs, &query);
        for cte in &mut query.ctes {
            cte.plan = order(std::mem::take(&mut cte.plan), &mut estimator)?;
        }
        query.root = order(query.root, &mut estimator)?;
        Ok(query)
    }
}

/// Orders all regions of a plan.
fn order(plan: LogicalPlan, estimator: &mut Estimator<'_>) -> Result<LogicalPlan> {
    if !region::is_region(&plan) {
        return plan.map_inputs(&mut |input| order(input, estimator));
    }
    let mut region = Region::take_apart(plan);
    for part in region.parts_mut() {
        *part = order(std::mem::take(part), estimator)?;
    }
    let model = model::RegionModel::new(&region, estimator)?;
    let solutions = search::search(model.hypergraph(), &model.leaf_rows(), &model);
    let tree = solutions.map(|solutions| model.tree(&solutions));
    Ok(match tree {
        Some(tree) => {
            // The tree brings the equalities of classes with it.
            region.conjuncts.retain(|conjunct| !model.is_implied(conjunct, estimator.columns()));
            region.build(&tree, estimator.columns())
        }
        // Only conditions that contradict each other's order leave nothing to be found.
        None => region.in_written_order(estimator.columns()),
    })
}

#[cfg(test)]
mod tests;
