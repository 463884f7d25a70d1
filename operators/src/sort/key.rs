//! Sort keys as numbers and bytes that compare like the rows.
//!
//! Every row gets a 128-bit prefix. Fixed-width keys of up to 128 bits together fit it whole; for others it is
//! the beginning of a byte string (Arrow's row format), and rows with equal prefixes compare by that.
//!
//! The order is PostgreSQL's: NaN after every number and equal to itself, -0 equal to 0, texts by their bytes,
//! intervals by their length.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray},
    compute::cast,
    datatypes::{
        DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
    },
    row::{RowConverter, Rows, SortField},
};

use crate::{
    Result,
    aggregate::{TextColumn, canonical_f32, canonical_f64, interval_nanoseconds},
};

/// How the values of one key are ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyOrder {
    /// Largest first.
    pub(crate) descending: bool,
    /// NULLs before everything else.
    pub(crate) nulls_first: bool,
}

/// Makes the keys of rows comparable.
pub(crate) struct KeyEncoder {
    orders: Vec<KeyOrder>,
    /// `None` where prefixes say everything.
    converter: Option<RowConverter>,
}

/// The keys of a batch, by row.
pub(crate) struct EncodedRows {
    pub(crate) prefixes: Vec<u128>,
    rows: Option<Rows>,
}

impl EncodedRows {
    /// Compares a row with one of another batch; their prefixes are known to be equal.
    pub(crate) fn compare_ties(&self, row: usize, other: &EncodedRows, other_row: usize) -> Ordering {
        match (&self.rows, &other.rows) {
            (Some(rows), Some(other)) => rows.row(row).cmp(&other.row(other_row)),
            _ => Ordering::Equal,
        }
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        self.prefixes.capacity() * size_of::<u128>() + self.rows.as_ref().map_or(0, Rows::size)
    }
}

impl KeyEncoder {
    /// An encoder of keys of `types` (texts without dictionaries), at least one.
    pub(crate) fn new(types: &[DataType], orders: Vec<KeyOrder>) -> Result<Self> {
        let bits: Option<u32> = types.iter().map(|data_type| value_bits(data_type).map(|bits| bits + 1)).sum();
        let converter = match bits {
            Some(bits) if bits <= 128 => None,
            _ => {
                let options =
                    orders.iter().map(|order| arrow::compute::SortOptions { descending: order.descending, nulls_first: order.nulls_first });
                let fields =
                    types.iter().zip(options).map(|(data_type, options)| SortField::new_with_options(encoded_type(data_type), options));
                Some(RowConverter::new(fields.collect())?)
            }
        };
        Ok(KeyEncoder { orders, converter })
    }

    /// Encodes the key columns of a batch.
    pub(crate) fn encode(&self, keys: &[ArrayRef]) -> Result<EncodedRows> {
        match &self.converter {
            Some(converter) => {
                let keys = keys.iter().map(comparable).collect::<Result<Vec<_>>>()?;
                let rows = converter.convert_columns(&keys)?;
                Ok(EncodedRows { prefixes: rows.iter().map(|row| first_bytes(row.as_ref())).collect(), rows: Some(rows) })
            }
            None => {
                let mut prefixes = vec![0; keys[0].len()];
                let mut shift = 128;
                for (key, order) in keys.iter().zip(&self.orders) {
                    let bits = value_bits(key.data_type()).unwrap_or(0);
                    shift -= bits + 1;
                    let nulls = key.nulls().filter(|nulls| nulls.null_count() > 0);
                    let codes = value_codes(key)?;
                    for (row, (prefix, code)) in prefixes.iter_mut().zip(codes).enumerate() {
                        let valid = nulls.is_none_or(|nulls| nulls.is_valid(row));
                        *prefix |= u128::from(valid == order.nulls_first) << (shift + bits);
                        if valid {
                            let mask = u64::MAX >> (64 - bits);
                            *prefix |= u128::from(if order.descending { !code & mask } else { code }) << shift;
                        }
                    }
                }
                Ok(EncodedRows { prefixes, rows: None })
            }
        }
    }

    /// A number per row that never contradicts the order: rows with a smaller one come first; with the same
    /// one, who knows. Much cheaper than [`KeyEncoder::encode`], for it looks at the first key only.
    pub(crate) fn leading(&self, keys: &[ArrayRef]) -> Result<Vec<u64>> {
        leading(&keys[0], self.orders[0])
    }
}

/// Bits of a value of a fixed-width type of at most 64 bits.
fn value_bits(data_type: &DataType) -> Option<u32> {
    match data_type {
        DataType::Boolean => Some(1),
        DataType::Int16 => Some(16),
        DataType::Int32 | DataType::Date32 | DataType::Float32 => Some(32),
        DataType::Int64 | DataType::Float64 | DataType::Decimal64(..) | DataType::Timestamp(..) | DataType::Time64(_) => Some(64),
        _ => None,
    }
}

