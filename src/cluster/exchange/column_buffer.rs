//! Buffers of columns that grow by chosen rows of other columns, without a step in between and without an allocation per row.
//!
//! Position: under [`super::scatter`], one set per receiver. Texts of dictionaries are written out; bytes of long strings are copied
//! together, so that a batch keeps nothing alive but its own rows.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, BooleanBufferBuilder, GenericByteViewArray, NullArray, NullBufferBuilder,
        PrimitiveArray, StringViewArray,
    },
    buffer::{Buffer, NullBuffer, ScalarBuffer},
    datatypes::{
        ArrowPrimitiveType, ByteViewType, DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type,
        Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
        TimestampMicrosecondType, UInt32Type,
    },
};
use operators::{Error as DataError, types};
use pipelines::Batch;

use crate::error::{Error, Result};

/// Which rows of a column are appended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows<'a> {
    /// All of this many.
    All(usize),
    /// These, in this order.
    Some(&'a [u32]),
}

impl Rows<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Rows::All(count) => count,
            Rows::Some(rows) => rows.len(),
        }
    }
}

/// Equally long buffers.
pub(super) struct ColumnBuffers {
    columns: Vec<ColumnBuffer>,
    num_rows: usize,
    num_bytes: usize,
}

struct ColumnBuffer {
    values: Values,
    nulls: NullBufferBuilder,
    data_type: DataType,
}

enum Values {
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Wide(Vec<i128>),
    Interval(Vec<IntervalMonthDayNano>),
    Bits(BooleanBufferBuilder),
    Views(Views),
    Null(usize),
}

/// Strings: their views, and the bytes of those that do not fit into a view.
#[derive(Default)]
struct Views {
    views: Vec<u128>,
    data: Vec<u8>,
}

impl ColumnBuffers {
    /// Empty buffers for columns of these types.
    ///
    /// # Errors
    /// If no column has such a type.
    pub(super) fn new(data_types: &[DataType]) -> Result<ColumnBuffers> {
        let columns = data_types.iter().map(ColumnBuffer::new).collect::<Result<_>>()?;
        Ok(ColumnBuffers { columns, num_rows: 0, num_bytes: 0 })
    }

    pub(super) fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Bytes the rows take.
    pub(super) fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// Appends `rows` of `batch`.
    ///
    /// # Errors
    /// If a column is of another type than it should be.
    pub(super) fn append(&mut self, batch: &Batch, rows: Rows<'_>) -> Result<()> {
        if batch.columns().len() != self.columns.len() {
            return Err(Error::internal(format!("{} columns where an exchange expects {}", batch.columns().len(), self.columns.len())));
        }
        for (buffer, column) in self.columns.iter_mut().zip(batch.columns()) {
            self.num_bytes += buffer.append(column, rows)?;
        }
        self.num_rows += rows.len();
        Ok(())
    }

    /// The rows so far as a batch; the buffers are empty again. With `as_bytes`, texts come as byte strings: they have been checked, and
    /// who receives them checks them again.
    ///
    /// # Errors
    /// None that can be expected.
    pub(super) fn take(&mut self, as_bytes: bool) -> Result<Batch> {
        let columns = self.columns.iter_mut().map(|buffer| buffer.take(as_bytes)).collect::<Result<Vec<_>>>()?;
        self.num_bytes = 0;
        Ok(Batch::new(columns, std::mem::take(&mut self.num_rows)))
    }
}

impl ColumnBuffer {
    fn new(data_type: &DataType) -> Result<ColumnBuffer> {
        use DataType::*;
        let values = match data_type {
            Int16 => Values::Int16(Vec::new()),
            Int32 | Date32 => Values::Int32(Vec::new()),
            Int64 | Decimal64(..) | Timestamp(TimeUnit::Microsecond, _) | Time64(TimeUnit::Microsecond) => Values::Int64(Vec::new()),
            Float32 => Values::Float32(Vec::new()),
            Float64 => Values::Float64(Vec::new()),
            Decimal128(..) => Values::Wide(Vec::new()),
            Interval(IntervalUnit::MonthDayNano) => Values::Interval(Vec::new()),
            Boolean => Values::Bits(BooleanBufferBuilder::new(0)),
            Utf8View | BinaryView => Values::Views(Views::default()),
            Null => Values::Null(0),
            other => return Err(Error::internal(format!("a column of type {other} cannot be sent to another node"))),
        };
        Ok(ColumnBuffer { values, nulls: NullBufferBuilder::new(0), data_type: data_type.clone() })
    }

