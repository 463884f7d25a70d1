//! Every layout of keys, forced in turn, with the same case; and guesses that turn out wrong.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal64Array, Decimal128Array, Float64Array, Int16Array, Int32Array, Int64Array,
        IntervalMonthDayNanoArray, TimestampMicrosecondArray,
    },
    datatypes::{DataType, IntervalMonthDayNano},
};
use pipelines::testing::batch;

use super::{super::AggregateFunction::*, *};

/// Tiny tables: every few groups are flushed into partitions.
const FLUSHING: Limits = Limits { groups_max: 2, partition_bits: 2, merged_at_once_max: 0 };
/// Whole tables that are partitioned at the end.
const PARTITIONED: Limits = Limits { groups_max: 1 << 20, partition_bits: 3, merged_at_once_max: 0 };

/// Rows and sums of the last column by the others, under all limits.
fn check(batches: &[Batch], bounds: Vec<Option<(i64, i64)>>, estimated_groups: usize, expected: &[&[&str]]) {
    let num_keys = batches[0].columns().len() - 1;
    let argument = || vec![column(num_keys, DataType::Int64)];
    let calls = vec![call(CountStar, vec![], DataType::Int64), call(Sum, argument(), DataType::Decimal128(38, 0))];
    let spec = AggregateSpec { key_bounds: bounds, estimated_groups, ..spec(batches, num_keys, calls) };
    for limits in [None, Some(FLUSHING), Some(PARTITIONED)] {
        assert_eq!(agreed_rows(&spec, limits, batches), expect(expected), "{limits:?}");
    }
}

fn values() -> ArrayRef {
    Arc::new(Int64Array::from(vec![1, 2, 4, 8, 16, 32]))
}

#[test]
fn one_key_of_every_type() {
    // Rows 0, 2 and 5 are equal, 1 and 4 are NULL, 3 is alone.
    let first = [0, 2, 5];
    let pick = |row: usize| (row != 1 && row != 4).then(|| first.contains(&row));
    let rows = 0..6_usize;
    let integers = |a: i64, b: i64| rows.clone().map(|row| pick(row).map(|first| if first { a } else { b })).collect::<Vec<_>>();
    let cases: Vec<(ArrayRef, &str, &str)> = vec![
        (Arc::new(Int16Array::from(vec![Some(7), None, Some(7), Some(-7), None, Some(7)])), "7", "-7"),
        (
            Arc::new(Int32Array::from(vec![Some(i32::MAX), None, Some(i32::MAX), Some(i32::MIN), None, Some(i32::MAX)])),
            "2147483647",
            "-2147483648",
        ),
        (Arc::new(Int64Array::from(integers(i64::MAX, i64::MIN))), "9223372036854775807", "-9223372036854775808"),
        (Arc::new(Date32Array::from(vec![Some(0), None, Some(0), Some(1), None, Some(0)])), "1970-01-01", "1970-01-02"),
        (Arc::new(Decimal64Array::from(integers(150, -150)).with_precision_and_scale(15, 2).unwrap()), "1.50", "-1.50"),
        (
            Arc::new(
                Decimal128Array::from(vec![Some(1), None, Some(1), Some(10_i128.pow(30)), None, Some(1)])
                    .with_precision_and_scale(38, 0)
                    .unwrap(),
            ),
            "1",
            "1000000000000000000000000000000",
        ),
        (Arc::new(TimestampMicrosecondArray::from(integers(0, 1_000_000))), "1970-01-01T00:00:00", "1970-01-01T00:00:01"),
        (Arc::new(BooleanArray::from(vec![Some(true), None, Some(true), Some(false), None, Some(true)])), "true", "false"),
        // All NaN are one, and so are both zeros.
        (Arc::new(Float64Array::from(vec![Some(f64::NAN), None, Some(-f64::NAN), Some(1.0), None, Some(f64::NAN)])), "NaN", "1.0"),
        (Arc::new(Float64Array::from(vec![Some(0.0), None, Some(-0.0), Some(1.0), None, Some(0.0)])), "0.0", "1.0"),
        (text(&[Some(""), None, Some(""), Some("a text of some length"), None, Some("")]), "", "a text of some length"),
        (dictionary(&["q", "p"], &[Some(1), None, Some(1), Some(0), None, Some(1)]), "p", "q"),
    ];
    for (keys, first, second) in cases {
        let batches = [batch(vec![keys, values()])];
        check(&batches, vec![None], 0, &[&[first, "3", "37"], &["", "2", "18"], &[second, "1", "8"]]);
    }
}

