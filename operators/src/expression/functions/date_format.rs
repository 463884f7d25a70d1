//! `to_char` of dates, timestamps and intervals-free times, with PostgreSQL's template patterns.

use std::fmt::Write;

use arrow::{array::ArrayRef, datatypes::DataType};

use super::{arguments::Arguments, extract::julian_day_of_epoch};
use crate::{
    Result,
    expression::{
        calendar::{DAY_US, civil_from_days, day_of_week, day_of_year, iso_year_and_week},
        datum::unexpected,
    },
};

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Pattern {
        /// Upper case, as in [`PATTERNS`].
        name: &'static str,
        /// As it was written: its case matters for names.
        written: String,
        /// `FM`: no padding.
        is_bare: bool,
        /// `TH` or `th` followed.
        ordinal: Option<bool>,
    },
}

/// All patterns, longer ones before those they start with.
const PATTERNS: [&str; 49] = [
    "A.D.", "P.M.", "A.M.", "B.C.", "Y,YYY", "MONTH", "IYYY", "IDDD", "YYYY", "HH24", "HH12", "SSSSS", "SSSS", "DAY", "DDD", "IYY", "MON",
    "YYY", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6", "AD", "AM", "BC", "CC", "DD", "DY", "HH", "ID", "IW", "IY", "MI", "MM", "MS", "OF",
    "PM", "RM", "SS", "TZ", "US", "WW", "YY", "D", "I", "J", "Q",
];
/// Those of a single letter that would shadow others; tried last.
const SHORT_PATTERNS: [&str; 2] = ["W", "Y"];

/// Cuts a template into patterns and text.
pub(super) fn parse_template(template: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = template;
    let mut is_bare = false;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let inner = &rest[1..];
            let end = inner.find('"').unwrap_or(inner.len());
            push_text(&mut pieces, &inner[..end]);
            rest = inner.get(end + 1..).unwrap_or_default();
            continue;
        }
        if starts_with(rest, "FM") || starts_with(rest, "FX") || starts_with(rest, "TM") {
            is_bare |= starts_with(rest, "FM");
            rest = &rest[2..];
            continue;
        }
        let Some(name) = PATTERNS.iter().chain(&SHORT_PATTERNS).find(|name| starts_with(rest, name)) else {
            push_text(&mut pieces, &rest[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let written = rest[..name.len()].to_owned();
        rest = &rest[name.len()..];
        let ordinal = starts_with(rest, "TH").then(|| rest.starts_with('T'));
        if ordinal.is_some() {
            rest = &rest[2..];
        }
        pieces.push(Piece::Pattern { name, written, is_bare, ordinal });
        is_bare = false;
    }
    pieces
}

fn starts_with(text: &str, pattern: &str) -> bool {
    text.get(..pattern.len()).is_some_and(|start| start.eq_ignore_ascii_case(pattern))
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

pub(super) fn to_char(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let templates = arguments.texts(1)?;
    let operand = arguments.get(0)?.data_type();
    let has_zone = matches!(operand, DataType::Timestamp(_, Some(_)));
    let mut last: (String, Vec<Piece>) = Default::default();
    let mut format = |at: i64, row: usize, out: &mut String| {
        let template = templates.get(row);
        if last.0 != template {
            last = (template.to_owned(), parse_template(template));
        }
        write_pieces(&last.1, at, has_zone, out);
        Ok(())
    };
    match operand {
        DataType::Date32 => {
            let dates = arguments.natives::<i32>(0)?;
            arguments.map_to_text(|row, out| format(i64::from(dates.get(row)).saturating_mul(DAY_US), row, out))
        }
        DataType::Timestamp(..) => {
            let timestamps = arguments.natives::<i64>(0)?;
            arguments.map_to_text(|row, out| format(timestamps.get(row), row, out))
        }
        other => Err(unexpected("a date or timestamp", &other)),
    }
}

fn write_pieces(pieces: &[Piece], at: i64, has_zone: bool, out: &mut String) {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Pattern { name, written, is_bare, ordinal } => {
                let start = out.len();
                write_pattern(name, written, *is_bare, at, has_zone, out);
                if let Some(is_upper) = ordinal {
                    let suffix = ordinal_suffix(&out[start..]);
                    out.push_str(&if *is_upper { suffix.to_uppercase() } else { suffix.to_owned() });
                }
            }
        }
    }
}

fn ordinal_suffix(number: &str) -> &'static str {
    let bytes = number.as_bytes();
    let tens = bytes.len().checked_sub(2).map(|at| bytes[at]);
    match (tens, bytes.last()) {
        (Some(b'1'), _) => "th",
        (_, Some(b'1')) => "st",
        (_, Some(b'2')) => "nd",
        (_, Some(b'3')) => "rd",
        _ => "th",
    }
}

pub(super) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

