//! Every aggregate function: NULLs, empty groups, types, extremes, DISTINCT, FILTER.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal64Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
        Int64Array, IntervalMonthDayNanoArray,
    },
    datatypes::{DataType, IntervalMonthDayNano},
};
use pipelines::testing::batch;

use super::{super::AggregateFunction::*, *};
use crate::Error;

/// Groups 1 (three rows), 2 (two rows, the last argument NULL) and 3 (one row, NULL).
fn keys() -> ArrayRef {
    Arc::new(Int32Array::from(vec![1, 2, 1, 3, 1, 2]))
}

fn decimals(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<Decimal64Array>().with_precision_and_scale(15, 2).unwrap())
}

/// `function` of `arguments` by the groups of [`keys`]; one text per group.
fn by_group(function: AggregateFunction, arguments: &[ArrayRef], result: DataType) -> [String; 3] {
    let batches = [batch([keys()].into_iter().chain(arguments.iter().cloned()).collect())];
    let types = arguments.iter().map(|argument| super::super::plain_type(argument.data_type()));
    let arguments = types.enumerate().map(|(index, data_type)| column(index + 1, data_type)).collect();
    let rows = agreed_rows(&spec(&batches, 1, vec![call(function, arguments, result)]), None, &batches);
    rows.into_iter().map(|mut row| row.pop().unwrap()).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn counts_skip_nulls_only_where_they_have_an_argument() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), Some(5), None, None, Some(6), None]));
    assert_eq!(by_group(CountStar, &[], DataType::Int64), ["3", "2", "1"]);
    assert_eq!(by_group(Count, &[values], DataType::Int64), ["2", "1", "0"]);
    let codes = dictionary(&["x", "y"], &[Some(0), Some(1), None, None, Some(1), None]);
    assert_eq!(by_group(Count, &[codes], DataType::Int64), ["2", "1", "0"]);
}

#[test]
fn sums_have_the_types_of_postgresql_and_skip_nulls() {
    let cases: Vec<(ArrayRef, DataType, [&str; 3])> = vec![
        (Arc::new(Int16Array::from(vec![Some(1), Some(30000), Some(2), None, Some(3), Some(30000)])), DataType::Int64, ["6", "60000", ""]),
        (
            Arc::new(Int32Array::from(vec![Some(i32::MAX), Some(-7), Some(i32::MAX), None, None, None])),
            DataType::Int64,
            ["4294967294", "-7", ""],
        ),
        (
            Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(i64::MIN), Some(i64::MAX), None, Some(i64::MAX), Some(i64::MIN)])),
            DataType::Decimal128(38, 0),
            ["27670116110564327421", "-18446744073709551616", ""],
        ),
        (decimals(&[Some(101), Some(-5), Some(202), None, None, Some(5)]), DataType::Decimal128(38, 2), ["3.03", "0.00", ""]),
        (
            Arc::new(
                Decimal128Array::from(vec![Some(10_i128.pow(37)), Some(1), Some(10_i128.pow(37)), None, Some(-1), Some(2)])
                    .with_precision_and_scale(38, 0)
                    .unwrap(),
            ),
            DataType::Decimal128(38, 0),
            ["19999999999999999999999999999999999999", "3", ""],
        ),
        (Arc::new(Float64Array::from(vec![Some(0.5), Some(1.5), Some(0.25), None, None, None])), DataType::Float64, ["0.75", "1.5", ""]),
        (Arc::new(Float32Array::from(vec![Some(0.5), Some(1.5), Some(0.25), None, None, None])), DataType::Float32, ["0.75", "1.5", ""]),
    ];
    for (values, result, expected) in cases {
        let data_type = values.data_type().clone();
        assert_eq!(by_group(Sum, &[values], result), expected, "sum of {data_type}");
    }
}

