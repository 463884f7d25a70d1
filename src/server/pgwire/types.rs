//! Physical types and the protocol's: OIDs, sizes and modifiers.

use arrow::datatypes::DataType;
use operators::types;
use pgwire::api::{
    Type,
    portal::Format,
    results::{FieldFormat, FieldInfo},
};

use crate::session::ResultColumn;

/// The protocol's type of a physical one.
pub fn pg_type(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::BOOL,
        DataType::Int16 => Type::INT2,
        DataType::Int32 => Type::INT4,
        DataType::Int64 => Type::INT8,
        DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal64(..) | DataType::Decimal128(..) => Type::NUMERIC,
        DataType::BinaryView => Type::BYTEA,
        DataType::Date32 => Type::DATE,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Time64(_) => Type::TIME,
        DataType::Interval(_) => Type::INTERVAL,
        _ => Type::TEXT,
    }
}

/// The physical type of a parameter the client declared; `None` where it is to be inferred.
pub fn physical(declared: &Type) -> Option<DataType> {
    Some(match *declared {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        // Digits are not declared: room for both sides of the point.
        Type::NUMERIC => DataType::Decimal128(types::DECIMAL128_DIGITS_MAX, types::QUOTIENT_SCALE),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => DataType::Utf8View,
        Type::BYTEA => DataType::BinaryView,
        Type::DATE => DataType::Date32,
        Type::TIMESTAMP => types::timestamp(),
        Type::TIMESTAMPTZ => types::timestamptz(),
        Type::TIME => DataType::Time64(arrow::datatypes::TimeUnit::Microsecond),
        Type::INTERVAL => types::interval(),
        _ => return None,
    })
}

/// The description of result columns, with the format each is to be sent in.
pub fn fields(columns: &[ResultColumn], format: Option<&Format>) -> Vec<FieldInfo> {
    let describe = |(index, column): (usize, &ResultColumn)| {
        let format = format.map_or(FieldFormat::Text, |format| format_for(format, index));
        FieldInfo::new(column.name.clone(), None, None, pg_type(&column.data_type), format)
            .with_type_size(type_size(&column.data_type))
            .with_type_modifier(type_modifier(&column.data_type))
    };
    columns.iter().enumerate().map(describe).collect()
}

/// The format of column `index`; text where the client named fewer formats than there are columns.
fn format_for(format: &Format, index: usize) -> FieldFormat {
    match format {
        Format::UnifiedText => FieldFormat::Text,
        Format::UnifiedBinary => FieldFormat::Binary,
        Format::Individual(codes) => codes.get(index).map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
    }
}

/// `pg_type.typlen`.
fn type_size(data_type: &DataType) -> i16 {
    match data_type {
        DataType::Boolean => 1,
        DataType::Int16 => 2,
        DataType::Int32 | DataType::Float32 | DataType::Date32 => 4,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp(..) | DataType::Time64(_) => 8,
        DataType::Interval(_) => 16,
        _ => -1,
    }
}

/// `pg_attribute.atttypmod`: digits of a column's numeric; none for computed ones, whose digits are ours.
fn type_modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal64(precision, scale) if *scale >= 0 => ((i32::from(*precision) << 16) | i32::from(*scale)) + 4,
        _ => -1,
    }
}
