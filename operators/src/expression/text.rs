//! Values as text, exactly as `CAST(… AS text)` of PostgreSQL gives them (dates in ISO style, sessions in UTC).
//!
//! The wire's text format differs in one type only: a boolean is `t` or `f` there.

use std::fmt::Write;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, IntervalMonthDayNano},
};

use super::{
    calendar::{DAY_US, civil_from_days},
    datum::{Native, unexpected},
};
use crate::{Result, types};

/// Appends the value of `array` at `row`, which is not NULL.
///
/// # Errors
/// [`crate::Error::Internal`] for a type that is not one of [`types`].
pub fn write_value(array: &ArrayRef, row: usize, out: &mut String) -> Result<()> {
    let data_type = array.data_type();
    match data_type {
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int16 => write_display(native::<i16>(array, row)?, out),
        DataType::Int32 => write_display(native::<i32>(array, row)?, out),
        DataType::Int64 => write_display(native::<i64>(array, row)?, out),
        DataType::Float32 => write_float32(native(array, row)?, out),
        DataType::Float64 => write_float64(native(array, row)?, out),
        DataType::Decimal64(_, scale) => write_decimal(i128::from(native::<i64>(array, row)?), *scale, out),
        DataType::Decimal128(_, scale) => write_decimal(native(array, row)?, *scale, out),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let code = dictionary.normalized_keys()[row];
            write_value(dictionary.values(), code, out)?;
        }
        DataType::BinaryView => write_bytes(array.as_binary_view().value(row), out),
        DataType::Date32 => write_date(native(array, row)?, out),
        DataType::Timestamp(_, None) => write_timestamp(native(array, row)?, out),
        DataType::Timestamp(_, Some(_)) => write_timestamptz(native(array, row)?, out),
        DataType::Time64(_) => write_time(native(array, row)?, out),
        DataType::Interval(_) => write_interval(native(array, row)?, out),
        other => return Err(unexpected("a SQL value", other)),
    }
    Ok(())
}

fn native<T: Native>(array: &ArrayRef, row: usize) -> Result<T> {
    let values = T::slice(array.as_ref()).ok_or_else(|| unexpected(types::sql_name(array.data_type()), array.data_type()))?;
    Ok(values[row])
}

// Writing to a String never fails.
fn write_display(value: impl std::fmt::Display, out: &mut String) {
    let _ = write!(out, "{value}");
}

/// `real`: the fewest digits that read back as the same value; an exponent from a million on.
pub fn write_float32(value: f32, out: &mut String) {
    write_float(f64::from(value), format!("{value:e}"), format!("{value}"), 6, out);
}

/// `double precision`: the fewest digits that read back as the same value; an exponent from 10^15 on.
pub fn write_float64(value: f64, out: &mut String) {
    write_float(value, format!("{value:e}"), format!("{value}"), 15, out);
}

fn write_float(value: f64, scientific: String, plain: String, exponent_max: i32, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
        return;
    }
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
        return;
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..exponent_max).contains(&exponent) {
        out.push_str(&plain);
    } else {
        let _ = write!(out, "{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
}

/// `numeric`: the unscaled value with `scale` digits after the point.
pub fn write_decimal(unscaled: i128, scale: i8, out: &mut String) {
    if unscaled < 0 {
        out.push('-');
    }
    let digits = unscaled.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Ok(0) => out.push_str(&digits),
        Ok(scale) => {
            let padded = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = padded.split_at(padded.len() - scale);
            let _ = write!(out, "{whole}.{fraction}");
        }
        Err(_) => {
            out.push_str(&digits);
            if unscaled != 0 {
                (0..scale.unsigned_abs()).for_each(|_| out.push('0'));
            }
        }
    }
}

/// `bytea`: `\x` and hexadecimal digits.
pub fn write_bytes(bytes: &[u8], out: &mut String) {
    out.push_str("\\x");
    bytes.iter().for_each(|byte| {
        let _ = write!(out, "{byte:02x}");
    });
}

/// `date`, from days since 1970-01-01.
pub fn write_date(days: i32, out: &mut String) {
    let before_christ = write_civil_date(i64::from(days), out);
    write_era(before_christ, out);
}

/// `timestamp`, from microseconds since 1970-01-01.
pub fn write_timestamp(microseconds: i64, out: &mut String) {
    let before_christ = write_date_and_time(microseconds, out);
    write_era(before_christ, out);
}

