//! Values one at a time: comparison, arithmetic, casts and functions of the naive evaluator.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    expression::{Arithmetic, Comparison, ScalarFunction},
    types,
};

use super::naive::{Failure, Outcome};

pub fn null() -> Scalar {
    Scalar::Null(DataType::Null)
}

pub fn unsupported<T>(what: impl std::fmt::Debug) -> Outcome<T> {
    Err(Failure::Unsupported(format!("{what:?}")))
}

/// The order of two values of one type that are not NULL.
pub fn order(left: &Scalar, right: &Scalar) -> Outcome<Ordering> {
    use Scalar::*;
    let float = |l: f64, r: f64| match (l.is_nan(), r.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => l.partial_cmp(&r).expect("no NaN"),
    };
    Ok(match (left, right) {
        (Boolean(l), Boolean(r)) => l.cmp(r),
        (Int16(l), Int16(r)) => l.cmp(r),
        (Int32(l), Int32(r)) | (Date32(l), Date32(r)) => l.cmp(r),
        (Int64(l), Int64(r)) | (Timestamp(l), Timestamp(r)) | (TimestampTz(l), TimestampTz(r)) | (Time(l), Time(r)) => l.cmp(r),
        (Float32(l), Float32(r)) => float(f64::from(*l), f64::from(*r)),
        (Float64(l), Float64(r)) => float(*l, *r),
        (Decimal(l, _, ls), Decimal(r, _, rs)) if ls == rs => l.cmp(r),
        (Utf8(l), Utf8(r)) => l.as_bytes().cmp(r.as_bytes()),
        _ => return unsupported((left, right)),
    })
}

pub fn compare(comparison: Comparison, left: &Scalar, right: &Scalar) -> Outcome<Scalar> {
    use Comparison::*;
    let (left_null, right_null) = (left.is_null(), right.is_null());
    if matches!(comparison, Distinct | NotDistinct) {
        let same = if left_null || right_null { left_null && right_null } else { order(left, right)? == Ordering::Equal };
        return Ok(Scalar::Boolean(same == (comparison == NotDistinct)));
    }
    if left_null || right_null {
        return Ok(null());
    }
    let order = order(left, right)?;
    Ok(Scalar::Boolean(match comparison {
        Equal => order.is_eq(),
        NotEqual => order.is_ne(),
        Less => order.is_lt(),
        LessOrEqual => order.is_le(),
        Greater => order.is_gt(),
        GreaterOrEqual => order.is_ge(),
        Distinct | NotDistinct => unreachable!("handled above"),
    }))
}

/// A text by which equal values, and only those, are equal; NULL is equal to NULL.
pub fn group_key(value: &Scalar) -> String {
    match value {
        Scalar::Null(_) => "null".into(),
        Scalar::Decimal(v, _, s) => format!("Decimal({v},{s})"),
        Scalar::Float64(v) if *v == 0.0 => "Float64(0)".into(),
        other => format!("{other:?}"),
    }
}

fn power(exponent: i32) -> Outcome<i128> {
    u32::try_from(exponent).ok().and_then(|e| 10i128.checked_pow(e)).ok_or(Failure::Overflow)
}

/// An unscaled value at another scale, rounded half away from zero.
pub fn rescale(value: i128, from: i8, to: i8) -> Outcome<i128> {
    if to >= from {
        value.checked_mul(power(i32::from(to) - i32::from(from))?).ok_or(Failure::Overflow)
    } else {
        divide_rounded(value, power(i32::from(from) - i32::from(to))?)
    }
}

pub fn divide_rounded(numerator: i128, denominator: i128) -> Outcome<i128> {
    let (quotient, rest) = (numerator / denominator, numerator % denominator);
    let away = if (numerator < 0) == (denominator < 0) { 1 } else { -1 };
    Ok(if rest.unsigned_abs() * 2 >= denominator.unsigned_abs() { quotient + away } else { quotient })
}

/// A whole number or decimal as unscaled value and scale.
fn exact(value: &Scalar) -> Option<(i128, i8)> {
    match value {
        Scalar::Int16(v) => Some((i128::from(*v), 0)),
        Scalar::Int32(v) => Some((i128::from(*v), 0)),
        Scalar::Int64(v) => Some((i128::from(*v), 0)),
        Scalar::Decimal(v, _, s) => Some((*v, *s)),
        _ => None,
    }
}

fn float(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Float32(v) => Some(f64::from(*v)),
        Scalar::Float64(v) => Some(*v),
        other => exact(other).map(|(v, s)| v as f64 / 10f64.powi(i32::from(s))),
    }
}

