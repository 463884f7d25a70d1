//! PostgreSQL's implicit conversions: which types meet where, and constants in the type they are needed in.
//!
//! Position: asked by `binder` wherever two types meet. Everything here is about types and single constants;
//! which casts end up in a plan is decided in `binder::conversion`. Text into values is in [`super::literal`].

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    types::{self, DECIMAL128_DIGITS_MAX},
};

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// Whether `data_type` is a number.
pub fn is_number(data_type: &DataType) -> bool {
    is_integer(data_type) || is_float(data_type) || types::decimal_digits(data_type).is_some()
}

/// Whether `data_type` is an integer.
pub fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

/// Whether `data_type` is a binary floating-point number.
pub fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Whether `data_type` is a point in time with a day: date and both timestamps.
pub fn is_day_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(..))
}

/// The decimal that holds every value of an integer or decimal type.
pub fn as_decimal(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Int16 => Some((5, 0)),
        DataType::Int32 => Some((10, 0)),
        DataType::Int64 => Some((19, 0)),
        other => types::decimal_digits(other),
    }
}

/// A decimal type with `integer_digits` before the point, at most what 128 bits hold.
pub fn decimal_with(integer_digits: i32, scale: i8) -> DataType {
    let precision = (integer_digits.max(0) + i32::from(scale)).clamp(1, i32::from(DECIMAL128_DIGITS_MAX));
    types::decimal(precision as u8, scale)
}

/// The type in which two types of the same category meet (`CASE`, `UNION`, comparisons, …); `None` if they
/// do not. Unknown meets everything.
pub fn common_type(left: &DataType, right: &DataType) -> Option<DataType> {
    if left == right || *right == DataType::Null {
        return Some(left.clone());
    }
    if *left == DataType::Null {
        return Some(right.clone());
    }
    if is_number(left) && is_number(right) {
        return Some(common_number(left, right));
    }
    if is_day_time(left) && is_day_time(right) {
        let zoned = [left, right].into_iter().any(|t| matches!(t, DataType::Timestamp(_, Some(_))));
        return Some(if zoned { types::timestamptz() } else { types::timestamp() });
    }
    None
}

/// The type in which two numbers meet: integers < numeric < double precision.
fn common_number(left: &DataType, right: &DataType) -> DataType {
    if is_float(left) || is_float(right) {
        // Of two different types with a binary fraction among them, PostgreSQL takes double precision.
        return DataType::Float64;
    }
    if is_integer(left) && is_integer(right) {
        let wide = |t: &DataType| [left, right].contains(&t);
        return match (wide(&DataType::Int64), wide(&DataType::Int32)) {
            (true, _) => DataType::Int64,
            (_, true) => DataType::Int32,
            _ => DataType::Int16,
        };
    }
    match (as_decimal(left), as_decimal(right)) {
        (Some((lp, ls)), Some((rp, rs))) => {
            let scale = ls.max(rs);
            decimal_with((i32::from(lp) - i32::from(ls)).max(i32::from(rp) - i32::from(rs)), scale)
        }
        _ => DataType::Float64,
    }
}

/// Whether a value of `from` becomes one of `to` without being asked (as an argument of a function).
pub fn is_implicit(from: &DataType, to: &DataType) -> bool {
    let rank = |t: &DataType| match t {
        DataType::Int16 => 1,
        DataType::Int32 => 2,
        DataType::Int64 => 3,
        DataType::Decimal64(..) | DataType::Decimal128(..) => 4,
        DataType::Float32 => 5,
        DataType::Float64 => 6,
        _ => 0,
    };
    if from == to || *from == DataType::Null {
        return true;
    }
    if is_number(from) && is_number(to) {
        return rank(from) <= rank(to);
    }
    matches!(
        (from, to),
        (DataType::Date32, DataType::Timestamp(..))
            | (DataType::Timestamp(_, None), DataType::Timestamp(_, Some(_)))
            | (DataType::Time64(_), DataType::Interval(_))
    )
}

/// Whether `CAST(from AS to)` exists.
pub fn is_castable(from: &DataType, to: &DataType) -> bool {
    use DataType::{BinaryView, Boolean, Interval, Null, Time64, Timestamp, Utf8View};
    if from == to || *from == Null || *from == Utf8View || *to == Utf8View {
        return true;
    }
    if is_number(from) && is_number(to) || is_day_time(from) && is_day_time(to) {
        return true;
    }
    match (from, to) {
        (Boolean, DataType::Int32) | (DataType::Int32, Boolean) => true,
        (Timestamp(..), Time64(_)) | (Time64(_), Interval(_)) | (Interval(_), Time64(_)) => true,
        (BinaryView, _) | (_, BinaryView) => false,
        _ => false,
    }
}

/// Digits of an unscaled decimal value, at least one.
pub fn digits(unscaled: i128) -> u8 {
    let mut rest = unscaled.unsigned_abs();
    let mut digits = 1;
    while rest >= 10 {
        rest /= 10;
        digits += 1;
    }
    digits
}

/// A decimal constant with just the digits it needs.
pub fn decimal_scalar(unscaled: i128, scale: i8) -> Scalar {
    Scalar::Decimal(unscaled, digits(unscaled).max(scale.max(0) as u8), scale)
}

