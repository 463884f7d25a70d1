//! Proven bounds of the values of expressions: interval arithmetic over exact numbers.
//!
//! Position: below [`super::expressions`]. Integers, decimals, dates and timestamps only: floating point is left out, because
//! rounding would have to be proven too. Every bound here may be relied on for correctness, so in doubt there is none.

use std::cmp::Ordering;

use arrow::datatypes::{DataType, TimeUnit};
use operators::{
    Scalar,
    expression::{Arithmetic, ScalarFunction},
    types,
};

use crate::plan::logical::{Columns, Expr};

use super::Estimate;

const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;

/// Bounds of an exact number, unscaled: a value is `v / 10^scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::optimizer) struct Range {
    /// No value is smaller.
    pub min: i128,
    /// No value is larger.
    pub max: i128,
    /// Digits after the point.
    pub scale: i8,
}

impl Range {
    fn point((value, scale): (i128, i8)) -> Self {
        Range { min: value, max: value, scale }
    }

    /// The range that `min` and `max` span.
    pub fn between(min: &Scalar, max: &Scalar) -> Option<Self> {
        let (min, min_scale) = exact_number(min)?;
        let (max, max_scale) = exact_number(max)?;
        let scale = min_scale.max(max_scale);
        Some(Range { min: rescale(min, min_scale, scale)?, max: rescale(max, max_scale, scale)?, scale })
    }

    /// Both bounds as values of `data_type`.
    pub fn scalars(self, data_type: &DataType) -> Option<(Scalar, Scalar)> {
        let range = self.at_scale(scale_of(data_type)?)?;
        Some((scalar(range.min, data_type)?, scalar(range.max, data_type)?))
    }

    /// Whether all values have at most `digits` digits when written with `scale` of them after the point.
    pub fn fits_digits(self, scale: i8, digits: u8) -> bool {
        let Some(limit) = power_of_ten(digits as i8) else { return false };
        self.at_scale(scale).is_some_and(|range| range.min > -limit && range.max < limit)
    }

    /// The smallest range at `scale` that holds this one's values when they are rounded to it in any direction.
    fn at_scale(self, scale: i8) -> Option<Self> {
        if scale >= self.scale {
            return Some(Range { min: rescale(self.min, self.scale, scale)?, max: rescale(self.max, self.scale, scale)?, scale });
        }
        let factor = power_of_ten(self.scale - scale)?;
        let up = i128::from(self.max.rem_euclid(factor) != 0);
        Some(Range { min: self.min.div_euclid(factor), max: self.max.div_euclid(factor) + up, scale })
    }

    fn union(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.at_scale(scale)?, other.at_scale(scale)?);
        Some(Range { min: a.min.min(b.min), max: a.max.max(b.max), scale })
    }

    fn corners(self, other: Self, scale: i8, operation: impl Fn(i128, i128) -> Option<i128>) -> Option<Self> {
        let values = [
            operation(self.min, other.min)?,
            operation(self.min, other.max)?,
            operation(self.max, other.min)?,
            operation(self.max, other.max)?,
        ];
        Some(Range { min: values.into_iter().min()?, max: values.into_iter().max()?, scale })
    }

    /// Bounds of `left operator right`, rounded to `scale`; `None` if it may overflow or divide by zero.
    pub fn arithmetic(operator: Arithmetic, left: Self, right: Self, scale: i8) -> Option<Self> {
        match operator {
            Arithmetic::Add | Arithmetic::Subtract => {
                let common = left.scale.max(right.scale);
                let (a, b) = (left.at_scale(common)?, right.at_scale(common)?);
                let sum = match operator {
                    Arithmetic::Add => (a.min.checked_add(b.min)?, a.max.checked_add(b.max)?),
                    _ => (a.min.checked_sub(b.max)?, a.max.checked_sub(b.min)?),
                };
                Range { min: sum.0, max: sum.1, scale: common }.at_scale(scale)
            }
            Arithmetic::Multiply => left.corners(right, left.scale.checked_add(right.scale)?, i128::checked_mul)?.at_scale(scale),
            Arithmetic::Divide => {
                if right.min <= 0 && right.max >= 0 {
                    return None;
                }
                // Quotient at the result's scale: left * 10^(scale - left.scale + right.scale) / right, one unit of rounding each way.
                let shift = scale.checked_sub(left.scale)?.checked_add(right.scale)?;
                let factor = power_of_ten(shift.max(0))?;
                let divisor = power_of_ten((-shift).max(0))?;
                let range = left.corners(right, scale, |a, b| a.checked_mul(factor)?.checked_div(b.checked_mul(divisor)?))?;
                Some(Range { min: range.min.checked_sub(1)?, max: range.max.checked_add(1)?, scale })
            }
            Arithmetic::Modulo => {
                let common = left.scale.max(right.scale);
                let (a, b) = (left.at_scale(common)?, right.at_scale(common)?);
                let largest = b.min.checked_abs()?.max(b.max.checked_abs()?);
                let range = Range { min: if a.min < 0 { a.min.max(-largest) } else { 0 }, max: a.max.max(0).min(largest), scale: common };
                range.at_scale(scale)
            }
        }
    }
}

