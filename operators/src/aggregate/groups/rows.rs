//! Keys of any type as byte strings: what is equal has equal bytes.
//!
//! A column is a byte that tells NULL from a value, then the value: fixed-width types by their little-endian
//! bytes, texts by their length and bytes. The order of rows is not that of their bytes.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewBuilder, BooleanBuilder, Decimal128Array, IntervalMonthDayNanoArray,
        PrimitiveArray, PrimitiveBuilder,
    },
    datatypes::{
        ArrowNativeType, DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, ToByteSlice, UInt32Type,
    },
};

use super::packed::{canonical_f32, canonical_f64, fold};
use crate::{
    Result,
    aggregate::accumulator::{TextColumn, interval_nanoseconds},
};

/// Byte strings, one per row.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowKeys {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowKeys {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of `row`.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    /// Removes all rows.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes allocated.
    pub(crate) fn num_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// Replaces the rows by those of `columns`, at least one.
    pub(crate) fn encode(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let num_rows = columns[0].len();
        let columns = columns.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
        self.clear();
        let mut lengths = vec![0_usize; num_rows];
        columns.iter().for_each(|column| column.add_lengths(&mut lengths));
        let mut total = 0;
        let mut starts = lengths;
        for start in &mut starts {
            let length = *start;
            *start = total;
            total += length;
            self.ends.push(total);
        }
        self.bytes.resize(total, 0);
        columns.iter().for_each(|column| column.write(&mut starts, &mut self.bytes));
        Ok(())
    }

    /// The columns, of `types`, of rows `range`.
    pub(crate) fn decode(&self, types: &[DataType], range: Range<usize>) -> Result<Vec<ArrayRef>> {
        let mut rows: Vec<&[u8]> = range.map(|row| self.row(row)).collect();
        types.iter().map(|data_type| decode(data_type, &mut rows)).collect()
    }
}

/// A hash of a byte string: eight bytes at a time, multiplied and folded.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = fold(hash ^ u64::from_le_bytes(*word), 0xd6e8_feb8_6659_fd93);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(hash ^ u64::from_le_bytes(last), 0xa076_1d64_78bd_642f)
}

/// A key column of a batch.
enum Column {
    Fixed { width: usize, bytes: Vec<u8>, nulls: Option<arrow::buffer::NullBuffer> },
    Text { column: TextColumn, num_rows: usize },
}

impl Column {
    fn new(array: &ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Boolean => {
                let bytes = array.as_boolean().values().iter().map(u8::from).collect();
                Column::Fixed { width: 1, bytes, nulls: array.nulls().cloned() }
            }
            DataType::Int16 => Column::fixed::<Int16Type>(array),
            DataType::Int32 => Column::fixed::<Int32Type>(array),
            DataType::Int64 => Column::fixed::<Int64Type>(array),
            DataType::UInt32 => Column::fixed::<UInt32Type>(array),
            DataType::Date32 => Column::fixed::<Date32Type>(array),
            DataType::Decimal64(..) => Column::fixed::<Decimal64Type>(array),
            DataType::Decimal128(..) => Column::fixed::<Decimal128Type>(array),
            DataType::Timestamp(..) => Column::fixed::<TimestampMicrosecondType>(array),
            DataType::Time64(_) => Column::fixed::<Time64MicrosecondType>(array),
            DataType::Float32 => {
                let array: PrimitiveArray<Float32Type> = array.as_primitive::<Float32Type>().unary(canonical_f32);
                Column::fixed::<Float32Type>(&(Arc::new(array) as ArrayRef))
            }
            DataType::Float64 => {
                let array: PrimitiveArray<Float64Type> = array.as_primitive::<Float64Type>().unary(canonical_f64);
                Column::fixed::<Float64Type>(&(Arc::new(array) as ArrayRef))
            }
            DataType::Interval(_) => {
                let lengths: Decimal128Array = array.as_primitive::<IntervalMonthDayNanoType>().unary(interval_nanoseconds);
                Column::fixed::<Decimal128Type>(&(Arc::new(lengths) as ArrayRef))
            }
            _ => Column::Text { column: TextColumn::new(array)?, num_rows: array.len() },
        })
    }

    fn fixed<T: ArrowPrimitiveType>(array: &ArrayRef) -> Self {
        let array = array.as_primitive::<T>();
        let bytes = array.values().to_byte_slice().to_vec();
        Column::Fixed { width: size_of::<T::Native>(), bytes, nulls: array.nulls().cloned() }
    }

    fn add_lengths(&self, lengths: &mut [usize]) {
        match self {
            Column::Fixed { width, nulls: None, .. } => lengths.iter_mut().for_each(|length| *length += 1 + width),
            Column::Fixed { width, nulls: Some(nulls), .. } => {
                lengths.iter_mut().zip(nulls).for_each(|(length, valid)| *length += 1 + width * usize::from(valid));
            }
            Column::Text { column, num_rows } => {
                for (row, length) in lengths.iter_mut().enumerate().take(*num_rows) {
                    *length += 1 + column.get(row).map_or(0, |text| 4 + text.len());
                }
            }
        }
    }

    /// Writes every row's value at `starts[row]` and moves that behind it.
    fn write(&self, starts: &mut [usize], bytes: &mut [u8]) {
        match self {
            Column::Fixed { width, bytes: values, nulls } => {
                for (row, (start, value)) in starts.iter_mut().zip(values.chunks_exact(*width)).enumerate() {
                    if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                        bytes[*start] = 1;
                        bytes[*start + 1..*start + 1 + width].copy_from_slice(value);
                        *start += width;
                    }
                    *start += 1;
                }
            }
            Column::Text { column, .. } => {
                for (row, start) in starts.iter_mut().enumerate() {
                    if let Some(text) = column.get(row) {
                        bytes[*start] = 1;
                        // A text in an Arrow view has at most 2^32 - 1 bytes.
                        bytes[*start + 1..*start + 5].copy_from_slice(&(text.len() as u32).to_le_bytes());
                        bytes[*start + 5..*start + 5 + text.len()].copy_from_slice(text);
                        *start += 4 + text.len();
                    }
                    *start += 1;
                }
            }
        }
    }
}

