//! Exact arithmetic on decimals of 64 and 128 bits in any mixture of widths and scales.
//!
//! Column loops run in the narrowest integers that the operands' magnitudes, combined per batch, prove to
//! hold every result; what cannot be proven goes row by row through [`exact`], in 256 bits if need be.
//! Results are rounded half away from zero to the scale written in the plan. A result that its width cannot
//! hold (a 64-bit integer, or 38 digits) is an error, never a wrong number.

use arrow::{
    array::ArrayRef,
    buffer::NullBuffer,
    datatypes::{DataType, i256},
};

use super::integer::{self, bits_used, map_pairs};
use crate::{
    Error, Result, Scalar,
    expression::{
        Arithmetic,
        bits::union_nulls,
        datum::{Datum, Native, Values, unexpected, values},
    },
    types,
};

/// Bits of magnitude that every number of 38 digits has room for: `2^126 < 10^38`.
const WIDE_BITS_SAFE: u32 = 126;

/// Computes `left operator right` with the digits of `data_type`.
pub(crate) fn arithmetic(operator: Arithmetic, left: &Datum, right: &Datum, data_type: &DataType, num_rows: usize) -> Result<ArrayRef> {
    let scales = Scales::of(left, right, data_type)?;
    let (left, right, scales) = align_constant(operator, left, right, scales);
    let nulls = union_nulls(left.nulls(), right.nulls());
    let (l, r) = (Side::of(&left)?, Side::of(&right)?);
    match data_type {
        DataType::Decimal64(..) => {
            let result = match narrow(operator, &l, &r, scales) {
                Some(result) => result,
                None => narrowed(row_by_row(operator, &l, &r, scales, num_rows, nulls.as_ref())?, nulls.as_ref())?,
            };
            i64::array(data_type, result, nulls)
        }
        _ => {
            let result = match wide(operator, &l, &r, scales) {
                Some(result) => result,
                None => row_by_row(operator, &l, &r, scales, num_rows, nulls.as_ref())?,
            };
            i128::array(data_type, result, nulls)
        }
    }
}

/// Digits after the point of the operands and the result.
#[derive(Clone, Copy)]
struct Scales {
    left: i32,
    right: i32,
    result: i32,
}

impl Scales {
    fn of(left: &Datum, right: &Datum, result: &DataType) -> Result<Scales> {
        let scale = |data_type: &DataType| {
            types::decimal_digits(data_type).map(|(_, scale)| i32::from(scale)).ok_or_else(|| unexpected("numeric", data_type))
        };
        Ok(Scales { left: scale(&left.data_type())?, right: scale(&right.data_type())?, result: scale(result)? })
    }

    /// Whether the exact result has the scale that is wanted.
    fn fit(self, operator: Arithmetic) -> bool {
        match operator {
            Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Modulo => self.left == self.result && self.right == self.result,
            Arithmetic::Multiply => self.left + self.right == self.result,
            Arithmetic::Divide => false,
        }
    }
}

/// `1 - discount`: gives a constant the scale of the result, once instead of per row.
fn align_constant(operator: Arithmetic, left: &Datum, right: &Datum, scales: Scales) -> (Datum, Datum, Scales) {
    let mut sides = (left.clone(), right.clone(), scales);
    if matches!(operator, Arithmetic::Add | Arithmetic::Subtract) {
        if let Some(aligned) = aligned(left, scales.left, scales.result) {
            sides = (aligned, sides.1, Scales { left: scales.result, ..sides.2 });
        }
        if let Some(aligned) = aligned(right, scales.right, scales.result) {
            sides = (sides.0, aligned, Scales { right: scales.result, ..sides.2 });
        }
    }
    sides
}

fn aligned(datum: &Datum, from: i32, to: i32) -> Option<Datum> {
    match datum {
        Datum::Scalar(Scalar::Decimal(value, ..)) if from < to => {
            let value = rescale(*value, from, to)?;
            Some(Datum::Scalar(Scalar::Decimal(value, types::DECIMAL128_DIGITS_MAX, i8::try_from(to).ok()?)))
        }
        _ => None,
    }
}

