//! Orders that nobody sees: below joins, aggregations, unions and other orders.

use operators::aggregate::AggregateFunction;

use crate::plan::logical::*;

/// `plan` without the orders that neither its reader (unless `order_matters`) nor a node of it depends on.
pub(super) fn remove_unseen(mut plan: LogicalPlan, order_matters: bool) -> LogicalPlan {
    if let LogicalPlan::Sort { input, mut keys } = plan {
        if !order_matters {
            return remove_unseen(*input, false);
        }
        let input = remove_unseen(*input, false);
        let mut distinct: Vec<SortKey> = vec![];
        keys.retain(|key| !key.expr.is_constant());
        for key in keys {
            if !distinct.iter().any(|known| known.expr == key.expr) {
                distinct.push(key);
            }
        }
        return match distinct.is_empty() {
            true => input,
            false => LogicalPlan::Sort { input: Box::new(input), keys: distinct },
        };
    }
    let matters_below = match &plan {
        LogicalPlan::Filter { .. } | LogicalPlan::Project { .. } => order_matters,
        // Which rows are the first ones.
        LogicalPlan::Limit { .. } => true,
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.aggregates.iter().any(|(_, call)| matches!(call.function, AggregateFunction::StringAgg | AggregateFunction::First))
        }
        _ => false,
    };
    for input in plan.inputs_mut() {
        *input = remove_unseen(std::mem::take(input), matters_below);
    }
    plan
}
