//! Constants as they are written: numbers, and the text form of every type, as PostgreSQL reads them.
//!
//! Position: used by `binder` for literals, typed literals and text whose type is found by its surroundings.
//! Run-time casts of text columns are in `operators::expression`.

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    types::{self, DECIMAL128_DIGITS_MAX},
};

use super::coercion;
use crate::error::{Error, ErrorKind, Result};

mod datetime;
mod interval;

pub use interval::{IntervalUnit, parse_interval};

/// A number as written: integer where it fits, else numeric; beyond 38 digits double precision.
///
/// # Errors
/// 42601 for what is no number, 22003 for what no type holds.
pub fn parse_number(text: &str) -> Result<Scalar> {
    let plain = text.replace('_', "");
    if plain.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(value) = plain.parse::<i32>() {
            return Ok(Scalar::Int32(value));
        }
        if let Ok(value) = plain.parse::<i64>() {
            return Ok(Scalar::Int64(value));
        }
    }
    if let Some(decimal) = parse_decimal(&plain) {
        return Ok(decimal);
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Scalar::Float64(value)),
        Ok(_) => Err(Error::new(ErrorKind::Data, "22003", format!("\"{}\" is out of range for type double precision", shorten(text)))),
        Err(_) => Err(Error::syntax(format!("invalid number \"{}\"", shorten(text)))),
    }
}

/// A decimal of exactly the digits written; `None` if it is none, or has more than 38.
fn parse_decimal(text: &str) -> Option<Scalar> {
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut value = 0i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < 0 {
        value = value.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?;
        scale = 0;
    }
    let scale = i8::try_from(scale).ok().filter(|s| *s <= DECIMAL128_DIGITS_MAX as i8)?;
    let scalar = coercion::decimal_scalar(if negative { -value } else { value }, scale);
    matches!(scalar, Scalar::Decimal(_, precision, _) if precision <= DECIMAL128_DIGITS_MAX).then_some(scalar)
}

/// The value of type `to` that `text` stands for. `now_us` is what `now` and `today` mean.
///
/// # Errors
/// 22P02, 22007, 22008 or 22003 for text that stands for none.
pub fn parse_text(text: &str, to: &DataType, now_us: i64) -> Result<Scalar> {
    let trimmed = text.trim();
    let invalid =
        || Error::new(ErrorKind::Data, "22P02", format!("invalid input syntax for type {}: \"{}\"", types::sql_name(to), shorten(text)));
    let out_of_range =
        || Error::new(ErrorKind::Data, "22003", format!("value \"{}\" is out of range for type {}", shorten(text), types::sql_name(to)));
    let integer = || match parse_decimal(trimmed) {
        _ if !trimmed.trim_start_matches(['+', '-']).bytes().all(|b| b.is_ascii_digit()) => Err(invalid()),
        Some(value) => coercion::convert_scalar(&value, to).ok_or_else(out_of_range),
        None if trimmed.len() > 30 => Err(out_of_range()),
        None => Err(invalid()),
    };
    match to {
        DataType::Utf8View => Ok(Scalar::Utf8(text.to_owned())),
        DataType::Boolean => parse_boolean(trimmed).map(Scalar::Boolean).ok_or_else(invalid),
        DataType::Int16 | DataType::Int32 | DataType::Int64 => integer(),
        DataType::Float32 => parse_float(trimmed).map(|v| Scalar::Float32(v as f32)).ok_or_else(invalid),
        DataType::Float64 => parse_float(trimmed).map(Scalar::Float64).ok_or_else(invalid),
        DataType::Decimal64(..) | DataType::Decimal128(..) => parse_decimal(trimmed).ok_or_else(invalid),
        DataType::BinaryView => parse_bytes(text).map(Scalar::Binary).ok_or_else(invalid),
        DataType::Date32 => datetime::parse_timestamp(trimmed, now_us, to).map(|(days, _, _)| Scalar::Date32(days)),
        DataType::Timestamp(_, zone) => {
            let (days, time, offset) = datetime::parse_timestamp(trimmed, now_us, to)?;
            let local = i64::from(days) * coercion::DAY_US + time;
            Ok(match zone {
                Some(_) => Scalar::TimestampTz(local - offset.unwrap_or(0)),
                None => Scalar::Timestamp(local),
            })
        }
        DataType::Time64(_) => datetime::parse_time(trimmed, to).map(Scalar::Time),
        DataType::Interval(_) => interval::parse_interval(trimmed, None),
        _ => Err(invalid()),
    }
}

