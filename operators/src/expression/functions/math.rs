//! Functions of numbers.

use arrow::{array::ArrayRef, datatypes::DataType};

use super::arguments::Arguments;
use crate::{
    Error, Result,
    expression::{
        arithmetic::{power_of_ten, rescale},
        datum::{Datum, Native, Values, unexpected, values},
    },
    types,
};

fn out_of_range(arguments: &Arguments<'_>) -> Error {
    Error::OutOfRange { type_name: types::sql_name(arguments.data_type) }
}

// ---- numbers of any type ----

pub(super) fn abs(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    match arguments.get(0)?.data_type() {
        DataType::Int16 => absolute::<i16>(arguments, i16::checked_abs),
        DataType::Int32 => absolute::<i32>(arguments, i32::checked_abs),
        DataType::Int64 => absolute::<i64>(arguments, i64::checked_abs),
        DataType::Float32 => absolute::<f32>(arguments, |v| Some(v.abs())),
        DataType::Float64 => absolute::<f64>(arguments, |v| Some(v.abs())),
        _ => map_decimal(arguments, |value, scale, result_scale| rescale(value.checked_abs()?, scale, result_scale)),
    }
}

fn absolute<T: Native + Default>(arguments: &Arguments<'_>, f: impl Fn(T) -> Option<T>) -> Result<ArrayRef> {
    let values = arguments.natives::<T>(0)?;
    arguments.map(|row| f(values.get(row)).ok_or_else(|| out_of_range(arguments)))
}

pub(super) fn sign(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    float_or_decimal(
        arguments,
        |v| {
            if v.is_nan() {
                0.0
            } else if v == 0.0 {
                v
            } else {
                v.signum()
            }
        },
        |value, _, result_scale| rescale(value.signum(), 0, result_scale),
    )
}

pub(super) fn ceil(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    float_or_decimal(arguments, f64::ceil, |value, scale, result_scale| {
        let unit = power_of_ten(scale)?;
        let floor = value.div_euclid(unit);
        rescale(floor + i128::from(value.rem_euclid(unit) != 0), 0, result_scale)
    })
}

pub(super) fn floor(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    float_or_decimal(arguments, f64::floor, |value, scale, result_scale| rescale(value.div_euclid(power_of_ten(scale)?), 0, result_scale))
}

pub(super) fn round(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    to_digits(arguments, f64::round_ties_even, rescale)
}

pub(super) fn truncate(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    to_digits(arguments, f64::trunc, |value, scale, digits| {
        // More than 38 digits away nothing is left.
        Some(power_of_ten(scale - digits).map_or(0, |unit| value / unit))
    })
}

/// `round` and `trunc`: `cut` leaves fewer digits after the point.
fn to_digits(arguments: &Arguments<'_>, whole: impl Fn(f64) -> f64, cut: impl Fn(i128, i32, i32) -> Option<i128>) -> Result<ArrayRef> {
    let digits = if arguments.count() > 1 { arguments.natives::<i32>(1)? } else { Values::Constant(0) };
    match arguments.get(0)?.data_type() {
        DataType::Float64 => {
            let values = arguments.natives::<f64>(0)?;
            arguments.map(|row| {
                let (value, unit) = (values.get(row), 10f64.powi(digits.get(row)));
                let shifted = value * unit;
                // Beyond what a float can say there is nothing to cut.
                Ok(if unit == 1.0 {
                    whole(value)
                } else if shifted.is_finite() && unit > 0.0 {
                    whole(shifted) / unit
                } else {
                    value
                })
            })
        }
        _ => {
            let mut row = 0;
            map_decimal(arguments, |value, scale, result_scale| {
                let wanted = digits.get(row).clamp(-40, 40);
                row += 1;
                let (value, scale) = if wanted < scale { (cut(value, scale, wanted)?, wanted) } else { (value, scale) };
                rescale(value, scale, result_scale)
            })
        }
    }
}

fn float_or_decimal(
    arguments: &Arguments<'_>,
    of_float: impl Fn(f64) -> f64,
    of_decimal: impl Fn(i128, i32, i32) -> Option<i128>,
) -> Result<ArrayRef> {
    match arguments.get(0)?.data_type() {
        DataType::Float64 => {
            let values = arguments.natives::<f64>(0)?;
            arguments.map(|row| Ok(of_float(values.get(row))))
        }
        _ => map_decimal(arguments, of_decimal),
    }
}

/// Maps argument 0, a decimal: `f` gets the unscaled value, its scale and the result's; it is called for every
/// row, in order, whatever stands in NULL rows.
fn map_decimal(arguments: &Arguments<'_>, mut f: impl FnMut(i128, i32, i32) -> Option<i128>) -> Result<ArrayRef> {
    let operand = arguments.get(0)?;
    let (_, scale) = types::decimal_digits(&operand.data_type()).ok_or_else(|| unexpected("numeric", &operand.data_type()))?;
    let (_, result_scale) = types::decimal_digits(arguments.data_type).ok_or_else(|| unexpected("numeric", arguments.data_type))?;
    let wide = wide_values(operand, arguments.num_rows)?;
    let mut results = wide.into_iter().map(|value| f(value, i32::from(scale), i32::from(result_scale))).collect::<Vec<_>>();
    let limit = power_of_ten(38).unwrap_or(i128::MAX);
    let mut checked = |row: usize| match results[row].take() {
        Some(value) if value.unsigned_abs() < limit.unsigned_abs() => Ok(value),
        _ => Err(Error::NumericOverflow),
    };
    match arguments.data_type {
        DataType::Decimal64(..) => arguments.map(|row| i64::try_from(checked(row)?).map_err(|_| Error::NumericOverflow)),
        _ => arguments.map(checked),
    }
}

