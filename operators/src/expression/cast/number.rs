//! Casts between integers, floats and decimals.
//!
//! Floats become integers rounding half to even, decimals half away from zero. A float becomes a decimal by
//! way of its 15 (`real`: 6) significant digits, a decimal becomes the nearest float.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Decimal64Array, Decimal128Array, Int32Array},
    datatypes::{DataType, Decimal64Type, Decimal128Type},
};

use super::{map_valid, parse::parse_decimal};
use crate::{
    Error, Result,
    expression::{
        arithmetic::{power_of_ten, rescale},
        bits::mask_of,
        datum::{Native, unexpected},
        text::write_decimal,
    },
    types,
};

/// Casts a number to another type of number.
pub(super) fn cast(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Int16 => from_integer::<i16>(array, data_type),
        DataType::Int32 => from_integer::<i32>(array, data_type),
        DataType::Int64 => from_integer::<i64>(array, data_type),
        DataType::Float32 => from_float::<f32>(array, data_type, 6),
        DataType::Float64 => from_float::<f64>(array, data_type, 15),
        DataType::Decimal64(_, scale) => from_decimal::<i64>(array, *scale, data_type),
        DataType::Decimal128(_, scale) => from_decimal::<i128>(array, *scale, data_type),
        other => Err(unexpected("a number", other)),
    }
}

/// Booleans as 0 and 1.
pub(super) fn of_booleans(array: &ArrayRef) -> ArrayRef {
    let booleans = array.as_boolean();
    let values: Vec<i32> = booleans.values().iter().map(i32::from).collect();
    Arc::new(Int32Array::new(values.into(), booleans.nulls().cloned()))
}

/// Integers as booleans: true if not 0.
pub(super) fn to_booleans(array: &ArrayRef) -> Result<ArrayRef> {
    let mask = match (i16::slice(array.as_ref()), i32::slice(array.as_ref()), i64::slice(array.as_ref())) {
        (Some(values), ..) => mask_of(values, |v| v != 0),
        (_, Some(values), _) => mask_of(values, |v| v != 0),
        (.., Some(values)) => mask_of(values, |v| v != 0),
        _ => return Err(unexpected("an integer", array.data_type())),
    };
    Ok(Arc::new(BooleanArray::new(mask, array.nulls().cloned())))
}

fn out_of_range(data_type: &DataType) -> Error {
    Error::OutOfRange { type_name: types::sql_name(data_type) }
}

fn from_integer<T: Native + Into<i64>>(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let range = |_| out_of_range(to);
    match to {
        DataType::Int16 => map_valid(array, to, |v: T| i16::try_from(v.into()).map_err(range)),
        DataType::Int32 => map_valid(array, to, |v: T| i32::try_from(v.into()).map_err(range)),
        DataType::Int64 => map_valid(array, to, |v: T| Ok(v.into())),
        DataType::Float32 => map_valid(array, to, |v: T| Ok(v.into() as f32)),
        DataType::Float64 => map_valid(array, to, |v: T| Ok(v.into() as f64)),
        DataType::Decimal64(..) | DataType::Decimal128(..) => {
            to_decimal(array, to, |v: T, precision, scale| fit(i128::from(v.into()), 0, precision, scale))
        }
        other => Err(unexpected("a number", other)),
    }
}

fn from_float<T: Native + Into<f64>>(array: &ArrayRef, to: &DataType, digits: usize) -> Result<ArrayRef> {
    // 2^63 is a float, 2^63 - 1 is not: the upper bound is exclusive.
    let whole = |v: T, min: f64, max: f64| {
        let rounded = v.into().round_ties_even();
        if rounded >= min && rounded < max { Ok(rounded) } else { Err(out_of_range(to)) }
    };
    match to {
        DataType::Int16 => map_valid(array, to, |v: T| Ok(whole(v, -32_768.0, 32_768.0)? as i16)),
        DataType::Int32 => map_valid(array, to, |v: T| Ok(whole(v, -2_147_483_648.0, 2_147_483_648.0)? as i32)),
        DataType::Int64 => map_valid(array, to, |v: T| Ok(whole(v, -9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0)? as i64)),
        DataType::Float64 => map_valid(array, to, |v: T| Ok(v.into())),
        DataType::Float32 => map_valid(array, to, |v: T| {
            let wide: f64 = v.into();
            let narrow = wide as f32;
            let overflow = narrow.is_infinite() && wide.is_finite();
            if overflow || (narrow == 0.0 && wide != 0.0) { Err(out_of_range(to)) } else { Ok(narrow) }
        }),
        DataType::Decimal64(..) | DataType::Decimal128(..) => to_decimal(array, to, |v: T, precision, scale| {
            let wide: f64 = v.into();
            if !wide.is_finite() {
                return Err(out_of_range(to));
            }
            parse_decimal(&format!("{wide:.*e}", digits - 1), precision, scale)
        }),
        other => Err(unexpected("a number", other)),
    }
}

