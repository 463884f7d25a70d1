//! Which physical type each column has inside the engine, and how its stored values become that type.
//!
//! Position: made once per table from the first file's footer; files that follow must agree. Conversion works on whole
//! pages before anything else looks at them, so that the rest of the scan knows only values of 1, 2, 4, 8 or 16 bytes and
//! length-prefixed bytes.

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use operators::types;
use parquet::{
    arrow::parquet_to_arrow_schema,
    basic::{LogicalType, Type as Physical},
    schema::types::{ColumnDescPtr, SchemaDescriptor},
};

use super::fault::{Decoded, corrupt};

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How it is read; `None`: nested, or of a type that is not supported.
    pub reading: Option<Reading>,
}

/// How a flat column is read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Which of the file's leaf columns it is.
    pub leaf: usize,
    /// The engine's type.
    pub data_type: DataType,
    /// How values lie in memory.
    pub layout: Layout,
    /// From stored values to those of `data_type`.
    pub conversion: Conversion,
    /// Whether there may be NULLs, hence definition levels.
    pub is_optional: bool,
    /// The stock crate's description.
    pub descriptor: ColumnDescPtr,
}

/// How a column's values lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// So many bytes each (1, 2, 4, 8, 16), little-endian; booleans are a byte here.
    Fixed(usize),
    /// Valid UTF-8, each behind its length in four bytes.
    Text,
    /// Bytes, each behind its length in four bytes.
    Binary,
}

/// From stored values to those of the engine's type, page by page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// Stored as the engine has them.
    Same,
    /// Bits to bytes.
    Bits,
    /// `i32` to `i16`.
    Int32To16,
    /// `i32` to `i64`, times a factor.
    Int32To64(i64),
    /// `u32` to `i64`.
    UInt32To64,
    /// `i32` to `i128`.
    Int32To128,
    /// `i64` to `i128`.
    Int64To128,
    /// `u64` to `i128`.
    UInt64To128,
    /// `i64` times a factor.
    Multiply(i64),
    /// `i64` divided by a divisor, rounded down.
    Divide(i64),
    /// Nanoseconds of a day and a Julian day, to microseconds.
    Int96,
    /// Half to single precision.
    Float16,
    /// Big-endian two's complement of so many bytes, to 8 or 16 bytes.
    BigEndian {
        /// Bytes stored.
        from: usize,
        /// Bytes in the engine.
        to: usize,
    },
    /// Length-prefixed big-endian two's complement, to 8 or 16 bytes.
    BigEndianBytes {
        /// Bytes in the engine.
        to: usize,
    },
    /// So many bytes, to length-prefixed bytes.
    FixedBytes(usize),
    /// Sixteen bytes, to length-prefixed text.
    Uuid,
}

/// The columns of a file, in order.
pub fn columns(file: &SchemaDescriptor) -> Vec<Column> {
    let arrow = parquet_to_arrow_schema(file, None).ok();
    let mut columns = Vec::new();
    for (index, field) in file.root_schema().get_fields().iter().enumerate() {
        let leaf = (0..file.num_columns()).find(|leaf| file.get_column_root_idx(*leaf) == index);
        let arrow_type = arrow.as_ref().and_then(|schema: &Schema| schema.fields().get(index)).map(|f| f.data_type().clone());
        let reading = match (leaf, arrow_type) {
            (Some(leaf), Some(arrow_type)) if field.is_primitive() => reading(leaf, file.column(leaf), &arrow_type),
            _ => None,
        };
        columns.push(Column { name: field.name().to_owned(), reading });
    }
    columns
}

/// The schema that users see. Columns that cannot be read have the type of an empty struct.
pub fn table_schema(columns: &[Column]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| match &column.reading {
            Some(reading) => Field::new(&column.name, reading.data_type.clone(), reading.is_optional),
            None => Field::new(&column.name, DataType::Struct(Fields::empty()), true),
        })
        .collect();
    Schema::new(fields).into()
}

fn reading(leaf: usize, descriptor: ColumnDescPtr, arrow: &DataType) -> Option<Reading> {
    if descriptor.max_rep_level() > 0 || descriptor.max_def_level() > 1 {
        return None;
    }
    let (data_type, layout, conversion) = mapping(&descriptor, arrow)?;
    Some(Reading { leaf, data_type, layout, conversion, is_optional: descriptor.max_def_level() == 1, descriptor })
}