    /// Answers by how many bytes the column has grown.
    fn append(&mut self, column: &ArrayRef, rows: Rows<'_>) -> Result<usize> {
        use DataType::*;
        if !is_carried_as(column.data_type(), &self.data_type) {
            return Err(Error::internal(format!("a column of type {} where an exchange expects {}", column.data_type(), self.data_type)));
        }
        let fixed = match (&mut self.values, column.data_type()) {
            (Values::Int16(into), _) => append_values::<Int16Type>(into, column, rows),
            (Values::Int32(into), Date32) => append_values::<Date32Type>(into, column, rows),
            (Values::Int32(into), _) => append_values::<Int32Type>(into, column, rows),
            (Values::Int64(into), Decimal64(..)) => append_values::<Decimal64Type>(into, column, rows),
            (Values::Int64(into), Timestamp(..)) => append_values::<TimestampMicrosecondType>(into, column, rows),
            (Values::Int64(into), Time64(_)) => append_values::<Time64MicrosecondType>(into, column, rows),
            (Values::Int64(into), _) => append_values::<Int64Type>(into, column, rows),
            (Values::Float32(into), _) => append_values::<Float32Type>(into, column, rows),
            (Values::Float64(into), _) => append_values::<Float64Type>(into, column, rows),
            (Values::Wide(into), _) => append_values::<Decimal128Type>(into, column, rows),
            (Values::Interval(into), _) => append_values::<IntervalMonthDayNanoType>(into, column, rows),
            (Values::Bits(into), _) => append_bits(into, column.as_boolean(), rows),
            (Values::Views(into), Utf8View) => into.append(column.as_string_view(), rows),
            (Values::Views(into), BinaryView) => into.append(column.as_binary_view(), rows),
            (Values::Views(into), _) => {
                let nulls = column.logical_nulls();
                append_nulls(&mut self.nulls, nulls.as_ref(), rows);
                return into.append_dictionary(column, nulls.as_ref(), rows);
            }
            (Values::Null(count), _) => {
                *count += rows.len();
                return Ok(0);
            }
        };
        append_nulls(&mut self.nulls, column.nulls(), rows);
        Ok(fixed)
    }

    fn take(&mut self, as_bytes: bool) -> Result<ArrayRef> {
        use DataType::*;
        let nulls = self.nulls.finish();
        let data_type = &self.data_type;
        Ok(match (&mut self.values, data_type) {
            (Values::Int16(values), _) => primitive::<Int16Type>(values, nulls, data_type),
            (Values::Int32(values), Date32) => primitive::<Date32Type>(values, nulls, data_type),
            (Values::Int32(values), _) => primitive::<Int32Type>(values, nulls, data_type),
            (Values::Int64(values), Decimal64(..)) => primitive::<Decimal64Type>(values, nulls, data_type),
            (Values::Int64(values), Timestamp(..)) => primitive::<TimestampMicrosecondType>(values, nulls, data_type),
            (Values::Int64(values), Time64(_)) => primitive::<Time64MicrosecondType>(values, nulls, data_type),
            (Values::Int64(values), _) => primitive::<Int64Type>(values, nulls, data_type),
            (Values::Float32(values), _) => primitive::<Float32Type>(values, nulls, data_type),
            (Values::Float64(values), _) => primitive::<Float64Type>(values, nulls, data_type),
            (Values::Wide(values), _) => primitive::<Decimal128Type>(values, nulls, data_type),
            (Values::Interval(values), _) => primitive::<IntervalMonthDayNanoType>(values, nulls, data_type),
            (Values::Bits(bits), _) => Arc::new(BooleanArray::new(bits.finish(), nulls)),
            (Values::Views(views), Utf8View) if !as_bytes => {
                let (views, buffers) = views.take();
                Arc::new(StringViewArray::try_new(views, buffers, nulls).map_err(DataError::from)?)
            }
            (Values::Views(views), _) => {
                let (views, buffers) = views.take();
                Arc::new(BinaryViewArray::try_new(views, buffers, nulls).map_err(DataError::from)?)
            }
            (Values::Null(count), _) => Arc::new(NullArray::new(std::mem::take(count))),
        })
    }
}

/// Whether a column of type `actual` may stand where one of type `expected` is: digits of decimals and names of time zones change
/// nothing about the values.
fn is_carried_as(actual: &DataType, expected: &DataType) -> bool {
    use DataType::*;
    match (actual, expected) {
        (Decimal64(_, scale), Decimal64(_, other)) | (Decimal128(_, scale), Decimal128(_, other)) => scale == other,
        (Timestamp(unit, _), Timestamp(other, _)) => unit == other,
        (Dictionary(..), Utf8View) => *actual == types::string_dictionary(),
        _ => actual == expected,
    }
}

