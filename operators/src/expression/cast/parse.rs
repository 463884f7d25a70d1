//! Texts as PostgreSQL reads them: numbers, booleans, dates, times, timestamps, intervals, bytes.

use std::str::FromStr;

use arrow::datatypes::{DataType, IntervalMonthDayNano};

use super::invalid_text;
use crate::{
    Error, Result,
    expression::{
        arithmetic::{power_of_ten, rescale},
        calendar::{DAY_US, days_from_civil, days_in_month},
    },
    types,
};

const SECOND_US: i64 = 1_000_000;

/// A unique prefix of true, false, yes, no, on, off; or 1, 0.
pub(super) fn parse_boolean(text: &str) -> Result<bool> {
    let word = text.trim().to_ascii_lowercase();
    let is_prefix_of = |whole: &str, at_least: usize| word.len() >= at_least && whole.starts_with(&word);
    if is_prefix_of("true", 1) || is_prefix_of("yes", 1) || is_prefix_of("on", 2) || word == "1" {
        Ok(true)
    } else if is_prefix_of("false", 1) || is_prefix_of("no", 1) || is_prefix_of("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid_text(&DataType::Boolean, text))
    }
}

pub(super) trait ParsedInteger: FromStr {
    const TYPE: DataType;
}

impl ParsedInteger for i16 {
    const TYPE: DataType = DataType::Int16;
}

impl ParsedInteger for i32 {
    const TYPE: DataType = DataType::Int32;
}

impl ParsedInteger for i64 {
    const TYPE: DataType = DataType::Int64;
}

pub(super) fn parse_integer<T: ParsedInteger>(text: &str) -> Result<T> {
    let digits = text.trim();
    digits.parse().map_err(|_| {
        let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
        if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
            Error::OutOfRange { type_name: types::sql_name(&T::TYPE) }
        } else {
            invalid_text(&T::TYPE, text)
        }
    })
}

pub(super) fn parse_float64(text: &str) -> Result<f64> {
    let word = text.trim();
    let value: f64 = word.parse().map_err(|_| invalid_text(&DataType::Float64, text))?;
    let is_written_out = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_zero_written = !word.bytes().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e')).any(|byte| (b'1'..=b'9').contains(&byte));
    if is_written_out && (value.is_infinite() || (value == 0.0 && !is_zero_written)) {
        return Err(Error::OutOfRange { type_name: "double precision" });
    }
    Ok(value)
}

pub(super) fn parse_float32(text: &str) -> Result<f32> {
    let wide = parse_float64(text).map_err(|error| match error {
        Error::InvalidText { text, .. } => Error::InvalidText { type_name: "real", text },
        _ => Error::OutOfRange { type_name: "real" },
    })?;
    let narrow: f32 = text.trim().parse().map_err(|_| invalid_text(&DataType::Float32, text))?;
    if wide.is_finite() && (narrow.is_infinite() || (narrow == 0.0 && wide != 0.0)) {
        return Err(Error::OutOfRange { type_name: "real" });
    }
    Ok(narrow)
}

/// A number, perhaps with an exponent, as an unscaled value of `scale` digits after the point, rounded half
/// away from zero.
///
/// # Errors
/// [`Error::InvalidText`]; [`Error::NumericOverflow`] if `precision` digits do not hold it.
pub fn parse_decimal(text: &str, precision: u8, scale: i8) -> Result<i128> {
    let invalid = || invalid_text(&DataType::Decimal128(precision, scale), text);
    let trimmed = text.trim();
    let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| invalid())?),
        None => (trimmed, 0),
    };
    let (is_negative, digits) = match mantissa.as_bytes() {
        [b'-', ..] => (true, &mantissa[1..]),
        [b'+', ..] => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(invalid());
    }
    let unscaled = collect_digits(whole.as_bytes(), fraction.as_bytes(), exponent, i32::from(scale)).ok_or(Error::NumericOverflow)?;
    let limit = power_of_ten(i32::from(precision)).ok_or(Error::NumericOverflow)?;
    if unscaled >= limit {
        return Err(Error::NumericOverflow);
    }
    Ok(if is_negative { -unscaled } else { unscaled })
}

