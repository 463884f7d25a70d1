//! Decides which scans a join's build side filters while they run.
//!
//! Position: called by [`super::physical`] for every hash join as it is made. The filter of a key travels from
//! the join down its probe side as long as dropping rows there changes nothing above: every join kind that
//! makes filters ignores probe rows without a match, NULL keys included.
//!
//! No cycle can arise: filters flow from the build side to the probe side of one join, and builds run before probes.

use operators::{Expression, hash_join::JoinKind};

use crate::plan::physical::{PhysicalOperator, PhysicalPlan, RuntimeFilterId};

/// Whether probe rows without a match have no influence on what the join gives.
pub fn drops_unmatched_probe_rows(kind: JoinKind) -> bool {
    use JoinKind::*;
    matches!(kind, Inner | BuildOuter | ProbeSemi | BuildSemi | BuildAnti)
}

/// Attaches filter `id` on output column `column` of `plan` to every scan below that can use it; answers
/// whether there is one.
pub fn attach(plan: &mut PhysicalPlan, column: usize, id: RuntimeFilterId) -> bool {
    match &mut plan.operator {
        PhysicalOperator::TableScan { runtime_filters, .. } => {
            runtime_filters.push((id, column));
            true
        }
        PhysicalOperator::Filter { input, .. } | PhysicalOperator::Sort { input, limit: None, offset: 0, .. } => attach(input, column, id),
        PhysicalOperator::Project { input, expressions } => through_expression(input, &expressions[column], id),
        PhysicalOperator::HashAggregate { input, keys, .. } => match keys.get(column) {
            Some(key) => through_expression(input, key, id),
            None => false,
        },
        PhysicalOperator::UnionAll { inputs } => inputs.iter_mut().fold(false, |any, input| attach(input, column, id) | any),
        PhysicalOperator::With { input, .. } => attach(input, column, id),
        PhysicalOperator::HashJoin(join) => {
            let from_probe = column < join.probe_output.len();
            let (probe_column, build_column) = if from_probe {
                (Some(join.probe_output[column]), None)
            } else {
                (None, join.build_output.get(column - join.probe_output.len()).copied())
            };
            // A filtered-out match would turn the error of a second match into a row.
            if !from_probe && join.kind == JoinKind::ProbeSingle {
                return false;
            }
            let mut attached = false;
            // Inner joins equate their keys: a filter on one side's key holds for the other's.
            let equated = join.kind == JoinKind::Inner;
            for key in join.keys.iter().filter(|_| equated) {
                match (&key.probe, &key.build) {
                    (Expression::Column { index: p, .. }, Expression::Column { index: b, .. }) if Some(*p) == probe_column => {
                        attached |= attach(&mut join.build, *b, id);
                    }
                    (Expression::Column { index: p, .. }, Expression::Column { index: b, .. }) if Some(*b) == build_column => {
                        attached |= attach(&mut join.probe, *p, id);
                    }
                    _ => {}
                }
            }
            if let Some(column) = probe_column {
                attached |= attach(&mut join.probe, column, id);
            }
            if let Some(column) = build_column {
                attached |= attach(&mut join.build, column, id);
            }
            attached
        }
        PhysicalOperator::NestedLoopJoin(join) if column < join.probe_output.len() => {
            let column = join.probe_output[column];
            attach(&mut join.probe, column, id)
        }
        _ => false,
    }
}

fn through_expression(input: &mut PhysicalPlan, expression: &Expression, id: RuntimeFilterId) -> bool {
    match expression {
        Expression::Column { index, .. } => attach(input, *index, id),
        _ => false,
    }
}