/// `timestamp with time zone`, shown in UTC.
pub fn write_timestamptz(microseconds: i64, out: &mut String) {
    let before_christ = write_date_and_time(microseconds, out);
    out.push_str("+00");
    write_era(before_christ, out);
}

fn write_date_and_time(microseconds: i64, out: &mut String) -> bool {
    let before_christ = write_civil_date(microseconds.div_euclid(DAY_US), out);
    out.push(' ');
    write_time(microseconds.rem_euclid(DAY_US), out);
    before_christ
}

/// Writes the date without its era; whether that is BC.
fn write_civil_date(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil_from_days(days);
    let shown_year = if year > 0 { year } else { 1 - year };
    let _ = write!(out, "{shown_year:04}-{month:02}-{day:02}");
    year <= 0
}

fn write_era(before_christ: bool, out: &mut String) {
    if before_christ {
        out.push_str(" BC");
    }
}

/// `time`, from microseconds since midnight.
pub fn write_time(microseconds: i64, out: &mut String) {
    let seconds = microseconds / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    write_fraction((microseconds % 1_000_000) as u32, out);
}

fn write_fraction(microseconds: u32, out: &mut String) {
    if microseconds > 0 {
        let digits = format!("{microseconds:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
}

/// `interval`, in PostgreSQL's own style: `1 year 2 mons -3 days +04:05:06.7`.
pub fn write_interval(interval: IntervalMonthDayNano, out: &mut String) {
    let start = out.len();
    let mut after_negative = false;
    let parts = [(interval.months / 12, "year"), (interval.months % 12, "mon"), (interval.days, "day")];
    for (value, unit) in parts.into_iter().filter(|(value, _)| *value != 0) {
        if out.len() > start {
            out.push(' ');
        }
        let sign = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        let _ = write!(out, "{sign}{value} {unit}{plural}");
        after_negative = value < 0;
    }
    let microseconds = interval.nanoseconds / 1_000;
    if microseconds == 0 && out.len() > start {
        return;
    }
    if out.len() > start {
        out.push(' ');
    }
    if microseconds < 0 {
        out.push('-');
    } else if after_negative {
        out.push('+');
    }
    let magnitude = microseconds.unsigned_abs();
    let seconds = magnitude / 1_000_000;
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    write_fraction((magnitude % 1_000_000) as u32, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T>(write: impl Fn(T, &mut String), value: T) -> String {
        let mut out = String::new();
        write(value, &mut out);
        out
    }

    #[test]
    fn floats_as_postgresql_shows_them() {
        for (value, shown) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (123456789012345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(write_float64, value), shown);
        }
        assert_eq!(text(write_float32, 123456.0), "123456");
        assert_eq!(text(write_float32, 1e6), "1e+06");
        assert_eq!(text(write_float32, 0.1), "0.1");
    }

    #[test]
    fn decimals_keep_their_zeros() {
        let shown = |value, scale| text(|(v, s), out| write_decimal(v, s, out), (value, scale));
        assert_eq!(shown(5, 2), "0.05");
        assert_eq!(shown(-5, 2), "-0.05");
        assert_eq!(shown(1200, 2), "12.00");
        assert_eq!(shown(12, 0), "12");
        assert_eq!(shown(0, 4), "0.0000");
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(text(write_date, 10_471), "1998-09-02");
        assert_eq!(text(write_date, -719_528), "0001-01-01 BC");
        assert_eq!(text(write_timestamp, 1_500_000), "1970-01-01 00:00:01.5");
        assert_eq!(text(write_timestamp, -1), "1969-12-31 23:59:59.999999");
        assert_eq!(text(write_timestamptz, 0), "1970-01-01 00:00:00+00");
        assert_eq!(text(write_time, 86_399_000_000), "23:59:59");
    }

    #[test]
    fn intervals() {
        let interval = |months, days, us: i64| IntervalMonthDayNano::new(months, days, us * 1_000);
        for (value, shown) in [
            (interval(0, 0, 0), "00:00:00"),
            (interval(14, 3, 14_706_000_000), "1 year 2 mons 3 days 04:05:06"),
            (interval(-14, 3, 0), "-1 years -2 mons +3 days"),
            (interval(0, -1, 3_600_000_000), "-1 days +01:00:00"),
            (interval(1, 0, 0), "1 mon"),
            (interval(0, 0, -1_500_000), "-00:00:01.5"),
            (interval(0, 0, 360_000_000_000), "100:00:00"),
        ] {
            assert_eq!(text(write_interval, value), shown);
        }
    }
}
