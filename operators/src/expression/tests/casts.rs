//! Casts, and how values read and show.

use super::*;

fn cast_scalar(scalar: Scalar, data_type: DataType) -> Result<String> {
    constant(&cast(literal(scalar), data_type))
}

#[test]
fn floats_round_to_even_and_decimals_away_from_zero() {
    for (value, expected) in [(0.5, "0"), (1.5, "2"), (2.5, "2"), (-1.5, "-2")] {
        assert_eq!(cast_scalar(Scalar::Float64(value), DataType::Int32).unwrap(), expected);
    }
    for (unscaled, expected) in [(5, "1"), (15, "2"), (25, "3"), (-15, "-2"), (14, "1")] {
        assert_eq!(cast_scalar(Scalar::Decimal(unscaled, 5, 1), DataType::Int32).unwrap(), expected);
    }
}

#[test]
fn numbers_that_do_not_fit() {
    let out_of_range = |type_name| Err(Error::OutOfRange { type_name });
    assert_eq!(cast_scalar(Scalar::Int64(1 << 40), DataType::Int32), out_of_range("integer"));
    assert_eq!(cast_scalar(Scalar::Int32(40_000), DataType::Int16), out_of_range("smallint"));
    assert_eq!(cast_scalar(Scalar::Float64(f64::NAN), DataType::Int32), out_of_range("integer"));
    assert_eq!(cast_scalar(Scalar::Float64(9.3e18), DataType::Int64), out_of_range("bigint"));
    assert_eq!(cast_scalar(Scalar::Float64(1e300), DataType::Float32), out_of_range("real"));
    assert_eq!(cast_scalar(Scalar::Decimal(12345, 5, 2), types::decimal(4, 2)), Err(Error::NumericOverflow));
    assert_eq!(cast_scalar(Scalar::Int32(1000), types::decimal(4, 2)), Err(Error::NumericOverflow));
    assert_eq!(cast_scalar(Scalar::Decimal(99995, 5, 3), types::decimal(4, 2)), Err(Error::NumericOverflow));
}

#[test]
fn numbers_among_each_other() {
    assert_eq!(cast_scalar(Scalar::Decimal(12345, 5, 3), types::decimal(4, 2)).unwrap(), "12.35");
    assert_eq!(cast_scalar(Scalar::Decimal(125, 5, 2), types::decimal(30, 4)).unwrap(), "1.2500");
    assert_eq!(cast_scalar(Scalar::Float64(0.1), types::decimal(38, 16)).unwrap(), "0.1000000000000000");
    assert_eq!(cast_scalar(Scalar::Float32(0.1), types::decimal(10, 4)).unwrap(), "0.1000");
    assert_eq!(cast_scalar(Scalar::Decimal(1, 38, 1), DataType::Float64).unwrap(), "0.1");
    assert_eq!(cast_scalar(Scalar::Int32(7), types::decimal(10, 2)).unwrap(), "7.00");
    assert_eq!(cast_scalar(Scalar::Boolean(true), DataType::Int32).unwrap(), "1");
    assert_eq!(cast_scalar(Scalar::Int32(-3), DataType::Boolean).unwrap(), "true");
}

#[test]
fn texts_become_numbers_and_booleans() {
    assert_eq!(cast_text(" 42 ", DataType::Int32).unwrap(), "42");
    assert_eq!(cast_text("4 2", DataType::Int32), Err(Error::InvalidText { type_name: "integer", text: "4 2".into() }));
    assert_eq!(cast_text("99999999999", DataType::Int32), Err(Error::OutOfRange { type_name: "integer" }));
    assert_eq!(cast_text("", DataType::Int64), Err(Error::InvalidText { type_name: "bigint", text: "".into() }));
    assert_eq!(cast_text("1e400", DataType::Float64), Err(Error::OutOfRange { type_name: "double precision" }));
    assert_eq!(cast_text("-inf", DataType::Float64).unwrap(), "-Infinity");
    assert_eq!(cast_text("nan", DataType::Float32).unwrap(), "NaN");
    for (value, expected) in
        [("1.005", "1.01"), ("-1.005", "-1.01"), (".5", "0.50"), ("5.", "5.00"), ("1.5e1", "15.00"), ("125e-2", "1.25"), ("0.0049", "0.00")]
    {
        assert_eq!(cast_text(value, types::decimal(10, 2)).unwrap(), expected);
    }
    for bad in [".", "1.2.3", "e5", "--1", "1e", "NaN"] {
        assert!(matches!(cast_text(bad, types::decimal(10, 2)), Err(Error::InvalidText { .. })), "{bad}");
    }
    assert_eq!(cast_text("1e30", types::decimal(10, 2)), Err(Error::NumericOverflow));
    assert_eq!(cast_text("1e-500", types::decimal(10, 2)).unwrap(), "0.00");
    for (value, expected) in [("t", "true"), ("YES", "true"), (" on ", "true"), ("of", "false"), ("0", "false"), ("n", "false")] {
        assert_eq!(cast_text(value, DataType::Boolean).unwrap(), expected);
    }
    assert!(cast_text("o", DataType::Boolean).is_err() && cast_text("2", DataType::Boolean).is_err());
}

