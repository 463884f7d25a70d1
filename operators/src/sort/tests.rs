//! Sort and top-k against orders worked out by hand or naively.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal64Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int16Array,
        Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, UInt32Array,
    },
    datatypes::{DataType, IntervalMonthDayNano},
    util::display::array_value_to_string,
};
use pipelines::{
    After, Batch, OperatorId, Pipeline, PipelineGraph,
    testing::{CollectSink, VecSource, batch, run_graph, split},
};
use proptest::prelude::*;

use super::{Sort, SortKey, SortSpec};
use crate::Expression;

/// `descending` and `nulls_first` of a key on column `index`.
fn key(index: usize, data_type: &DataType, descending: bool, nulls_first: bool) -> SortKey {
    let data_type = crate::aggregate::plain_type(data_type);
    SortKey { expression: Expression::Column { index, data_type }, descending, nulls_first }
}

/// The rows of a sort by several chains, in order, as texts; NULL is empty.
fn sorted(keys: Vec<SortKey>, window: (Option<usize>, usize), batches: &[Batch], seed: u64) -> Vec<Vec<String>> {
    let input_types = batches[0].columns().iter().map(|column| column.data_type().clone()).collect();
    let sort = Sort::new(SortSpec { keys, input_types, limit: window.0, offset: window.1 });
    let mut graph = PipelineGraph::new();
    let sink = graph.add_sink(OperatorId(1), sort.sink());
    let pipeline = |name: &str, source, sink, after| Pipeline {
        name: name.to_owned(),
        source: (OperatorId(0), source),
        operators: vec![],
        sink,
        after,
    };
    graph.add_pipeline(pipeline("build", VecSource::new(batches.to_vec()), sink, vec![]));
    let output = CollectSink::new();
    let result = graph.add_sink(OperatorId(2), Arc::clone(&output) as _);
    graph.add_pipeline(pipeline("read", sort.source(), result, vec![After::Sink(sink)]));
    run_graph(graph, seed).unwrap();
    let row = |batch: &Batch, row: usize| batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap()).collect();
    output.batches().iter().flat_map(|batch| (0..batch.num_rows()).map(|index| row(batch, index)).collect::<Vec<_>>()).collect()
}

/// One column, sorted by itself in all four ways; `ascending` are the values that are not NULL, in order.
fn check_column(values: ArrayRef, num_nulls: usize, ascending: &[&str]) {
    for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut expected: Vec<&str> = ascending.to_vec();
        if descending {
            expected.reverse();
        }
        let nulls = vec![""; num_nulls];
        let expected = if nulls_first { [nulls, expected].concat() } else { [expected, nulls].concat() };
        for (batch_rows, seed) in [(8192, 0), (1, 1), (3, 2)] {
            let batches = split(&[batch(vec![Arc::clone(&values)])], batch_rows);
            for limit in [None, Some(0), Some(1), Some(3), Some(100)] {
                for offset in [0, 2] {
                    let rows = sorted(vec![key(0, values.data_type(), descending, nulls_first)], (limit, offset), &batches, seed);
                    let rows: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
                    let end = limit.map_or(expected.len(), |limit| expected.len().min(offset + limit));
                    let case =
                        format!("{} desc {descending} nulls first {nulls_first} limit {limit:?} offset {offset}", values.data_type());
                    assert_eq!(rows, expected[offset.min(end)..end], "{case}");
                }
            }
        }
    }
}