/// Takes one column off the front of every row.
fn decode(data_type: &DataType, rows: &mut [&[u8]]) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(rows.len());
            rows.iter_mut().for_each(|row| builder.append_option(take_value::<1>(row).map(|[value]| value == 1)));
            Arc::new(builder.finish())
        }
        DataType::Int16 => primitive::<Int16Type, 2>(rows, i16::from_le_bytes, data_type),
        DataType::Int32 => primitive::<Int32Type, 4>(rows, i32::from_le_bytes, data_type),
        DataType::UInt32 => primitive::<UInt32Type, 4>(rows, u32::from_le_bytes, data_type),
        DataType::Date32 => primitive::<Date32Type, 4>(rows, i32::from_le_bytes, data_type),
        DataType::Int64 => primitive::<Int64Type, 8>(rows, i64::from_le_bytes, data_type),
        DataType::Decimal64(..) => primitive::<Decimal64Type, 8>(rows, i64::from_le_bytes, data_type),
        DataType::Timestamp(..) => primitive::<TimestampMicrosecondType, 8>(rows, i64::from_le_bytes, data_type),
        DataType::Time64(_) => primitive::<Time64MicrosecondType, 8>(rows, i64::from_le_bytes, data_type),
        DataType::Decimal128(..) => primitive::<Decimal128Type, 16>(rows, i128::from_le_bytes, data_type),
        DataType::Float32 => primitive::<Float32Type, 4>(rows, f32::from_le_bytes, data_type),
        DataType::Float64 => primitive::<Float64Type, 8>(rows, f64::from_le_bytes, data_type),
        DataType::Interval(_) => {
            let interval = |row: &mut &[u8]| take_value::<16>(row).map(|bytes| interval_of(i128::from_le_bytes(bytes)));
            Arc::new(rows.iter_mut().map(interval).collect::<IntervalMonthDayNanoArray>())
        }
        _ => {
            let mut builder = BinaryViewBuilder::with_capacity(rows.len());
            rows.iter_mut().for_each(|row| builder.append_option(take_text(row)));
            let array = builder.finish();
            if *data_type == DataType::BinaryView {
                Arc::new(array)
            } else {
                // SAFETY: the bytes were copied whole from the values of a string array.
                Arc::new(unsafe { array.to_string_view_unchecked() })
            }
        }
    })
}

fn primitive<T: ArrowPrimitiveType, const WIDTH: usize>(
    rows: &mut [&[u8]],
    value: impl Fn([u8; WIDTH]) -> T::Native,
    data_type: &DataType,
) -> ArrayRef
where
    T::Native: ArrowNativeType,
{
    let mut builder = PrimitiveBuilder::<T>::with_capacity(rows.len());
    rows.iter_mut().for_each(|row| builder.append_option(take_value(row).map(&value)));
    Arc::new(builder.finish().with_data_type(data_type.clone()))
}

/// Takes a fixed-width value off a row that `encode` wrote.
fn take_value<const WIDTH: usize>(row: &mut &[u8]) -> Option<[u8; WIDTH]> {
    let (valid, rest) = row.split_first()?;
    *row = rest;
    if *valid == 0 {
        return None;
    }
    let (value, rest) = row.split_first_chunk::<WIDTH>()?;
    *row = rest;
    Some(*value)
}

/// Takes a text off a row that `encode` wrote.
fn take_text<'a>(row: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(take_value::<4>(row)?);
    let (text, rest) = row.split_at_checked(length as usize)?;
    *row = rest;
    Some(text)
}

/// An interval of a length: equal intervals may be written differently ('1 month', '30 days'), one stands
/// for all.
fn interval_of(nanoseconds: i128) -> IntervalMonthDayNano {
    const DAY: i128 = 86_400_000_000_000;
    let (days, rest) = (nanoseconds.div_euclid(DAY), nanoseconds.rem_euclid(DAY));
    let (months, days) = (days.div_euclid(30), days.rem_euclid(30));
    // In range: the sum of what was encoded, and months are at most those of the interval plus a few
    // millions for its days; beyond, the largest interval stands in.
    IntervalMonthDayNano::new(i32::try_from(months).unwrap_or(i32::MAX), days as i32, rest as i64)
}
