//! CAST between all types of [`crate::types`], as PostgreSQL does it; this file only chooses.
//!
//! Deliberately elsewhere: which casts SQL allows and which happen by themselves (`arneb::sql`).

mod number;
mod parse;
mod temporal;

pub use parse::{parse_date, parse_decimal, parse_interval, parse_time, parse_timestamp, parse_timestamptz};

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BinaryViewBuilder, BooleanArray, StringViewArray, StringViewBuilder, new_null_array},
    datatypes::DataType,
};

use super::{
    datum::{Native, string_views, unexpected},
    text::write_value,
};
use crate::{Error, Result, types};

/// `array` as `data_type`; NULL stays NULL.
///
/// # Errors
/// Texts that are no value of the type, values that the type cannot hold; [`Error::Internal`] where SQL has
/// no such cast.
pub fn cast(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    if from == data_type {
        return Ok(array.clone());
    }
    if *from == DataType::Null {
        return Ok(new_null_array(data_type, array.len()));
    }
    match (from, data_type) {
        (DataType::Dictionary(..), DataType::Utf8View) => Ok(Arc::new(string_views(array)?)),
        (DataType::Utf8View | DataType::Dictionary(..), _) => from_text(&string_views(array)?, data_type),
        (_, DataType::Utf8View) => to_text(array),
        _ if is_number(from) && is_number(data_type) => number::cast(array, data_type),
        (DataType::Boolean, DataType::Int16 | DataType::Int32 | DataType::Int64) => number::cast(&number::of_booleans(array), data_type),
        (DataType::Int16 | DataType::Int32 | DataType::Int64, DataType::Boolean) => number::to_booleans(array),
        _ => temporal::cast(array, data_type),
    }
}

/// Whether casting a value of `from` to `to` may raise an error.
pub(crate) fn can_fail(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Decimal64, Decimal128, Dictionary, Float32, Float64, Int16, Int32, Int64, Null, Time64, Timestamp, Utf8View};
    let whole_digits = |precision: u8, scale: i8| i32::from(precision) - i32::from(scale);
    match (from, to) {
        _ if from == to => false,
        (Null, _) | (_, Utf8View) => false,
        (Utf8View | Dictionary(..), _) => true,
        (Int16, Int32 | Int64) | (Int32, Int64) | (Int16 | Int32 | Int64, Float32 | Float64) | (Float32, Float64) => false,
        (Decimal64(..) | Decimal128(..), Float64) => false,
        (Int16, Decimal64(p, s) | Decimal128(p, s)) => whole_digits(*p, *s) < 5,
        (Int32, Decimal64(p, s) | Decimal128(p, s)) => whole_digits(*p, *s) < 10,
        (Int64, Decimal64(p, s) | Decimal128(p, s)) => whole_digits(*p, *s) < 19,
        (Decimal64(p, s) | Decimal128(p, s), Decimal64(q, t) | Decimal128(q, t)) => {
            whole_digits(*q, *t) < whole_digits(*p, *s) + i32::from(t < s)
        }
        (Timestamp(..), Date32 | Timestamp(..) | Time64(_)) => false,
        _ => true,
    }
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
    )
}

/// One value per value of `array` that is not NULL.
pub(super) fn map_valid<T: Native, V: Native + Default>(
    array: &ArrayRef,
    data_type: &DataType,
    f: impl Fn(T) -> Result<V>,
) -> Result<ArrayRef> {
    let values = T::slice(array.as_ref()).ok_or_else(|| unexpected(std::any::type_name::<T>(), array.data_type()))?;
    let result: Result<Vec<V>> = match array.nulls() {
        None => values.iter().map(|&value| f(value)).collect(),
        Some(nulls) => {
            values.iter().zip(nulls.iter()).map(|(&value, is_valid)| if is_valid { f(value) } else { Ok(V::default()) }).collect()
        }
    };
    V::array(data_type, result?, array.nulls().cloned())
}

fn to_text(array: &ArrayRef) -> Result<ArrayRef> {
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut text = String::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        write_value(array, row, &mut text)?;
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn from_text(texts: &StringViewArray, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Boolean => {
            let values: Result<Vec<bool>> = each(texts, parse::parse_boolean).collect();
            Ok(Arc::new(BooleanArray::new(values?.into(), texts.nulls().cloned())))
        }
        DataType::Int16 => parsed(texts, data_type, parse::parse_integer::<i16>),
        DataType::Int32 => parsed(texts, data_type, parse::parse_integer::<i32>),
        DataType::Int64 => parsed(texts, data_type, parse::parse_integer::<i64>),
        DataType::Float32 => parsed(texts, data_type, parse::parse_float32),
        DataType::Float64 => parsed(texts, data_type, parse::parse_float64),
        DataType::Decimal64(precision, scale) => {
            parsed(texts, data_type, |text| i64::try_from(parse_decimal(text, *precision, *scale)?).map_err(|_| Error::NumericOverflow))
        }
        DataType::Decimal128(precision, scale) => parsed(texts, data_type, |text| parse_decimal(text, *precision, *scale)),
        DataType::Date32 => parsed(texts, data_type, parse_date),
        DataType::Timestamp(_, None) => parsed(texts, data_type, parse_timestamp),
        DataType::Timestamp(_, Some(_)) => parsed(texts, data_type, parse_timestamptz),
        DataType::Time64(_) => parsed(texts, data_type, parse_time),
        DataType::Interval(_) => parsed(texts, data_type, parse_interval),
        DataType::BinaryView => {
            let mut builder = BinaryViewBuilder::with_capacity(texts.len());
            for text in texts {
                builder.append_option(text.map(parse::parse_bytes).transpose()?);
            }
            Ok(Arc::new(builder.finish()))
        }
        other => Err(Error::Internal(format!("no cast from text to {other}"))),
    }
}

fn each<'a, V: Default + 'a>(texts: &'a StringViewArray, parse: impl Fn(&str) -> Result<V> + 'a) -> impl Iterator<Item = Result<V>> + 'a {
    texts.iter().map(move |text| text.map_or_else(|| Ok(V::default()), &parse))
}

fn parsed<V: Native + Default>(texts: &StringViewArray, data_type: &DataType, parse: impl Fn(&str) -> Result<V>) -> Result<ArrayRef> {
    let values: Result<Vec<V>> = each(texts, parse).collect();
    V::array(data_type, values?, texts.nulls().cloned())
}

/// What cannot be read as `data_type`, for a message: at most a line.
pub(super) fn invalid_text(data_type: &DataType, text: &str) -> Error {
    const SHOWN_MAX: usize = 80;
    let shown = text.lines().next().unwrap_or_default().chars().take(SHOWN_MAX).collect();
    Error::InvalidText { type_name: types::sql_name(data_type), text: shown }
}