#[test]
fn texts_become_dates_and_timestamps() {
    for value in [
        "1999-01-08",
        "19990108",
        "1999/1/8",
        "January 8, 1999",
        "8-Jan-1999",
        "1999-Jan-08",
        "Jan-08-1999",
        "1/8/1999",
        "1999-01-08 12:00",
    ] {
        assert_eq!(cast_text(value, DataType::Date32).as_deref(), Ok("1999-01-08"), "{value}");
    }
    for value in ["1999-13-01", "1999-02-29", "0000-01-01"] {
        assert!(matches!(cast_text(value, DataType::Date32), Err(Error::DateTimeOverflow { .. })), "{value}");
    }
    for value in ["", "today or so", "1999-01", "12"] {
        assert!(matches!(cast_text(value, DataType::Date32), Err(Error::InvalidText { .. })), "{value}");
    }
    for (value, expected) in [
        ("1999-01-08 04:05:06.789", "1999-01-08 04:05:06.789"),
        ("1999-01-08T04:05:06Z", "1999-01-08 04:05:06"),
        ("1999-01-08 04:05 PM", "1999-01-08 16:05:00"),
        ("1999-01-08", "1999-01-08 00:00:00"),
        ("1999-01-08 24:00", "1999-01-09 00:00:00"),
        ("1999-01-08 04:05:06.1234567", "1999-01-08 04:05:06.123457"),
        ("0044-03-15 12:00 BC", "0044-03-15 12:00:00 BC"),
    ] {
        assert_eq!(cast_text(value, types::timestamp()).as_deref(), Ok(expected), "{value}");
    }
    assert_eq!(cast_text("1999-01-08 04:05:06-08", types::timestamptz()).unwrap(), "1999-01-08 12:05:06+00");
    assert_eq!(cast_text("1999-01-08 04:05:06+05:30", types::timestamptz()).unwrap(), "1999-01-07 22:35:06+00");
    assert!(matches!(cast_text("1999-01-08 25:00", types::timestamp()), Err(Error::DateTimeOverflow { .. })));
    assert!(matches!(cast_text("1999-01-08 12:00 nowhere", types::timestamp()), Err(Error::InvalidText { .. })));
    let time = DataType::Time64(arrow::datatypes::TimeUnit::Microsecond);
    assert_eq!(cast_text("04:05:06.5", time.clone()).unwrap(), "04:05:06.5");
    assert_eq!(cast_text("04:05 AM", time).unwrap(), "04:05:00");
}

#[test]
fn texts_become_intervals() {
    for (value, expected) in [
        ("1 year 2 months 3 days 4 hours 5 minutes 6 seconds", "1 year 2 mons 3 days 04:05:06"),
        ("1-2", "1 year 2 mons"),
        ("3 4:05:06", "3 days 04:05:06"),
        ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
        ("@ 90 minutes ago", "-01:30:00"),
        ("1.5 days", "1 day 12:00:00"),
        ("0.1 years", "1 mon 6 days"),
        ("90", "00:01:30"),
        ("-3 days 02:00", "-3 days +02:00:00"),
        ("2 weeks", "14 days"),
        ("1.5 months", "1 mon 15 days"),
    ] {
        assert_eq!(cast_text(value, types::interval()).as_deref(), Ok(expected), "{value}");
    }
    for bad in ["", "1 fortnight", "days", "P", "1 day 2"] {
        let read = cast_text(bad, types::interval());
        assert!(matches!(read, Err(Error::InvalidText { .. })) || bad == "1 day 2", "{bad}: {read:?}");
    }
}

#[test]
fn dates_and_times_among_each_other() {
    let time = DataType::Time64(arrow::datatypes::TimeUnit::Microsecond);
    assert_eq!(constant(&cast(date("1999-01-08"), types::timestamp())).unwrap(), "1999-01-08 00:00:00");
    assert_eq!(constant(&cast(timestamp("1969-12-31 23:00"), DataType::Date32)).unwrap(), "1969-12-31");
    assert_eq!(constant(&cast(timestamp("1969-12-31 23:00"), time.clone())).unwrap(), "23:00:00");
    assert_eq!(constant(&cast(timestamp("1999-01-08 01:00"), types::timestamptz())).unwrap(), "1999-01-08 01:00:00+00");
    assert_eq!(constant(&cast(interval("1 day 25 hours"), time)).unwrap(), "01:00:00");
}

#[test]
fn everything_becomes_text_and_bytes_become_hexadecimal() {
    assert_eq!(cast_scalar(Scalar::Boolean(false), DataType::Utf8View).unwrap(), "false");
    assert_eq!(cast_scalar(Scalar::Decimal(150, 5, 2), DataType::Utf8View).unwrap(), "1.50");
    assert_eq!(cast_text("\\x00fF", DataType::BinaryView).unwrap(), "\\x00ff");
    assert_eq!(cast_text("a\\\\\\001", DataType::BinaryView).unwrap(), "\\x615c01");
    assert!(cast_text("\\x0", DataType::BinaryView).is_err());
    assert_eq!(cast_scalar(Scalar::Null(DataType::Int32), DataType::Utf8View).unwrap(), "NULL");
}

#[test]
fn casts_that_cannot_fail_are_known() {
    let can_fail = |from: DataType, to: DataType| cast(column(0, from), to).can_fail();
    assert!(!can_fail(DataType::Int32, DataType::Int64));
    assert!(can_fail(DataType::Int64, DataType::Int32));
    assert!(!can_fail(types::decimal(15, 2), types::decimal(16, 3)));
    assert!(can_fail(types::decimal(15, 2), types::decimal(15, 3)));
    assert!(can_fail(types::decimal(15, 2), types::decimal(14, 1)), "rounding may add a digit");
    assert!(can_fail(DataType::Utf8View, DataType::Int32));
}
