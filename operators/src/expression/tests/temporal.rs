//! Dates, times, timestamps and intervals.

use super::*;

fn of(operator: Arithmetic, left: Expression, right: Expression, data_type: DataType) -> String {
    constant(&arithmetic(operator, left, right, data_type)).unwrap()
}

#[test]
fn dates() {
    let days = |days| literal(Scalar::Int32(days));
    assert_eq!(of(Arithmetic::Subtract, date("2001-10-01"), date("2001-09-28"), DataType::Int32), "3");
    assert_eq!(of(Arithmetic::Add, date("2001-09-28"), days(7), DataType::Date32), "2001-10-05");
    assert_eq!(of(Arithmetic::Add, days(7), date("2001-09-28"), DataType::Date32), "2001-10-05");
    assert_eq!(of(Arithmetic::Subtract, date("2001-10-01"), days(7), DataType::Date32), "2001-09-24");
    assert_eq!(of(Arithmetic::Add, date("2001-09-28"), interval("1 hour"), types::timestamp()), "2001-09-28 01:00:00");
    assert_eq!(of(Arithmetic::Subtract, date("1998-12-01"), interval("90 days"), types::timestamp()), "1998-09-02 00:00:00");
    let time = literal(Scalar::Time(3 * 3_600_000_000));
    assert_eq!(of(Arithmetic::Add, date("2001-09-28"), time, types::timestamp()), "2001-09-28 03:00:00");
}

#[test]
fn months_clamp_to_the_end_of_the_month() {
    for (start, months, expected) in [
        ("2001-01-31", "1 month", "2001-02-28 00:00:00"),
        ("2000-01-31", "1 month", "2000-02-29 00:00:00"),
        ("2000-02-29", "1 year", "2001-02-28 00:00:00"),
        ("2001-03-31", "-1 month", "2001-02-28 00:00:00"),
        ("1993-10-01", "3 months", "1994-01-01 00:00:00"),
        ("1994-01-01", "1 year", "1995-01-01 00:00:00"),
    ] {
        assert_eq!(of(Arithmetic::Add, date(start), interval(months), types::timestamp()), expected);
    }
}

#[test]
fn timestamps() {
    let start = || timestamp("2001-09-28 01:00");
    assert_eq!(of(Arithmetic::Add, start(), interval("23 hours"), types::timestamp()), "2001-09-29 00:00:00");
    assert_eq!(of(Arithmetic::Subtract, start(), interval("23 hours"), types::timestamp()), "2001-09-27 02:00:00");
    assert_eq!(
        of(Arithmetic::Subtract, timestamp("2001-09-29 03:00"), timestamp("2001-07-27 12:00"), types::interval()),
        "63 days 15:00:00"
    );
    assert_eq!(
        of(Arithmetic::Subtract, timestamp("2001-09-28 00:00"), timestamp("2001-09-29 01:00"), types::interval()),
        "-1 days -01:00:00"
    );
    let time = |hours: i64| literal(Scalar::Time(hours * 3_600_000_000));
    let time_type = DataType::Time64(arrow::datatypes::TimeUnit::Microsecond);
    assert_eq!(of(Arithmetic::Add, time(1), interval("26 hours"), time_type.clone()), "03:00:00");
    assert_eq!(of(Arithmetic::Subtract, time(5), interval("6 hours"), time_type), "23:00:00");
    assert_eq!(of(Arithmetic::Subtract, time(5), time(3), types::interval()), "02:00:00");
}

#[test]
fn intervals() {
    let number = |value| literal(Scalar::Float64(value));
    assert_eq!(of(Arithmetic::Add, interval("1 day"), interval("1 hour"), types::interval()), "1 day 01:00:00");
    assert_eq!(of(Arithmetic::Multiply, literal(Scalar::Int32(21)), interval("1 day"), types::interval()), "21 days");
    assert_eq!(of(Arithmetic::Multiply, number(3.5), interval("1 hour"), types::interval()), "03:30:00");
    assert_eq!(of(Arithmetic::Divide, interval("1 hour"), number(1.5), types::interval()), "00:40:00");
    assert_eq!(of(Arithmetic::Multiply, interval("1 mon"), number(0.5), types::interval()), "15 days");
    let by_zero = arithmetic(Arithmetic::Divide, interval("1 hour"), number(0.0), types::interval());
    assert_eq!(constant(&by_zero), Err(Error::DivisionByZero));
    assert_eq!(constant(&Expression::Negate(Box::new(interval("1 mon -2 days")))).unwrap(), "-1 mons +2 days");
}

#[test]
fn columns_of_dates_with_nulls() {
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None, Some(30)]));
    let later = arithmetic(Arithmetic::Add, column(0, DataType::Date32), interval("1 month"), types::timestamp());
    let expected = ["1970-02-01 00:00:00", "NULL", "1970-02-28 00:00:00"];
    assert_eq!(shown(&later, &batch(vec![dates])).unwrap(), expected);
}
