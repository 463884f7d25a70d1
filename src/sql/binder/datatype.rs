//! Types as they are written in SQL.

use arrow::datatypes::{DataType, TimeUnit};
use operators::types;
use sqlparser::ast::{self, CharacterLength, ExactNumberInfo, TimezoneInfo};

use crate::error::{Error, Result};

/// A type as written.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenType {
    /// The physical type; of `numeric` without digits one that holds most values.
    pub data_type: DataType,
    /// `varchar(n)`, `char(n)`: a cast cuts the text.
    pub length: Option<i32>,
    /// `numeric` without digits: numbers keep their own.
    pub any_digits: bool,
}

impl From<DataType> for WrittenType {
    fn from(data_type: DataType) -> Self {
        WrittenType { data_type, length: None, any_digits: false }
    }
}

/// The type of a parameter that is declared in SQL (PREPARE).
///
/// # Errors
/// 0A000 for types there are not.
pub fn parameter_type(written: &ast::DataType) -> Result<DataType> {
    written_type(written).map(|t| t.data_type)
}

/// The type that is written.
///
/// # Errors
/// 0A000 for PostgreSQL's types there are not, 42704 for others, 22023 for digits or lengths that cannot be.
pub fn written_type(written: &ast::DataType) -> Result<WrittenType> {
    use ast::DataType as D;
    let data_type = match written {
        D::Boolean | D::Bool => DataType::Boolean,
        D::SmallInt(None) | D::Int2(None) => DataType::Int16,
        D::Int(None) | D::Integer(None) | D::Int4(None) => DataType::Int32,
        D::BigInt(None) | D::Int8(None) => DataType::Int64,
        D::Real | D::Float4 => DataType::Float32,
        D::DoublePrecision | D::Float8 | D::Double(ExactNumberInfo::None) => DataType::Float64,
        D::Float(ExactNumberInfo::None) => DataType::Float64,
        D::Float(ExactNumberInfo::Precision(bits @ 1..=53)) => {
            if *bits <= 24 {
                DataType::Float32
            } else {
                DataType::Float64
            }
        }
        D::Numeric(digits) | D::Decimal(digits) | D::Dec(digits) => return numeric(*digits),
        D::Text | D::Varchar(None) | D::CharacterVarying(None) | D::CharVarying(None) => DataType::Utf8View,
        D::Varchar(Some(length)) | D::CharacterVarying(Some(length)) | D::CharVarying(Some(length)) => return text(Some(length)),
        D::Char(length) | D::Character(length) => {
            return text(Some(length.as_ref().unwrap_or(&CharacterLength::IntegerLength { length: 1, unit: None })));
        }
        D::Bytea => DataType::BinaryView,
        D::Date => DataType::Date32,
        D::Timestamp(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => types::timestamp(),
        D::Timestamp(None | Some(6), TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => types::timestamptz(),
        D::Time(None | Some(6), TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
        D::Interval { fields: None, precision: None } => types::interval(),
        D::Custom(name, modifiers) if modifiers.is_empty() => return custom(&name.to_string().to_lowercase(), written),
        _ => return Err(unsupported(written)),
    };
    Ok(data_type.into())
}

/// Types by names that are no keywords of the grammar.
fn custom(name: &str, written: &ast::DataType) -> Result<WrittenType> {
    let data_type = match name.strip_prefix("pg_catalog.").unwrap_or(name) {
        "name" | "\"name\"" | "\"char\"" => DataType::Utf8View,
        "bpchar" => DataType::Utf8View,
        "float8" => DataType::Float64,
        "float4" => DataType::Float32,
        "int2" => DataType::Int16,
        "int4" | "oid" => DataType::Int32,
        "int8" => DataType::Int64,
        "bool" => DataType::Boolean,
        "timestamptz" => types::timestamptz(),
        "text" => DataType::Utf8View,
        "date" => DataType::Date32,
        _ => return Err(Error::binding("42704", format!("type \"{written}\" does not exist"))),
    };
    Ok(data_type.into())
}

fn unsupported(written: &ast::DataType) -> Error {
    Error::unsupported(format!("the type {written}"))
}

fn numeric(digits: ExactNumberInfo) -> Result<WrittenType> {
    let (precision, scale) = match digits {
        ExactNumberInfo::None => {
            let data_type = types::decimal(types::DECIMAL128_DIGITS_MAX, types::QUOTIENT_SCALE);
            return Ok(WrittenType { data_type, length: None, any_digits: true });
        }
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    let digits_max = u64::from(types::DECIMAL128_DIGITS_MAX);
    if precision == 0 || precision > digits_max {
        return Err(Error::binding("22023", format!("NUMERIC precision {precision} must be between 1 and {digits_max}")));
    }
    match i8::try_from(scale) {
        Ok(scale) if scale >= 0 && u64::from(scale.unsigned_abs()) <= precision => Ok(types::decimal(precision as u8, scale).into()),
        _ => Err(Error::binding("22023", format!("NUMERIC scale {scale} must be between 0 and precision {precision}"))),
    }
}

fn text(length: Option<&CharacterLength>) -> Result<WrittenType> {
    let length = match length {
        Some(CharacterLength::IntegerLength { length, unit: _ }) => {
            let length = i32::try_from(*length).ok().filter(|l| *l > 0);
            Some(length.ok_or_else(|| Error::binding("22023", "length for type varchar must be between 1 and 2147483647"))?)
        }
        _ => None,
    };
    Ok(WrittenType { data_type: DataType::Utf8View, length, any_digits: false })
}

/// PostgreSQL's internal name of a type: how a column is called that is nothing but a cast.
pub fn internal_name(data_type: &ast::DataType) -> String {
    use ast::DataType as D;
    let name = match data_type {
        D::Boolean | D::Bool => "bool",
        D::SmallInt(_) | D::Int2(_) => "int2",
        D::Int(_) | D::Integer(_) | D::Int4(_) => "int4",
        D::BigInt(_) | D::Int8(_) => "int8",
        D::Real | D::Float4 => "float4",
        D::DoublePrecision | D::Float8 | D::Double(_) | D::Float(_) => "float8",
        D::Numeric(_) | D::Decimal(_) | D::Dec(_) => "numeric",
        D::Varchar(_) | D::CharacterVarying(_) | D::CharVarying(_) => "varchar",
        D::Char(_) | D::Character(_) => "bpchar",
        D::Text => "text",
        D::Bytea => "bytea",
        D::Date => "date",
        D::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => "timestamptz",
        D::Timestamp(..) => "timestamp",
        D::Time(..) => "time",
        D::Interval { .. } => "interval",
        other => return other.to_string().to_lowercase(),
    };
    name.to_owned()
}