#[test]
fn a_sum_of_more_than_38_digits_is_an_error() {
    let most = 99_999_999_999_999_999_999_999_999_999_999_999_999_i128;
    let values = Decimal128Array::from(vec![most, 1]).with_precision_and_scale(38, 0).unwrap();
    let batches = [batch(vec![Arc::new(values)])];
    let result = DataType::Decimal128(38, 0);
    let spec = spec(&batches, 0, vec![call(Sum, vec![column(0, result.clone())], result)]);
    let error = rows(&spec, None, &batches, 0).unwrap_err();
    assert_eq!(error.reason::<Error>(), Some(&Error::NumericOverflow));
}

/// Counts of parts are united by sums of type `bigint`.
#[test]
fn a_sum_of_bigints_may_be_a_bigint_and_overflows_as_one() {
    let counts: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(0), Some(41), None, Some(i64::MAX - 42), Some(7)]));
    assert_eq!(by_group(Sum, &[counts], DataType::Int64), [i64::MAX.to_string(), "7".into(), String::new()]);
    let batches = [batch(vec![Arc::new(Int64Array::from(vec![i64::MAX, 1]))])];
    let spec = spec(&batches, 0, vec![call(Sum, vec![column(0, DataType::Int64)], DataType::Int64)]);
    let error = rows(&spec, None, &batches, 0).unwrap_err();
    assert_eq!(error.reason::<Error>(), Some(&Error::OutOfRange { type_name: "bigint" }));
}

#[test]
fn averages_are_rounded_half_away_from_zero_at_sixteen_digits() {
    let result = DataType::Decimal128(38, 16);
    let thirds: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(-1), Some(0), None, Some(0), Some(-2)]));
    assert_eq!(by_group(Average, &[thirds], result.clone()), ["0.3333333333333333", "-1.5000000000000000", ""]);
    // 2 / 3 rounds up; -0.5 has few digits.
    let cents = decimals(&[Some(100), Some(-100), Some(100), None, Some(0), Some(0)]);
    assert_eq!(by_group(Average, &[cents], result.clone()), ["0.6666666666666667", "-0.5000000000000000", ""]);
    let large: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MAX), None, Some(i64::MAX), None]));
    assert_eq!(by_group(Average, &[large], result), ["9223372036854775807.0000000000000000", "", ""]);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), Some(2.0), Some(2.0), None, None, None]));
    assert_eq!(by_group(Average, &[floats], DataType::Float64), ["1.5", "2.0", ""]);
}

#[test]
fn extremes_of_every_type() {
    let cases: Vec<(ArrayRef, [&str; 3], [&str; 3])> = vec![
        (Arc::new(Int16Array::from(vec![Some(3), Some(-1), Some(i16::MIN), None, Some(4), None])), ["-32768", "-1", ""], ["4", "-1", ""]),
        (
            Arc::new(Int64Array::from(vec![Some(3), Some(i64::MAX), None, None, None, None])),
            ["3", "9223372036854775807", ""],
            ["3", "9223372036854775807", ""],
        ),
        (decimals(&[Some(150), Some(-1), Some(149), None, None, Some(1)]), ["1.49", "-0.01", ""], ["1.50", "0.01", ""]),
        // NaN is greater than any other number, infinity included.
        (
            Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(f64::NAN), Some(f64::INFINITY), None, Some(1.0), None])),
            ["1.0", "NaN", ""],
            ["NaN", "NaN", ""],
        ),
        (
            Arc::new(Date32Array::from(vec![Some(0), Some(-1), Some(31), None, None, None])),
            ["1970-01-01", "1969-12-31", ""],
            ["1970-02-01", "1969-12-31", ""],
        ),
        (
            Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None, None, None])),
            ["false", "true", ""],
            ["true", "true", ""],
        ),
        (
            text(&[Some("b"), Some(""), Some("a longer text than twelve bytes"), None, Some("é"), Some("x")]),
            ["a longer text than twelve bytes", "", ""],
            ["é", "x", ""],
        ),
        (dictionary(&["z", "m", "a"], &[Some(1), Some(0), Some(2), None, Some(1), Some(0)]), ["a", "z", ""], ["m", "z", ""]),
    ];
    for (values, smallest, largest) in cases {
        let data_type = super::super::plain_type(values.data_type());
        assert_eq!(by_group(Min, &[Arc::clone(&values)], data_type.clone()), smallest, "min of {data_type}");
        assert_eq!(by_group(Max, &[values], data_type.clone()), largest, "max of {data_type}");
    }
}