#[test]
fn every_type_in_every_direction() {
    let interval = |months, days| Some(IntervalMonthDayNano::new(months, days, 0));
    check_column(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), 1, &["false", "true"]);
    check_column(
        Arc::new(Int16Array::from(vec![Some(5), Some(i16::MIN), None, Some(i16::MAX), Some(-1)])),
        1,
        &["-32768", "-1", "5", "32767"],
    );
    check_column(Arc::new(Int32Array::from(vec![Some(i32::MAX), Some(i32::MIN), Some(0)])), 0, &["-2147483648", "0", "2147483647"]);
    let longs = vec![Some(i64::MAX), None, Some(i64::MIN), Some(0), Some(-1), None, Some(1)];
    check_column(Arc::new(Int64Array::from(longs)), 2, &["-9223372036854775808", "-1", "0", "1", "9223372036854775807"]);
    check_column(Arc::new(Date32Array::from(vec![Some(1), Some(-1), None])), 1, &["1969-12-31", "1970-01-02"]);
    let cents = Decimal64Array::from(vec![Some(150), Some(-150), Some(149), None]).with_precision_and_scale(15, 2).unwrap();
    check_column(Arc::new(cents), 1, &["-1.50", "1.49", "1.50"]);
    let wide = Decimal128Array::from(vec![Some(10_i128.pow(30)), Some(-(10_i128.pow(30))), None, Some(7), Some(10_i128.pow(29))]);
    let wide = wide.with_precision_and_scale(38, 0).unwrap();
    check_column(
        Arc::new(wide),
        1,
        &["-1000000000000000000000000000000", "7", "100000000000000000000000000000", "1000000000000000000000000000000"],
    );
    let doubles = vec![Some(f64::NAN), Some(f64::INFINITY), None, Some(-1.5), Some(f64::NEG_INFINITY), Some(1.0)];
    check_column(Arc::new(Float64Array::from(doubles)), 1, &["-inf", "-1.5", "1.0", "inf", "NaN"]);
    check_column(Arc::new(Float32Array::from(vec![Some(-f32::NAN), Some(2.5), Some(-2.5)])), 0, &["-2.5", "2.5", "NaN"]);
    let words = vec![Some("b"), None, Some(""), Some("a long text, the first"), Some("a long text, the second"), Some("é"), Some("B")];
    let ordered = ["", "B", "a long text, the first", "a long text, the second", "b", "é"];
    check_column(Arc::new(StringViewArray::from(words)), 1, &ordered);
    let entries: ArrayRef = Arc::new(StringViewArray::from(vec!["z", "a", "m"]));
    check_column(Arc::new(DictionaryArray::new(UInt32Array::from(vec![Some(0), Some(1), None, Some(2)]), entries)), 1, &["a", "m", "z"]);
    let intervals = vec![interval(1, 0), interval(0, 31), interval(0, 29), None];
    check_column(Arc::new(IntervalMonthDayNanoArray::from(intervals)), 1, &["29 days", "1 mons", "31 days"]);
}

#[test]
fn later_keys_decide_between_equal_earlier_ones() {
    let a: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "y", "x", "y", "x"]));
    let b: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 1.0, -0.0, 2.0, 0.0]));
    let c: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
    let keys = vec![key(0, a.data_type(), true, false), key(1, b.data_type(), false, false), key(2, c.data_type(), true, true)];
    let batches = split(&[batch(vec![a, b, c])], 2);
    for limit in [None, Some(3)] {
        let rows = sorted(keys.clone(), (limit, 0), &batches, 7);
        let order: Vec<&str> = rows.iter().map(|row| row[2].as_str()).collect();
        // Both zeros are equal: the last key decides.
        assert_eq!(order, &["2", "4", "5", "3", "1"][..limit.unwrap_or(5)]);
    }
}

#[test]
fn dictionaries_that_differ_come_out_as_texts() {
    let coded = |entries: Vec<&str>, codes: Vec<u32>| -> ArrayRef {
        Arc::new(DictionaryArray::new(UInt32Array::from(codes), Arc::new(StringViewArray::from(entries)) as ArrayRef))
    };
    let plain: ArrayRef = Arc::new(StringViewArray::from(vec!["c", "a"]));
    let batches = [coded(vec!["a", "b"], vec![1, 0, 1]), coded(vec!["b", "c"], vec![1, 0, 0]), plain].map(|column| batch(vec![column]));
    for limit in [None, Some(8)] {
        let rows = sorted(vec![key(0, &DataType::Utf8View, false, false)], (limit, 0), &batches, 3);
        let rows: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
        assert_eq!(rows, ["a", "a", "b", "b", "b", "b", "c", "c"]);
    }
}