/// `whole.fraction * 10^exponent` with `scale` digits after the point; `None` if that is more than 38 digits.
fn collect_digits(whole: &[u8], fraction: &[u8], exponent: i32, scale: i32) -> Option<i128> {
    let digits = whole.iter().chain(fraction);
    // How many of the digits stand before the last one that is kept.
    let kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut value = 0i128;
    let mut seen = 0i64;
    for &digit in digits {
        if seen == kept {
            return value.checked_add(i128::from(digit >= b'5'));
        }
        if seen > kept {
            return Some(value);
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
        seen += 1;
    }
    if value == 0 {
        return Some(0);
    }
    rescale(value, 0, i32::try_from(kept - seen).ok()?)
}

/// `\x` and hexadecimal digits, or text with octal escapes.
pub(super) fn parse_bytes(text: &str) -> Result<Vec<u8>> {
    let invalid = || invalid_text(&DataType::BinaryView, text);
    let bytes = text.as_bytes();
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u32> =
            digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<_>>().ok_or_else(invalid)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        return if rest.is_empty() { Ok(pairs.iter().map(|[high, low]| (high * 16 + low) as u8).collect()) } else { Err(invalid()) };
    }
    let mut result = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'\\', b'\\', ..] => {
                result.push(b'\\');
                at += 2;
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                result.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                at += 4;
            }
            [b'\\', ..] => return Err(invalid()),
            [byte, ..] => {
                result.push(*byte);
                at += 1;
            }
            [] => break,
        }
    }
    Ok(result)
}

// ---- dates and times ----

/// Days since 1970-01-01; a time after the date is read and dropped.
///
/// # Errors
/// [`Error::InvalidText`]; [`Error::DateTimeOverflow`] for a date that does not exist.
pub fn parse_date(text: &str) -> Result<i32> {
    let (days, ..) = date_and_time(text, &DataType::Date32)?;
    i32::try_from(days).map_err(|_| Error::DateTimeOverflow { type_name: "date", text: text.to_owned() })
}

/// Microseconds since 1970-01-01 00:00; a time zone is read and dropped.
///
/// # Errors
/// [`Error::InvalidText`]; [`Error::DateTimeOverflow`] for a date or time that does not exist.
pub fn parse_timestamp(text: &str) -> Result<i64> {
    let (days, time, _) = date_and_time(text, &types::timestamp())?;
    instant(days, time, text)
}

/// Microseconds since 1970-01-01 00:00 UTC; without a time zone the text is in UTC.
///
/// # Errors
/// [`Error::InvalidText`]; [`Error::DateTimeOverflow`] for a date or time that does not exist.
pub fn parse_timestamptz(text: &str) -> Result<i64> {
    let (days, time, offset) = date_and_time(text, &types::timestamptz())?;
    instant(days, time - offset, text)
}

fn instant(days: i64, time: i64, text: &str) -> Result<i64> {
    let overflow = || Error::DateTimeOverflow { type_name: "timestamp", text: text.to_owned() };
    days.checked_mul(DAY_US).and_then(|us| us.checked_add(time)).ok_or_else(overflow)
}

/// Microseconds since midnight; a date before it is read and dropped.
///
/// # Errors
/// [`Error::InvalidText`]; [`Error::DateTimeOverflow`] for a time that does not exist.
pub fn parse_time(text: &str) -> Result<i64> {
    let data_type = DataType::Time64(arrow::datatypes::TimeUnit::Microsecond);
    let trimmed = text.trim();
    let (time, rest) = match clock(trimmed) {
        Some(found) => found,
        None => {
            let (_, time, _) = date_and_time(text, &data_type)?;
            return Ok(time);
        }
    };
    let time = valid_time(time, "time", text)?;
    zone_offset(rest.trim()).map(|_| time).ok_or_else(|| invalid_text(&data_type, text))
}