fn from_decimal<T: Native + Into<i128>>(array: &ArrayRef, scale: i8, to: &DataType) -> Result<ArrayRef> {
    let whole = |v: T| rescale(v.into(), i32::from(scale), 0).ok_or_else(|| out_of_range(to));
    let range = |_| out_of_range(to);
    match to {
        DataType::Int16 => map_valid(array, to, |v: T| i16::try_from(whole(v)?).map_err(range)),
        DataType::Int32 => map_valid(array, to, |v: T| i32::try_from(whole(v)?).map_err(range)),
        DataType::Int64 => map_valid(array, to, |v: T| i64::try_from(whole(v)?).map_err(range)),
        DataType::Float32 => map_valid(array, to, |v: T| Ok(nearest_float(v.into(), scale) as f32)),
        DataType::Float64 => map_valid(array, to, |v: T| Ok(nearest_float(v.into(), scale))),
        DataType::Decimal64(..) | DataType::Decimal128(..) => match relabelled(array, scale, to) {
            Some(same) => Ok(same),
            None => to_decimal(array, to, |v: T, precision, to_scale| fit(v.into(), scale, precision, to_scale)),
        },
        other => Err(unexpected("a number", other)),
    }
}

/// The same values under another precision that has room for all of them.
fn relabelled(array: &ArrayRef, scale: i8, to: &DataType) -> Option<ArrayRef> {
    let (precision, _) = types::decimal_digits(array.data_type())?;
    let (to_precision, to_scale) = types::decimal_digits(to)?;
    if to_scale != scale || to_precision < precision {
        return None;
    }
    match (array.data_type(), to) {
        (DataType::Decimal64(..), DataType::Decimal64(..)) => {
            let values: &Decimal64Array = array.as_primitive::<Decimal64Type>();
            Some(Arc::new(values.clone().with_data_type(to.clone())))
        }
        (DataType::Decimal128(..), DataType::Decimal128(..)) => {
            let values: &Decimal128Array = array.as_primitive::<Decimal128Type>();
            Some(Arc::new(values.clone().with_data_type(to.clone())))
        }
        (DataType::Decimal64(..), DataType::Decimal128(..)) => {
            let values: Vec<i128> = array.as_primitive::<Decimal64Type>().values().iter().map(|&v| i128::from(v)).collect();
            Some(Arc::new(Decimal128Array::new(values.into(), array.nulls().cloned()).with_data_type(to.clone())))
        }
        _ => None,
    }
}

fn to_decimal<T: Native>(array: &ArrayRef, to: &DataType, f: impl Fn(T, u8, i8) -> Result<i128>) -> Result<ArrayRef> {
    match to {
        DataType::Decimal64(precision, scale) => {
            map_valid(array, to, |v: T| i64::try_from(f(v, *precision, *scale)?).map_err(|_| Error::NumericOverflow))
        }
        DataType::Decimal128(precision, scale) => map_valid(array, to, |v: T| f(v, *precision, *scale)),
        other => Err(unexpected("numeric", other)),
    }
}

/// Gives an unscaled value other digits.
pub(crate) fn fit(value: i128, from_scale: i8, precision: u8, scale: i8) -> Result<i128> {
    let limit = power_of_ten(i32::from(precision)).ok_or(Error::NumericOverflow)?;
    match rescale(value, i32::from(from_scale), i32::from(scale)) {
        Some(value) if value.unsigned_abs() < limit.unsigned_abs() => Ok(value),
        _ => Err(Error::NumericOverflow),
    }
}

/// The float closest to a decimal.
pub(crate) fn nearest_float(unscaled: i128, scale: i8) -> f64 {
    // Both are exact, and a division rounds once.
    const EXACT_MAX: u128 = 1 << 53;
    if unscaled.unsigned_abs() <= EXACT_MAX && (0..=22).contains(&scale) {
        return unscaled as f64 / 10f64.powi(i32::from(scale));
    }
    let mut text = String::new();
    write_decimal(unscaled, scale, &mut text);
    text.parse().unwrap_or(f64::NAN)
}