#[test]
fn top_rows_of_many_batches_are_those_of_the_whole_order() {
    // A permutation of 0 .. 100 003, a prime.
    let values: Vec<i64> = (0..100_003_i64).map(|index| index * 7919 % 100_003).collect();
    let batches: Vec<Batch> = values.chunks(8192).map(|values| batch(vec![Arc::new(Int64Array::from(values.to_vec()))])).collect();
    for (limit, offset) in [(10, 0), (10, 5), (40_000, 20_000), (200_000, 1)] {
        let rows = sorted(vec![key(0, &DataType::Int64, true, true)], (Some(limit), offset), &batches, 5);
        let expected: Vec<String> = (0..100_003_i64).rev().skip(offset).take(limit).map(|value| value.to_string()).collect();
        assert_eq!(rows.into_iter().flatten().collect::<Vec<_>>(), expected);
    }
}

type Row = (Option<i32>, Option<String>, Option<i64>);

fn row() -> impl Strategy<Value = Row> {
    (prop::option::of(-3..3_i32), prop::option::of("[ab]{0,20}"), prop::option::weighted(0.9, any::<i64>()))
}

fn compare<T: Ord>(a: &Option<T>, b: &Option<T>, (descending, nulls_first): (bool, bool)) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if descending => b.cmp(a),
        (Some(a), Some(b)) => a.cmp(b),
        (a, b) if nulls_first => a.is_some().cmp(&b.is_some()),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_rows_in_any_order(
        chunks in prop::collection::vec(prop::collection::vec(row(), 1..50), 1..6),
        directions in any::<[(bool, bool); 3]>(),
        limit in prop::option::of(0..60_usize),
        offset in 0..5_usize,
        seed in any::<u64>(),
    ) {
        let batch_of = |rows: &Vec<Row>| {
            let a: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int32Array>());
            let b: ArrayRef = Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringViewArray>());
            batch(vec![a, b, Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>())])
        };
        let batches: Vec<Batch> = chunks.iter().map(batch_of).collect();
        let types = [DataType::Int32, DataType::Utf8View, DataType::Int64];
        let key = |index: usize| key(index, &types[index], directions[index].0, directions[index].1);
        // Keys of fixed width, and keys with texts.
        for order in [vec![0, 2, 1], vec![0, 2], vec![1, 0, 2]] {
            let mut expected: Vec<Row> = chunks.iter().flatten().cloned().collect();
            let compare = |a: &Row, b: &Row| order.iter().fold(Ordering::Equal, |known, index| known.then_with(|| match index {
                0 => compare(&a.0, &b.0, directions[0]),
                1 => compare(&a.1, &b.1, directions[1]),
                _ => compare(&a.2, &b.2, directions[2]),
            }));
            expected.sort_by(compare);
            let shown = |row: &Row, index: usize| match index {
                0 => row.0.map(|value| value.to_string()),
                1 => row.1.clone(),
                _ => row.2.map(|value| value.to_string()),
            }.unwrap_or_default();
            // Only the keys: rows that agree in them may come in any order.
            let expected: Vec<Vec<String>> =
                expected.iter().skip(offset).take(limit.unwrap_or(usize::MAX)).map(|row| order.iter().map(|index| shown(row, *index)).collect()).collect();
            let rows = sorted(order.iter().map(|index| key(*index)).collect(), (limit, offset), &batches, seed);
            let rows: Vec<Vec<String>> = rows.iter().map(|row| order.iter().map(|index| row[*index].clone()).collect()).collect();
            prop_assert_eq!(rows, expected);
        }
    }
}