/// Days, microseconds of the day, and microseconds that the zone is ahead of UTC.
fn date_and_time(text: &str, data_type: &DataType) -> Result<(i64, i64, i64)> {
    let invalid = || invalid_text(data_type, text);
    let mut trimmed = text.trim();
    if trimmed.eq_ignore_ascii_case("epoch") {
        return Ok((0, 0, 0));
    }
    let mut is_before_christ = false;
    if let Some((start, era)) = trimmed.rsplit_once(' ')
        && (era.eq_ignore_ascii_case("BC") || era.eq_ignore_ascii_case("AD"))
    {
        is_before_christ = era.eq_ignore_ascii_case("BC");
        trimmed = start.trim_end();
    }
    let ((year, month, day), rest) = civil_date(trimmed).ok_or_else(invalid)?;
    let overflow = || Error::DateTimeOverflow { type_name: types::sql_name(data_type), text: text.to_owned() };
    if (is_before_christ || rest.is_empty()) && year == 0 {
        return Err(overflow());
    }
    let year = if is_before_christ { 1 - year } else { year };
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || !(-4712..=5_874_897).contains(&year) {
        return Err(overflow());
    }
    let days = days_from_civil(year, month, day);
    let rest = rest.strip_prefix(['T', 't']).unwrap_or(rest).trim_start();
    if rest.is_empty() {
        return Ok((days, 0, 0));
    }
    let (time, zone) = match clock(rest) {
        Some((time, zone)) => (valid_time(time, types::sql_name(data_type), text)?, zone),
        None => (0, rest),
    };
    let offset = zone_offset(zone.trim()).ok_or_else(invalid)?;
    Ok((days, time, offset))
}

type Civil = (i64, u32, u32);

/// `1998-09-02`, `1998/9/2`, `19980902`, `2-Sep-1998`, `Sep 2, 1998`, `1998-Sep-02`; and what follows.
fn civil_date(text: &str) -> Option<(Civil, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 8 && !text[8..].starts_with(['-', '/', '.']) {
        return Some(((text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..8].parse().ok()?), &text[8..]));
    }
    let (first, rest) = date_word(text)?;
    let (second, rest) = date_word(rest)?;
    let (third, rest) = date_word(rest)?;
    let number = |word: &str| word.parse::<u32>().ok();
    let date = match (month_named(first), month_named(second)) {
        (Some(month), _) => (year_of(third)?, month, number(second)?),
        (None, Some(month)) if first.len() >= 3 => (year_of(first)?, month, number(third)?),
        (None, Some(month)) => (year_of(third)?, month, number(first)?),
        (None, None) if first.len() >= 3 => (first.parse().ok()?, number(second)?, number(third)?),
        // Month first, as PostgreSQL's default DateStyle reads it.
        (None, None) => (year_of(third)?, number(first)?, number(second)?),
    };
    Some((date, rest))
}

/// Two digits mean 1970 to 2069.
fn year_of(word: &str) -> Option<i64> {
    let year: i64 = word.parse().ok()?;
    Some(match (word.len(), year) {
        (1 | 2, 0..70) => year + 2000,
        (1 | 2, _) => year + 1900,
        _ => year,
    })
}

/// A run of digits or letters, and what follows the separator after it.
fn date_word(text: &str) -> Option<(&str, &str)> {
    let is_digits = text.starts_with(|c: char| c.is_ascii_digit());
    let length = text.bytes().take_while(|byte| if is_digits { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() }).count();
    if length == 0 {
        return None;
    }
    let (word, rest) = text.split_at(length);
    let after = rest.strip_prefix(',').unwrap_or(rest);
    Some((word, after.strip_prefix(['-', '/', '.', ' ']).unwrap_or(after)))
}

fn month_named(word: &str) -> Option<u32> {
    const MONTHS: [&str; 12] =
        ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
    let word = word.to_ascii_lowercase();
    let is_name = |month: &&str| word == **month || word == month[..3] || (word == "sept" && month.starts_with("sept"));
    MONTHS.iter().position(is_name).map(|index| index as u32 + 1)
}

/// Hours, minutes, microseconds.
type Clock = (u32, u32, i64);