fn write_pattern(name: &str, written: &str, is_bare: bool, at: i64, has_zone: bool, out: &mut String) {
    let (days, time) = (at.div_euclid(DAY_US), at.rem_euclid(DAY_US));
    let (year, month, day) = civil_from_days(days);
    let shown_year = if year > 0 { year } else { 1 - year };
    let seconds = time / 1_000_000;
    let hour = seconds / 3600;
    let (iso_year, iso_week) = iso_year_and_week(days);
    let month_index = month as usize - 1;
    let day_index = day_of_week(days) as usize;
    let mut number = |value: i64, width: usize| {
        // Writing to a String never fails.
        let _ = if is_bare { write!(out, "{value}") } else { write!(out, "{value:0width$}") };
    };
    match name {
        "YYYY" => number(shown_year, 4),
        "YYY" => number(shown_year % 1000, 3),
        "YY" => number(shown_year % 100, 2),
        "Y" => number(shown_year % 10, 1),
        "Y,YYY" => {
            let _ = write!(out, "{},{:03}", shown_year / 1000, shown_year % 1000);
        }
        "IYYY" => number(iso_year, 4),
        "IYY" => number(iso_year.rem_euclid(1000), 3),
        "IY" => number(iso_year.rem_euclid(100), 2),
        "I" => number(iso_year.rem_euclid(10), 1),
        "CC" => number(if year > 0 { (year + 99) / 100 } else { -((99 + shown_year) / 100) }, 2),
        "Q" => number(i64::from(month - 1) / 3 + 1, 1),
        "MM" => number(i64::from(month), 2),
        "WW" => number((day_of_year(days) - 1) / 7 + 1, 2),
        "W" => number(i64::from(day - 1) / 7 + 1, 1),
        "IW" => number(iso_week, 2),
        "DDD" => number(day_of_year(days), 3),
        "IDDD" => number((iso_week - 1) * 7 + (day_of_week(days) + 6) % 7 + 1, 3),
        "DD" => number(i64::from(day), 2),
        "D" => number(day_of_week(days) + 1, 1),
        "ID" => number((day_of_week(days) + 6) % 7 + 1, 1),
        "J" => number(days + julian_day_of_epoch(), 1),
        "HH24" => number(hour, 2),
        "HH" | "HH12" => number((hour + 11) % 12 + 1, 2),
        "MI" => number(seconds / 60 % 60, 2),
        "SS" => number(seconds % 60, 2),
        "SSSS" | "SSSSS" => number(seconds, 1),
        "MS" | "FF3" => number(time % 1_000_000 / 1_000, 3),
        "US" | "FF6" => number(time % 1_000_000, 6),
        "FF1" => number(time % 1_000_000 / 100_000, 1),
        "FF2" => number(time % 1_000_000 / 10_000, 2),
        "FF4" => number(time % 1_000_000 / 100, 4),
        "FF5" => number(time % 1_000_000 / 10, 5),
        "MONTH" => write_name(MONTHS[month_index], written, if is_bare { 0 } else { 9 }, out),
        "MON" => write_name(&MONTHS[month_index][..3], written, 0, out),
        "DAY" => write_name(DAYS[day_index], written, if is_bare { 0 } else { 9 }, out),
        "DY" => write_name(&DAYS[day_index][..3], written, 0, out),
        "RM" => write_name(ROMAN_MONTHS[month_index], written, if is_bare { 0 } else { 4 }, out),
        "AM" | "PM" => write_marker(["AM", "PM"][usize::from(hour >= 12)], written, out),
        "A.M." | "P.M." => write_marker(["A.M.", "P.M."][usize::from(hour >= 12)], written, out),
        "AD" | "BC" => write_marker(["AD", "BC"][usize::from(year <= 0)], written, out),
        "A.D." | "B.C." => write_marker(["A.D.", "B.C."][usize::from(year <= 0)], written, out),
        "TZ" if has_zone => write_marker("UTC", written, out),
        "OF" => out.push_str("+00"),
        _ => {}
    }
}

/// A name in the case of its pattern: `MONTH`, `Month` or `month`.
fn write_name(name: &str, written: &str, width: usize, out: &mut String) {
    let is_upper = |index: usize| written.as_bytes().get(index).is_some_and(u8::is_ascii_uppercase);
    let cased = match (is_upper(0), is_upper(1)) {
        (true, true) => name.to_uppercase(),
        (true, false) if name.chars().all(char::is_uppercase) && name.len() > 1 => name.to_uppercase(),
        (true, false) => name.to_owned(),
        _ => name.to_lowercase(),
    };
    let _ = write!(out, "{cased:width$}");
}

fn write_marker(marker: &str, written: &str, out: &mut String) {
    let is_lower = written.starts_with(|c: char| c.is_ascii_lowercase());
    out.push_str(&if is_lower { marker.to_lowercase() } else { marker.to_owned() });
}
