//! `extract(field from x)`.

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, IntervalMonthDayNano},
};

use super::arguments::Arguments;
use crate::{
    Error, Result,
    expression::{
        arithmetic::rescale,
        calendar::{DAY_US, civil_from_days, day_of_week, day_of_year, days_from_civil, iso_year_and_week, years_of_days},
        datum::{Native, Values, unexpected},
    },
    types,
};

/// A part of a date, time or interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field {
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Week,
    Month,
    Quarter,
    Year,
    IsoYear,
    Decade,
    Century,
    Millennium,
    Epoch,
    Julian,
    TimeZone,
}

impl Field {
    /// The field of a name as PostgreSQL knows them.
    pub(super) fn named(name: &str) -> Option<Field> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microsecond" | "microseconds" | "us" | "usec" | "usecs" => Field::Microseconds,
            "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" => Field::Milliseconds,
            "second" | "seconds" | "sec" | "secs" | "s" => Field::Second,
            "minute" | "minutes" | "min" | "mins" | "m" => Field::Minute,
            "hour" | "hours" | "hr" | "hrs" | "h" => Field::Hour,
            "day" | "days" | "d" => Field::Day,
            "dow" => Field::DayOfWeek,
            "isodow" => Field::IsoDayOfWeek,
            "doy" => Field::DayOfYear,
            "week" | "weeks" | "w" => Field::Week,
            "month" | "months" | "mon" | "mons" => Field::Month,
            "quarter" | "quarters" | "qtr" => Field::Quarter,
            "year" | "years" | "yr" | "yrs" | "y" => Field::Year,
            "isoyear" => Field::IsoYear,
            "decade" | "decades" | "dec" | "decs" => Field::Decade,
            "century" | "centuries" | "cent" | "c" => Field::Century,
            "millennium" | "millennia" | "mil" | "mils" => Field::Millennium,
            "epoch" => Field::Epoch,
            "julian" => Field::Julian,
            "timezone" | "timezone_hour" | "timezone_minute" => Field::TimeZone,
            _ => return None,
        })
    }
}

/// Values are computed in millionths, so that fractions of seconds are whole.
const UNIT: i128 = 1_000_000;
const SECOND_US: i64 = 1_000_000;
const DAY_SECONDS: i128 = 86_400;

pub(super) fn extract(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let names = arguments.texts(0)?;
    let operand = arguments.get(1)?;
    let data_type = operand.data_type();
    let field_of = |row: usize| {
        let name = names.get(row);
        Field::named(name)
            .ok_or_else(|| Error::InvalidArgument(format!("unit \"{name}\" not recognized for type {}", types::sql_name(&data_type))))
    };
    let unsupported =
        |row: usize| Error::InvalidArgument(format!("unit \"{}\" not supported for type {}", names.get(row), types::sql_name(&data_type)));
    match &data_type {
        DataType::Date32 => {
            let dates = arguments.natives::<i32>(1)?;
            if let (Values::Slice(days), Ok(Field::Year)) = (dates, field_of(0))
                && let Some(years) = years(arguments, days)
            {
                return years;
            }
            numbers(arguments, |row| of_date(field_of(row)?, i64::from(dates.get(row))).ok_or_else(|| unsupported(row)))
        }
        DataType::Timestamp(_, zone) => {
            let timestamps = arguments.natives::<i64>(1)?;
            let has_zone = zone.is_some();
            numbers(arguments, |row| match field_of(row)? {
                Field::TimeZone if has_zone => Ok(0),
                field => of_timestamp(field, timestamps.get(row)).ok_or_else(|| unsupported(row)),
            })
        }
        DataType::Time64(_) => {
            let times = arguments.natives::<i64>(1)?;
            numbers(arguments, |row| match field_of(row)? {
                Field::Epoch => Ok(i128::from(times.get(row))),
                field => of_time(field, times.get(row)).ok_or_else(|| unsupported(row)),
            })
        }
        DataType::Interval(_) => {
            let intervals = arguments.natives::<IntervalMonthDayNano>(1)?;
            numbers(arguments, |row| of_interval(field_of(row)?, intervals.get(row)).ok_or_else(|| unsupported(row)))
        }
        other => Err(unexpected("a date, time or interval", other)),
    }
}

/// The years of a column of dates, if the field's name is a constant (it is, or its column would be checked
/// row by row) and the result is an integer.
fn years(arguments: &Arguments<'_>, days: &[i32]) -> Option<Result<ArrayRef>> {
    let is_constant = matches!(arguments.values[0], crate::expression::datum::Datum::Scalar(_)) || days.len() == 1;
    // There is no year 0: before year 1 comes year -1.
    let shown = |year: i32| if year > 0 { year } else { year - 1 };
    match arguments.data_type {
        DataType::Int64 if is_constant => {
            Some(i64::array(arguments.data_type, years_of_days(days, |year| i64::from(shown(year))), arguments.nulls()))
        }
        DataType::Int32 if is_constant => Some(i32::array(arguments.data_type, years_of_days(days, shown), arguments.nulls())),
        _ => None,
    }
}

