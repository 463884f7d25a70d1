//! Casts among dates, times, timestamps and intervals; the session's time zone is UTC.

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, IntervalMonthDayNano},
};

use super::map_valid;
use crate::{
    Error, Result,
    expression::{calendar::DAY_US, text},
};

/// Casts one temporal type to another.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    use DataType::{Date32, Interval, Time64, Timestamp};
    match (array.data_type(), to) {
        (Date32, Timestamp(..)) => map_valid(array, to, |days: i32| {
            i64::from(days).checked_mul(DAY_US).ok_or_else(|| {
                let mut shown = String::new();
                text::write_date(days, &mut shown);
                Error::DateTimeOverflow { type_name: "timestamp", text: shown }
            })
        }),
        (Timestamp(..), Date32) => map_valid(array, to, |at: i64| Ok(at.div_euclid(DAY_US) as i32)),
        (Timestamp(..), Timestamp(..)) => map_valid(array, to, |at: i64| Ok(at)),
        (Timestamp(..), Time64(_)) => map_valid(array, to, |at: i64| Ok(at.rem_euclid(DAY_US))),
        (Time64(_), Interval(_)) => map_valid(array, to, |time: i64| Ok(IntervalMonthDayNano::new(0, 0, time * 1_000))),
        (Interval(_), Time64(_)) => {
            map_valid(array, to, |interval: IntervalMonthDayNano| Ok((interval.nanoseconds / 1_000).rem_euclid(DAY_US)))
        }
        (from, to) => Err(Error::Internal(format!("no cast from {from} to {to}"))),
    }
}
