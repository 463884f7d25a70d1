//! Inputs without rows.

use operators::{Scalar, set_operation::SetOperator};

use crate::plan::logical::*;

/// What `plan` is if one of its inputs is known to have no row.
pub(super) fn propagate(plan: LogicalPlan, columns: &Columns) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { .. } | LogicalPlan::Project { .. } | LogicalPlan::Sort { .. } | LogicalPlan::Limit { .. }
            if plan.inputs()[0].is_empty() =>
        {
            plan.emptied()
        }
        LogicalPlan::Aggregate(Aggregate { ref input, ref keys, .. }) if input.is_empty() && !keys.is_empty() => plan.emptied(),
        LogicalPlan::UnionAll { inputs, output } => union(inputs, output),
        LogicalPlan::SetOperation { operator, left, right, output } => set_operation(operator, left, right, output),
        LogicalPlan::Join(join) => propagate_join(join, columns),
        other => other,
    }
}

fn union(inputs: Vec<LogicalPlan>, output: Vec<(ColumnId, Vec<ColumnId>)>) -> LogicalPlan {
    let keep: Vec<bool> = inputs.iter().map(|input| !input.is_empty()).collect();
    if !keep.contains(&true) {
        return LogicalPlan::UnionAll { inputs, output }.emptied();
    }
    let kept = |sources: Vec<ColumnId>| sources.into_iter().zip(&keep).filter(|(_, keep)| **keep).map(|(source, _)| source).collect();
    let output = output.into_iter().map(|(id, sources)| (id, kept(sources))).collect();
    LogicalPlan::UnionAll { inputs: inputs.into_iter().filter(|input| !input.is_empty()).collect(), output }
}

fn set_operation(
    operator: SetOperator,
    left: Box<LogicalPlan>,
    right: Box<LogicalPlan>,
    output: Vec<(ColumnId, ColumnId, ColumnId)>,
) -> LogicalPlan {
    let intersects = matches!(operator, SetOperator::Intersect | SetOperator::IntersectAll);
    let all_left = right.is_empty() && operator == SetOperator::ExceptAll;
    if left.is_empty() || (intersects && right.is_empty()) {
        return LogicalPlan::SetOperation { operator, left, right, output }.emptied();
    }
    if all_left {
        return left.projected(output.into_iter().map(|(id, source, _)| (id, Expr::Column(source))).collect());
    }
    LogicalPlan::SetOperation { operator, left, right, output }
}

fn propagate_join(join: Join, columns: &Columns) -> LogicalPlan {
    let never_matches = join.condition.iter().any(|conjunct| matches!(conjunct, Expr::Literal(Scalar::Boolean(false))));
    let (left_empty, right_empty) = (join.left.is_empty(), join.right.is_empty());
    let nulls = |plan: &LogicalPlan| -> Vec<(ColumnId, Expr)> {
        let null = |id| Expr::Literal(Scalar::Null(columns.get(id).data_type.clone()));
        plan.output().into_iter().map(|id| (id, null(id))).collect()
    };
    match join.kind {
        JoinKind::Inner | JoinKind::Semi if left_empty || right_empty || never_matches => LogicalPlan::Join(join).emptied(),
        JoinKind::Left | JoinKind::Single | JoinKind::Anti | JoinKind::Mark(_) if left_empty => LogicalPlan::Join(join).emptied(),
        JoinKind::Left | JoinKind::Single if right_empty || never_matches => join.left.extended(nulls(&join.right)),
        JoinKind::Anti if right_empty || never_matches => *join.left,
        JoinKind::Mark(mark) if right_empty => join.left.extended(vec![(mark, Expr::boolean(false))]),
        JoinKind::Right if right_empty => LogicalPlan::Join(join).emptied(),
        JoinKind::Right if left_empty || never_matches => join.right.extended(nulls(&join.left)),
        JoinKind::Full if left_empty && right_empty => LogicalPlan::Join(join).emptied(),
        JoinKind::Full if left_empty => join.right.extended(nulls(&join.left)),
        JoinKind::Full if right_empty => join.left.extended(nulls(&join.right)),
        _ => LogicalPlan::Join(join),
    }
}
