//! One value of any physical type: literals of plans, results of constant folding, statistics.

use std::{cmp::Ordering, fmt, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal64Array, Decimal128Array, Float32Array, Float64Array,
        Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
        new_null_array,
    },
    buffer::BooleanBuffer,
    datatypes::{
        DataType, Date32Type, Decimal64Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, i256,
    },
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, expression, types};

/// A value. Plain data: plans carry it between nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// NULL of a type.
    Null(DataType),
    /// `boolean`
    Boolean(bool),
    /// `smallint`
    Int16(i16),
    /// `integer`
    Int32(i32),
    /// `bigint`
    Int64(i64),
    /// `real`
    Float32(f32),
    /// `double precision`
    Float64(f64),
    /// `numeric`: the unscaled value, precision, scale; its physical type is [`types::decimal`] of them.
    Decimal(i128, u8, i8),
    /// `text`
    Utf8(String),
    /// `bytea`
    Binary(Vec<u8>),
    /// `date`: days since 1970-01-01
    Date32(i32),
    /// `timestamp`: microseconds since 1970-01-01 00:00:00
    Timestamp(i64),
    /// `timestamp with time zone`: microseconds since 1970-01-01 00:00:00 UTC
    TimestampTz(i64),
    /// `time`: microseconds since midnight
    Time(i64),
    /// `interval`
    Interval {
        /// Months.
        months: i32,
        /// Days.
        days: i32,
        /// Nanoseconds.
        nanoseconds: i64,
    },
}

impl Scalar {
    /// The physical type.
    pub fn data_type(&self) -> DataType {
        match self {
            Scalar::Null(data_type) => data_type.clone(),
            Scalar::Boolean(_) => DataType::Boolean,
            Scalar::Int16(_) => DataType::Int16,
            Scalar::Int32(_) => DataType::Int32,
            Scalar::Int64(_) => DataType::Int64,
            Scalar::Float32(_) => DataType::Float32,
            Scalar::Float64(_) => DataType::Float64,
            Scalar::Decimal(_, precision, scale) => types::decimal(*precision, *scale),
            Scalar::Utf8(_) => DataType::Utf8View,
            Scalar::Binary(_) => DataType::BinaryView,
            Scalar::Date32(_) => DataType::Date32,
            Scalar::Timestamp(_) => types::timestamp(),
            Scalar::TimestampTz(_) => types::timestamptz(),
            Scalar::Time(_) => DataType::Time64(arrow::datatypes::TimeUnit::Microsecond),
            Scalar::Interval { .. } => types::interval(),
        }
    }

    /// Whether this is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Scalar::Null(_))
    }
}