fn append_values<T: ArrowPrimitiveType>(into: &mut Vec<T::Native>, column: &ArrayRef, rows: Rows<'_>) -> usize {
    let values: &[T::Native] = column.as_primitive::<T>().values();
    match rows {
        Rows::All(_) => into.extend_from_slice(values),
        Rows::Some(rows) => into.extend(rows.iter().map(|row| values[*row as usize])),
    }
    rows.len() * size_of::<T::Native>()
}

fn append_bits(into: &mut BooleanBufferBuilder, array: &BooleanArray, rows: Rows<'_>) -> usize {
    match rows {
        Rows::All(_) => into.append_buffer(array.values()),
        Rows::Some(rows) => rows.iter().for_each(|row| into.append(array.values().value(*row as usize))),
    }
    rows.len().div_ceil(8)
}

fn append_nulls(into: &mut NullBufferBuilder, nulls: Option<&NullBuffer>, rows: Rows<'_>) {
    match (nulls.filter(|nulls| nulls.null_count() > 0), rows) {
        (None, rows) => into.append_n_non_nulls(rows.len()),
        (Some(nulls), Rows::All(_)) => into.append_buffer(nulls),
        (Some(nulls), Rows::Some(rows)) => rows.iter().for_each(|row| into.append(nulls.is_valid(*row as usize))),
    }
}

/// What has been gathered, leaving room for as much again.
fn replace<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = Vec::with_capacity(values.len());
    std::mem::replace(values, room)
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>, data_type: &DataType) -> ArrayRef {
    let values = ScalarBuffer::from(replace(values));
    Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(data_type.clone()))
}

/// Strings up to this long lie in their view.
const INLINE_BYTES: u32 = 12;

impl Views {
    fn append<T: ByteViewType>(&mut self, array: &GenericByteViewArray<T>, rows: Rows<'_>) -> usize {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        match (rows, nulls) {
            (Rows::All(count), None) => self.append_rows(array, (0..count).map(Some)),
            (Rows::Some(rows), None) => self.append_rows(array, rows.iter().map(|row| Some(*row as usize))),
            (Rows::All(count), Some(nulls)) => self.append_rows(array, (0..count).map(|row| nulls.is_valid(row).then_some(row))),
            (Rows::Some(rows), Some(nulls)) => {
                self.append_rows(array, rows.iter().map(|row| nulls.is_valid(*row as usize).then_some(*row as usize)))
            }
        }
    }

    /// Appends the texts that codes stand for; `nulls` are those of the rows.
    fn append_dictionary(&mut self, column: &ArrayRef, nulls: Option<&NullBuffer>, rows: Rows<'_>) -> Result<usize> {
        let array = column.as_dictionary::<UInt32Type>();
        let entries = array.values().as_string_view_opt().ok_or_else(|| Error::internal("a dictionary of something other than text"))?;
        let codes: &[u32] = array.keys().values();
        let entry_of = |row: usize| nulls.is_none_or(|nulls| nulls.is_valid(row)).then(|| codes[row] as usize);
        Ok(match rows {
            Rows::All(count) => self.append_rows(entries, (0..count).map(entry_of)),
            Rows::Some(rows) => self.append_rows(entries, rows.iter().map(|row| entry_of(*row as usize))),
        })
    }

    /// Appends these entries of `array`; `None` is NULL.
    fn append_rows<T: ByteViewType>(&mut self, array: &GenericByteViewArray<T>, rows: impl Iterator<Item = Option<usize>>) -> usize {
        let (views_before, data_before) = (self.views.len(), self.data.len());
        let from: &[u128] = array.views();
        let data = &mut self.data;
        self.views.extend(rows.map(|row| {
            let Some(row) = row else { return 0 };
            let view = from[row];
            if view as u32 <= INLINE_BYTES {
                return view;
            }
            let offset = data.len() as u128;
            let bytes: &[u8] = array.value(row).as_ref();
            data.extend_from_slice(bytes);
            // Length and first four bytes stay; the only buffer is number 0.
            view & u128::from(u64::MAX) | offset << 96
        }));
        (self.views.len() - views_before) * size_of::<u128>() + self.data.len() - data_before
    }

    fn take(&mut self) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        let views = ScalarBuffer::from(replace(&mut self.views));
        let data = replace(&mut self.data);
        (views, if data.is_empty() { Vec::new() } else { vec![Buffer::from_vec(data)] })
    }
}