fn mapping(descriptor: &ColumnDescPtr, arrow: &DataType) -> Option<(DataType, Layout, Conversion)> {
    use Layout::{Binary, Fixed, Text};
    let physical = descriptor.physical_type();
    let length = usize::try_from(descriptor.type_length()).unwrap_or(0);
    Some(match (physical, arrow) {
        (Physical::BOOLEAN, _) => (DataType::Boolean, Fixed(1), Conversion::Bits),
        (Physical::INT32, DataType::Int8 | DataType::Int16 | DataType::UInt8) => (DataType::Int16, Fixed(2), Conversion::Int32To16),
        (Physical::INT32, DataType::Int32 | DataType::UInt16) => (DataType::Int32, Fixed(4), Conversion::Same),
        (Physical::INT32, DataType::UInt32) => (DataType::Int64, Fixed(8), Conversion::UInt32To64),
        (Physical::INT32, DataType::Date32) => (DataType::Date32, Fixed(4), Conversion::Same),
        (Physical::INT32, DataType::Time32(TimeUnit::Millisecond)) => time(Conversion::Int32To64(1000)),
        (Physical::INT64, DataType::Int64) => (DataType::Int64, Fixed(8), Conversion::Same),
        (Physical::INT64, DataType::UInt64) => (DataType::Decimal128(20, 0), Fixed(16), Conversion::UInt64To128),
        (Physical::INT64, DataType::Time64(TimeUnit::Microsecond)) => time(Conversion::Same),
        (Physical::INT64, DataType::Time64(TimeUnit::Nanosecond)) => time(Conversion::Divide(1000)),
        (Physical::INT64, DataType::Timestamp(unit, zone)) => (timestamp(zone.is_some()), Fixed(8), to_microseconds(*unit)?),
        (Physical::INT96, _) => (timestamp(false), Fixed(8), Conversion::Int96),
        (Physical::FLOAT, DataType::Float32) => (DataType::Float32, Fixed(4), Conversion::Same),
        (Physical::DOUBLE, DataType::Float64) => (DataType::Float64, Fixed(8), Conversion::Same),
        (Physical::FIXED_LEN_BYTE_ARRAY, DataType::Float16) => (DataType::Float32, Fixed(4), Conversion::Float16),
        (_, DataType::Decimal32(digits, scale) | DataType::Decimal64(digits, scale) | DataType::Decimal128(digits, scale)) => {
            let data_type = types::decimal(*digits, *scale);
            let to = if matches!(data_type, DataType::Decimal64(..)) { 8 } else { 16 };
            (data_type, Fixed(to), decimal_conversion(physical, length, to)?)
        }
        (Physical::FIXED_LEN_BYTE_ARRAY, DataType::FixedSizeBinary(16)) if descriptor.logical_type_ref() == Some(&LogicalType::Uuid) => {
            (DataType::Utf8View, Text, Conversion::Uuid)
        }
        (Physical::FIXED_LEN_BYTE_ARRAY, DataType::FixedSizeBinary(_)) => (DataType::BinaryView, Binary, Conversion::FixedBytes(length)),
        (Physical::BYTE_ARRAY, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => (DataType::Utf8View, Text, Conversion::Same),
        (Physical::BYTE_ARRAY, DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            (DataType::BinaryView, Binary, Conversion::Same)
        }
        _ => return None,
    })
}

fn time(conversion: Conversion) -> (DataType, Layout, Conversion) {
    (DataType::Time64(TimeUnit::Microsecond), Layout::Fixed(8), conversion)
}

fn timestamp(has_zone: bool) -> DataType {
    if has_zone { types::timestamptz() } else { types::timestamp() }
}

fn to_microseconds(unit: TimeUnit) -> Option<Conversion> {
    match unit {
        TimeUnit::Millisecond => Some(Conversion::Multiply(1000)),
        TimeUnit::Microsecond => Some(Conversion::Same),
        TimeUnit::Nanosecond => Some(Conversion::Divide(1000)),
        TimeUnit::Second => None,
    }
}

fn decimal_conversion(physical: Physical, length: usize, to: usize) -> Option<Conversion> {
    match (physical, to) {
        (Physical::INT32, 8) => Some(Conversion::Int32To64(1)),
        (Physical::INT32, _) => Some(Conversion::Int32To128),
        (Physical::INT64, 8) => Some(Conversion::Same),
        (Physical::INT64, _) => Some(Conversion::Int64To128),
        (Physical::FIXED_LEN_BYTE_ARRAY, _) => Some(Conversion::BigEndian { from: length, to }),
        (Physical::BYTE_ARRAY, _) => Some(Conversion::BigEndianBytes { to }),
        _ => None,
    }
}

impl Conversion {
    /// Converts `count` stored values at the start of `values` (PLAIN); `None` when they are right as they are.
    pub fn apply(self, values: &[u8], count: usize) -> Decoded<Option<Vec<u8>>> {
        Ok(Some(match self {
            Conversion::Same => return Ok(None),
            Conversion::Bits => {
                let bits = values.get(..count.div_ceil(8));
                let Some(bits) = bits else { return corrupt("a page has fewer values than its header says") };
                (0..count).map(|i| bits[i / 8] >> (i % 8) & 1).collect()
            }
            Conversion::Int32To16 => map::<4, 2>(values, count, |v| Some((i32::from_le_bytes(v) as i16).to_le_bytes()))?,
            Conversion::Int32To64(factor) => {
                map::<4, 8>(values, count, |v| Some((i64::from(i32::from_le_bytes(v)) * factor).to_le_bytes()))?
            }
            Conversion::UInt32To64 => map::<4, 8>(values, count, |v| Some(i64::from(u32::from_le_bytes(v)).to_le_bytes()))?,
            Conversion::Int32To128 => map::<4, 16>(values, count, |v| Some(i128::from(i32::from_le_bytes(v)).to_le_bytes()))?,
            Conversion::Int64To128 => map::<8, 16>(values, count, |v| Some(i128::from(i64::from_le_bytes(v)).to_le_bytes()))?,
            Conversion::UInt64To128 => map::<8, 16>(values, count, |v| Some(i128::from(u64::from_le_bytes(v)).to_le_bytes()))?,
            Conversion::Multiply(factor) => {
                map::<8, 8>(values, count, |v| i64::from_le_bytes(v).checked_mul(factor).map(i64::to_le_bytes))?
            }
            Conversion::Divide(divisor) => map::<8, 8>(values, count, |v| Some(i64::from_le_bytes(v).div_euclid(divisor).to_le_bytes()))?,
            Conversion::Int96 => map::<12, 8>(values, count, |v| int96_microseconds(v).map(i64::to_le_bytes))?,
            Conversion::Float16 => map::<2, 4>(values, count, |v| Some(half_to_single(u16::from_le_bytes(v)).to_le_bytes()))?,
            Conversion::BigEndian { from, to } => big_endian(values, count, from, to)?,
            Conversion::BigEndianBytes { to } => {
                let mut converted = Vec::with_capacity(count * to);
                for value in Prefixed::new(values, count) {
                    converted.extend_from_slice(&narrow(sign_extend(value?)?, to)?.to_le_bytes()[..to]);
                }
                converted
            }
            Conversion::FixedBytes(length) => {
                let mut converted = Vec::with_capacity(count * (length + 4));
                for value in fixed(values, count, length)? {
                    converted.extend_from_slice(&(length as u32).to_le_bytes());
                    converted.extend_from_slice(value);
                }
                converted
            }
            Conversion::Uuid => {
                let mut converted = Vec::with_capacity(count * 40);
                for value in fixed(values, count, 16)? {
                    converted.extend_from_slice(&36u32.to_le_bytes());
                    converted.extend_from_slice(uuid_text(value).as_bytes());
                }
                converted
            }
        }))
    }
}

/// The values between length prefixes.
pub struct Prefixed<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Prefixed<'a> {
    /// Of `count` values at the start of `bytes`.
    pub fn new(bytes: &'a [u8], count: usize) -> Self {
        Prefixed { rest: bytes, left: count }
    }
}