/// An integer or decimal constant as unscaled value and scale.
pub fn exact_value(scalar: &Scalar) -> Option<(i128, i8)> {
    match scalar {
        Scalar::Int16(v) => Some((i128::from(*v), 0)),
        Scalar::Int32(v) => Some((i128::from(*v), 0)),
        Scalar::Int64(v) => Some((i128::from(*v), 0)),
        Scalar::Decimal(v, _, s) => Some((*v, *s)),
        _ => None,
    }
}

/// `unscaled` at another scale, if that loses nothing.
pub fn rescale(unscaled: i128, from: i8, to: i8) -> Option<i128> {
    let power = 10i128.checked_pow(u32::from(from.abs_diff(to)))?;
    if to >= from {
        unscaled.checked_mul(power)
    } else if unscaled % power == 0 {
        Some(unscaled / power)
    } else {
        None
    }
}

/// A decimal constant without zeros at its end.
pub fn without_trailing_zeros(mut unscaled: i128, mut scale: i8) -> (i128, i8) {
    while scale > 0 && unscaled % 10 == 0 {
        unscaled /= 10;
        scale -= 1;
    }
    (unscaled, scale)
}

/// `scalar` as a constant of type `to`, if it has exactly that value there (binary fractions: the nearest).
/// `None`: a cast at run time has to round, or to fail.
pub fn convert_scalar(scalar: &Scalar, to: &DataType) -> Option<Scalar> {
    if scalar.is_null() {
        return Some(Scalar::Null(to.clone()));
    }
    if scalar.data_type() == *to {
        return Some(scalar.clone());
    }
    if let Some((value, scale)) = exact_value(scalar) {
        return convert_exact(value, scale, to);
    }
    match (scalar, to) {
        (Scalar::Float32(v), DataType::Float64) => Some(Scalar::Float64(f64::from(*v))),
        (Scalar::Date32(days), DataType::Timestamp(_, zone)) => {
            let us = i64::from(*days).checked_mul(DAY_US)?;
            Some(if zone.is_some() { Scalar::TimestampTz(us) } else { Scalar::Timestamp(us) })
        }
        (Scalar::Timestamp(us), DataType::Timestamp(_, Some(_))) => Some(Scalar::TimestampTz(*us)),
        (Scalar::TimestampTz(us), DataType::Timestamp(_, None)) => Some(Scalar::Timestamp(*us)),
        (Scalar::Timestamp(us) | Scalar::TimestampTz(us), DataType::Date32) => {
            i32::try_from(us.div_euclid(DAY_US)).ok().map(Scalar::Date32)
        }
        _ => None,
    }
}

fn convert_exact(value: i128, scale: i8, to: &DataType) -> Option<Scalar> {
    if let Some((precision, to_scale)) = types::decimal_digits(to) {
        let unscaled = rescale(value, scale, to_scale)?;
        return (digits(unscaled) <= precision).then_some(Scalar::Decimal(unscaled, precision, to_scale));
    }
    match to {
        DataType::Int16 => i16::try_from(rescale(value, scale, 0)?).ok().map(Scalar::Int16),
        DataType::Int32 => i32::try_from(rescale(value, scale, 0)?).ok().map(Scalar::Int32),
        DataType::Int64 => i64::try_from(rescale(value, scale, 0)?).ok().map(Scalar::Int64),
        DataType::Float64 => format!("{value}e{}", -i32::from(scale)).parse().ok().map(Scalar::Float64),
        DataType::Float32 => format!("{value}e{}", -i32::from(scale)).parse().ok().map(Scalar::Float32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_meet_in_the_wider_type() {
        let cases = [
            (DataType::Int16, DataType::Int32, DataType::Int32),
            (DataType::Int64, DataType::Int16, DataType::Int64),
            (DataType::Int32, types::decimal(15, 2), types::decimal(15, 2)),
            (DataType::Int64, types::decimal(15, 2), types::decimal(21, 2)),
            (types::decimal(5, 4), types::decimal(10, 1), types::decimal(13, 4)),
            (types::decimal(15, 2), DataType::Float64, DataType::Float64),
            (DataType::Float32, DataType::Int32, DataType::Float64),
        ];
        for (left, right, expected) in cases {
            assert_eq!(common_type(&left, &right), Some(expected.clone()), "{left} and {right}");
            assert_eq!(common_type(&right, &left), Some(expected), "{right} and {left}");
        }
        assert_eq!(common_type(&DataType::Int32, &DataType::Utf8View), None);
        assert_eq!(common_type(&DataType::Date32, &types::timestamptz()), Some(types::timestamptz()));
    }

    #[test]
    fn constants_convert_only_without_loss() {
        let decimal = Scalar::Decimal(500, 3, 2);
        assert_eq!(convert_scalar(&decimal, &DataType::Int32), Some(Scalar::Int32(5)));
        assert_eq!(convert_scalar(&Scalar::Decimal(501, 3, 2), &DataType::Int32), None);
        assert_eq!(convert_scalar(&Scalar::Decimal(501, 3, 2), &DataType::Float64), Some(Scalar::Float64(5.01)));
        assert_eq!(convert_scalar(&Scalar::Int32(24), &types::decimal(15, 2)), Some(Scalar::Decimal(2400, 15, 2)));
        assert_eq!(convert_scalar(&Scalar::Int32(24), &types::decimal(3, 2)), None);
        assert_eq!(convert_scalar(&Scalar::Int64(1 << 40), &DataType::Int32), None);
    }
}
