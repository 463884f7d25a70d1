//! Rows of a batch as DataRow messages, in text or binary format per column.
//!
//! Position: between result batches and the socket. Encoders are resolved once per batch and column; a value is
//! written straight from its Arrow array into the message.

use std::io::Write;

use arrow::{
    array::{Array, ArrayRef, AsArray, StringViewArray},
    datatypes::{
        DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    },
};
use bytes::{BufMut, BytesMut};
use operators::Scalar;
use pgwire::{
    api::results::{FieldFormat, FieldInfo},
    messages::data::DataRow,
};
use pipelines::Batch;

use crate::error::{Error, Result};

/// Days from 1970-01-01 to the protocol's epoch, 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
const EPOCH_US: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// Encodes batches of one result.
pub struct RowEncoder {
    formats: Vec<FieldFormat>,
    buffer: BytesMut,
}

impl RowEncoder {
    /// For columns as described to the client.
    pub fn new(fields: &[FieldInfo]) -> Self {
        RowEncoder { formats: fields.iter().map(FieldInfo::format).collect(), buffer: BytesMut::new() }
    }

    /// The rows of a batch, in order.
    ///
    /// # Errors
    /// An internal error for a type that never reaches a result.
    pub fn encode(&mut self, batch: &Batch) -> Result<Vec<DataRow>> {
        let columns: Vec<Column<'_>> = batch.columns().iter().map(Column::new).collect();
        let field_count = columns.len() as i16;
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            for (column, format) in columns.iter().zip(&self.formats) {
                column.write(row, *format, &mut self.buffer)?;
            }
            rows.push(DataRow::new(self.buffer.split(), field_count));
        }
        Ok(rows)
    }
}

/// A column of a batch, with what is needed per value at hand.
struct Column<'a> {
    array: &'a ArrayRef,
    /// For dictionaries: codes and values.
    dictionary: Option<(&'a [u32], &'a StringViewArray)>,
}

impl<'a> Column<'a> {
    fn new(array: &'a ArrayRef) -> Self {
        let dictionary = array
            .as_any_dictionary_opt()
            .and_then(|_| array.as_dictionary_opt::<UInt32Type>())
            .and_then(|d| Some((d.keys().values().as_ref(), d.values().as_string_view_opt()?)));
        Column { array, dictionary }
    }

