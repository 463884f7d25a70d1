//! What aggregations, unions and set operations give.

use operators::{Scalar, aggregate::AggregateFunction, set_operation::SetOperator};

use crate::plan::logical::{Aggregate, AggregateExpr, ColumnId, Columns};

use super::{ColumnEstimate, Estimate, Normal, expected_distinct, expressions, ranges};

/// Groups of an aggregation.
pub(super) fn of_aggregate(aggregate: &Aggregate, input: &Estimate, columns: &Columns) -> Estimate {
    let keys: Vec<_> = aggregate.keys.iter().map(|(id, expr)| (*id, expressions::of_expression(expr, input, columns))).collect();
    let rows = if keys.is_empty() { 1.0 } else { count(&keys.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>(), input.rows) };
    let only_key = keys.len() == 1;
    let mut estimate = Estimate { rows, columns: Default::default() };
    for (id, key) in keys {
        let distinct = key.distinct.min(rows.max(1.0));
        estimate.columns.insert(id, ColumnEstimate { distinct, is_unique: only_key || key.is_unique, ..key });
    }
    for (id, call) in &aggregate.aggregates {
        estimate.columns.insert(*id, of_call(call, input, rows, columns));
    }
    estimate
}

/// How many groups columns make of `rows` rows. Columns of one table make no more groups than it has rows.
pub(super) fn count(keys: &[ColumnEstimate], rows: f64) -> f64 {
    let mut combinations = 1.0_f64;
    let mut done: Vec<ColumnId> = Vec::new();
    for key in keys {
        let with_null = |key: &ColumnEstimate| key.distinct.max(1.0) + f64::from(u8::from(key.null_fraction > 0.0));
        match key.relation {
            Some(relation) if done.contains(&relation.id) => {}
            Some(relation) => {
                done.push(relation.id);
                let of_relation = keys.iter().filter(|other| other.relation.is_some_and(|r| r.id == relation.id));
                let product: f64 = of_relation.clone().map(with_null).product();
                // A unique column determines the others of its table.
                let unique = of_relation.filter(|other| is_key(other)).map(with_null).fold(f64::INFINITY, f64::min);
                combinations *= product.min(relation.rows.max(1.0)).min(unique);
            }
            None => combinations *= with_null(key),
        }
    }
    let of_one_relation = keys.iter().all(|key| key.relation.is_some()) && done.len() == 1;
    if of_one_relation || keys.len() == 1 {
        return combinations.min(rows).max(rows.min(1.0));
    }
    // Not every combination of independent values occurs among few rows.
    expected_distinct_of_draws(combinations, rows)
}

/// Whether the column had as many values as its table had rows: believed to be its key, even where joins have repeated it.
fn is_key(column: &ColumnEstimate) -> bool {
    column.is_unique || column.relation.is_some_and(|relation| column.domain >= 0.95 * relation.rows)
}

fn expected_distinct_of_draws(combinations: f64, rows: f64) -> f64 {
    if rows <= 0.0 {
        return 0.0;
    }
    if combinations >= rows * 64.0 {
        return rows;
    }
    (combinations * -(-rows / combinations).exp_m1()).clamp(1.0_f64.min(rows), rows).min(combinations).max(1.0)
}