/// Proven bounds of an expression's values that are not NULL, over rows of `input`.
pub(super) fn range_of(expr: &Expr, input: &Estimate, columns: &Columns) -> Option<Range> {
    match expr {
        Expr::Column(id) => {
            let column = input.columns.get(id)?;
            Range::between(column.min.as_ref()?, column.max.as_ref()?)
        }
        Expr::Literal(scalar) => exact_number(scalar).map(Range::point),
        Expr::Arithmetic(operator, left, right, data_type) => {
            // Date arithmetic with intervals is left out: months have no fixed length.
            let number = |expr: &Expr| is_number(&expr.data_type(columns)).then(|| range_of(expr, input, columns)).flatten();
            if !is_number(data_type) {
                return None;
            }
            Range::arithmetic(*operator, number(left)?, number(right)?, scale_of(data_type)?)
        }
        Expr::Negate(operand) => {
            let range = range_of(operand, input, columns)?;
            Some(Range { min: range.max.checked_neg()?, max: range.min.checked_neg()?, scale: range.scale })
        }
        Expr::Cast(operand, to) => {
            let from = operand.data_type(columns);
            let range = range_of(operand, input, columns)?;
            match (&from, to) {
                _ if is_number(&from) && is_number(to) => range.at_scale(scale_of(to)?),
                (DataType::Date32, DataType::Date32) => Some(range),
                (DataType::Date32, DataType::Timestamp(TimeUnit::Microsecond, None)) => Some(Range {
                    min: range.min.checked_mul(MICROSECONDS_PER_DAY)?,
                    max: range.max.checked_mul(MICROSECONDS_PER_DAY)?,
                    scale: 0,
                }),
                _ => None,
            }
        }
        Expr::Case { branches, otherwise, .. } => {
            let values = branches.iter().map(|(_, value)| value).chain(otherwise.as_deref());
            union_of(values, input, columns)
        }
        Expr::Function(function, arguments, data_type) => function_range(*function, arguments, data_type, input, columns),
        _ => None,
    }
}

/// The range that holds all values; NULL literals add none.
fn union_of<'a>(values: impl Iterator<Item = &'a Expr>, input: &Estimate, columns: &Columns) -> Option<Range> {
    let mut union: Option<Range> = None;
    for value in values.filter(|value| !matches!(value, Expr::Literal(scalar) if scalar.is_null())) {
        let range = range_of(value, input, columns)?;
        union = Some(match union {
            Some(union) => union.union(range)?,
            None => range,
        });
    }
    union
}

fn function_range(
    function: ScalarFunction,
    arguments: &[Expr],
    data_type: &DataType,
    input: &Estimate,
    columns: &Columns,
) -> Option<Range> {
    match function {
        ScalarFunction::Coalesce | ScalarFunction::Greatest | ScalarFunction::Least => union_of(arguments.iter(), input, columns),
        ScalarFunction::NullIf => range_of(arguments.first()?, input, columns),
        ScalarFunction::Abs => {
            let range = range_of(arguments.first()?, input, columns)?;
            let (low, high) = (range.min.checked_abs()?, range.max.checked_abs()?);
            let min = if range.min <= 0 && range.max >= 0 { 0 } else { low.min(high) };
            Some(Range { min, max: low.max(high), scale: range.scale })
        }
        ScalarFunction::Ceil | ScalarFunction::Floor if arguments.len() == 1 => {
            range_of(arguments.first()?, input, columns)?.at_scale(scale_of(data_type)?)
        }
        ScalarFunction::Extract => {
            let [Expr::Literal(Scalar::Utf8(field)), operand] = arguments else { return None };
            let whole = extract_range(field, operand, input, columns)?;
            Range { min: whole.0, max: whole.1, scale: 0 }.at_scale(scale_of(data_type)?)
        }
        _ => None,
    }
}

fn extract_range(field: &str, operand: &Expr, input: &Estimate, columns: &Columns) -> Option<(i128, i128)> {
    let days = |value: i128| match operand.data_type(columns) {
        DataType::Date32 => Some(value),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(value.div_euclid(MICROSECONDS_PER_DAY)),
        _ => None,
    };
    match field.to_ascii_lowercase().as_str() {
        "year" => {
            let range = range_of(operand, input, columns)?;
            Some((year_of_day(days(range.min)?), year_of_day(days(range.max)?)))
        }
        // Fields of an interval are not bounded so; a date or timestamp is asked for.
        "month" => days(0).map(|_| (1, 12)),
        "day" => days(0).map(|_| (1, 31)),
        "quarter" => days(0).map(|_| (1, 4)),
        _ => None,
    }
}