#[test]
fn intervals_of_equal_length_are_one_group() {
    let interval = |months, days| Some(IntervalMonthDayNano::new(months, days, 0));
    let keys: ArrayRef =
        Arc::new(IntervalMonthDayNanoArray::from(vec![interval(1, 0), None, interval(0, 30), interval(0, 1), None, interval(1, 0)]));
    check(&[batch(vec![keys, values()])], vec![None], 0, &[&["1 mons", "3", "37"], &["", "2", "18"], &["1 days", "1", "8"]]);
}

#[test]
fn bounds_choose_an_index_and_wrong_ones_cost_no_row() {
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![Some(100), Some(101), Some(100), None, Some(103), Some(101)]));
    let batches = [batch(vec![keys, values()])];
    let expected: &[&[&str]] = &[&["100", "2", "5"], &["101", "2", "34"], &["103", "1", "16"], &["", "1", "8"]];
    // Exact; too narrow on either side; absurd; so wide that they mean nothing.
    for bounds in [(100, 103), (100, 102), (101, 110), (0, 0), (5, 4), (i64::MIN, i64::MAX)] {
        check(&batches, vec![Some(bounds)], 0, expected);
    }
    // Dense enough for partitions by range.
    check(&batches, vec![Some((0, 1 << 20))], 1 << 20, expected);
}

#[test]
fn several_keys_in_64_and_128_bits_and_beyond() {
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(1), None, Some(2), Some(1)]));
    let b: ArrayRef = Arc::new(Int64Array::from(vec![Some(-1), Some(-2), Some(-1), None, None, Some(-1)]));
    let c = dictionary(&["n", "r"], &[Some(0), Some(0), Some(0), Some(1), None, Some(1)]);
    let d = text(&[Some("s"), Some("s"), Some("s"), None, Some(""), Some("t")]);
    let two = [batch(vec![Arc::clone(&a), Arc::clone(&b), values()])];
    let expected: &[&[&str]] = &[&["1", "-1", "3", "37"], &["1", "-2", "1", "2"], &["", "", "1", "8"], &["2", "", "1", "16"]];
    check(&two, vec![Some((1, 2)), Some((-2, -1))], 0, expected);
    check(&two, vec![None, None], 0, expected);
    check(&two, vec![Some((1, 1)), None], 0, expected);
    let three = [batch(vec![Arc::clone(&a), Arc::clone(&b), Arc::clone(&c), values()])];
    let expected: &[&[&str]] = &[
        &["1", "-1", "n", "2", "5"],
        &["1", "-2", "n", "1", "2"],
        &["", "", "r", "1", "8"],
        &["2", "", "", "1", "16"],
        &["1", "-1", "r", "1", "32"],
    ];
    check(&three, vec![Some((0, 9)), Some((-9, 0)), None], 0, expected);
    check(&three, vec![None, None, None], 0, expected);
    let four = [batch(vec![a, b, c, d, values()])];
    let expected: &[&[&str]] = &[
        &["1", "-1", "n", "s", "2", "5"],
        &["1", "-2", "n", "s", "1", "2"],
        &["", "", "r", "", "1", "8"],
        &["2", "", "", "", "1", "16"],
        &["1", "-1", "r", "t", "1", "32"],
    ];
    check(&four, vec![None, None, None, None], 0, expected);
}

