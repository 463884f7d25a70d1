//! The physical types: which Arrow type carries which SQL type inside the engine.
//!
//! | SQL | Arrow | remarks |
//! |---|---|---|
//! | boolean | `Boolean` | |
//! | smallint, integer, bigint | `Int16`, `Int32`, `Int64` | |
//! | real, double precision | `Float32`, `Float64` | |
//! | numeric(p ≤ 18, s) | `Decimal64(p, s)` | also wider products that statistics prove to fit |
//! | numeric(p > 18, s) | `Decimal128(p, s)` | sums; unconstrained numeric is `(38, 16)` after a division |
//! | text, varchar, char | `Utf8View` | or `Dictionary(UInt32, Utf8View)`, batch by batch |
//! | bytea | `BinaryView` | |
//! | date | `Date32` | days since 1970-01-01 |
//! | timestamp [with time zone] | `Timestamp(Microsecond, None \| Some("UTC"))` | |
//! | time | `Time64(Microsecond)` | |
//! | interval | `Interval(MonthDayNano)` | |
//! | unknown (`NULL`) | `Null` | only in literals; the binder casts it away |
//!
//! No other type reaches an operator: connectors cast what they read.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// Most digits a 64-bit decimal holds.
pub const DECIMAL64_DIGITS_MAX: u8 = 18;
/// Most digits a decimal holds at all.
pub const DECIMAL128_DIGITS_MAX: u8 = 38;
/// Digits after the point of a quotient or average of exact numbers (PostgreSQL shows at least 16
/// significant digits; its scale depends on the value, ours is fixed).
pub const QUOTIENT_SCALE: i8 = 16;

/// The decimal type of `precision` digits, `scale` of them after the point: 64-bit where they fit.
pub fn decimal(precision: u8, scale: i8) -> DataType {
    if precision <= DECIMAL64_DIGITS_MAX {
        DataType::Decimal64(precision, scale)
    } else {
        DataType::Decimal128(precision.min(DECIMAL128_DIGITS_MAX), scale)
    }
}

/// Precision and scale, if `data_type` is a decimal of either width.
pub fn decimal_digits(data_type: &DataType) -> Option<(u8, i8)> {
    match data_type {
        DataType::Decimal64(precision, scale) | DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        _ => None,
    }
}

/// `timestamp` without time zone.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// `timestamp with time zone`; instants are kept in UTC.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `interval`.
pub fn interval() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

/// The type a dictionary-encoded string column has in a batch.
pub fn string_dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8View))
}

/// PostgreSQL's name of the type, as messages and `information_schema` show it.
pub fn sql_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal64(..) | DataType::Decimal128(..) => "numeric",
        DataType::Utf8View | DataType::Dictionary(..) => "text",
        DataType::BinaryView => "bytea",
        DataType::Date32 => "date",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Time64(_) => "time without time zone",
        DataType::Interval(_) => "interval",
        DataType::Null => "unknown",
        _ => "unsupported",
    }
}
