//! Group keys that other keys determine need not be compared: they become `first(…)`.
//!
//! Only what the plan itself proves counts: columns that an inner join or a filter equates, constants, results of
//! expressions over other keys, and the columns of a subplan whose proven key is among the keys. Statistics prove
//! nothing here; what they suggest about tables is for the aggregation itself to verify.
//!
//! Position: after filters are pushed down and equalities stand where they hold.

use std::collections::BTreeSet;

use operators::{aggregate::AggregateFunction, expression::Comparison};

use super::{OptimizerContext, rule::Rule};
use crate::{error::Result, plan::logical::*};

/// The rule.
pub struct RemoveDependentGroupKeys;

impl Rule for RemoveDependentGroupKeys {
    fn name(&self) -> &'static str {
        "remove_dependent_group_keys"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        let columns = &mut query.columns;
        for cte in &mut query.ctes {
            cte.plan = std::mem::take(&mut cte.plan).transform(&mut |node| Ok(remove_node(node, columns)))?;
        }
        query.root = query.root.transform(&mut |node| Ok(remove_node(node, columns)))?;
        Ok(query)
    }
}

fn remove_node(plan: LogicalPlan, columns: &mut Columns) -> LogicalPlan {
    let LogicalPlan::Aggregate(mut aggregate) = plan else { return plan };
    let mut renamed: Vec<(ColumnId, Expr)> = vec![];
    let mut index = aggregate.keys.len();
    // From the back: the first keys of a GROUP BY are usually the ones that determine the rest.
    while index > 0 && aggregate.keys.len() > 1 {
        index -= 1;
        let mut known: BTreeSet<ColumnId> =
            aggregate.keys.iter().enumerate().filter(|(i, _)| *i != index).filter_map(|(_, (_, expr))| expr.as_column()).collect();
        let (id, expr) = &aggregate.keys[index];
        if known.is_empty() || expr.can_fail() || expr.is_constant() {
            continue;
        }
        while determine(&aggregate.input, &mut known) {}
        if expr.columns().is_subset(&known) {
            let id = *id;
            let (_, expr) = aggregate.keys.remove(index);
            let first = columns.duplicate(id);
            let call = AggregateExpr { function: AggregateFunction::First, arguments: vec![expr], distinct: false, filter: None };
            aggregate.aggregates.push((first, call));
            renamed.push((id, Expr::Column(first)));
        }
    }
    LogicalPlan::Aggregate(aggregate).extended(renamed)
}

/// Adds columns that are the same in any two rows of `plan` that agree in `known`. Whether any was added.
fn determine(plan: &LogicalPlan, known: &mut BTreeSet<ColumnId>) -> bool {
    let before = known.len();
    if plan.unique_keys().iter().any(|key| key.is_subset(known)) {
        known.extend(plan.output());
    }
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            predicate.iter().for_each(|conjunct| determine_by(conjunct, known));
            determine(input, known);
        }
        LogicalPlan::Sort { input, .. } | LogicalPlan::Limit { input, .. } => {
            determine(input, known);
        }
        LogicalPlan::Project { input, expressions } => {
            determine(input, known);
            known.extend(expressions.iter().filter(|(_, expr)| expr.columns().is_subset(known)).map(|(id, _)| *id).collect::<Vec<_>>());
        }
        LogicalPlan::Join(join) => {
            // In padded rows, equalities and keys of the padded side do not hold.
            match join.kind {
                JoinKind::Inner => {
                    join.condition.iter().for_each(|conjunct| determine_by(conjunct, known));
                    determine(&join.left, known);
                    determine(&join.right, known);
                }
                JoinKind::Left | JoinKind::Semi | JoinKind::Anti | JoinKind::Mark(_) | JoinKind::Single => {
                    determine(&join.left, known);
                }
                JoinKind::Right | JoinKind::Full => {}
            }
        }
        _ => {}
    }
    known.len() > before
}

fn determine_by(conjunct: &Expr, known: &mut BTreeSet<ColumnId>) {
    let Expr::Compare(Comparison::Equal, left, right) = conjunct else { return };
    match (left.as_column(), right.as_column()) {
        (Some(left), Some(right)) if known.contains(&left) || known.contains(&right) => known.extend([left, right]),
        (Some(column), None) if right.is_constant() => {
            known.insert(column);
        }
        _ => {}
    }
}