/// An exact value as one of `data_type`.
fn fit(value: i128, scale: i8, data_type: &DataType) -> Outcome<Scalar> {
    let whole = |v: i128| rescale(v, scale, 0);
    match data_type {
        DataType::Int16 => Ok(Scalar::Int16(whole(value)?.try_into().map_err(|_| Failure::Overflow)?)),
        DataType::Int32 => Ok(Scalar::Int32(whole(value)?.try_into().map_err(|_| Failure::Overflow)?)),
        DataType::Int64 => Ok(Scalar::Int64(whole(value)?.try_into().map_err(|_| Failure::Overflow)?)),
        DataType::Float64 => Ok(Scalar::Float64(value as f64 / 10f64.powi(i32::from(scale)))),
        DataType::Float32 => Ok(Scalar::Float32((value as f64 / 10f64.powi(i32::from(scale))) as f32)),
        other => {
            let Some((precision, to)) = types::decimal_digits(other) else { return unsupported(other) };
            let value = rescale(value, scale, to)?;
            if value.unsigned_abs() >= power(i32::from(precision))?.unsigned_abs() {
                return Err(Failure::Overflow);
            }
            Ok(Scalar::Decimal(value, precision, to))
        }
    }
}

pub fn arithmetic(operator: Arithmetic, left: &Scalar, right: &Scalar, data_type: &DataType) -> Outcome<Scalar> {
    if left.is_null() || right.is_null() {
        return Ok(null());
    }
    if let (Scalar::Date32(days), Scalar::Interval { months, days: more, .. }) = (left, right) {
        let sign = if operator == Arithmetic::Subtract { -1 } else { 1 };
        let moved = i64::from(add_months(*days, sign * months)? + sign * more);
        return match data_type {
            DataType::Date32 => Ok(Scalar::Date32(moved as i32)),
            _ => Ok(Scalar::Timestamp(moved * 86_400_000_000)),
        };
    }
    if let Scalar::Date32(days) = left {
        let by = match right {
            Scalar::Date32(other) => {
                return Ok(if *data_type == DataType::Int64 {
                    Scalar::Int64(i64::from(days - other))
                } else {
                    Scalar::Int32(days - other)
                });
            }
            other => exact(other).map(|(v, _)| v as i32),
        };
        return match (operator, by) {
            (Arithmetic::Add, Some(by)) => Ok(Scalar::Date32(days + by)),
            (Arithmetic::Subtract, Some(by)) => Ok(Scalar::Date32(days - by)),
            _ => unsupported((left, right)),
        };
    }
    if matches!(data_type, DataType::Float32 | DataType::Float64) {
        let (Some(l), Some(r)) = (float(left), float(right)) else { return unsupported((left, right)) };
        if r == 0.0 && matches!(operator, Arithmetic::Divide | Arithmetic::Modulo) {
            return Err(Failure::DivisionByZero);
        }
        let value = match operator {
            Arithmetic::Add => l + r,
            Arithmetic::Subtract => l - r,
            Arithmetic::Multiply => l * r,
            Arithmetic::Divide => l / r,
            Arithmetic::Modulo => l % r,
        };
        return Ok(if *data_type == DataType::Float32 { Scalar::Float32(value as f32) } else { Scalar::Float64(value) });
    }
    let (Some((l, ls)), Some((r, rs))) = (exact(left), exact(right)) else { return unsupported((left, right)) };
    let scale = ls.max(rs);
    let overflow = || Failure::Overflow;
    match operator {
        Arithmetic::Add => fit(rescale(l, ls, scale)?.checked_add(rescale(r, rs, scale)?).ok_or_else(overflow)?, scale, data_type),
        Arithmetic::Subtract => fit(rescale(l, ls, scale)?.checked_sub(rescale(r, rs, scale)?).ok_or_else(overflow)?, scale, data_type),
        Arithmetic::Multiply => fit(l.checked_mul(r).ok_or_else(overflow)?, ls + rs, data_type),
        Arithmetic::Divide | Arithmetic::Modulo if r == 0 => Err(Failure::DivisionByZero),
        Arithmetic::Divide => match types::decimal_digits(data_type) {
            None => fit(l / r, 0, data_type),
            Some((_, to)) => {
                let shift = i32::from(to) + i32::from(rs) - i32::from(ls);
                let (n, d) = if shift >= 0 {
                    (l.checked_mul(power(shift)?).ok_or_else(overflow)?, r)
                } else {
                    (l, r.checked_mul(power(-shift)?).ok_or_else(overflow)?)
                };
                fit(divide_rounded(n, d)?, to, data_type)
            }
        },
        Arithmetic::Modulo => fit(rescale(l, ls, scale)? % rescale(r, rs, scale)?, scale, data_type),
    }
}

fn add_months(days: i32, months: i32) -> Outcome<i32> {
    use chrono::{Months, NaiveDate};
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
    let date = epoch + chrono::TimeDelta::days(i64::from(days));
    let moved = if months >= 0 {
        date.checked_add_months(Months::new(months as u32))
    } else {
        date.checked_sub_months(Months::new(months.unsigned_abs()))
    };
    Ok((moved.ok_or(Failure::Overflow)? - epoch).num_days() as i32)
}

