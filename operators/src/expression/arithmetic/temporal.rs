//! Arithmetic on dates, times, timestamps and intervals.
//!
//! | left | | right | result |
//! |---|---|---|---|
//! | date | - | date | integer, days |
//! | date | + - | integer | date |
//! | date | + - | interval | timestamp |
//! | date | + | time | timestamp |
//! | timestamp | + - | interval | timestamp |
//! | timestamp | - | timestamp | interval of days and time |
//! | time | + - | interval | time, modulo a day |
//! | time | - | time | interval |
//! | interval | + - | interval | interval |
//! | interval | * / | number | interval |
//!
//! Sums may have their operands the other way round. Months are added first and clamp to the end of the
//! month, then days, then time, as PostgreSQL does.

use arrow::{
    array::{Array, ArrayRef, AsArray},
    datatypes::{DataType, Float64Type, IntervalMonthDayNano},
};

use crate::{
    Error, Result,
    expression::{
        Arithmetic,
        bits::union_nulls,
        calendar::{DAY_US, civil_from_days, days_from_civil, days_in_month},
        cast,
        datum::{Datum, Native, values},
    },
    types,
};

/// Computes `left operator right`.
pub(crate) fn arithmetic(operator: Arithmetic, left: &Datum, right: &Datum, data_type: &DataType, num_rows: usize) -> Result<ArrayRef> {
    use Arithmetic::{Add, Divide, Multiply, Subtract};
    use DataType::{Date32, Int32, Interval, Time64, Timestamp};
    let sign = if operator == Subtract { -1 } else { 1 };
    let rows = Rows { left, right, data_type, num_rows };
    match (left.data_type(), operator, right.data_type()) {
        (Date32, Subtract, Date32) => rows.map(|l: i32, r: i32| l.checked_sub(r).ok_or(Error::OutOfRange { type_name: "integer" })),
        (Date32, Add | Subtract, Int32) => rows.map(|date: i32, days: i32| date_plus_days(date, sign * i64::from(days))),
        (Int32, Add, Date32) => rows.map(|days: i32, date: i32| date_plus_days(date, i64::from(days))),
        (Date32, Add | Subtract, Interval(_)) => rows.map(|date: i32, interval| timestamp_plus_interval(midnight(date), interval, sign)),
        (Interval(_), Add, Date32) => rows.map(|interval, date: i32| timestamp_plus_interval(midnight(date), interval, 1)),
        (Date32, Add, Time64(_)) => rows.map(|date: i32, time: i64| Ok(midnight(date) + time)),
        (Time64(_), Add, Date32) => rows.map(|time: i64, date: i32| Ok(midnight(date) + time)),
        (Timestamp(..), Add | Subtract, Interval(_)) => rows.map(|at: i64, interval| timestamp_plus_interval(at, interval, sign)),
        (Interval(_), Add, Timestamp(..)) => rows.map(|interval, at: i64| timestamp_plus_interval(at, interval, 1)),
        (Timestamp(..), Subtract, Timestamp(..)) => rows.map(timestamp_difference),
        (Time64(_), Add | Subtract, Interval(_)) => rows.map(|at: i64, interval| Ok(time_plus_interval(at, interval, sign))),
        (Interval(_), Add, Time64(_)) => rows.map(|interval, at: i64| Ok(time_plus_interval(at, interval, 1))),
        (Time64(_), Subtract, Time64(_)) => rows.map(|l: i64, r: i64| Ok(IntervalMonthDayNano::new(0, 0, (l - r) * 1_000))),
        (Interval(_), Add | Subtract, Interval(_)) => rows.map(|l, r| interval_sum(l, r, sign as i32)),
        (Interval(_), Multiply, number) if is_number(&number) => rows.scale_intervals(left, right, |i, factor| scale(i, |x| x * factor)),
        (number, Multiply, Interval(_)) if is_number(&number) => rows.scale_intervals(right, left, |i, factor| scale(i, |x| x * factor)),
        (Interval(_), Divide, number) if is_number(&number) => rows
            .scale_intervals(left, right, |i, divisor| if divisor == 0.0 { Err(Error::DivisionByZero) } else { scale(i, |x| x / divisor) }),
        (l, _, r) => Err(Error::Internal(format!("no operator {l} {operator} {r}"))),
    }
}

/// Unary minus of intervals.
pub(crate) fn negate(operand: &Datum, num_rows: usize) -> Result<ArrayRef> {
    let zero = Datum::Scalar(crate::Scalar::Interval { months: 0, days: 0, nanoseconds: 0 });
    Rows { left: &zero, right: operand, data_type: &types::interval(), num_rows }.map(|l, r| interval_sum(l, r, -1))
}

struct Rows<'a> {
    left: &'a Datum,
    right: &'a Datum,
    data_type: &'a DataType,
    num_rows: usize,
}

