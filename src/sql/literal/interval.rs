//! Intervals as text: `1 year 2 days`, `1-2`, `3 04:05:06`, `P1Y2M`, and a number with a unit beside it.

use operators::Scalar;

use super::{datetime, shorten};
use crate::error::{Error, ErrorKind, Result};

/// What an interval is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntervalUnit {
    /// A number of months, for years and the like.
    Months(i32),
    /// A number of days, for weeks and the like.
    Days(i32),
    /// A number of microseconds, for hours and the like.
    Microseconds(i64),
}

impl IntervalUnit {
    /// The unit of that name, singular, plural or abbreviated.
    pub fn by_name(name: &str) -> Option<IntervalUnit> {
        use IntervalUnit::{Days, Microseconds, Months};
        Some(match name.to_ascii_lowercase().as_str() {
            "millennium" | "millennia" | "millenniums" | "mil" | "mils" => Months(12_000),
            "century" | "centuries" | "cent" | "c" => Months(1_200),
            "decade" | "decades" | "dec" | "decs" => Months(120),
            "year" | "years" | "y" | "yr" | "yrs" => Months(12),
            "quarter" | "quarters" => Months(3),
            "month" | "months" | "mon" | "mons" => Months(1),
            "week" | "weeks" | "w" => Days(7),
            "day" | "days" | "d" => Days(1),
            "hour" | "hours" | "h" | "hr" | "hrs" => Microseconds(3_600_000_000),
            "minute" | "minutes" | "m" | "min" | "mins" => Microseconds(60_000_000),
            "second" | "seconds" | "s" | "sec" | "secs" => Microseconds(1_000_000),
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Microseconds(1_000),
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Microseconds(1),
            _ => return None,
        })
    }
}

/// An interval while it is read.
#[derive(Default)]
struct Total {
    months: f64,
    days: f64,
    microseconds: f64,
}

impl Total {
    /// Adds `amount` units; fractions flow down: of a month into days of 30, of a day into hours of 24.
    fn add(&mut self, amount: f64, unit: IntervalUnit) {
        match unit {
            IntervalUnit::Months(months) => {
                let exact = amount * f64::from(months);
                self.months += exact.trunc();
                // Parts of a year become whole months; only parts of a month become days.
                self.add(exact.fract() * 30.0, IntervalUnit::Days(1));
            }
            IntervalUnit::Days(days) => {
                let exact = amount * f64::from(days);
                self.days += exact.trunc();
                self.microseconds += (exact.fract() * 86_400e6).round();
            }
            IntervalUnit::Microseconds(microseconds) => self.microseconds += (amount * microseconds as f64).round(),
        }
    }

    fn negate(&mut self) {
        self.months = -self.months;
        self.days = -self.days;
        self.microseconds = -self.microseconds;
    }

    fn into_scalar(self, text: &str) -> Result<Scalar> {
        let limit = f64::from(i32::MAX);
        let nanoseconds = self.microseconds * 1000.0;
        if self.months.abs() > limit || self.days.abs() > limit || nanoseconds.abs() >= i64::MAX as f64 {
            return Err(Error::new(ErrorKind::Data, "22015", format!("interval field value out of range: \"{}\"", shorten(text))));
        }
        let nanoseconds = (self.microseconds as i64).saturating_mul(1000);
        Ok(Scalar::Interval { months: self.months as i32, days: self.days as i32, nanoseconds })
    }
}

/// An interval; `unit` is what a bare number counts (`interval '3' month`), seconds if `None`.
///
/// # Errors
/// 22007 for text of another form, 22015 for more than the type holds.
pub fn parse_interval(text: &str, unit: Option<IntervalUnit>) -> Result<Scalar> {
    let invalid = || Error::new(ErrorKind::Data, "22007", format!("invalid input syntax for type interval: \"{}\"", shorten(text)));
    let mut total = Total::default();
    let trimmed = text.trim();
    if let Some(designators) = trimmed.strip_prefix('P') {
        read_designators(designators, &mut total).ok_or_else(invalid)?;
    } else {
        read_words(trimmed, unit, &mut total).ok_or_else(invalid)?;
    }
    total.into_scalar(text)
}