pub fn negate(value: &Scalar) -> Outcome<Scalar> {
    use Scalar::*;
    Ok(match value {
        Null(_) => null(),
        Int16(v) => Int16(v.checked_neg().ok_or(Failure::Overflow)?),
        Int32(v) => Int32(v.checked_neg().ok_or(Failure::Overflow)?),
        Int64(v) => Int64(v.checked_neg().ok_or(Failure::Overflow)?),
        Float32(v) => Float32(-v),
        Float64(v) => Float64(-v),
        Decimal(v, p, s) => Decimal(-v, *p, *s),
        other => return unsupported(other),
    })
}

pub fn cast(value: &Scalar, to: &DataType) -> Outcome<Scalar> {
    if value.is_null() {
        return Ok(null());
    }
    if value.data_type() == *to {
        return Ok(value.clone());
    }
    if let Some((v, s)) = exact(value) {
        if *to == DataType::Utf8View && s == 0 {
            return Ok(Scalar::Utf8(v.to_string()));
        }
        return fit(v, s, to);
    }
    match (value, to) {
        (Scalar::Float32(v), DataType::Float64) => Ok(Scalar::Float64(f64::from(*v))),
        (Scalar::Date32(days), DataType::Timestamp(_, None)) => Ok(Scalar::Timestamp(i64::from(*days) * 86_400_000_000)),
        (Scalar::Timestamp(us), DataType::Date32) => Ok(Scalar::Date32(us.div_euclid(86_400_000_000) as i32)),
        _ => unsupported((value, to)),
    }
}

/// LIKE by trying every way to match.
pub fn like(text: &[char], pattern: &[char], escape: Option<char>) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((c, rest)) if Some(*c) == escape && !rest.is_empty() => text.first() == Some(&rest[0]) && like(&text[1..], &rest[1..], escape),
        Some(('%', rest)) => (0..=text.len()).any(|skipped| like(&text[skipped..], rest, escape)),
        Some(('_', rest)) => !text.is_empty() && like(&text[1..], rest, escape),
        Some((c, rest)) => text.first() == Some(c) && like(&text[1..], rest, escape),
    }
}

pub fn function(function: ScalarFunction, arguments: &[Scalar], data_type: &DataType) -> Outcome<Scalar> {
    use ScalarFunction::*;
    let not_null = || arguments.iter().filter(|a| !a.is_null());
    match function {
        Coalesce => return Ok(not_null().next().cloned().unwrap_or_else(null)),
        NullIf => {
            let equal = compare(Comparison::Equal, &arguments[0], &arguments[1])? == Scalar::Boolean(true);
            return Ok(if equal { null() } else { arguments[0].clone() });
        }
        Greatest | Least => {
            let mut best: Option<&Scalar> = None;
            for value in not_null() {
                let wanted = if function == Greatest { Ordering::Greater } else { Ordering::Less };
                if best.is_none() || order(value, best.expect("set"))? == wanted {
                    best = Some(value);
                }
            }
            return Ok(best.cloned().unwrap_or_else(null));
        }
        _ if arguments.iter().any(Scalar::is_null) => return Ok(null()),
        _ => {}
    }
    match (function, arguments) {
        (Upper, [Scalar::Utf8(v)]) => Ok(Scalar::Utf8(v.to_uppercase())),
        (Lower, [Scalar::Utf8(v)]) => Ok(Scalar::Utf8(v.to_lowercase())),
        (Length, [Scalar::Utf8(v)]) => Ok(Scalar::Int32(v.chars().count() as i32)),
        (Concat, values) => Ok(Scalar::Utf8(values.iter().map(|v| if let Scalar::Utf8(v) = v { v.as_str() } else { "" }).collect())),
        (Substring, [Scalar::Utf8(v), Scalar::Int32(start), Scalar::Int32(count)]) => {
            let end = start.saturating_add(*count);
            Ok(Scalar::Utf8(
                v.chars().enumerate().filter(|(i, _)| (*i as i32 + 1) >= *start && (*i as i32 + 1) < end).map(|(_, c)| c).collect(),
            ))
        }
        (Abs, [value]) => {
            let zero = cast(&Scalar::Int32(0), &value.data_type())?;
            if order(value, &zero)? == Ordering::Less { negate(value) } else { Ok(value.clone()) }
        }
        (Extract, [Scalar::Utf8(field), Scalar::Date32(days)]) => {
            use chrono::Datelike;
            let date = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date") + chrono::TimeDelta::days(i64::from(*days));
            let value = match field.as_str() {
                "year" => date.year(),
                "month" => date.month() as i32,
                "day" => date.day() as i32,
                other => return unsupported(other),
            };
            fit(i128::from(value), 0, data_type)
        }
        _ => unsupported(function),
    }
}