fn wide_values(operand: &Datum, num_rows: usize) -> Result<Vec<i128>> {
    if let Ok(narrow) = values::<i64>(operand) {
        return Ok((0..num_rows).map(|row| i128::from(narrow.get(row))).collect());
    }
    let wide = values::<i128>(operand)?;
    Ok((0..num_rows).map(|row| wide.get(row)).collect())
}

// ---- floats ----

fn of_float(arguments: &Arguments<'_>, f: impl Fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let values = arguments.natives::<f64>(0)?;
    arguments.map(|row| f(values.get(row)))
}

/// A finite argument must not give infinity.
fn finite(arguments: &Arguments<'_>, argument: f64, result: f64) -> Result<f64> {
    if result.is_infinite() && argument.is_finite() { Err(out_of_range(arguments)) } else { Ok(result) }
}

pub(super) fn sqrt(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| if v < 0.0 { Err(Error::InvalidPower("cannot take square root of a negative number")) } else { Ok(v.sqrt()) })
}

pub(super) fn cbrt(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| Ok(v.cbrt()))
}

pub(super) fn exp(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| match v.exp() {
        zero if zero == 0.0 && v.is_finite() => Err(out_of_range(arguments)),
        result => finite(arguments, v, result),
    })
}

fn in_domain_of_logarithm(value: f64) -> Result<f64> {
    if value == 0.0 {
        Err(Error::InvalidLogarithm("cannot take logarithm of zero"))
    } else if value < 0.0 {
        Err(Error::InvalidLogarithm("cannot take logarithm of a negative number"))
    } else {
        Ok(value)
    }
}

pub(super) fn ln(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| in_domain_of_logarithm(v).map(f64::ln))
}

pub(super) fn log10(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| in_domain_of_logarithm(v).map(f64::log10))
}

pub(super) fn log(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (bases, values) = (arguments.natives::<f64>(0)?, arguments.natives::<f64>(1)?);
    arguments.map(|row| {
        let (base, value) = (in_domain_of_logarithm(bases.get(row))?, in_domain_of_logarithm(values.get(row))?);
        if base == 1.0 { Err(Error::DivisionByZero) } else { Ok(value.ln() / base.ln()) }
    })
}

pub(super) fn power(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (bases, exponents) = (arguments.natives::<f64>(0)?, arguments.natives::<f64>(1)?);
    arguments.map(|row| {
        let (base, exponent) = (bases.get(row), exponents.get(row));
        if base == 0.0 && exponent < 0.0 {
            return Err(Error::InvalidPower("zero raised to a negative power is undefined"));
        }
        if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
            return Err(Error::InvalidPower("a negative number raised to a non-integer power yields a complex result"));
        }
        let result = base.powf(exponent);
        let underflow = result == 0.0 && base != 0.0 && base.is_finite() && exponent.is_finite();
        let overflow = result.is_infinite() && base.is_finite() && exponent.is_finite();
        if overflow || underflow { Err(out_of_range(arguments)) } else { Ok(result) }
    })
}

pub(super) fn pi(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    arguments.map(|_| Ok(std::f64::consts::PI))
}

pub(super) fn degrees(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| finite(arguments, v, v.to_degrees()))
}

pub(super) fn radians(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| Ok(v.to_radians()))
}

/// An angle must not be infinite.
fn of_angle(arguments: &Arguments<'_>, f: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    of_float(arguments, |v| if v.is_infinite() { Err(out_of_range(arguments)) } else { Ok(f(v)) })
}

pub(super) fn sin(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_angle(arguments, f64::sin)
}

pub(super) fn cos(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_angle(arguments, f64::cos)
}

pub(super) fn tan(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_angle(arguments, f64::tan)
}

/// A sine or cosine lies between -1 and 1.
fn of_ratio(arguments: &Arguments<'_>, f: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    of_float(arguments, |v| if v.abs() > 1.0 { Err(out_of_range(arguments)) } else { Ok(f(v)) })
}

pub(super) fn asin(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_ratio(arguments, f64::asin)
}

pub(super) fn acos(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_ratio(arguments, f64::acos)
}

pub(super) fn atan(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    of_float(arguments, |v| Ok(v.atan()))
}

pub(super) fn atan2(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (ys, xs) = (arguments.natives::<f64>(0)?, arguments.natives::<f64>(1)?);
    arguments.map(|row| Ok(ys.get(row).atan2(xs.get(row))))
}

// ---- integers ----

fn greatest_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

pub(super) fn gcd(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (left, right) = (arguments.natives::<i64>(0)?, arguments.natives::<i64>(1)?);
    arguments.map(|row| {
        let divisor = greatest_divisor(left.get(row).unsigned_abs(), right.get(row).unsigned_abs());
        i64::try_from(divisor).map_err(|_| out_of_range(arguments))
    })
}

pub(super) fn lcm(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (left, right) = (arguments.natives::<i64>(0)?, arguments.natives::<i64>(1)?);
    arguments.map(|row| {
        let (l, r) = (left.get(row).unsigned_abs(), right.get(row).unsigned_abs());
        if l == 0 || r == 0 {
            return Ok(0i64);
        }
        let multiple = (l / greatest_divisor(l, r)).checked_mul(r);
        multiple.and_then(|multiple| i64::try_from(multiple).ok()).ok_or_else(|| out_of_range(arguments))
    })
}