/// One number per row, of which `f` gives the millionths.
fn numbers(arguments: &Arguments<'_>, f: impl Fn(usize) -> Result<i128>) -> Result<ArrayRef> {
    let out_of_range = |_| Error::OutOfRange { type_name: types::sql_name(arguments.data_type) };
    match arguments.data_type {
        DataType::Int32 => arguments.map(|row| i32::try_from(f(row)? / UNIT).map_err(out_of_range)),
        DataType::Int64 => arguments.map(|row| i64::try_from(f(row)? / UNIT).map_err(out_of_range)),
        DataType::Float64 => arguments.map(|row| Ok(f(row)? as f64 / UNIT as f64)),
        DataType::Decimal64(_, scale) => {
            arguments.map(|row| i64::try_from(with_scale(f(row)?, *scale)?).map_err(|_| Error::NumericOverflow))
        }
        DataType::Decimal128(_, scale) => arguments.map(|row| with_scale(f(row)?, *scale)),
        other => Err(unexpected("a number", other)),
    }
}

fn with_scale(millionths: i128, scale: i8) -> Result<i128> {
    rescale(millionths, 6, i32::from(scale)).ok_or(Error::NumericOverflow)
}

/// In millionths; `None`: a date has no such field.
fn of_date(field: Field, days: i64) -> Option<i128> {
    let whole = |value: i64| Some(i128::from(value) * UNIT);
    let (year, month, day) = civil_from_days(days);
    // Years before 1 as historians count them: there is no year 0.
    let shown_year = if year > 0 { year } else { year - 1 };
    whole(match field {
        Field::Day => i64::from(day),
        Field::Month => i64::from(month),
        Field::Quarter => i64::from(month - 1) / 3 + 1,
        Field::Year => shown_year,
        Field::Decade => year.div_euclid(10),
        Field::Century => {
            if year > 0 {
                (year + 99) / 100
            } else {
                -((99 - shown_year) / 100)
            }
        }
        Field::Millennium => {
            if year > 0 {
                (year + 999) / 1000
            } else {
                -((999 - shown_year) / 1000)
            }
        }
        Field::DayOfWeek => day_of_week(days),
        Field::IsoDayOfWeek => (day_of_week(days) + 6) % 7 + 1,
        Field::DayOfYear => day_of_year(days),
        Field::Week => iso_year_and_week(days).1,
        Field::IsoYear => match iso_year_and_week(days).0 {
            year if year > 0 => year,
            year => year - 1,
        },
        Field::Epoch => days * 86_400,
        Field::Julian => days + julian_day_of_epoch(),
        _ => return None,
    })
}

/// The Julian day of 1970-01-01: day 0 is 4714-11-24 BC.
pub(super) fn julian_day_of_epoch() -> i64 {
    -days_from_civil(-4713, 11, 24)
}

fn of_timestamp(field: Field, timestamp: i64) -> Option<i128> {
    let (days, time) = (timestamp.div_euclid(DAY_US), timestamp.rem_euclid(DAY_US));
    match field {
        Field::Epoch => Some(i128::from(timestamp)),
        Field::Julian => Some(of_date(field, days)? + i128::from(time) * UNIT / i128::from(DAY_US)),
        _ => of_time(field, time).or_else(|| of_date(field, days)),
    }
}

fn of_time(field: Field, time: i64) -> Option<i128> {
    let in_minute = i128::from(time % (60 * SECOND_US));
    Some(match field {
        Field::Microseconds => in_minute * UNIT,
        Field::Milliseconds => in_minute * 1_000,
        Field::Second => in_minute,
        Field::Minute => i128::from(time / (60 * SECOND_US) % 60) * UNIT,
        Field::Hour => i128::from(time / (3600 * SECOND_US)) * UNIT,
        _ => return None,
    })
}

fn of_interval(field: Field, interval: IntervalMonthDayNano) -> Option<i128> {
    let time = interval.nanoseconds / 1_000;
    let (years, months) = (i128::from(interval.months / 12), i128::from(interval.months % 12));
    let days = i128::from(interval.days);
    let whole = match field {
        Field::Day => days,
        Field::Week => days / 7,
        Field::Month => months,
        Field::Quarter => months / 3 + 1,
        Field::Year => years,
        Field::Decade => years / 10,
        Field::Century => years / 100,
        Field::Millennium => years / 1000,
        // A year is 365.25 days, a month 30.
        Field::Epoch => {
            let seconds = years * (DAY_SECONDS * 36_525 / 100) + months * 30 * DAY_SECONDS + days * DAY_SECONDS;
            return Some(seconds * UNIT + i128::from(time));
        }
        _ => return of_time(field, time),
    };
    Some(whole * UNIT)
}