/// `12:34`, `12:34:56.789`, with `AM` or `PM`; and what follows.
fn clock(text: &str) -> Option<(Clock, &str)> {
    let (hours, rest) = number_prefix(text)?;
    let (minutes, mut rest) = number_prefix(rest.strip_prefix(':')?)?;
    let mut microseconds = 0;
    if let Some(after) = rest.strip_prefix(':') {
        let (seconds, after) = number_prefix(after)?;
        microseconds = i64::from(seconds) * SECOND_US;
        rest = after;
        if let Some(after) = rest.strip_prefix('.') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            microseconds += fraction_us(&after[..digits]);
            rest = &after[digits..];
        }
    }
    let trimmed = rest.trim_start();
    let half = trimmed.get(..2).unwrap_or_default().to_ascii_lowercase();
    let hours = match half.as_str() {
        "am" | "pm" if !(1..=12).contains(&hours) => return None,
        "am" => hours % 12,
        "pm" => hours % 12 + 12,
        _ => return Some(((hours, minutes, microseconds), rest)),
    };
    Some(((hours, minutes, microseconds), &trimmed[2..]))
}

fn valid_time((hours, minutes, microseconds): Clock, type_name: &'static str, text: &str) -> Result<i64> {
    let total = i64::from(hours) * 3600 * SECOND_US + i64::from(minutes) * 60 * SECOND_US + microseconds;
    if minutes > 59 || microseconds > 60 * SECOND_US || total > DAY_US {
        return Err(Error::DateTimeOverflow { type_name, text: text.to_owned() });
    }
    Ok(total)
}

/// Up to six digits after a point, the seventh rounds.
fn fraction_us(digits: &str) -> i64 {
    let padded: String = digits.chars().chain(std::iter::repeat('0')).take(7).collect();
    padded.parse::<i64>().map_or(0, |tenths| (tenths + 5) / 10)
}

fn number_prefix(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 9 {
        return None;
    }
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// Microseconds ahead of UTC: nothing, `Z`, `UTC`, `+02`, `-05:30`, `+0530`.
fn zone_offset(zone: &str) -> Option<i64> {
    if zone.is_empty() || ["z", "utc", "gmt", "zulu"].iter().any(|name| zone.eq_ignore_ascii_case(name)) {
        return Some(0);
    }
    let (sign, rest) = match zone.as_bytes()[0] {
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => return None,
    };
    let digits: String = rest.chars().filter(|c| *c != ':').collect();
    if digits.is_empty() || digits.len() > 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits };
    let part = |at: usize| padded.get(at..at + 2).map_or(Some(0), |two| two.parse::<i64>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    (hours <= 15 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds) * SECOND_US)
}

// ---- intervals ----

/// Months, days and microseconds, as fractions until the end.
#[derive(Default)]
struct IntervalParts {
    months: f64,
    days: f64,
    microseconds: f64,
}

/// `1 year 2 mons -3 days 04:05:06.7`, `1-2`, `3 4:05`, `P1Y2M3DT4H5M6S`, `90 minutes ago`.
///
/// # Errors
/// [`Error::InvalidText`]; [`Error::OutOfRange`].
pub fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let invalid = || invalid_text(&types::interval(), text);
    let lower = text.trim().to_ascii_lowercase();
    let parts = match lower.strip_prefix('p') {
        Some(iso) => iso_interval(iso),
        None => verbose_interval(&lower),
    };
    assembled(parts.ok_or_else(invalid)?)
}

fn assembled(parts: IntervalParts) -> Result<IntervalMonthDayNano> {
    let out_of_range = || Error::OutOfRange { type_name: "interval" };
    let microseconds = parts.microseconds.round_ties_even();
    let fits = parts.months.abs() <= f64::from(i32::MAX) && parts.days.abs() <= f64::from(i32::MAX) && microseconds.abs() < 9.2e15;
    if !fits {
        return Err(out_of_range());
    }
    Ok(IntervalMonthDayNano::new(parts.months as i32, parts.days as i32, microseconds as i64 * 1_000))
}