/// The values of a key of one of those types as numbers in the same order, NULLs as anything.
fn value_codes(key: &ArrayRef) -> Result<Vec<u64>> {
    fn codes<T: ArrowPrimitiveType>(key: &ArrayRef, code: impl Fn(T::Native) -> u64) -> Vec<u64> {
        key.as_primitive::<T>().values().iter().map(|value| code(*value)).collect()
    }
    const SIGN_32: u32 = 1 << 31;
    const SIGN_64: u64 = 1 << 63;
    Ok(match key.data_type() {
        DataType::Boolean => key.as_boolean().values().iter().map(u64::from).collect(),
        DataType::Int16 => codes::<Int16Type>(key, |value| u64::from(value as u16 ^ (1 << 15))),
        DataType::Int32 => codes::<Int32Type>(key, |value| u64::from(value as u32 ^ SIGN_32)),
        DataType::Date32 => codes::<Date32Type>(key, |value| u64::from(value as u32 ^ SIGN_32)),
        DataType::Int64 => codes::<Int64Type>(key, |value| value as u64 ^ SIGN_64),
        DataType::Decimal64(..) => codes::<Decimal64Type>(key, |value| value as u64 ^ SIGN_64),
        DataType::Timestamp(..) => codes::<TimestampMicrosecondType>(key, |value| value as u64 ^ SIGN_64),
        DataType::Time64(_) => codes::<Time64MicrosecondType>(key, |value| value as u64 ^ SIGN_64),
        DataType::Float32 => codes::<Float32Type>(key, |value| {
            let bits = canonical_f32(value).to_bits();
            u64::from(if bits & SIGN_32 == 0 { bits ^ SIGN_32 } else { !bits })
        }),
        DataType::Float64 => codes::<Float64Type>(key, |value| {
            let bits = canonical_f64(value).to_bits();
            if bits & SIGN_64 == 0 { bits ^ SIGN_64 } else { !bits }
        }),
        other => return Err(crate::Error::Internal(format!("a sort key of {other}"))),
    })
}

/// The type in which Arrow's row format orders a key as SQL does.
fn encoded_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Interval(_) => DataType::Decimal128(38, 10),
        other => other.clone(),
    }
}

/// A key column of that type, with one NaN and one zero.
fn comparable(key: &ArrayRef) -> Result<ArrayRef> {
    Ok(match key.data_type() {
        DataType::Dictionary(_, values) => cast(key, values)?,
        DataType::Float32 => Arc::new(key.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical_f32)) as ArrayRef,
        DataType::Float64 => Arc::new(key.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical_f64)),
        DataType::Interval(_) => Arc::new(key.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Decimal128Type>(interval_nanoseconds)),
        _ => Arc::clone(key),
    })
}

/// The first 16 bytes as a number that compares like them.
fn first_bytes(bytes: &[u8]) -> u128 {
    let mut first = [0; 16];
    let length = bytes.len().min(16);
    first[..length].copy_from_slice(&bytes[..length]);
    u128::from_be_bytes(first)
}

/// See [`KeyEncoder::leading`]: the values' order in 63 bits, and NULL before or after them by the 64th.
fn leading(key: &ArrayRef, order: KeyOrder) -> Result<Vec<u64>> {
    let (codes, bits) = match key.data_type() {
        DataType::Decimal128(..) => (wide_codes(key.as_primitive::<Decimal128Type>().values().iter().copied()), 64),
        DataType::Interval(_) => {
            let lengths = key.as_primitive::<IntervalMonthDayNanoType>().values().iter();
            (wide_codes(lengths.map(|interval| interval_nanoseconds(*interval))), 64)
        }
        DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..) => {
            let texts = TextColumn::new(key)?;
            let code = |row| (first_bytes(texts.get(row).unwrap_or_default()) >> 64) as u64;
            ((0..key.len()).map(code).collect(), 64)
        }
        other => (value_codes(key)?, value_bits(other).unwrap_or(64)),
    };
    let nulls = crate::aggregate::nulls(key);
    let null = if order.nulls_first { 0 } else { u64::MAX };
    let valid = u64::from(order.nulls_first) << 63;
    let number = |(row, code): (usize, u64)| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return null;
        }
        let code = (code << (64 - bits)) >> 1;
        valid | if order.descending { !code & (u64::MAX >> 1) } else { code }
    };
    Ok(codes.into_iter().enumerate().map(number).collect())
}

/// Numbers too large for 63 bits count as the largest that fit: still in order.
fn wide_codes(values: impl Iterator<Item = i128>) -> Vec<u64> {
    values.map(|value| value.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64 as u64 ^ (1 << 63)).collect()
}
