//! `date_trunc`, `make_date`, `age`.

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, IntervalMonthDayNano},
};

use super::{arguments::Arguments, extract::Field};
use crate::{
    Error, Result,
    expression::{
        calendar::{DAY_US, civil_from_days, day_of_week, days_from_civil, days_in_month},
        datum::unexpected,
    },
    types,
};

const SECOND_US: i64 = 1_000_000;

pub(super) fn truncate(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let names = arguments.texts(0)?;
    let data_type = arguments.get(1)?.data_type();
    let unknown =
        |row: usize| Error::InvalidArgument(format!("unit \"{}\" not recognized for type {}", names.get(row), types::sql_name(&data_type)));
    match &data_type {
        DataType::Timestamp(..) => {
            let timestamps = arguments.natives::<i64>(1)?;
            arguments.map(|row| {
                let field = Field::named(names.get(row)).ok_or_else(|| unknown(row))?;
                truncate_timestamp(field, timestamps.get(row)).ok_or_else(|| unknown(row))
            })
        }
        DataType::Interval(_) => {
            let intervals = arguments.natives::<IntervalMonthDayNano>(1)?;
            arguments.map(|row| {
                let field = Field::named(names.get(row)).ok_or_else(|| unknown(row))?;
                truncate_interval(field, intervals.get(row)).ok_or_else(|| unknown(row))
            })
        }
        other => Err(unexpected("a timestamp or interval", other)),
    }
}

/// Microseconds of the fields that are no longer than a day.
fn unit_us(field: Field) -> Option<i64> {
    Some(match field {
        Field::Microseconds => 1,
        Field::Milliseconds => 1_000,
        Field::Second => SECOND_US,
        Field::Minute => 60 * SECOND_US,
        Field::Hour => 3_600 * SECOND_US,
        Field::Day => DAY_US,
        _ => return None,
    })
}

fn truncate_timestamp(field: Field, timestamp: i64) -> Option<i64> {
    if let Some(unit) = unit_us(field) {
        return timestamp.checked_sub(timestamp.rem_euclid(unit));
    }
    let days = timestamp.div_euclid(DAY_US);
    let (year, month, _) = civil_from_days(days);
    // The first year of the span of so many years that starts with year 1, or with year 0.
    let from_one = |span: i64| (year - 1).div_euclid(span) * span + 1;
    let first = match field {
        Field::Week => days - (day_of_week(days) + 6) % 7,
        Field::Month => days_from_civil(year, month, 1),
        Field::Quarter => days_from_civil(year, (month - 1) / 3 * 3 + 1, 1),
        Field::Year => days_from_civil(year, 1, 1),
        Field::Decade => days_from_civil(year.div_euclid(10) * 10, 1, 1),
        Field::Century => days_from_civil(from_one(100), 1, 1),
        Field::Millennium => days_from_civil(from_one(1000), 1, 1),
        _ => return None,
    };
    first.checked_mul(DAY_US)
}

fn truncate_interval(field: Field, interval: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let to_months = |unit: i32| Some(IntervalMonthDayNano::new(months / unit * unit, 0, 0));
    match field {
        Field::Day => Some(IntervalMonthDayNano::new(months, days, 0)),
        Field::Month => to_months(1),
        Field::Quarter => to_months(3),
        Field::Year => to_months(12),
        Field::Decade => to_months(120),
        Field::Century => to_months(1_200),
        Field::Millennium => to_months(12_000),
        _ => {
            let unit = unit_us(field)? * 1_000;
            Some(IntervalMonthDayNano::new(months, days, nanoseconds / unit * unit))
        }
    }
}

pub(super) fn make_date(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (years, months, days) = (arguments.natives::<i32>(0)?, arguments.natives::<i32>(1)?, arguments.natives::<i32>(2)?);
    arguments.map(|row| {
        let (year, month, day) = (years.get(row), months.get(row), days.get(row));
        date_from_fields(i64::from(year), i64::from(month), i64::from(day))
            .ok_or_else(|| Error::DateTimeOverflow { type_name: "date", text: format!("{year}-{month:02}-{day:02}") })
    })
}

/// A date that exists; years before 1 as they are shown, without a year 0.
pub(super) fn date_from_fields(shown_year: i64, month: i64, day: i64) -> Option<i32> {
    let year = match shown_year {
        0 => return None,
        1.. => shown_year,
        _ => shown_year + 1,
    };
    let month = u32::try_from(month).ok().filter(|month| (1..=12).contains(month))?;
    let day = u32::try_from(day).ok().filter(|day| *day >= 1 && *day <= days_in_month(year, month))?;
    (-4712..=5_874_897).contains(&year).then(|| i32::try_from(days_from_civil(year, month, day)).ok())?
}

/// The difference in years, months, days and time, as one would count it on a calendar.
pub(super) fn age(arguments: &Arguments<'_>) -> Result<ArrayRef> {
    let (left, right) = (arguments.natives::<i64>(0)?, arguments.natives::<i64>(1)?);
    arguments.map(|row| Ok(calendar_difference(left.get(row), right.get(row))))
}

fn calendar_difference(left: i64, right: i64) -> IntervalMonthDayNano {
    if left < right {
        let positive = forward_difference(right, left, left);
        return IntervalMonthDayNano::new(-positive.months, -positive.days, -positive.nanoseconds);
    }
    forward_difference(left, right, right)
}

/// From `early` to `late`; a borrowed month has the length of that of `borrow_from`.
fn forward_difference(late: i64, early: i64, borrow_from: i64) -> IntervalMonthDayNano {
    let fields = |at: i64| {
        let (year, month, day) = civil_from_days(at.div_euclid(DAY_US));
        (year * 12 + i64::from(month), i64::from(day), at.rem_euclid(DAY_US))
    };
    let ((late_month, late_day, late_time), (early_month, early_day, early_time)) = (fields(late), fields(early));
    let (mut months, mut days, mut time) = (late_month - early_month, late_day - early_day, late_time - early_time);
    if time < 0 {
        time += DAY_US;
        days -= 1;
    }
    if days < 0 {
        let (year, month, _) = civil_from_days(borrow_from.div_euclid(DAY_US));
        days += i64::from(days_in_month(year, month));
        months -= 1;
    }
    IntervalMonthDayNano::new(months as i32, days as i32, time * 1_000)
}