/// An operand in its width; a constant in the narrowest.
enum Side<'a> {
    Narrow(Values<'a, i64>),
    Wide(Values<'a, i128>),
}

impl<'a> Side<'a> {
    fn of(datum: &'a Datum) -> Result<Side<'a>> {
        match datum {
            Datum::Scalar(Scalar::Decimal(value, ..)) => Ok(match i64::try_from(*value) {
                Ok(narrow) => Side::Narrow(Values::Constant(narrow)),
                Err(_) => Side::Wide(Values::Constant(*value)),
            }),
            other if matches!(other.data_type(), DataType::Decimal64(..)) => values(other).map(Side::Narrow),
            other => values(other).map(Side::Wide),
        }
    }

    #[inline]
    fn get(&self, row: usize) -> i128 {
        match self {
            Side::Narrow(values) => i128::from(values.get(row)),
            Side::Wide(values) => values.get(row),
        }
    }

    fn bits(&self) -> u32 {
        match self {
            Side::Narrow(values) => bits_used(*values),
            Side::Wide(values) => bits_used(*values),
        }
    }
}

/// The result in 64 bits, if the operands are, no rounding is needed and no row overflows.
fn narrow(operator: Arithmetic, left: &Side<'_>, right: &Side<'_>, scales: Scales) -> Option<Vec<i64>> {
    let (Side::Narrow(l), Side::Narrow(r)) = (left, right) else { return None };
    if !scales.fit(operator) {
        return None;
    }
    match operator {
        Arithmetic::Add => integer::add(*l, *r),
        Arithmetic::Subtract => integer::subtract(*l, *r),
        Arithmetic::Multiply => integer::multiply(*l, *r),
        Arithmetic::Divide | Arithmetic::Modulo => None,
    }
}

/// The result in 128 bits, if no rounding is needed and the operands' magnitudes prove it to fit.
fn wide(operator: Arithmetic, left: &Side<'_>, right: &Side<'_>, scales: Scales) -> Option<Vec<i128>> {
    if !scales.fit(operator) {
        return None;
    }
    let (left_bits, right_bits) = (left.bits(), right.bits());
    match operator {
        Arithmetic::Add | Arithmetic::Subtract if left_bits.max(right_bits) < WIDE_BITS_SAFE => {
            Some(if operator == Arithmetic::Add { map_sides(left, right, |l, r| l + r) } else { map_sides(left, right, |l, r| l - r) })
        }
        Arithmetic::Multiply if left_bits + right_bits <= WIDE_BITS_SAFE => Some(match (left, right) {
            (Side::Narrow(l), Side::Narrow(r)) if left_bits + right_bits < 63 => map_pairs(*l, *r, |l, r| i128::from(l.wrapping_mul(r))),
            _ => map_sides(left, right, |l, r| l.wrapping_mul(r)),
        }),
        _ => None,
    }
}

#[inline(always)]
fn map_sides(left: &Side<'_>, right: &Side<'_>, f: impl Fn(i128, i128) -> i128) -> Vec<i128> {
    match (left, right) {
        (Side::Narrow(l), Side::Narrow(r)) => map_pairs(*l, *r, |l, r| f(i128::from(l), i128::from(r))),
        (Side::Narrow(l), Side::Wide(r)) => map_pairs(*l, *r, |l, r| f(i128::from(l), r)),
        (Side::Wide(l), Side::Narrow(r)) => map_pairs(*l, *r, |l, r| f(l, i128::from(r))),
        (Side::Wide(l), Side::Wide(r)) => map_pairs(*l, *r, f),
    }
}

fn row_by_row(
    operator: Arithmetic,
    left: &Side<'_>,
    right: &Side<'_>,
    scales: Scales,
    num_rows: usize,
    nulls: Option<&NullBuffer>,
) -> Result<Vec<i128>> {
    (0..num_rows)
        .map(|row| {
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                return Ok(0);
            }
            exact(operator, left.get(row), right.get(row), scales)
        })
        .collect()
}

fn narrowed(values: Vec<i128>, nulls: Option<&NullBuffer>) -> Result<Vec<i64>> {
    values
        .into_iter()
        .enumerate()
        .map(|(row, value)| match i64::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) if nulls.is_some_and(|nulls| nulls.is_null(row)) => Ok(0),
            Err(_) => Err(Error::NumericOverflow),
        })
        .collect()
}

/// One result, rounded half away from zero.
fn exact(operator: Arithmetic, left: i128, right: i128, scales: Scales) -> Result<i128> {
    if matches!(operator, Arithmetic::Divide | Arithmetic::Modulo) && right == 0 {
        return Err(Error::DivisionByZero);
    }
    let result = in_128_bits(operator, left, right, scales).or_else(|| in_256_bits(operator, left, right, scales));
    result.filter(|value| value.unsigned_abs() < POWERS_OF_TEN[38] as u128).ok_or(Error::NumericOverflow)
}