#[test]
fn intervals_compare_by_their_length() {
    let days = |days| Some(IntervalMonthDayNano::new(0, days, 0));
    let months = |months| Some(IntervalMonthDayNano::new(months, 0, 0));
    let values: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![days(29), days(31), months(1), None, months(-1), None]));
    let data_type = values.data_type().clone();
    assert_eq!(by_group(Min, &[Arc::clone(&values)], data_type.clone()), ["-1 mons", "31 days", ""]);
    assert_eq!(by_group(Max, &[values], data_type), ["1 mons", "31 days", ""]);
}

#[test]
fn the_first_value_may_be_null_and_is_of_any_type() {
    // Values that the key determines: the order of arrival does not matter.
    let types: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(10), Some(20), Some(10), None, Some(10), Some(20)])),
        text(&[Some("10"), Some("20"), Some("10"), None, Some("10"), Some("20")]),
        dictionary(&["20", "10"], &[Some(1), Some(0), Some(1), None, Some(1), Some(0)]),
    ];
    for values in types {
        let data_type = super::super::plain_type(values.data_type());
        assert_eq!(by_group(First, &[values], data_type), ["10", "20", ""]);
    }
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(true), None, Some(true), Some(false)]));
    assert_eq!(by_group(First, &[flags], DataType::Boolean), ["true", "false", ""]);
}

#[test]
fn booleans_fold_by_and_and_or() {
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(true), Some(false), None, None, Some(true)]));
    assert_eq!(by_group(BoolAnd, &[Arc::clone(&flags)], DataType::Boolean), ["false", "true", ""]);
    assert_eq!(by_group(BoolOr, &[flags], DataType::Boolean), ["true", "true", ""]);
}

#[test]
fn dispersions_of_samples_need_two_values() {
    let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(2.0), Some(7.0), Some(4.0), None, Some(9.0), None]));
    // Mean 5, squared deviations 9 + 1 + 16 = 26.
    let near = |texts: [String; 3], expected: [Option<f64>; 3]| {
        for (text, expected) in texts.iter().zip(expected) {
            let value: Option<f64> = text.parse().ok();
            assert_eq!(value.is_some(), expected.is_some(), "{text}");
            assert!((value.unwrap_or_default() - expected.unwrap_or_default()).abs() < 1e-12, "{text}");
        }
    };
    near(by_group(VarSamp, &[Arc::clone(&values)], DataType::Float64), [Some(13.0), None, None]);
    near(by_group(VarPop, &[Arc::clone(&values)], DataType::Float64), [Some(26.0 / 3.0), Some(0.0), None]);
    near(by_group(StddevSamp, &[Arc::clone(&values)], DataType::Float64), [Some(13.0_f64.sqrt()), None, None]);
    near(by_group(StddevPop, &[values], DataType::Float64), [Some((26.0_f64 / 3.0).sqrt()), Some(0.0), None]);
}

#[test]
fn texts_are_joined_in_the_order_of_arrival() {
    let texts = text(&[Some("a"), Some("x"), None, None, Some("b"), Some("y")]);
    let delimiters = text(&[Some(", "), Some("-"), Some("?"), Some("?"), Some("; "), None]);
    let batches = [batch(vec![keys(), texts, delimiters])];
    let arguments = vec![column(1, DataType::Utf8View), column(2, DataType::Utf8View)];
    let spec = spec(&batches, 1, vec![call(StringAgg, arguments, DataType::Utf8View)]);
    assert_eq!(rows(&spec, None, &batches, 0).unwrap(), expect(&[&["1", "a; b"], &["2", "xy"], &["3", ""]]));
}