impl IntervalParts {
    /// Adds so many of a unit; fractions go down to the next smaller unit.
    fn add(&mut self, amount: f64, unit: &str) -> Option<()> {
        match unit {
            "millennium" | "millennia" | "millenniums" | "mil" | "mils" => self.add_months(amount * 12_000.0),
            "century" | "centuries" | "cent" | "c" => self.add_months(amount * 1_200.0),
            "decade" | "decades" | "dec" | "decs" => self.add_months(amount * 120.0),
            "year" | "years" | "yr" | "yrs" | "y" => self.add_months(amount * 12.0),
            "quarter" | "quarters" => self.add_months(amount * 3.0),
            "month" | "months" | "mon" | "mons" => self.add_months(amount),
            "week" | "weeks" | "w" => self.add_days(amount * 7.0),
            "day" | "days" | "d" => self.add_days(amount),
            "hour" | "hours" | "hr" | "hrs" | "h" => self.microseconds += amount * 3.6e9,
            "minute" | "minutes" | "min" | "mins" | "m" => self.microseconds += amount * 6e7,
            "second" | "seconds" | "sec" | "secs" | "s" => self.microseconds += amount * 1e6,
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => self.microseconds += amount * 1e3,
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => self.microseconds += amount,
            _ => return None,
        }
        Some(())
    }

    fn add_months(&mut self, months: f64) {
        // What a float cannot say exactly (0.1 year) is meant to be the near whole number of days.
        let rounded = (months * 1e6).round() / 1e6;
        self.months += rounded.trunc();
        self.add_days((rounded.fract() * 30.0 * 1e6).round() / 1e6);
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.microseconds += (days.fract() * DAY_US as f64).round();
    }

    fn negate(&mut self) {
        (self.months, self.days, self.microseconds) = (-self.months, -self.days, -self.microseconds);
    }
}

fn verbose_interval(text: &str) -> Option<IntervalParts> {
    let mut parts = IntervalParts::default();
    let mut rest = text.strip_prefix('@').unwrap_or(text).trim();
    if rest.is_empty() {
        return None;
    }
    let mut is_ago = false;
    if let Some(before) = rest.strip_suffix("ago") {
        (is_ago, rest) = (true, before.trim_end());
    }
    while !rest.is_empty() {
        let (sign, unsigned) = match rest.as_bytes()[0] {
            b'-' => (-1.0, &rest[1..]),
            b'+' => (1.0, &rest[1..]),
            _ => (1.0, rest),
        };
        let length = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':')).count();
        let (number, after) = unsigned.split_at(length);
        if number.contains(':') {
            parts.microseconds += sign * clock_interval(number)?;
            rest = after.trim_start();
            continue;
        }
        let amount: f64 = number.parse().ok()?;
        if let Some((months, after)) = after.strip_prefix('-').and_then(number_prefix) {
            parts.months += sign * (amount * 12.0 + f64::from(months));
            rest = after.trim_start();
            continue;
        }
        let after = after.trim_start();
        let unit_length = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(unit_length);
        rest = after.trim_start();
        // A bare number is days before a time (`3 4:05:06`) and seconds at the end.
        let unit = match unit {
            "" if rest.contains(':') => "day",
            "" if rest.is_empty() => "second",
            unit => unit,
        };
        parts.add(sign * amount, unit)?;
    }
    if is_ago {
        parts.negate();
    }
    Some(parts)
}

/// Microseconds of `4:05`, `4:05:06.7`.
fn clock_interval(text: &str) -> Option<f64> {
    let mut fields = text.split(':');
    let hours: f64 = fields.next()?.parse().ok()?;
    let minutes: f64 = fields.next()?.parse().ok()?;
    let seconds: f64 = fields.next().map_or(Some(0.0), |seconds| seconds.parse().ok())?;
    (fields.next().is_none() && minutes < 60.0 && seconds < 61.0).then_some(hours * 3.6e9 + minutes * 6e7 + seconds * 1e6)
}

/// What follows the `P` of ISO 8601.
fn iso_interval(text: &str) -> Option<IntervalParts> {
    let mut parts = IntervalParts::default();
    let mut rest = text;
    let mut is_time = false;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('t') {
            (is_time, rest) = (true, after);
            continue;
        }
        let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+')).count();
        let amount: f64 = rest[..length].parse().ok()?;
        let unit = match (rest.as_bytes().get(length)?, is_time) {
            (b'y', false) => "year",
            (b'm', false) => "month",
            (b'w', false) => "week",
            (b'd', false) => "day",
            (b'h', true) => "hour",
            (b'm', true) => "minute",
            (b's', true) => "second",
            _ => return None,
        };
        parts.add(amount, unit)?;
        rest = &rest[length + 1..];
    }
    Some(parts)
}