impl Scalar {
    /// An array of `length` times this value.
    pub fn to_array(&self, length: usize) -> ArrayRef {
        match self {
            Scalar::Null(data_type) => new_null_array(data_type, length),
            Scalar::Boolean(value) => {
                let bits = if *value { BooleanBuffer::new_set(length) } else { BooleanBuffer::new_unset(length) };
                Arc::new(BooleanArray::new(bits, None))
            }
            Scalar::Int16(value) => Arc::new(Int16Array::from_value(*value, length)),
            Scalar::Int32(value) => Arc::new(Int32Array::from_value(*value, length)),
            Scalar::Int64(value) => Arc::new(Int64Array::from_value(*value, length)),
            Scalar::Float32(value) => Arc::new(Float32Array::from_value(*value, length)),
            Scalar::Float64(value) => Arc::new(Float64Array::from_value(*value, length)),
            Scalar::Decimal(value, ..) => match (self.data_type(), i64::try_from(*value)) {
                (data_type @ DataType::Decimal64(..), Ok(narrow)) => {
                    Arc::new(Decimal64Array::from_value(narrow, length).with_data_type(data_type))
                }
                (data_type @ DataType::Decimal128(..), _) => {
                    Arc::new(Decimal128Array::from_value(*value, length).with_data_type(data_type))
                }
                // More digits than its precision says: as wide as it needs.
                (data_type, _) => {
                    let scale = types::decimal_digits(&data_type).map_or(0, |(_, scale)| scale);
                    let wide = DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, scale);
                    Arc::new(Decimal128Array::from_value(*value, length).with_data_type(wide))
                }
            },
            Scalar::Utf8(text) => {
                let one = StringViewArray::from(vec![text.as_str()]);
                let views = vec![one.views()[0]; length];
                Arc::new(StringViewArray::new(views.into(), one.data_buffers().to_vec(), None))
            }
            Scalar::Binary(bytes) => {
                let one = BinaryViewArray::from(vec![bytes.as_slice()]);
                let views = vec![one.views()[0]; length];
                Arc::new(BinaryViewArray::new(views.into(), one.data_buffers().to_vec(), None))
            }
            Scalar::Date32(value) => Arc::new(Date32Array::from_value(*value, length)),
            Scalar::Timestamp(value) => Arc::new(TimestampMicrosecondArray::from_value(*value, length)),
            Scalar::TimestampTz(value) => {
                Arc::new(TimestampMicrosecondArray::from_value(*value, length).with_data_type(types::timestamptz()))
            }
            Scalar::Time(value) => Arc::new(Time64MicrosecondArray::from_value(*value, length)),
            Scalar::Interval { months, days, nanoseconds } => {
                Arc::new(IntervalMonthDayNanoArray::from_value(IntervalMonthDayNano::new(*months, *days, *nanoseconds), length))
            }
        }
    }

    /// The value of `array` at `row`.
    ///
    /// # Errors
    /// [`Error::Internal`] for a type that is not one of [`types`].
    ///
    /// # Panics
    /// When there is no such row.
    pub fn from_array(array: &ArrayRef, row: usize) -> Result<Scalar> {
        assert!(row < array.len(), "row {row} of {}", array.len());
        let data_type = array.data_type();
        if array.is_null(row) || *data_type == DataType::Null {
            let data_type = if let DataType::Dictionary(_, values) = data_type { values.as_ref() } else { data_type };
            return Ok(Scalar::Null(data_type.clone()));
        }
        Ok(match data_type {
            DataType::Boolean => Scalar::Boolean(array.as_boolean().value(row)),
            DataType::Int16 => Scalar::Int16(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => Scalar::Int32(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => Scalar::Int64(array.as_primitive::<Int64Type>().value(row)),
            DataType::Float32 => Scalar::Float32(array.as_primitive::<Float32Type>().value(row)),
            DataType::Float64 => Scalar::Float64(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal64(precision, scale) => {
                Scalar::Decimal(array.as_primitive::<Decimal64Type>().value(row).into(), *precision, *scale)
            }
            DataType::Decimal128(precision, scale) => {
                Scalar::Decimal(array.as_primitive::<Decimal128Type>().value(row), *precision, *scale)
            }
            DataType::Utf8View => Scalar::Utf8(array.as_string_view().value(row).to_owned()),
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                return Scalar::from_array(dictionary.values(), dictionary.normalized_keys()[row]);
            }
            DataType::BinaryView => Scalar::Binary(array.as_binary_view().value(row).to_owned()),
            DataType::Date32 => Scalar::Date32(array.as_primitive::<Date32Type>().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let value = array.as_primitive::<TimestampMicrosecondType>().value(row);
                if zone.is_some() { Scalar::TimestampTz(value) } else { Scalar::Timestamp(value) }
            }
            DataType::Time64(TimeUnit::Microsecond) => Scalar::Time(array.as_primitive::<Time64MicrosecondType>().value(row)),
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
                Scalar::Interval { months: value.months, days: value.days, nanoseconds: value.nanoseconds }
            }
            other => return Err(Error::Internal(format!("no SQL type is kept as {other}"))),
        })
    }

    /// This value as another type.
    ///
    /// # Errors
    /// Those of PostgreSQL's `CAST`.
    pub fn cast_to(&self, data_type: &DataType) -> Result<Scalar> {
        if self.is_null() {
            return Ok(Scalar::Null(data_type.clone()));
        }
        Scalar::from_array(&expression::cast::cast(&self.to_array(1), data_type)?, 0)
    }

    /// Whether this is the number zero.
    pub fn is_zero(&self) -> bool {
        match self {
            Scalar::Int16(value) => *value == 0,
            Scalar::Int32(value) => *value == 0,
            Scalar::Int64(value) => *value == 0,
            Scalar::Float32(value) => *value == 0.0,
            Scalar::Float64(value) => *value == 0.0,
            Scalar::Decimal(value, ..) => *value == 0,
            _ => false,
        }
    }
}

/// PostgreSQL's order of values of one type (decimals of any scales); `None` where a side is NULL or the types differ.
impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Scalar) -> Option<Ordering> {
        use Scalar::{
            Binary, Boolean, Date32, Decimal, Float32, Float64, Int16, Int32, Int64, Interval, Time, Timestamp, TimestampTz, Utf8,
        };
        match (self, other) {
            (Boolean(l), Boolean(r)) => Some(l.cmp(r)),
            (Int16(l), Int16(r)) => Some(l.cmp(r)),
            (Int32(l), Int32(r)) | (Date32(l), Date32(r)) => Some(l.cmp(r)),
            (Int64(l), Int64(r)) | (Timestamp(l), Timestamp(r)) | (TimestampTz(l), TimestampTz(r)) | (Time(l), Time(r)) => Some(l.cmp(r)),
            (Float32(l), Float32(r)) => Some(float_order(f64::from(*l), f64::from(*r))),
            (Float64(l), Float64(r)) => Some(float_order(*l, *r)),
            (Decimal(l, _, l_scale), Decimal(r, _, r_scale)) => Some(decimal_order(*l, *l_scale, *r, *r_scale)),
            (Utf8(l), Utf8(r)) => Some(l.cmp(r)),
            (Binary(l), Binary(r)) => Some(l.cmp(r)),
            (Interval { .. }, Interval { .. }) => Some(self.interval_length().cmp(&other.interval_length())),
            _ => None,
        }
    }
}

impl Scalar {
    fn interval_length(&self) -> i128 {
        match self {
            Scalar::Interval { months, days, nanoseconds } => {
                expression::interval_length(IntervalMonthDayNano::new(*months, *days, *nanoseconds))
            }
            _ => 0,
        }
    }
}

/// NaN is equal to itself and greater than every number; -0 equals 0.
fn float_order(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn decimal_order(left: i128, left_scale: i8, right: i128, right_scale: i8) -> Ordering {
    let scale = left_scale.max(right_scale);
    let widen = |value: i128, own: i8| {
        i256::from_i128(value).wrapping_mul(i256::from_i128(10).wrapping_pow(u32::from((scale - own).unsigned_abs())))
    };
    widen(left, left_scale).cmp(&widen(right, right_scale))
}

/// As `CAST(… AS text)` gives it; `NULL` for NULL.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Null(_) => f.write_str("NULL"),
            Scalar::Utf8(text) => f.write_str(text),
            other => {
                let mut text = String::new();
                expression::text::write_value(&other.to_array(1), 0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(&text)
            }
        }
    }
}
