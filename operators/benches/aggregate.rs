//! Aggregation on one chain: time per row for the shapes that decide TPC-H.
//!
//! `few_groups` is Q1 (two dictionary keys, five sums, a count), `dense_keys` Q13 and Q15 (random keys in
//! known bounds), `clustered_keys` Q18 (runs of four rows in the order of the key, 15 million groups),
//! `texts` a million distinct names, `distinct` Q16 (few groups, many values each).

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Decimal64Array, DictionaryArray, Int64Array, StringViewArray, UInt32Array},
    datatypes::DataType,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use operators::{
    Expression,
    aggregate::{Aggregate, AggregateCall, AggregateFunction, AggregateSpec},
    types::string_dictionary,
};
use pipelines::{
    BATCH_ROWS, Batch,
    testing::{batch, run_sink, run_source},
};

/// A cheap generator with a full period; the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn column(index: usize, data_type: DataType) -> Expression {
    Expression::Column { index, data_type }
}

fn call(function: AggregateFunction, argument: Option<Expression>, data_type: DataType) -> AggregateCall {
    AggregateCall { function, arguments: argument.into_iter().collect(), distinct: false, filter: None, data_type }
}

fn sum(index: usize) -> AggregateCall {
    call(AggregateFunction::Sum, Some(column(index, DataType::Decimal64(15, 2))), DataType::Decimal128(38, 2))
}

fn count() -> AggregateCall {
    call(AggregateFunction::CountStar, None, DataType::Int64)
}

fn batches(num_rows: usize, mut columns: impl FnMut(usize) -> Vec<ArrayRef>) -> Vec<Batch> {
    (0..num_rows / BATCH_ROWS).map(|index| batch(columns(index * BATCH_ROWS))).collect()
}

fn amounts(numbers: &mut Numbers) -> ArrayRef {
    let values = Decimal64Array::from_iter_values((0..BATCH_ROWS).map(|_| numbers.below(10_000_000) as i64));
    Arc::new(values.with_precision_and_scale(15, 2).unwrap())
}

fn keys(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|value| value as i64)))
}

fn run(criterion: &mut Criterion, name: &str, rows: &[Batch], spec: AggregateSpec, num_groups: Option<usize>) {
    let num_rows: usize = rows.iter().map(Batch::num_rows).sum();
    let mut group = criterion.benchmark_group("aggregate");
    group.sample_size(10).throughput(Throughput::Elements(num_rows as u64));
    group.bench_function(name, |bencher| {
        let aggregate = |aggregate: Arc<Aggregate>| {
            run_sink(aggregate.sink(), rows.to_vec()).unwrap();
            let groups: usize = run_source(aggregate.source()).unwrap().iter().map(Batch::num_rows).sum();
            assert!(num_groups.is_none_or(|expected| expected == groups));
        };
        bencher.iter_batched(|| Aggregate::new(spec.clone()), aggregate, BatchSize::PerIteration);
    });
    group.finish();
}

fn few_groups(criterion: &mut Criterion) {
    let mut numbers = Numbers(1);
    let codes = |numbers: &mut Numbers, texts: &ArrayRef, num: u64| -> ArrayRef {
        Arc::new(DictionaryArray::new(UInt32Array::from_iter_values((0..BATCH_ROWS).map(|_| numbers.below(num) as u32)), Arc::clone(texts)))
    };
    let flags: ArrayRef = Arc::new(StringViewArray::from(vec!["A", "N", "R"]));
    let states: ArrayRef = Arc::new(StringViewArray::from(vec!["F", "O"]));
    let rows = batches(4_000_000, |_| {
        let keys = [codes(&mut numbers, &flags, 3), codes(&mut numbers, &states, 2)];
        keys.into_iter().chain((0..5).map(|_| amounts(&mut numbers))).collect()
    });
    let average = |index| call(AggregateFunction::Average, Some(column(index, DataType::Decimal64(15, 2))), DataType::Decimal128(38, 16));
    let spec = AggregateSpec {
        keys: vec![column(0, DataType::Utf8View), column(1, DataType::Utf8View)],
        aggregates: vec![sum(2), sum(3), sum(4), sum(5), average(2), average(3), average(6), count()],
        input_types: [string_dictionary(), string_dictionary()].into_iter().chain(vec![DataType::Decimal64(15, 2); 5]).collect(),
        key_bounds: vec![None, None],
        estimated_groups: 6,
    };
    run(criterion, "few_groups", &rows, spec, Some(6));
}

