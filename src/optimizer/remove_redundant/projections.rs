//! Projections: none that computes nothing, one instead of two.

use std::collections::{BTreeMap, HashMap};

use crate::plan::logical::*;

/// A projection of `input` on `expressions`, or less.
pub(super) fn merge(input: LogicalPlan, expressions: Vec<(ColumnId, Expr)>) -> LogicalPlan {
    if expressions.iter().all(|(id, expr)| expr.as_column() == Some(*id)) {
        return input;
    }
    match input {
        LogicalPlan::Project { input: below, expressions: inner } if can_merge(&inner, &expressions) => {
            let substitution: HashMap<ColumnId, Expr> = inner.into_iter().collect();
            let expressions = expressions.into_iter().map(|(id, expr)| (id, expr.substituted(&substitution))).collect();
            merge(*below, expressions)
        }
        LogicalPlan::Values(values) if is_renaming(&expressions) => rename_values(values, &expressions),
        input => input.projected(expressions),
    }
}

/// Nothing may be computed twice that was computed once.
fn can_merge(inner: &[(ColumnId, Expr)], outer: &[(ColumnId, Expr)]) -> bool {
    let mut uses: BTreeMap<ColumnId, usize> = BTreeMap::new();
    outer.iter().for_each(|(_, expr)| count_uses(expr, &mut uses));
    inner.iter().all(|(id, expr)| matches!(expr, Expr::Column(_) | Expr::Literal(_)) || uses.get(id).copied().unwrap_or(0) <= 1)
}

fn count_uses(expr: &Expr, uses: &mut BTreeMap<ColumnId, usize>) {
    if let Expr::Column(id) = expr {
        *uses.entry(*id).or_default() += 1;
    }
    expr.for_each_child(|child| count_uses(child, uses));
}

fn is_renaming(expressions: &[(ColumnId, Expr)]) -> bool {
    expressions.iter().all(|(_, expr)| matches!(expr, Expr::Column(_) | Expr::Literal(_)))
}

fn rename_values(values: Values, expressions: &[(ColumnId, Expr)]) -> LogicalPlan {
    let place: HashMap<ColumnId, usize> = values.columns.iter().enumerate().map(|(index, id)| (*id, index)).collect();
    let value = |row: &[operators::Scalar], expr: &Expr| match expr {
        Expr::Column(id) => place.get(id).map(|index| row[*index].clone()),
        Expr::Literal(value) => Some(value.clone()),
        _ => None,
    };
    let rows: Option<Vec<Vec<_>>> = values.rows.iter().map(|row| expressions.iter().map(|(_, expr)| value(row, expr)).collect()).collect();
    match rows {
        Some(rows) => LogicalPlan::Values(Values { columns: expressions.iter().map(|(id, _)| *id).collect(), rows }),
        None => LogicalPlan::Values(values).projected(expressions.to_vec()),
    }
}