/// The year of a day counted from 1970-01-01, in the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date
/// algorithms": years start in March, eras have 400 years).
fn year_of_day(day: i128) -> i128 {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let is_january_or_february = (5 * day_of_year + 2) / 153 >= 10;
    year_of_era + era * 400 + i128::from(is_january_or_february)
}

/// The unscaled value and the scale of an exact number, date or time; `None` for all else.
pub(super) fn exact_number(scalar: &Scalar) -> Option<(i128, i8)> {
    match scalar {
        Scalar::Int16(value) => Some((i128::from(*value), 0)),
        Scalar::Int32(value) | Scalar::Date32(value) => Some((i128::from(*value), 0)),
        Scalar::Int64(value) | Scalar::Timestamp(value) | Scalar::TimestampTz(value) | Scalar::Time(value) => Some((i128::from(*value), 0)),
        Scalar::Decimal(value, _, scale) => Some((*value, *scale)),
        _ => None,
    }
}

fn scalar(value: i128, data_type: &DataType) -> Option<Scalar> {
    match data_type {
        DataType::Int16 => value.try_into().ok().map(Scalar::Int16),
        DataType::Int32 => value.try_into().ok().map(Scalar::Int32),
        DataType::Int64 => value.try_into().ok().map(Scalar::Int64),
        DataType::Date32 => value.try_into().ok().map(Scalar::Date32),
        DataType::Timestamp(TimeUnit::Microsecond, None) => value.try_into().ok().map(Scalar::Timestamp),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => value.try_into().ok().map(Scalar::TimestampTz),
        DataType::Time64(TimeUnit::Microsecond) => value.try_into().ok().map(Scalar::Time),
        DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale) => Some(Scalar::Decimal(value, *precision, *scale)),
        _ => None,
    }
}

fn is_number(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64) || types::decimal_digits(data_type).is_some()
}

fn scale_of(data_type: &DataType) -> Option<i8> {
    match types::decimal_digits(data_type) {
        Some((_, scale)) => Some(scale),
        None => match data_type {
            DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) | DataType::Time64(_) => {
                Some(0)
            }
            _ => None,
        },
    }
}

fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    value.checked_mul(power_of_ten(to.checked_sub(from)?)?)
}

fn power_of_ten(exponent: i8) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

/// Which of two values of the same type is smaller; `None` if they cannot be compared (NULL, NaN, other types).
pub(super) fn compare(left: &Scalar, right: &Scalar) -> Option<Ordering> {
    if let (Some((left, left_scale)), Some((right, right_scale))) = (exact_number(left), exact_number(right)) {
        let scale = left_scale.max(right_scale);
        return Some(rescale(left, left_scale, scale)?.cmp(&rescale(right, right_scale, scale)?));
    }
    match (left, right) {
        (Scalar::Utf8(left), Scalar::Utf8(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Scalar::Binary(left), Scalar::Binary(right)) => Some(left.cmp(right)),
        (Scalar::Boolean(left), Scalar::Boolean(right)) => Some(left.cmp(right)),
        (Scalar::Float32(left), Scalar::Float32(right)) => left.partial_cmp(right),
        (Scalar::Float64(left), Scalar::Float64(right)) => left.partial_cmp(right),
        _ => None,
    }
}

/// Where a value lies on a line, for interpolation; texts by their first bytes.
pub(super) fn position(scalar: &Scalar) -> Option<f64> {
    if let Some((value, scale)) = exact_number(scalar) {
        return Some(value as f64 / 10_f64.powi(i32::from(scale)));
    }
    match scalar {
        Scalar::Boolean(value) => Some(f64::from(u8::from(*value))),
        Scalar::Float32(value) if value.is_finite() => Some(f64::from(*value)),
        Scalar::Float64(value) if value.is_finite() => Some(*value),
        Scalar::Utf8(text) => Some(text.bytes().take(7).enumerate().map(|(i, byte)| f64::from(byte) / 256_f64.powi(i as i32)).sum()),
        _ => None,
    }
}

/// The distance between neighbouring values of a discrete type; 0 for a continuous one.
pub(super) fn step(scalar: &Scalar) -> f64 {
    match scalar {
        Scalar::Int16(_) | Scalar::Int32(_) | Scalar::Int64(_) | Scalar::Date32(_) | Scalar::Boolean(_) => 1.0,
        Scalar::Decimal(_, _, scale) => 10_f64.powi(-i32::from(*scale)),
        _ => 0.0,
    }
}

/// How many different values lie between two bounds, both included, if that can be counted.
pub(super) fn span(min: &Scalar, max: &Scalar) -> Option<f64> {
    let step = step(min);
    if step == 0.0 {
        return None;
    }
    Some(((position(max)? - position(min)?) / step + 1.0).max(1.0))
}
