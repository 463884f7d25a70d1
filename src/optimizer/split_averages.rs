//! Computes averages as sums divided by counts, and each aggregate only once.
//!
//! `avg(x)` beside `sum(x)` and `count(*)` costs nothing then (TPC-H Q1). `count(x)` of a column without NULLs is
//! `count(*)`.
//!
//! Position: after nothing moves conjuncts into or out of aggregations any more.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use operators::{
    aggregate::AggregateFunction,
    expression::Arithmetic,
    types::{DECIMAL128_DIGITS_MAX, decimal},
};

use super::{OptimizerContext, rule::Rule};
use crate::{error::Result, plan::logical::*};

/// Digits of the largest count.
const COUNT_DIGITS: u8 = 19;

/// The rule.
pub struct SplitAverages;

impl Rule for SplitAverages {
    fn name(&self) -> &'static str {
        "split_averages"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        let columns = &mut query.columns;
        for cte in &mut query.ctes {
            cte.plan = std::mem::take(&mut cte.plan).transform(&mut |node| Ok(split_node(node, columns)))?;
        }
        query.root = query.root.transform(&mut |node| Ok(split_node(node, columns)))?;
        Ok(query)
    }
}

fn split_node(plan: LogicalPlan, columns: &mut Columns) -> LogicalPlan {
    match plan {
        LogicalPlan::Aggregate(aggregate) => split(aggregate, columns),
        other => other,
    }
}

fn split(aggregate: Aggregate, columns: &mut Columns) -> LogicalPlan {
    let Aggregate { input, keys, aggregates } = aggregate;
    let (known, nullable) = (input.output_set(), input.nullable_columns(columns));
    let mut calls = Calls { known, nullable, calls: vec![] };
    let mut results: Vec<(ColumnId, Expr)> = vec![];
    // Averages last: what stands there already keeps its column.
    let (averages, others): (Vec<_>, Vec<_>) = aggregates.into_iter().partition(|(_, call)| is_split(call, columns));
    for (id, call) in others {
        let computed = calls.add(call, |_| id);
        results.push((id, Expr::Column(computed)));
    }
    for (id, call) in averages {
        let sum_type = sum_type(&call.arguments[0].data_type(columns));
        let sum = calls.add(AggregateExpr { function: AggregateFunction::Sum, ..call.clone() }, |_| columns.add("sum", sum_type, true));
        let count =
            calls.add(AggregateExpr { function: AggregateFunction::Count, ..call }, |_| columns.add("count", DataType::Int64, false));
        results.push((id, quotient(sum, count, columns.get(id).data_type.clone(), columns)));
    }
    let changed = results.iter().any(|(id, expr)| expr.as_column() != Some(*id));
    let passed_on: Vec<(ColumnId, Expr)> = keys.iter().map(|(id, _)| (*id, Expr::Column(*id))).collect();
    let plan = LogicalPlan::Aggregate(Aggregate { input, keys, aggregates: calls.calls });
    if changed { plan.projected(passed_on.into_iter().chain(results).collect()) } else { plan }
}

/// The sum of `real` values has fewer digits than their average: that one stays.
fn is_split(call: &AggregateExpr, columns: &Columns) -> bool {
    call.function == AggregateFunction::Average && call.arguments.len() == 1 && call.arguments[0].data_type(columns) != DataType::Float32
}

/// See [`AggregateFunction::Sum`].
fn sum_type(argument: &DataType) -> DataType {
    match argument {
        DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::Int64 => decimal(DECIMAL128_DIGITS_MAX, 0),
        DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => decimal(DECIMAL128_DIGITS_MAX, *scale),
        other => other.clone(),
    }
}

fn quotient(sum: ColumnId, count: ColumnId, data_type: DataType, columns: &Columns) -> Expr {
    let sum = match columns.get(sum).data_type {
        DataType::Int64 => Expr::Cast(Box::new(Expr::Column(sum)), decimal(COUNT_DIGITS, 0)),
        _ => Expr::Column(sum),
    };
    let divisor = if data_type == DataType::Float64 { DataType::Float64 } else { decimal(COUNT_DIGITS, 0) };
    let count = Expr::Cast(Box::new(Expr::Column(count)), divisor);
    Expr::Arithmetic(Arithmetic::Divide, Box::new(sum), Box::new(count), data_type)
}

/// Aggregates, each once.
struct Calls {
    known: BTreeSet<ColumnId>,
    nullable: BTreeSet<ColumnId>,
    calls: Vec<(ColumnId, AggregateExpr)>,
}

impl Calls {
    /// The column of `call`: the one that has it already, or `new`.
    fn add(&mut self, mut call: AggregateExpr, new: impl FnOnce(&AggregateExpr) -> ColumnId) -> ColumnId {
        let may_be_null = |id: ColumnId| !self.known.contains(&id) || self.nullable.contains(&id);
        let counts_all = call.function == AggregateFunction::Count && !call.distinct;
        if counts_all && call.arguments.iter().all(|argument| !argument.is_nullable(&may_be_null) && !argument.can_fail()) {
            call.function = AggregateFunction::CountStar;
            call.arguments.clear();
        }
        match self.calls.iter().find(|(_, known)| *known == call) {
            Some((id, _)) => *id,
            None => {
                let id = new(&call);
                self.calls.push((id, call));
                id
            }
        }
    }
}
