//! Dates, times and timestamps as text: ISO 8601 and PostgreSQL's special words.

use arrow::datatypes::DataType;
use chrono::{Datelike, NaiveDate};
use operators::types;

use super::shorten;
use crate::{
    error::{Error, ErrorKind, Result},
    sql::coercion::DAY_US,
};

/// Day since 1970-01-01, microseconds since midnight, and microseconds east of UTC if an offset is given.
///
/// # Errors
/// 22007 for text of another form, 22008 for a day or time that does not exist.
pub fn parse_timestamp(text: &str, now_us: i64, to: &DataType) -> Result<(i32, i64, Option<i64>)> {
    let invalid = || invalid(text, to);
    if let Some(special) = special_word(text, now_us) {
        let day = i32::try_from(special.div_euclid(DAY_US)).map_err(|_| out_of_range(text))?;
        return Ok((day, special.rem_euclid(DAY_US), Some(0)));
    }
    let (date, time) = match text.find([' ', 'T', 't']) {
        Some(at) => (&text[..at], text[at + 1..].trim()),
        None => (text, ""),
    };
    let day = parse_date(date).ok_or_else(invalid)?.ok_or_else(|| out_of_range(text))?;
    if time.is_empty() {
        return Ok((day, 0, None));
    }
    let (time, offset) = split_offset(time).ok_or_else(invalid)?;
    let time = parse_clock(time).ok_or_else(invalid)?.ok_or_else(|| out_of_range(text))?;
    Ok((day, time, offset))
}

/// Microseconds since midnight.
///
/// # Errors
/// 22007 for text of another form, 22008 for a time that does not exist.
pub fn parse_time(text: &str, to: &DataType) -> Result<i64> {
    parse_clock(text).ok_or_else(|| invalid(text, to))?.ok_or_else(|| out_of_range(text))
}

fn invalid(text: &str, to: &DataType) -> Error {
    let name = match to {
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Time64(_) => "time",
        other => types::sql_name(other),
    };
    Error::new(ErrorKind::Data, "22007", format!("invalid input syntax for type {name}: \"{}\"", shorten(text)))
}

fn out_of_range(text: &str) -> Error {
    Error::new(ErrorKind::Data, "22008", format!("date/time field value out of range: \"{}\"", shorten(text)))
}

fn special_word(text: &str, now_us: i64) -> Option<i64> {
    let midnight = now_us.div_euclid(DAY_US) * DAY_US;
    match text.to_ascii_lowercase().as_str() {
        "now" => Some(now_us),
        "today" => Some(midnight),
        "tomorrow" => Some(midnight + DAY_US),
        "yesterday" => Some(midnight - DAY_US),
        "epoch" => Some(0),
        _ => None,
    }
}

/// `2020-01-31`, `20200131`; the inner `None`: no such day.
fn parse_date(text: &str) -> Option<Option<i32>> {
    let fields: Vec<&str> = text.split(['-', '/']).collect();
    let (year, month, day) = match fields.as_slice() {
        [year, month, day] if year.len() >= 4 => (*year, *month, *day),
        [compact] if compact.len() == 8 && compact.is_ascii() => (&compact[..4], &compact[4..6], &compact[6..]),
        _ => return None,
    };
    if [year, month, day].iter().any(|f| f.is_empty() || f.len() > 6 || !f.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let (year, month, day) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    let date = if year == 0 { None } else { NaiveDate::from_ymd_opt(year, month, day) };
    Some(date.map(|d| d.num_days_from_ce() - 719_163)) // 1970-01-01 is day 719163 of the Common Era
}

/// `10:30`, `10:30:15.25`; the inner `None`: no such time. 24:00:00 is the end of a day.
fn parse_clock(text: &str) -> Option<Option<i64>> {
    let mut fields = text.split(':');
    let hours = whole(fields.next()?)?;
    let minutes = whole(fields.next()?)?;
    let (seconds, micros) = match fields.next() {
        Some(seconds) => {
            let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
            (whole(seconds)?, fraction_us(fraction)?)
        }
        None => (0, 0),
    };
    if fields.next().is_some() {
        return None;
    }
    let time = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
    Some((minutes < 60 && seconds <= 60 && time <= DAY_US).then_some(time))
}

fn whole(text: &str) -> Option<i64> {
    (!text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Digits after a point in millionths, rounded.
pub fn fraction_us(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    format!("0.{digits}").parse::<f64>().ok().map(|f| (f * 1e6).round() as i64)
}

/// `10:30+02:00` into the time and the offset from UTC.
fn split_offset(text: &str) -> Option<(&str, Option<i64>)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time.trim_end(), Some(0)));
    }
    if let Some(time) = text.strip_suffix("UTC").or_else(|| text.strip_suffix("utc")) {
        return Some((time.trim_end(), Some(0)));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, None)) };
    let (time, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = match offset[1..].split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if offset.len() == 5 && offset.is_ascii() => (&offset[1..3], &offset[3..]),
        None => (&offset[1..], "0"),
    };
    let (hours, minutes) = (whole(hours)?, whole(minutes)?);
    (hours < 16 && minutes < 60).then_some((time.trim_end(), Some(sign * (hours * 60 + minutes) * 60_000_000)))
}