#[test]
fn texts_are_one_group_whatever_dictionary_they_come_with() {
    let one = batch(vec![dictionary(&["a", "b"], &[Some(0), Some(1), Some(1), None, Some(0), Some(0)]), values()]);
    let other = batch(vec![dictionary(&["c", "b", "a"], &[Some(2), Some(1), Some(0), None, Some(0), Some(0)]), values()]);
    let plain = batch(vec![text(&[Some("a"), Some("d"), None, Some("d"), Some("c"), Some("b")]), values()]);
    let expected: &[&[&str]] = &[&["a", "5", "51"], &["b", "4", "40"], &["c", "4", "68"], &["d", "2", "10"], &["", "3", "20"]];
    check(&[one.clone(), other.clone(), plain.clone()], vec![None], 0, expected);
    check(&[plain, one, other], vec![None], 0, expected);
}

#[test]
fn a_dictionary_that_outgrows_its_codes_is_numbered_anew() {
    let numbers: Vec<String> = (0..3000).map(|number| format!("text {number}")).collect();
    let mut batches = vec![batch(vec![dictionary(&["text 0"], &[Some(0); 4]), Arc::new(Int64Array::from(vec![1; 4]))])];
    for chunk in numbers.chunks(500) {
        let entries: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let codes: Vec<Option<u32>> = (0..500).map(Some).collect();
        batches.push(batch(vec![dictionary(&entries, &codes), Arc::new(Int64Array::from(vec![1; 500]))]));
    }
    let calls = vec![call(Sum, vec![column(1, DataType::Int64)], DataType::Decimal128(38, 0))];
    let spec = spec(&batches, 1, calls);
    for (limits, seed) in [(None, 0), (Some(FLUSHING), 1), (Some(PARTITIONED), 2)] {
        let rows = rows(&spec, limits, &batches, seed).unwrap();
        assert_eq!(rows.len(), 3000);
        assert!(rows.iter().all(|row| row[1] == if row[0] == "text 0" { "5" } else { "1" }));
    }
}

#[test]
fn clustered_keys_are_one_group_across_batches() {
    // Runs of 1 to 7 rows, cut by batches at any place, and every key again later.
    let keys: Vec<i64> = (0..2000_i64).flat_map(|key| std::iter::repeat_n(key % 1500, 1 + key as usize % 7)).collect();
    let mut expected = BTreeMap::<String, i64>::new();
    keys.iter().for_each(|key| *expected.entry(key.to_string()).or_default() += key);
    let column_of = |keys: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(keys.to_vec())) };
    let batches: Vec<Batch> = keys.chunks(613).map(|keys| batch(vec![column_of(keys), column_of(keys)])).collect();
    let calls = vec![call(Sum, vec![column(1, DataType::Int64)], DataType::Decimal128(38, 0))];
    let expected: Vec<Vec<String>> = expected.into_iter().map(|(key, sum)| vec![key, sum.to_string()]).collect();
    for bounds in [None, Some((0, 1499)), Some((0, 10)), Some((-1_000_000, 1_000_000))] {
        let spec = AggregateSpec { key_bounds: vec![bounds], estimated_groups: 2000, ..spec(&batches, 1, calls.clone()) };
        let small = Limits { groups_max: 100, partition_bits: 4, merged_at_once_max: 0 };
        for (limits, seed) in [(None, 0), (Some(small), 1), (Some(PARTITIONED), 2)] {
            assert_eq!(rows(&spec, limits, &batches, seed).unwrap(), expected, "{bounds:?} {limits:?}");
        }
    }
}

#[test]
fn more_groups_than_a_batch_come_out_in_several() {
    let keys: ArrayRef = Arc::new(Int32Array::from_iter_values(0..20_000));
    let batches = [batch(vec![Arc::clone(&keys)])];
    let spec = spec(&batches, 1, vec![call(CountStar, vec![], DataType::Int64)]);
    let aggregate = Aggregate::new(spec);
    pipelines::testing::run_sink(aggregate.sink(), batches.to_vec()).unwrap();
    let output = pipelines::testing::run_source(aggregate.source()).unwrap();
    assert!(output.len() > 1 && output.iter().all(|batch| batch.num_rows() <= pipelines::BATCH_ROWS));
    assert_eq!(output.iter().map(Batch::num_rows).sum::<usize>(), 20_000);
}