impl<'a> Iterator for Prefixed<'a> {
    type Item = Decoded<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let parts =
            self.rest.split_first_chunk::<4>().and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        Some(match parts {
            Some((value, rest)) => {
                self.rest = rest;
                Ok(value)
            }
            None => {
                self.left = 0;
                corrupt("a page has fewer values than its header says")
            }
        })
    }
}

fn fixed(values: &[u8], count: usize, length: usize) -> Decoded<impl Iterator<Item = &[u8]>> {
    let Some(values) = count.checked_mul(length).and_then(|bytes| values.get(..bytes)) else {
        return corrupt("a page has fewer values than its header says");
    };
    // A length of 0 makes every value the same empty slice.
    Ok((0..count).map(move |i| &values[i * length..(i + 1) * length]))
}

fn map<const FROM: usize, const TO: usize>(
    values: &[u8],
    count: usize,
    convert: impl Fn([u8; FROM]) -> Option<[u8; TO]>,
) -> Decoded<Vec<u8>> {
    let mut converted = Vec::with_capacity(count.min(values.len()) * TO);
    for value in fixed(values, count, FROM)? {
        match convert(value.try_into().expect("the slice has this length")) {
            Some(value) => converted.extend_from_slice(&value),
            None => return corrupt("a timestamp is out of range"),
        }
    }
    Ok(converted)
}

