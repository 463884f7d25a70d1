//! What scans give: statistics of the table, and samples for filters that statistics cannot judge.
//!
//! Position: at the leaves. A sample runs the scan's own filters over a few pieces of the table, so it sees what LIKE, functions
//! and correlated conjuncts really keep; it costs milliseconds and is asked for at most once per scan and query.

use std::collections::HashMap;

use operators::{Expression, Scalar};

use crate::{
    catalog::Catalogs,
    connectors::{ColumnStatistics, Table, TableStatistics},
    error::Result,
    plan::logical::{ColumnId, Columns, Expr, TableScan},
};

use super::{ColumnEstimate, Estimate, Relation, ranges, selectivity};

/// From this share of a table's rows on, a number of distinct values is taken for "all different": it is an estimate.
const UNIQUE_SHARE: f64 = 0.95;

/// When a sample has no row that passes, this share of what the guess says is believed, if that is less than one in a thousand.
const EMPTY_SAMPLE: f64 = 1e-3;

/// Scans asked for so far.
#[derive(Default)]
pub(super) struct Tables {
    scans: Vec<(TableScan, Estimate)>,
}

impl Tables {
    /// What is expected of a scan.
    pub(super) fn scan(&mut self, catalogs: &Catalogs, columns: &Columns, scan: &TableScan) -> Result<Estimate> {
        if let Some((_, known)) = self.scans.iter().find(|(asked, _)| asked == scan) {
            return Ok(known.clone());
        }
        let Some(table) = catalogs.table(&scan.table)? else {
            let unknown = Estimate::unknown();
            let columns = scan.columns.iter().map(|(id, _)| (*id, ColumnEstimate::unknown(unknown.rows))).collect();
            return Ok(Estimate { columns, ..unknown });
        };
        let statistics = table.statistics()?;
        let all = of_table(&statistics, scan);
        let estimate = if scan.filters.is_empty() {
            all
        } else {
            let share = match sampled(&*table, &all, columns, scan)? {
                Some(share) => share,
                None => selectivity::conjunction(&scan.filters, &all, columns),
            };
            selectivity::narrowed(all, &scan.filters, share)
        };
        self.scans.push((scan.clone(), estimate.clone()));
        Ok(estimate)
    }
}

fn of_table(statistics: &TableStatistics, scan: &TableScan) -> Estimate {
    let rows = statistics.num_rows as f64;
    let relation = scan.columns.first().map(|(id, _)| Relation { id: *id, rows });
    let columns = scan.columns.iter().map(|(id, position)| {
        let column = statistics.columns.get(*position).map(|column| of_column(column, rows));
        (*id, ColumnEstimate { relation, ..column.unwrap_or_else(|| ColumnEstimate::unknown(rows)) })
    });
    Estimate { rows, columns: columns.collect() }
}

fn of_column(column: &ColumnStatistics, rows: f64) -> ColumnEstimate {
    let unknown = ColumnEstimate::unknown(rows);
    let span = match (&column.min, &column.max) {
        (Some(min), Some(max)) => ranges::span(min, max),
        _ => None,
    };
    let bound = rows.min(span.unwrap_or(f64::INFINITY)).max(1.0);
    // Numbers of which only the span is known are taken to fill it: right for keys, harmless for others.
    let distinct = column.distinct_count.unwrap_or(if span.is_some() { bound } else { unknown.distinct }).clamp(1.0, bound);
    ColumnEstimate {
        min: column.min.clone(),
        max: column.max.clone(),
        distinct,
        domain: distinct,
        null_fraction: column.null_count.map_or(0.0, |nulls| if rows > 0.0 { (nulls as f64 / rows).min(1.0) } else { 0.0 }),
        is_unique: rows > 0.0 && distinct >= rows * UNIQUE_SHARE && column.null_count.unwrap_or(0) == 0,
        is_clustered: column.is_clustered,
        average_bytes: column.average_bytes,
        ..unknown
    }
}