/// `1 year 2 days 04:05:06 ago`
fn read_words(text: &str, default_unit: Option<IntervalUnit>, total: &mut Total) -> Option<()> {
    let mut words: Vec<&str> = text.trim_start_matches('@').split_ascii_whitespace().flat_map(split_number).collect();
    let ago = words.last().is_some_and(|word| word.eq_ignore_ascii_case("ago"));
    if ago {
        words.pop();
    }
    if words.is_empty() {
        return None;
    }
    let mut at = 0;
    while at < words.len() {
        let word = words[at];
        at += 1;
        if word.contains(':') {
            total.microseconds += clock(word)?;
        } else if let Some((years, months)) = word.trim_start_matches(['+', '-']).split_once('-') {
            let sign = if word.starts_with('-') { -1.0 } else { 1.0 };
            total.add(sign * number(years)?, IntervalUnit::Months(12));
            total.add(sign * number(months)?, IntervalUnit::Months(1));
        } else {
            let amount = number(word)?;
            match words.get(at).filter(|next| next.starts_with(|c: char| c.is_ascii_alphabetic())) {
                Some(name) => {
                    total.add(amount, IntervalUnit::by_name(name)?);
                    at += 1;
                }
                // `3 04:05:06` is three days and a time.
                None if words.get(at).is_some_and(|next| next.contains(':')) => total.add(amount, IntervalUnit::Days(1)),
                None if at == words.len() => total.add(amount, default_unit.unwrap_or(IntervalUnit::Microseconds(1_000_000))),
                None => return None,
            }
        }
    }
    if ago {
        total.negate();
    }
    Some(())
}

/// `3months` into `3` and `months`.
fn split_number(word: &str) -> impl Iterator<Item = &str> {
    let at = word.find(|c: char| c.is_ascii_alphabetic()).filter(|at| *at > 0 && !word.contains(':'));
    let (head, tail) = match at {
        Some(at) => (&word[..at], Some(&word[at..])),
        None => (word, None),
    };
    std::iter::once(head).chain(tail)
}

fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')).then(|| text.parse().ok()).flatten()
}

/// `-04:05:06.7` in microseconds; hours may go beyond a day.
fn clock(text: &str) -> Option<f64> {
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let mut fields = text.trim_start_matches(['+', '-']).split(':');
    let hours = number(fields.next()?)?;
    let minutes = number(fields.next()?)?;
    let (seconds, fraction) = match fields.next() {
        Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "")),
        None => ("0", ""),
    };
    let seconds = number(seconds)?;
    if fields.next().is_some() || minutes >= 60.0 || seconds > 60.0 {
        return None;
    }
    Some(sign * (((hours * 60.0 + minutes) * 60.0 + seconds) * 1e6 + datetime::fraction_us(fraction)? as f64))
}

/// `1Y2M3DT4H5M6S`, what follows the P of ISO 8601.
fn read_designators(text: &str, total: &mut Total) -> Option<()> {
    if text.is_empty() {
        return None;
    }
    let mut in_time = false;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            in_time = true;
            rest = time;
            continue;
        }
        let at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let unit = match (&rest[at..=at], in_time) {
            ("Y", false) => IntervalUnit::Months(12),
            ("M", false) => IntervalUnit::Months(1),
            ("W", false) => IntervalUnit::Days(7),
            ("D", false) => IntervalUnit::Days(1),
            ("H", true) => IntervalUnit::Microseconds(3_600_000_000),
            ("M", true) => IntervalUnit::Microseconds(60_000_000),
            ("S", true) => IntervalUnit::Microseconds(1_000_000),
            _ => return None,
        };
        total.add(number(&rest[..at])?, unit);
        rest = &rest[at + 1..];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_in_all_their_forms() {
        let hour = 3_600_000_000_000;
        let cases = [
            ("1 year 2 days", None, (12, 2, 0)),
            ("3", Some(IntervalUnit::Months(1)), (3, 0, 0)),
            ("90", Some(IntervalUnit::Days(1)), (0, 90, 0)),
            ("1-2", None, (14, 0, 0)),
            ("3 04:00:00", None, (0, 3, 4 * hour)),
            ("1.5 hours", None, (0, 0, hour + hour / 2)),
            ("1.5 months", None, (1, 15, 0)),
            ("1 day ago", None, (0, -1, 0)),
            ("-2 weeks", None, (0, -14, 0)),
            ("3mons", None, (3, 0, 0)),
            ("P1Y2M3DT4H", None, (14, 3, 4 * hour)),
            ("10", None, (0, 0, 10_000_000_000)),
        ];
        for (text, unit, (months, days, nanoseconds)) in cases {
            assert_eq!(parse_interval(text, unit), Ok(Scalar::Interval { months, days, nanoseconds }), "{text}");
        }
        for text in ["", "abc", "1 fortnight", "1 2 days", "P", "99999999999 years"] {
            assert!(parse_interval(text, None).is_err(), "{text}");
        }
    }
}