fn in_128_bits(operator: Arithmetic, left: i128, right: i128, scales: Scales) -> Option<i128> {
    let common = scales.left.max(scales.right);
    match operator {
        Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Modulo => {
            let left = left.checked_mul(power_of_ten(common - scales.left)?)?;
            let right = right.checked_mul(power_of_ten(common - scales.right)?)?;
            let result = match operator {
                Arithmetic::Add => left.checked_add(right)?,
                Arithmetic::Subtract => left.checked_sub(right)?,
                _ => left.wrapping_rem(right),
            };
            rescale(result, common, scales.result)
        }
        Arithmetic::Multiply => rescale(left.checked_mul(right)?, scales.left + scales.right, scales.result),
        Arithmetic::Divide => {
            let shift = scales.result + scales.right - scales.left;
            if shift >= 0 {
                Some(round_quotient(left.checked_mul(power_of_ten(shift)?)?, right))
            } else {
                Some(round_quotient(left, right.checked_mul(power_of_ten(-shift)?)?))
            }
        }
    }
}

fn in_256_bits(operator: Arithmetic, left: i128, right: i128, scales: Scales) -> Option<i128> {
    let power = |exponent: i32| i256::from_i128(10).checked_pow(u32::try_from(exponent).ok()?);
    let (left, right) = (i256::from_i128(left), i256::from_i128(right));
    let common = scales.left.max(scales.right);
    let rescaled = |value: i256, from: i32| {
        if from <= scales.result {
            value.checked_mul(power(scales.result - from)?)
        } else {
            round_quotient_256(value, power(from - scales.result)?)
        }
    };
    let result = match operator {
        Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Modulo => {
            let left = left.checked_mul(power(common - scales.left)?)?;
            let right = right.checked_mul(power(common - scales.right)?)?;
            let result = match operator {
                Arithmetic::Add => left.checked_add(right)?,
                Arithmetic::Subtract => left.checked_sub(right)?,
                _ => left.checked_rem(right)?,
            };
            rescaled(result, common)?
        }
        Arithmetic::Multiply => rescaled(left.checked_mul(right)?, scales.left + scales.right)?,
        Arithmetic::Divide => {
            let shift = scales.result + scales.right - scales.left;
            if shift >= 0 {
                round_quotient_256(left.checked_mul(power(shift)?)?, right)?
            } else {
                round_quotient_256(left, right.checked_mul(power(-shift)?)?)?
            }
        }
    };
    result.to_i128()
}

fn round_quotient_256(numerator: i256, denominator: i256) -> Option<i256> {
    let quotient = numerator.checked_div(denominator)?;
    let remainder = numerator.checked_rem(denominator)?.wrapping_abs();
    if remainder < denominator.wrapping_abs().wrapping_sub(remainder) {
        return Some(quotient);
    }
    let away = if (numerator < i256::ZERO) == (denominator < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

/// `numerator / denominator` (not 0), rounded half away from zero.
pub(crate) fn round_quotient(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator.wrapping_div(denominator);
    let remainder = numerator.wrapping_rem(denominator).unsigned_abs();
    if remainder < denominator.unsigned_abs() - remainder {
        return quotient;
    }
    quotient + if (numerator < 0) == (denominator < 0) { 1 } else { -1 }
}

/// Gives an unscaled value of `from` digits after the point `to` of them, rounding half away from zero; `None`
/// if 128 bits do not hold it.
pub(crate) fn rescale(value: i128, from: i32, to: i32) -> Option<i128> {
    if from <= to {
        return if value == 0 { Some(0) } else { value.checked_mul(power_of_ten(to - from)?) };
    }
    match power_of_ten(from - to) {
        Some(divisor) => Some(round_quotient(value, divisor)),
        // Dividing 38 digits by more than 10^38 leaves less than a half.
        None => Some(0),
    }
}

static POWERS_OF_TEN: [i128; 39] = {
    let mut powers = [1; 39];
    let mut exponent = 1;
    while exponent < 39 {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// `10^exponent`, if 128 bits hold it.
pub(crate) fn power_of_ten(exponent: i32) -> Option<i128> {
    POWERS_OF_TEN.get(usize::try_from(exponent).ok()?).copied()
}
