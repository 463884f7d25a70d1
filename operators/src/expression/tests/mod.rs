//! What expressions mean, topic by topic; expected values are PostgreSQL's.

mod batches;
mod casts;
mod comparisons;
mod functions;
mod kernels;
mod likes;
mod numbers;
mod structure;
mod temporal;

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Date32Array, DictionaryArray, Int32Array, Int64Array, StringViewArray, UInt32Array},
    datatypes::DataType,
};
use pipelines::Batch;

use super::{Arithmetic, Comparison, Evaluator, Expression, Predicate, Selection, evaluate_constant};
use crate::{Error, Result, Scalar, types};

fn column(index: usize, data_type: DataType) -> Expression {
    Expression::Column { index, data_type }
}

fn text(text: &str) -> Scalar {
    Scalar::Utf8(text.into())
}

fn literal(scalar: Scalar) -> Expression {
    Expression::Literal(scalar)
}

fn compare(operator: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::Compare { operator, left: Box::new(left), right: Box::new(right) }
}

fn arithmetic(operator: Arithmetic, left: Expression, right: Expression, data_type: DataType) -> Expression {
    Expression::Arithmetic { operator, left: Box::new(left), right: Box::new(right), data_type }
}

fn cast(operand: Expression, data_type: DataType) -> Expression {
    Expression::Cast { operand: Box::new(operand), data_type }
}

fn like(operand: Expression, pattern: &str) -> Expression {
    Expression::Like { operand: Box::new(operand), pattern: Box::new(literal(text(pattern))), escape: Some('\\'), case_insensitive: false }
}

fn ints(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn bigints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(values.iter().copied()))
}

fn dictionary(codes: &[Option<u32>], entries: &[&str]) -> ArrayRef {
    let entries = StringViewArray::from_iter_values(entries);
    Arc::new(DictionaryArray::new(UInt32Array::from(codes.to_vec()), Arc::new(entries)))
}

fn batch(columns: Vec<ArrayRef>) -> Batch {
    let num_rows = columns[0].len();
    Batch::new(columns, num_rows)
}

/// The values of an expression over a batch, as texts.
fn shown(expression: &Expression, batch: &Batch) -> Result<Vec<String>> {
    let array = Evaluator::new(vec![expression.clone()]).evaluate(batch)?.remove(0);
    assert_eq!(array.len(), batch.num_rows());
    Ok((0..array.len()).map(|row| Scalar::from_array(&array, row).unwrap().to_string()).collect())
}

fn selected(expression: &Expression, batch: &Batch) -> Result<Vec<usize>> {
    Ok(match Predicate::new(expression.clone()).select(batch)? {
        Selection::All => (0..batch.num_rows()).collect(),
        Selection::None => vec![],
        Selection::Some(mask) => mask.set_indices().collect(),
    })
}

/// The value of an expression without columns, as text.
fn constant(expression: &Expression) -> Result<String> {
    evaluate_constant(expression).map(|scalar| scalar.to_string())
}

fn decimal(text: &str, precision: u8, scale: i8) -> Expression {
    let unscaled = super::cast::parse_decimal(text, precision, scale).unwrap();
    literal(Scalar::Decimal(unscaled, precision, scale))
}

fn cast_text(value: &str, data_type: DataType) -> Result<String> {
    constant(&cast(literal(text(value)), data_type))
}

fn date(value: &str) -> Expression {
    literal(Scalar::Date32(super::cast::parse_date(value).unwrap()))
}

fn timestamp(value: &str) -> Expression {
    literal(Scalar::Timestamp(super::cast::parse_timestamp(value).unwrap()))
}

fn interval(value: &str) -> Expression {
    let arrow::datatypes::IntervalMonthDayNano { months, days, nanoseconds } = super::cast::parse_interval(value).unwrap();
    literal(Scalar::Interval { months, days, nanoseconds })
}