    /// Writes the length and the bytes of a value; −1 for NULL.
    fn write(&self, row: usize, format: FieldFormat, out: &mut BytesMut) -> Result<()> {
        if self.array.is_null(row) || self.array.data_type() == &DataType::Null {
            out.put_i32(-1);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        match format {
            FieldFormat::Text => self.write_text(row, out)?,
            FieldFormat::Binary => self.write_binary(row, out)?,
        }
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn text(&self, row: usize) -> Option<&'a str> {
        match self.dictionary {
            Some((codes, values)) => Some(values.value(codes[row] as usize)),
            None => self.array.as_string_view_opt().map(|strings| strings.value(row)),
        }
    }

    fn write_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if let Some(text) = self.text(row) {
            out.put_slice(text.as_bytes());
            return Ok(());
        }
        let mut writer = out.writer();
        let array = self.array;
        // Writing into memory cannot fail.
        let _ = match array.data_type() {
            DataType::Boolean => writer.write_all(if array.as_boolean().value(row) { b"t" } else { b"f" }),
            DataType::Int16 => write!(writer, "{}", array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => write!(writer, "{}", array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => write!(writer, "{}", array.as_primitive::<Int64Type>().value(row)),
            _ => write!(writer, "{}", Scalar::from_array(array, row)?),
        };
        Ok(())
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        if let Some(text) = self.text(row) {
            out.put_slice(text.as_bytes());
            return Ok(());
        }
        let array = self.array;
        match array.data_type() {
            DataType::Boolean => out.put_u8(u8::from(array.as_boolean().value(row))),
            DataType::Int16 => out.put_i16(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => out.put_i32(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => out.put_i64(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => out.put_f32(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => out.put_f64(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal64(_, scale) => put_numeric(out, i128::from(array.as_primitive::<Decimal64Type>().value(row)), *scale),
            DataType::Decimal128(_, scale) => put_numeric(out, array.as_primitive::<Decimal128Type>().value(row), *scale),
            DataType::BinaryView => out.put_slice(array.as_binary_view().value(row)),
            DataType::Date32 => out.put_i32(array.as_primitive::<Date32Type>().value(row).saturating_sub(EPOCH_DAYS)),
            DataType::Timestamp(..) => {
                out.put_i64(array.as_primitive::<TimestampMicrosecondType>().value(row).saturating_sub(EPOCH_US));
            }
            DataType::Time64(_) => out.put_i64(array.as_primitive::<Time64MicrosecondType>().value(row)),
            DataType::Interval(_) => {
                let interval = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                out.put_i64(interval.nanoseconds / 1000);
                out.put_i32(interval.days);
                out.put_i32(interval.months);
            }
            other => return Err(Error::internal(format!("a result column of type {other}"))),
        }
        Ok(())
    }
}

/// PostgreSQL's binary numeric: digits of base 10,000, most significant first, aligned at the point.
fn put_numeric(out: &mut BytesMut, value: i128, scale: i8) {
    let scale = u32::from(scale.max(0) as u8);
    let magnitude = value.unsigned_abs();
    // Fill the fraction up to whole base-10,000 digits. At most 39 digits + 3, which may not fit: split first.
    let unit = 10u128.pow(scale);
    let (integer, fraction) = (magnitude / unit, magnitude % unit);
    let fraction_digits = scale.div_ceil(4);
    let mut digits: Vec<i16> = vec![];
    let mut rest = integer;
    while rest > 0 {
        digits.push((rest % 10_000) as i16);
        rest /= 10_000;
    }
    digits.reverse();
    let mut weight = digits.len() as i16 - 1;
    let padded = format!("{fraction:0width$}", width = scale as usize);
    if scale > 0 {
        let padded = format!("{padded:0<width$}", width = fraction_digits as usize * 4);
        digits.extend(padded.as_bytes().chunks(4).map(|c| c.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0'))));
    }
    let leading = digits.iter().take_while(|d| **d == 0).count();
    digits.drain(..leading);
    weight -= leading as i16;
    while digits.last() == Some(&0) {
        digits.pop();
    }
    if digits.is_empty() {
        weight = 0;
    }
    out.put_i16(digits.len() as i16);
    out.put_i16(weight);
    out.put_u16(if value < 0 && !digits.is_empty() { 0x4000 } else { 0 });
    out.put_u16(scale as u16);
    digits.into_iter().for_each(|digit| out.put_i16(digit));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header and digits of a numeric, as PostgreSQL's numeric_send lays them out.
    fn numeric(value: i128, scale: i8) -> (i16, u16, u16, Vec<i16>) {
        let mut out = BytesMut::new();
        put_numeric(&mut out, value, scale);
        let word = |i: usize| i16::from_be_bytes([out[2 * i], out[2 * i + 1]]);
        let digits = (0..word(0) as usize).map(|i| word(4 + i)).collect();
        (word(1), word(2) as u16, word(3) as u16, digits)
    }

    #[test]
    fn numerics_are_digits_of_base_10000() {
        assert_eq!(numeric(1_234_567, 2), (1, 0, 2, vec![1, 2345, 6700]));
        assert_eq!(numeric(-5, 1), (-1, 0x4000, 1, vec![5000]));
        assert_eq!(numeric(0, 2), (0, 0, 2, vec![]));
        assert_eq!(numeric(10_000, 0), (1, 0, 0, vec![1]));
        assert_eq!(numeric(1, 6), (-2, 0, 6, vec![100]));
        assert_eq!(numeric(100, 2), (0, 0, 2, vec![1]));
    }
}