fn big_endian(values: &[u8], count: usize, from: usize, to: usize) -> Decoded<Vec<u8>> {
    let mut converted = Vec::with_capacity(count.min(values.len()) * to);
    for value in fixed(values, count, from)? {
        converted.extend_from_slice(&narrow(sign_extend(value)?, to)?.to_le_bytes()[..to]);
    }
    Ok(converted)
}

/// The value of big-endian two's complement `bytes`; more than 16 are fine while the front ones only repeat the sign.
pub fn sign_extend(bytes: &[u8]) -> Decoded<i128> {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let (front, back) = bytes.split_at(bytes.len().saturating_sub(16));
    if front.iter().any(|b| *b != sign) {
        return corrupt("a decimal has more than 38 digits");
    }
    let mut value = [sign; 16];
    value[16 - back.len()..].copy_from_slice(back);
    Ok(i128::from_be_bytes(value))
}

fn narrow(value: i128, to: usize) -> Decoded<i128> {
    if to < 16 && i64::try_from(value).is_err() {
        return corrupt("a decimal has more digits than its type");
    }
    Ok(value)
}

/// Microseconds since 1970 of nanoseconds in a day (8 bytes) and a Julian day number (4 bytes).
pub fn int96_microseconds(value: [u8; 12]) -> Option<i64> {
    const JULIAN_DAY_OF_1970: i64 = 2_440_588;
    let nanoseconds = i64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
    let day = i64::from(u32::from_le_bytes(value[8..].try_into().expect("four bytes"))) - JULIAN_DAY_OF_1970;
    day.checked_mul(86_400_000_000)?.checked_add(nanoseconds.div_euclid(1000))
}

fn half_to_single(bits: u16) -> f32 {
    let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_endian_numbers_keep_their_sign() {
        assert_eq!(sign_extend(&[0xff, 0x38]).unwrap(), -200);
        assert_eq!(sign_extend(&[0x00, 0xc8]).unwrap(), 200);
        assert_eq!(sign_extend(&[]).unwrap(), 0);
        let mut wide = [0xff; 20];
        wide[19] = 0xfe;
        assert_eq!(sign_extend(&wide).unwrap(), -2);
        wide[0] = 0;
        assert!(sign_extend(&wide).is_err());
    }

    #[test]
    fn halves_become_singles() {
        for (bits, value) in
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_5e-8), (0x0000, 0.0), (0x7c00, f32::INFINITY)]
        {
            assert_eq!(half_to_single(bits), value);
        }
        assert!(half_to_single(0x7e00).is_nan());
    }

    #[test]
    fn an_int96_is_a_day_and_a_time() {
        let mut value = [0; 12];
        value[..8].copy_from_slice(&1_500_000i64.to_le_bytes());
        value[8..].copy_from_slice(&2_440_589u32.to_le_bytes());
        assert_eq!(int96_microseconds(value), Some(86_400_001_500));
    }

    #[test]
    fn nanoseconds_before_1970_round_down() {
        let converted = Conversion::Divide(1000).apply(&(-1i64).to_le_bytes(), 1).unwrap().unwrap();
        assert_eq!(converted, (-1i64).to_le_bytes());
    }
}