fn integer_spec(aggregates: Vec<AggregateCall>, bounds: Option<(i64, i64)>, estimated_groups: usize) -> AggregateSpec {
    AggregateSpec {
        keys: vec![column(0, DataType::Int64)],
        aggregates,
        input_types: vec![DataType::Int64, DataType::Decimal64(15, 2)],
        key_bounds: vec![bounds],
        estimated_groups,
    }
}

fn dense_keys(criterion: &mut Criterion) {
    let mut numbers = Numbers(2);
    let rows = batches(8_000_000, |_| vec![keys((0..BATCH_ROWS).map(|_| 1 + numbers.below(1_500_000))), amounts(&mut Numbers(3))]);
    run(criterion, "dense_keys/count", &rows, integer_spec(vec![count()], Some((1, 1_500_000)), 1_500_000), None);
    run(criterion, "dense_keys/sum", &rows, integer_spec(vec![sum(1)], Some((1, 1_500_000)), 1_500_000), None);
    run(criterion, "dense_keys/unbounded", &rows, integer_spec(vec![sum(1)], None, 1_500_000), None);
    run(criterion, "dense_keys/unknown", &rows, integer_spec(vec![sum(1)], None, 0), None);
}

fn clustered_keys(criterion: &mut Criterion) {
    let mut numbers = Numbers(4);
    // 15 million keys of a range of 60 million, four rows each, in their order.
    let rows = batches(60_000_000, |first| {
        let key = |row: usize| (row / 4 / 8 * 32 + row / 4 % 8 + 1) as u64;
        vec![keys((first..first + BATCH_ROWS).map(key)), amounts(&mut numbers)]
    });
    run(criterion, "clustered_keys/bounded", &rows, integer_spec(vec![sum(1)], Some((1, 60_000_000)), 15_000_000), None);
    run(criterion, "clustered_keys/unbounded", &rows, integer_spec(vec![sum(1)], None, 0), None);
}

fn texts(criterion: &mut Criterion) {
    let mut numbers = Numbers(5);
    let rows = batches(4_000_000, |_| {
        let names = (0..BATCH_ROWS).map(|_| format!("Customer#{:09}", numbers.below(1_000_000)));
        vec![Arc::new(StringViewArray::from_iter_values(names)) as ArrayRef, amounts(&mut Numbers(6))]
    });
    let spec = AggregateSpec {
        keys: vec![column(0, DataType::Utf8View)],
        aggregates: vec![sum(1)],
        input_types: vec![DataType::Utf8View, DataType::Decimal64(15, 2)],
        key_bounds: vec![None],
        estimated_groups: 1_000_000,
    };
    run(criterion, "texts", &rows, spec, None);
}

fn distinct(criterion: &mut Criterion) {
    let mut numbers = Numbers(7);
    let rows = batches(2_000_000, |_| {
        vec![keys((0..BATCH_ROWS).map(|_| numbers.below(18_000))), keys((0..BATCH_ROWS).map(|row| row as u64 * 97 % 100_000))]
    });
    let count = AggregateCall { distinct: true, ..call(AggregateFunction::Count, Some(column(1, DataType::Int64)), DataType::Int64) };
    let spec = AggregateSpec { input_types: vec![DataType::Int64; 2], ..integer_spec(vec![count], None, 18_000) };
    run(criterion, "distinct", &rows, spec, Some(18_000));
}

criterion_group!(benches, few_groups, dense_keys, clustered_keys, texts, distinct);
criterion_main!(benches);