impl Rows<'_> {
    /// One result per row where neither operand is NULL.
    fn map<L: Native, R: Native, V: Native + Default>(&self, f: impl Fn(L, R) -> Result<V>) -> Result<ArrayRef> {
        let nulls = union_nulls(self.left.nulls(), self.right.nulls());
        let (left, right) = (values::<L>(self.left)?, values::<R>(self.right)?);
        let result = (0..self.num_rows)
            .map(|row| match &nulls {
                Some(nulls) if nulls.is_null(row) => Ok(V::default()),
                _ => f(left.get(row), right.get(row)),
            })
            .collect::<Result<Vec<V>>>()?;
        V::array(self.data_type, result, nulls)
    }

    fn scale_intervals(
        &self,
        intervals: &Datum,
        factors: &Datum,
        f: impl Fn(IntervalMonthDayNano, f64) -> Result<IntervalMonthDayNano>,
    ) -> Result<ArrayRef> {
        let factors = cast::cast(&factors.clone().into_array(self.num_rows), &DataType::Float64)?;
        let nulls = union_nulls(intervals.nulls(), factors.nulls());
        let intervals = values::<IntervalMonthDayNano>(intervals)?;
        let factors = factors.as_primitive::<Float64Type>().values();
        let result = (0..self.num_rows)
            .map(|row| match &nulls {
                Some(nulls) if nulls.is_null(row) => Ok(IntervalMonthDayNano::default()),
                _ => f(intervals.get(row), factors[row]),
            })
            .collect::<Result<Vec<_>>>()?;
        IntervalMonthDayNano::array(self.data_type, result, nulls)
    }
}

fn is_number(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
    )
}

fn midnight(date: i32) -> i64 {
    i64::from(date) * DAY_US
}

fn date_plus_days(date: i32, days: i64) -> Result<i32> {
    i32::try_from(i64::from(date) + days)
        .map_err(|_| Error::DateTimeOverflow { type_name: "date", text: format!("{days} days from day {date}") })
}

/// The date `months` later; the last day of the month where the day does not exist.
pub(crate) fn add_months(days: i64, months: i64) -> i64 {
    let (year, month, day) = civil_from_days(days);
    let month_index = year * 12 + i64::from(month) - 1 + months;
    let (year, month) = (month_index.div_euclid(12), month_index.rem_euclid(12) as u32 + 1);
    days_from_civil(year, month, day.min(days_in_month(year, month)))
}

/// `timestamp + sign * interval`.
pub(crate) fn timestamp_plus_interval(timestamp: i64, interval: IntervalMonthDayNano, sign: i64) -> Result<i64> {
    let (mut days, time) = (timestamp.div_euclid(DAY_US), timestamp.rem_euclid(DAY_US));
    if interval.months != 0 {
        days = add_months(days, sign * i64::from(interval.months));
    }
    days += sign * i64::from(interval.days);
    days.checked_mul(DAY_US)
        .and_then(|us| us.checked_add(time))
        .and_then(|us| us.checked_add(sign * (interval.nanoseconds / 1_000)))
        .ok_or_else(|| Error::DateTimeOverflow {
            type_name: "timestamp",
            text: format!("{timestamp} microseconds plus {} months, {} days", interval.months, interval.days),
        })
}

fn timestamp_difference(left: i64, right: i64) -> Result<IntervalMonthDayNano> {
    let out_of_range = || Error::OutOfRange { type_name: "interval" };
    let difference = left.checked_sub(right).ok_or_else(out_of_range)?;
    let days = i32::try_from(difference / DAY_US).map_err(|_| out_of_range())?;
    Ok(IntervalMonthDayNano::new(0, days, difference % DAY_US * 1_000))
}

fn time_plus_interval(time: i64, interval: IntervalMonthDayNano, sign: i64) -> i64 {
    (time + sign * (interval.nanoseconds / 1_000 % DAY_US)).rem_euclid(DAY_US)
}

fn interval_sum(left: IntervalMonthDayNano, right: IntervalMonthDayNano, sign: i32) -> Result<IntervalMonthDayNano> {
    let part = |l: i32, r: i32| r.checked_mul(sign).and_then(|r| l.checked_add(r));
    let months = part(left.months, right.months);
    let days = part(left.days, right.days);
    let nanoseconds = right.nanoseconds.checked_mul(i64::from(sign)).and_then(|r| left.nanoseconds.checked_add(r));
    match (months, days, nanoseconds) {
        (Some(months), Some(days), Some(nanoseconds)) => Ok(IntervalMonthDayNano::new(months, days, nanoseconds)),
        _ => Err(Error::OutOfRange { type_name: "interval" }),
    }
}

/// Scales months, days and time; fractions of months become days of 30 to the month, fractions of days time.
fn scale(interval: IntervalMonthDayNano, by: impl Fn(f64) -> f64) -> Result<IntervalMonthDayNano> {
    const DAY_SECONDS: f64 = 86_400.0;
    let out_of_range = Error::OutOfRange { type_name: "interval" };
    let to_microseconds = |seconds: f64| (seconds * 1e6).round_ties_even() / 1e6;
    let (exact_months, exact_days) = (by(f64::from(interval.months)), by(f64::from(interval.days)));
    let (months, days) = (exact_months.trunc(), exact_days.trunc());
    let month_days = to_microseconds((exact_months - months) * 30.0);
    let mut seconds = to_microseconds((exact_days - days + month_days - month_days.trunc()) * DAY_SECONDS);
    let mut whole_days = days + month_days.trunc();
    if seconds.abs() >= DAY_SECONDS {
        whole_days += (seconds / DAY_SECONDS).trunc();
        seconds -= (seconds / DAY_SECONDS).trunc() * DAY_SECONDS;
    }
    let microseconds = (by(interval.nanoseconds as f64 / 1e3) + seconds * 1e6).round_ties_even();
    let fits = |value: f64, max: f64| value.is_finite() && value.abs() <= max;
    if !fits(months, f64::from(i32::MAX)) || !fits(whole_days, f64::from(i32::MAX)) || !fits(microseconds, 9.2e15) {
        return Err(out_of_range);
    }
    Ok(IntervalMonthDayNano::new(months as i32, whole_days as i32, microseconds as i64 * 1_000))
}
