//! Smallest and largest value of a column chunk, as far as a footer can be trusted.
//!
//! Position: used by [`super::statistics`] (for the optimizer) and [`super::prune`] (for scans). Distrusted: the deprecated fields but
//! for signed integers (old writers compared bytes as signed), bounds that are NaN, upside down or not of the column's type,
//! and everything about INT96 and half precision.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use operators::Scalar;
use parquet::{
    data_type::AsBytes,
    file::{metadata::ColumnChunkMetaData, statistics::Statistics},
};

use super::schema::{Conversion, Reading, sign_extend};

/// What a footer says of the values of a column chunk.
#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// Nothing.
    Unknown,
    /// There are only NULLs.
    AllNull,
    /// No value is smaller than the first or larger than the second.
    Between(Scalar, Scalar),
}

/// The bounds of a column chunk.
pub fn bounds(chunk: &ColumnChunkMetaData, reading: &Reading) -> Bounds {
    let Some(statistics) = chunk.statistics() else { return Bounds::Unknown };
    if reading.is_optional && statistics.null_count_opt().is_some_and(|nulls| nulls > 0 && nulls == chunk.num_values() as u64) {
        return Bounds::AllNull;
    }
    let is_signed_integer = matches!(statistics, Statistics::Int32(_) | Statistics::Int64(_))
        && !matches!(reading.conversion, Conversion::UInt32To64 | Conversion::UInt64To128);
    if statistics.is_min_max_deprecated() && !is_signed_integer {
        return Bounds::Unknown;
    }
    match min_max(statistics, reading) {
        Some((min, max)) if compare(&min, &max).is_some_and(Ordering::is_le) => Bounds::Between(min, max),
        _ => Bounds::Unknown,
    }
}

/// Number of NULLs in a column chunk.
pub fn null_count(chunk: &ColumnChunkMetaData, reading: &Reading) -> Option<u64> {
    if !reading.is_optional {
        return Some(0);
    }
    chunk.statistics().and_then(Statistics::null_count_opt)
}

fn min_max(statistics: &Statistics, reading: &Reading) -> Option<(Scalar, Scalar)> {
    match statistics {
        Statistics::Boolean(s) => Some((Scalar::Boolean(*s.min_opt()?), Scalar::Boolean(*s.max_opt()?))),
        Statistics::Int32(s) => {
            let convert = |v: i32| if reading.conversion == Conversion::UInt32To64 { i64::from(v as u32) } else { i64::from(v) };
            integers(convert(*s.min_opt()?), convert(*s.max_opt()?), reading)
        }
        Statistics::Int64(s) if reading.conversion == Conversion::UInt64To128 => {
            let scalar = |v: i64| Scalar::Decimal(i128::from(v as u64), 20, 0);
            Some((scalar(*s.min_opt()?), scalar(*s.max_opt()?)))
        }
        Statistics::Int64(s) => integers(*s.min_opt()?, *s.max_opt()?, reading),
        Statistics::Int96(_) => None,
        Statistics::Float(s) => {
            let (min, max) = floats(f64::from(*s.min_opt()?), f64::from(*s.max_opt()?))?;
            Some((Scalar::Float32(min as f32), Scalar::Float32(max as f32)))
        }
        Statistics::Double(s) => {
            let (min, max) = floats(*s.min_opt()?, *s.max_opt()?)?;
            Some((Scalar::Float64(min), Scalar::Float64(max)))
        }
        Statistics::ByteArray(s) => Some((bytes(s.min_opt()?.as_bytes(), reading)?, bytes(s.max_opt()?.as_bytes(), reading)?)),
        Statistics::FixedLenByteArray(s) => Some((bytes(s.min_opt()?.as_bytes(), reading)?, bytes(s.max_opt()?.as_bytes(), reading)?)),
    }
}

fn integers(min: i64, max: i64, reading: &Reading) -> Option<(Scalar, Scalar)> {
    let convert = |value: i64| {
        Some(match reading.conversion {
            Conversion::Multiply(factor) | Conversion::Int32To64(factor) => value.checked_mul(factor)?,
            Conversion::Divide(divisor) => value.div_euclid(divisor),
            _ => value,
        })
    };
    Some((integer_scalar(convert(min)?, &reading.data_type)?, integer_scalar(convert(max)?, &reading.data_type)?))
}

fn integer_scalar(value: i64, data_type: &DataType) -> Option<Scalar> {
    Some(match data_type {
        DataType::Int16 => Scalar::Int16(value.try_into().ok()?),
        DataType::Int32 => Scalar::Int32(value.try_into().ok()?),
        DataType::Int64 => Scalar::Int64(value),
        DataType::Date32 => Scalar::Date32(value.try_into().ok()?),
        DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale) => Scalar::Decimal(value.into(), *precision, *scale),
        DataType::Timestamp(_, None) => Scalar::Timestamp(value),
        DataType::Timestamp(_, Some(_)) => Scalar::TimestampTz(value),
        DataType::Time64(_) => Scalar::Time(value),
        _ => return None,
    })
}

// A writer may leave the sign of a zero out of its bounds.
fn floats(min: f64, max: f64) -> Option<(f64, f64)> {
    if min.is_nan() || max.is_nan() {
        return None;
    }
    Some((if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max }))
}

fn bytes(value: &[u8], reading: &Reading) -> Option<Scalar> {
    match (&reading.data_type, reading.conversion) {
        (DataType::Utf8View, Conversion::Same) => String::from_utf8(value.to_vec()).ok().map(Scalar::Utf8),
        (DataType::BinaryView, _) => Some(Scalar::Binary(value.to_vec())),
        (DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale), _) => {
            Some(Scalar::Decimal(sign_extend(value).ok()?, *precision, *scale))
        }
        _ => None,
    }
}

/// The order of two values of one type; `None` when they have none (NULL, NaN, different types).
pub fn compare(left: &Scalar, right: &Scalar) -> Option<Ordering> {
    match (left, right) {
        (Scalar::Boolean(l), Scalar::Boolean(r)) => Some(l.cmp(r)),
        (Scalar::Float32(l), Scalar::Float32(r)) => l.partial_cmp(r),
        (Scalar::Float64(l), Scalar::Float64(r)) => l.partial_cmp(r),
        (Scalar::Utf8(l), Scalar::Utf8(r)) => Some(l.as_bytes().cmp(r.as_bytes())),
        (Scalar::Binary(l), Scalar::Binary(r)) => Some(l.cmp(r)),
        (Scalar::Decimal(l, _, left_scale), Scalar::Decimal(r, _, right_scale)) => (left_scale == right_scale).then(|| l.cmp(r)),
        _ => {
            let same_type = std::mem::discriminant(left) == std::mem::discriminant(right);
            same_type.then(|| Some(as_integer(left)?.cmp(&as_integer(right)?))).flatten()
        }
    }
}

/// The value of an integer-like scalar, as runtime filters and spans count it.
pub fn as_integer(scalar: &Scalar) -> Option<i64> {
    match scalar {
        Scalar::Int16(v) => Some((*v).into()),
        Scalar::Int32(v) | Scalar::Date32(v) => Some((*v).into()),
        Scalar::Int64(v) | Scalar::Timestamp(v) | Scalar::TimestampTz(v) | Scalar::Time(v) => Some(*v),
        Scalar::Decimal(v, _, _) => i64::try_from(*v).ok(),
        _ => None,
    }
}
