//! What values expressions have.
//!
//! Position: between [`super::ranges`], which proves bounds, and the nodes that introduce columns.

use std::collections::HashMap;

use operators::{Scalar, expression::ScalarFunction};

use crate::plan::logical::{ColumnId, Columns, Expr, Values};

use super::{ColumnEstimate, Estimate, ranges};

/// What is expected of an expression's values over rows of `input`.
pub(super) fn of_expression(expr: &Expr, input: &Estimate, columns: &Columns) -> ColumnEstimate {
    match expr {
        Expr::Column(id) => input.column(*id),
        Expr::Literal(scalar) => of_literal(scalar),
        // A cast between exact numbers keeps values apart.
        Expr::Cast(operand, data_type) => {
            let inner = of_expression(operand, input, columns);
            let range = ranges::range_of(expr, input, columns).and_then(|range| range.scalars(data_type));
            let (min, max) = range.map_or((None, None), |(min, max)| (Some(min), Some(max)));
            ColumnEstimate { min, max, distribution: None, ..inner }
        }
        _ => of_computation(expr, input, columns),
    }
}

fn of_computation(expr: &Expr, input: &Estimate, columns: &Columns) -> ColumnEstimate {
    let used: Vec<_> = expr.columns().into_iter().map(|id| input.column(id)).collect();
    let mut estimate = ColumnEstimate::unknown(input.rows);
    let combinations: f64 = used.iter().map(|column| column.distinct.max(1.0)).product();
    estimate.distinct = combinations.min(input.rows.max(1.0)).max(1.0);
    estimate.domain = estimate.distinct;
    if !never_null(expr) {
        estimate.null_fraction = 1.0 - used.iter().map(|column| 1.0 - column.null_fraction).product::<f64>();
    }
    if let [only] = used.as_slice() {
        estimate.relation = only.relation;
    }
    if let Some((min, max)) = ranges::range_of(expr, input, columns).and_then(|range| range.scalars(&expr.data_type(columns))) {
        if let Some(span) = ranges::span(&min, &max) {
            estimate.distinct = estimate.distinct.min(span);
            estimate.domain = estimate.domain.min(span);
        }
        (estimate.min, estimate.max) = (Some(min), Some(max));
    }
    if let Expr::Case { branches, otherwise, .. } = expr {
        let values: Vec<_> = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref()).collect();
        let total: f64 = values.iter().map(|value| of_expression(value, input, columns).distinct).sum();
        estimate.distinct = estimate.distinct.min(total.max(1.0));
        estimate.domain = estimate.domain.min(total.max(1.0));
    }
    if matches!(expr.data_type(columns), arrow::datatypes::DataType::Boolean) {
        estimate.distinct = estimate.distinct.min(2.0);
        estimate.domain = estimate.domain.min(2.0);
    }
    estimate
}

fn never_null(expr: &Expr) -> bool {
    matches!(expr, Expr::IsNull(_) | Expr::Function(ScalarFunction::ConcatSkippingNulls, ..))
        || matches!(expr, Expr::Function(ScalarFunction::Coalesce, arguments, _)
            if arguments.iter().any(|argument| matches!(argument, Expr::Literal(scalar) if !scalar.is_null())))
}

fn of_literal(scalar: &Scalar) -> ColumnEstimate {
    let bound = (!scalar.is_null()).then(|| scalar.clone());
    ColumnEstimate {
        min: bound.clone(),
        max: bound,
        distinct: 1.0,
        domain: 1.0,
        null_fraction: f64::from(u8::from(scalar.is_null())),
        ..ColumnEstimate::unknown(1.0)
    }
}

/// What constant rows hold, exactly.
pub(super) fn of_values(values: &Values) -> Estimate {
    let columns: HashMap<ColumnId, ColumnEstimate> =
        values.columns.iter().enumerate().map(|(position, id)| (*id, of_constants(values, position))).collect();
    Estimate { rows: values.rows.len() as f64, columns }
}

fn of_constants(values: &Values, position: usize) -> ColumnEstimate {
    let mut distinct: Vec<&Scalar> = Vec::new();
    let mut nulls = 0;
    let (mut min, mut max): (Option<&Scalar>, Option<&Scalar>) = (None, None);
    let mut comparable = true;
    for scalar in values.rows.iter().filter_map(|row| row.get(position)) {
        if scalar.is_null() {
            nulls += 1;
            continue;
        }
        // Beyond that a count of distinct values costs more than it is worth.
        if distinct.len() < 64 && !distinct.contains(&scalar) {
            distinct.push(scalar);
        }
        comparable &= ranges::compare(scalar, scalar).is_some();
        if min.is_none_or(|min| ranges::compare(scalar, min).is_some_and(|order| order.is_lt())) {
            min = Some(scalar);
        }
        if max.is_none_or(|max| ranges::compare(scalar, max).is_some_and(|order| order.is_gt())) {
            max = Some(scalar);
        }
    }
    let rows = values.rows.len() as f64;
    let count = if distinct.len() < 64 { distinct.len() as f64 } else { rows };
    ColumnEstimate {
        min: min.filter(|_| comparable).cloned(),
        max: max.filter(|_| comparable).cloned(),
        distinct: count.max(1.0),
        domain: count.max(1.0),
        null_fraction: if rows > 0.0 { f64::from(nulls) / rows } else { 0.0 },
        is_unique: nulls == 0 && count == rows,
        ..ColumnEstimate::unknown(rows)
    }
}