/// The share of rows that passes, measured, if statistics cannot tell and the table can.
fn sampled(table: &dyn Table, all: &Estimate, columns: &Columns, scan: &TableScan) -> Result<Option<f64>> {
    if scan.filters.iter().all(|filter| is_well_estimated(filter, all)) {
        return Ok(None);
    }
    // A sample is a few neighbouring pieces of the table: it says nothing of columns that the table is clustered by.
    let is_biased = |filter: &Expr| filter.columns().iter().any(|id| all.column(*id).is_clustered);
    let (biased, measured): (Vec<Expr>, Vec<Expr>) = scan.filters.iter().cloned().partition(is_biased);
    let positions: HashMap<ColumnId, usize> = scan.columns.iter().copied().collect();
    let Some(filters) = measured.iter().map(|filter| over_positions(filter, &positions, columns)).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    if filters.is_empty() {
        return Ok(None);
    }
    let Some(share) = table.sample_selectivity(&filters)? else { return Ok(None) };
    let guess = selectivity::conjunction(&measured, all, columns);
    let share = if share > 0.0 { share.min(1.0) } else { guess.min(EMPTY_SAMPLE) };
    Ok(Some(share * selectivity::conjunction(&biased, all, columns)))
}

/// Whether bounds and numbers of distinct values say how many rows pass.
fn is_well_estimated(filter: &Expr, all: &Estimate) -> bool {
    match filter {
        Expr::And(operands) | Expr::Or(operands) => operands.iter().all(|operand| is_well_estimated(operand, all)),
        Expr::Not(operand) => is_well_estimated(operand, all),
        Expr::IsNull(operand) => matches!(**operand, Expr::Column(_)),
        Expr::InList { operand, .. } => matches!(**operand, Expr::Column(_)),
        Expr::Literal(_) => true,
        _ => selectivity::column_against_constant(filter).is_some_and(|(id, operator, _)| {
            use operators::expression::Comparison::{Distinct, Equal, NotDistinct, NotEqual};
            let column = all.column(id);
            let is_ranged = column.min.is_some() && column.max.is_some() && !matches!(column.min, Some(Scalar::Utf8(_)));
            is_ranged || matches!(operator, Equal | NotEqual | Distinct | NotDistinct)
        }),
    }
}

/// The expression over the table's columns by position.
fn over_positions(expr: &Expr, positions: &HashMap<ColumnId, usize>, columns: &Columns) -> Option<Expression> {
    let recurse = |expr: &Expr| over_positions(expr, positions, columns);
    let boxed = |expr: &Expr| recurse(expr).map(Box::new);
    let all = |exprs: &[Expr]| exprs.iter().map(recurse).collect::<Option<Vec<_>>>();
    Some(match expr {
        Expr::Column(id) => Expression::Column { index: *positions.get(id)?, data_type: columns.get(*id).data_type.clone() },
        Expr::Literal(scalar) => Expression::Literal(scalar.clone()),
        Expr::Compare(operator, left, right) => Expression::Compare { operator: *operator, left: boxed(left)?, right: boxed(right)? },
        Expr::And(operands) => Expression::And(all(operands)?),
        Expr::Or(operands) => Expression::Or(all(operands)?),
        Expr::Not(operand) => Expression::Not(boxed(operand)?),
        Expr::IsNull(operand) => Expression::IsNull(boxed(operand)?),
        Expr::Arithmetic(operator, left, right, data_type) => {
            Expression::Arithmetic { operator: *operator, left: boxed(left)?, right: boxed(right)?, data_type: data_type.clone() }
        }
        Expr::Negate(operand) => Expression::Negate(boxed(operand)?),
        Expr::Cast(operand, data_type) => Expression::Cast { operand: boxed(operand)?, data_type: data_type.clone() },
        Expr::Case { branches, otherwise, data_type } => Expression::Case {
            branches: branches.iter().map(|(when, then)| Some((recurse(when)?, recurse(then)?))).collect::<Option<_>>()?,
            otherwise: match otherwise {
                Some(otherwise) => Some(boxed(otherwise)?),
                None => None,
            },
            data_type: data_type.clone(),
        },
        Expr::Like { operand, pattern, escape, case_insensitive } => {
            Expression::Like { operand: boxed(operand)?, pattern: boxed(pattern)?, escape: *escape, case_insensitive: *case_insensitive }
        }
        Expr::InList { operand, list } => Expression::InList { operand: boxed(operand)?, list: list.clone() },
        Expr::Function(function, arguments, data_type) => {
            Expression::Function { function: *function, arguments: all(arguments)?, data_type: data_type.clone() }
        }
        Expr::Subquery(_) => return None,
    })
}