fn of_call(call: &AggregateExpr, input: &Estimate, groups: f64, columns: &Columns) -> ColumnEstimate {
    let rows_per_group = (input.rows / groups.max(1.0)).max(1.0);
    let argument = call.arguments.first().map(|argument| expressions::of_expression(argument, input, columns));
    let unknown = ColumnEstimate { distinct: groups.max(1.0), domain: groups.max(1.0), ..ColumnEstimate::unknown(groups) };
    match (call.function, argument) {
        (AggregateFunction::CountStar | AggregateFunction::Count, _) => {
            let spread = rows_per_group.sqrt();
            let distinct = (6.0 * spread).clamp(1.0, groups.max(1.0));
            let distribution = (!call.distinct).then_some(Normal { mean: rows_per_group, deviation: spread });
            ColumnEstimate { min: Some(Scalar::Int64(0)), distinct, domain: distinct, distribution, ..unknown }
        }
        (AggregateFunction::Sum, Some(argument)) if !call.distinct => {
            ColumnEstimate { distribution: of_sum(&argument, rows_per_group), ..unknown }
        }
        (AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::First, Some(argument)) => {
            let distinct = argument.distinct.min(groups.max(1.0));
            ColumnEstimate { distinct, is_unique: false, is_clustered: false, distribution: None, ..argument }
        }
        (AggregateFunction::Average, Some(argument)) => {
            let data_type = call.arguments[0].data_type(columns);
            let average = operators::types::decimal(38, operators::types::QUOTIENT_SCALE);
            let bounds = match (argument.min, argument.max) {
                (Some(min), Some(max)) => ranges::Range::between(&min, &max).and_then(|range| range.scalars(&average)),
                _ => None,
            };
            match bounds {
                Some((min, max)) if !data_type.is_floating() => ColumnEstimate { min: Some(min), max: Some(max), ..unknown },
                _ => unknown,
            }
        }
        _ => unknown,
    }
}

/// A sum of about `count` values that are evenly spread between the bounds; the number of values varies like that of random draws.
fn of_sum(argument: &ColumnEstimate, count: f64) -> Option<Normal> {
    let min = ranges::position(argument.min.as_ref()?)?;
    let max = ranges::position(argument.max.as_ref()?)?;
    let mean = (min + max) / 2.0;
    let variance = (max - min).powi(2) / 12.0;
    let deviation = (count * variance + count * mean * mean).sqrt();
    (deviation > 0.0).then_some(Normal { mean: count * mean, deviation })
}

/// All rows of all inputs.
pub(super) fn of_union(inputs: &[Estimate], output: &[(ColumnId, Vec<ColumnId>)]) -> Estimate {
    let rows: f64 = inputs.iter().map(|input| input.rows).sum();
    let columns = output.iter().map(|(id, sources)| {
        let parts: Vec<_> = inputs.iter().zip(sources).map(|(input, source)| (input.rows, input.column(*source))).collect();
        (*id, of_parts(&parts, rows))
    });
    Estimate { rows, columns: columns.collect() }
}

fn of_parts(parts: &[(f64, ColumnEstimate)], rows: f64) -> ColumnEstimate {
    let distinct: f64 = parts.iter().map(|(_, part)| part.distinct).sum::<f64>().min(rows.max(1.0));
    let nulls: f64 = parts.iter().map(|(rows, part)| rows * part.null_fraction).sum();
    let bound = |of: fn(&ColumnEstimate) -> Option<&Scalar>, keep_other: fn(std::cmp::Ordering) -> bool| -> Option<Scalar> {
        let mut bounds = parts.iter().map(|(_, part)| of(part).cloned());
        let first = bounds.next()??;
        bounds.try_fold(first, |best, next| {
            let next = next?;
            Some(if keep_other(ranges::compare(&next, &best)?) { next } else { best })
        })
    };
    ColumnEstimate {
        min: bound(|part| part.min.as_ref(), |order| order.is_lt()),
        max: bound(|part| part.max.as_ref(), |order| order.is_gt()),
        distinct,
        domain: distinct,
        null_fraction: if rows > 0.0 { nulls / rows } else { 0.0 },
        ..ColumnEstimate::unknown(rows)
    }
}

/// INTERSECT or EXCEPT: no more than the left rows.
pub(super) fn of_set_operation(
    operator: SetOperator,
    left: &Estimate,
    right: &Estimate,
    output: &[(ColumnId, ColumnId, ColumnId)],
) -> Estimate {
    let rows = match operator {
        SetOperator::Intersect | SetOperator::IntersectAll => left.rows.min(right.rows) / 2.0,
        SetOperator::Except | SetOperator::ExceptAll => left.rows / 2.0,
    };
    let rows = rows.max(left.rows.min(1.0));
    let columns = output.iter().map(|(id, source, _)| {
        let column = left.column(*source);
        let distinct = expected_distinct(column.distinct, left.rows, rows);
        (*id, ColumnEstimate { distinct, is_unique: false, is_clustered: false, ..column })
    });
    Estimate { rows, columns: columns.collect() }
}
