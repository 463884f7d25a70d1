//! `to_date(text, template)`.

use arrow::array::ArrayRef;

use super::{
    arguments::Arguments,
    date::date_from_fields,
    date_format::{MONTHS, Piece, parse_template},
    extract::julian_day_of_epoch,
};
use crate::{Error, Result, expression::calendar::days_from_civil};

pub(super) fn to_date(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (texts, templates) = (arguments.texts(0)?, arguments.texts(1)?);
    let mut last: (String, Vec<Piece>) = Default::default();
    arguments.map(|row| {
        let template = templates.get(row);
        if last.0 != template {
            last = (template.to_owned(), parse_template(template));
        }
        parse(texts.get(row), &last.1)
    })
}

/// What has been read so far.
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    before_christ: bool,
}

fn parse(text: &str, pieces: &[Piece]) -> Result<i32> {
    let invalid = |name: &str| Error::InvalidArgument(format!("invalid value \"{text}\" for \"{name}\" in to_date"));
    let mut fields = Fields { year: 1, month: 1, day: 1, day_of_year: None, julian: None, before_christ: false };
    let mut rest = text.trim_start();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(separators) => rest = skip_text(rest, separators),
            Piece::Pattern { name, written, .. } => {
                // A number runs to its last digit, unless another number follows directly.
                let is_followed_by_pattern = matches!(pieces.get(index + 1), Some(Piece::Pattern { .. }));
                rest = read(rest.trim_start(), name, is_followed_by_pattern, &mut fields).ok_or_else(|| invalid(written))?;
            }
        }
    }
    assemble(&fields).ok_or_else(|| Error::DateTimeOverflow { type_name: "date", text: text.to_owned() })
}

/// Separators match any separators, letters one character each.
fn skip_text<'t>(text: &'t str, template: &str) -> &'t str {
    let mut rest = text;
    for expected in template.chars() {
        let next = rest.chars().next();
        match next {
            Some(found) if expected.is_alphanumeric() || !found.is_alphanumeric() => rest = &rest[found.len_utf8()..],
            _ => {}
        }
    }
    rest
}

fn read<'t>(text: &'t str, name: &str, is_tight: bool, fields: &mut Fields) -> Option<&'t str> {
    let digits_max = match name {
        "YYYY" | "IYYY" => {
            if is_tight {
                4
            } else {
                9
            }
        }
        "YYY" | "DDD" => 3,
        "MM" | "DD" | "YY" | "HH24" | "HH12" | "HH" | "MI" | "SS" | "WW" | "IW" | "CC" => 2,
        "Y" | "Q" | "D" | "ID" | "W" => 1,
        "J" => 9,
        "US" => 6,
        "MS" => 3,
        "SSSS" | "SSSSS" => 5,
        "MONTH" | "MON" => {
            let (index, length) = month_at_start(text)?;
            fields.month = index;
            return Some(&text[length..]);
        }
        "DAY" | "DY" => return Some(text.trim_start_matches(|c: char| c.is_alphabetic())),
        "BC" | "AD" | "B.C." | "A.D." => {
            let marker = text.get(..name.len())?;
            fields.before_christ = marker.starts_with(['B', 'b']);
            return Some(&text[name.len()..]);
        }
        _ => return Some(text),
    };
    let num_digits = text.bytes().take(digits_max).take_while(u8::is_ascii_digit).count();
    let value: i64 = text[..num_digits].parse().ok()?;
    match name {
        "YYYY" => fields.year = value,
        // The year nearest to 2020.
        "YYY" => fields.year = if value >= 520 { 1000 + value } else { 2000 + value },
        "YY" => fields.year = if value >= 70 { 1900 + value } else { 2000 + value },
        "Y" => fields.year = 2020 + value,
        "MM" => fields.month = value,
        "DD" => fields.day = value,
        "DDD" => fields.day_of_year = Some(value),
        "J" => fields.julian = Some(value),
        _ => {}
    }
    Some(&text[num_digits..])
}

/// Number and length of the month's name, whole or its first three letters.
fn month_at_start(text: &str) -> Option<(i64, usize)> {
    let is_prefix = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let index = MONTHS.iter().position(|month| is_prefix(&month[..3]))?;
    let length = if is_prefix(MONTHS[index]) { MONTHS[index].len() } else { 3 };
    Some((index as i64 + 1, length))
}

fn assemble(fields: &Fields) -> Option<i32> {
    if let Some(julian) = fields.julian {
        return i32::try_from(julian - julian_day_of_epoch()).ok();
    }
    let year = if fields.before_christ { -fields.year } else { fields.year };
    match fields.day_of_year {
        Some(day) if (1..=366).contains(&day) => {
            let first = date_from_fields(year, 1, 1)?;
            debug_assert!(year <= 0 || i64::from(first) == days_from_civil(year, 1, 1));
            i32::try_from(i64::from(first) + day - 1).ok()
        }
        Some(_) => None,
        None => date_from_fields(year, fields.month, fields.day),
    }
}