#[test]
fn distinct_arguments_count_once() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), Some(1 << 40), Some(5), None, Some(6), Some(1 << 40)]));
    let words = dictionary(&["u", "v"], &[Some(0), Some(1), Some(0), None, Some(0), Some(0)]);
    let batches = [batch(vec![keys(), values, words])];
    let distinct = |function, index, argument: DataType, result| AggregateCall {
        distinct: true,
        ..call(function, vec![column(index, argument)], result)
    };
    let average = DataType::Decimal128(38, 16);
    let calls = vec![
        distinct(Count, 1, DataType::Int64, DataType::Int64),
        distinct(Sum, 1, DataType::Int64, DataType::Decimal128(38, 0)),
        distinct(Average, 1, DataType::Int64, average),
        distinct(Count, 2, DataType::Utf8View, DataType::Int64),
        distinct(Max, 1, DataType::Int64, DataType::Int64),
    ];
    let expected = [
        ["1", "2", "11", "5.5000000000000000", "1", "6"],
        ["2", "1", "1099511627776", "1099511627776.0000000000000000", "2", "1099511627776"],
        ["3", "0", "", "", "0", ""],
    ];
    let expected: Vec<&[&str]> = expected.iter().map(|row| row.as_slice()).collect();
    assert_eq!(agreed_rows(&spec(&batches, 1, calls), None, &batches), expect(&expected));
}

#[test]
fn filtered_rows_do_not_count_but_their_groups_exist() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 4, 8, 16, 32]));
    let filter: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), Some(false), Some(false), Some(true), None, Some(false)]));
    let batches = [batch(vec![keys(), values, filter])];
    let filtered =
        |function, arguments, result| AggregateCall { filter: Some(column(2, DataType::Boolean)), ..call(function, arguments, result) };
    let argument = || vec![column(1, DataType::Int64)];
    let calls = vec![
        filtered(CountStar, vec![], DataType::Int64),
        filtered(Sum, argument(), DataType::Decimal128(38, 0)),
        filtered(Min, argument(), DataType::Int64),
        call(Sum, argument(), DataType::Decimal128(38, 0)),
    ];
    let expected = expect(&[&["1", "1", "1", "1", "21"], &["2", "0", "", "", "34"], &["3", "1", "8", "8", "8"]]);
    assert_eq!(agreed_rows(&spec(&batches, 1, calls), None, &batches), expected);
}

#[test]
fn without_keys_there_is_one_row_even_over_nothing() {
    let nothing = [batch(vec![Arc::new(Int64Array::from(Vec::<i64>::new()))])];
    let argument = || vec![column(0, DataType::Int64)];
    let calls = vec![
        call(CountStar, vec![], DataType::Int64),
        call(Count, argument(), DataType::Int64),
        call(Sum, argument(), DataType::Decimal128(38, 0)),
        call(Average, argument(), DataType::Decimal128(38, 16)),
        call(Max, argument(), DataType::Int64),
    ];
    let spec = spec(&nothing, 0, calls);
    assert_eq!(rows(&spec, None, &nothing, 0).unwrap(), expect(&[&["0", "0", "", "", ""]]));
    let some = [batch(vec![Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))])];
    assert_eq!(agreed_rows(&spec, None, &some), expect(&[&["3", "2", "4", "2.0000000000000000", "3"]]));
}

#[test]
fn with_keys_nothing_comes_of_nothing() {
    let nothing = [batch(vec![Arc::new(Int64Array::from(Vec::<i64>::new()))])];
    let spec = spec(&nothing, 1, vec![call(CountStar, vec![], DataType::Int64)]);
    assert_eq!(rows(&spec, None, &nothing, 0).unwrap(), expect(&[]));
}