fn parse_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Some(true),
        "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn parse_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "infinity" | "+infinity" | "inf" | "+inf" => Some(f64::INFINITY),
        "-infinity" | "-inf" => Some(f64::NEG_INFINITY),
        plain => plain.parse::<f64>().ok().filter(|v| v.is_finite()),
    }
}

/// `\x` and hexadecimal digits, or the bytes of the text itself if it holds no backslash.
fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    let Some(hexadecimal) = text.strip_prefix("\\x") else {
        return (!text.contains('\\')).then(|| text.as_bytes().to_vec());
    };
    let digits: Vec<u8> = hexadecimal.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

/// At most a line of `text`, for messages.
pub fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_smallest_type_that_holds_them() {
        let cases = [
            ("7", Scalar::Int32(7)),
            ("2147483648", Scalar::Int64(2_147_483_648)),
            ("9223372036854775808", Scalar::Decimal(9_223_372_036_854_775_808, 19, 0)),
            ("0.05", Scalar::Decimal(5, 2, 2)),
            ("100.00", Scalar::Decimal(10000, 5, 2)),
            (".5", Scalar::Decimal(5, 1, 1)),
            ("1e3", Scalar::Decimal(1000, 4, 0)),
            ("1.5e-2", Scalar::Decimal(15, 3, 3)),
            ("1e300", Scalar::Float64(1e300)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_number(text), Ok(expected), "{text}");
        }
        assert_eq!(parse_number("1e999").unwrap_err().sqlstate.0, "22003");
    }

    #[test]
    fn text_becomes_the_type_that_is_needed() {
        let day = 8035; // 1992-01-01 is day 8035 after 1970-01-01: 22 years of 365 days and 5 leap days
        let cases = [
            ("true", DataType::Boolean, Scalar::Boolean(true)),
            (" 12 ", DataType::Int32, Scalar::Int32(12)),
            ("-12.50", types::decimal(38, 16), Scalar::Decimal(-1250, 4, 2)),
            ("1992-01-01", DataType::Date32, Scalar::Date32(day)),
            ("1992-1-1", DataType::Date32, Scalar::Date32(day)),
            ("1992-01-01 00:00:01.5", types::timestamp(), Scalar::Timestamp(i64::from(day) * coercion::DAY_US + 1_500_000)),
            ("1992-01-01T01:00:00+01", types::timestamptz(), Scalar::TimestampTz(i64::from(day) * coercion::DAY_US)),
            ("10:30", DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), Scalar::Time(37_800_000_000)),
            ("\\x00ff", DataType::BinaryView, Scalar::Binary(vec![0, 255])),
        ];
        for (text, to, expected) in cases {
            assert_eq!(parse_text(text, &to, 0), Ok(expected), "{text}");
        }
    }

    #[test]
    fn bad_text_is_refused_with_postgresqls_codes() {
        let cases = [
            ("abc", DataType::Int32, "22P02"),
            ("1.5", DataType::Int32, "22P02"),
            ("3000000000", DataType::Int32, "22003"),
            ("abc", types::decimal(38, 16), "22P02"),
            ("maybe", DataType::Boolean, "22P02"),
            ("not a date", DataType::Date32, "22007"),
            ("1995-13-01", DataType::Date32, "22008"),
            ("1995-02-29", DataType::Date32, "22008"),
            ("25:00:00", DataType::Time64(arrow::datatypes::TimeUnit::Microsecond), "22008"),
            ("3 lightyears", types::interval(), "22007"),
        ];
        for (text, to, code) in cases {
            assert_eq!(parse_text(text, &to, 0).unwrap_err().sqlstate.0, code, "{text} as {to}");
        }
    }
}
