//! One value of any physical type: literals of plans, results of constant folding, statistics.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::types;

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
