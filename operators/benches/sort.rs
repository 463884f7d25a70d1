//! Sort and top-k on one chain: time per row for keys that fit 128 bits and for keys with texts.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int64Array, StringViewArray},
    datatypes::DataType,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use operators::{
    Expression,
    sort::{Sort, SortKey, SortSpec},
};
use pipelines::{
    BATCH_ROWS, Batch,
    testing::{batch, run_sink, run_source},
};

const NUM_ROWS: usize = 2_000_000;

fn batches() -> Vec<Batch> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let make = |_| {
        let numbers: Vec<i64> = (0..BATCH_ROWS).map(|_| next() as i64).collect();
        let texts = StringViewArray::from_iter_values(numbers.iter().map(|number| format!("Customer#{number:012}")));
        batch(vec![Arc::new(Int64Array::from(numbers)) as ArrayRef, Arc::new(texts)])
    };
    (0..NUM_ROWS / BATCH_ROWS).map(make).collect()
}

fn sort(criterion: &mut Criterion) {
    let rows = batches();
    let mut group = criterion.benchmark_group("sort");
    group.sample_size(10).throughput(Throughput::Elements(NUM_ROWS as u64));
    for (name, index, data_type) in [("integers", 0, DataType::Int64), ("texts", 1, DataType::Utf8View)] {
        for (limit_name, limit) in [("all", None), ("top_100", Some(100)), ("top_100000", Some(100_000))] {
            let key =
                SortKey { expression: Expression::Column { index, data_type: data_type.clone() }, descending: true, nulls_first: true };
            let spec = SortSpec { keys: vec![key], input_types: vec![DataType::Int64, DataType::Utf8View], limit, offset: 0 };
            group.bench_function(format!("{name}/{limit_name}"), |bencher| {
                let run = |sort: Arc<Sort>| {
                    run_sink(sort.sink(), rows.clone()).unwrap();
                    run_source(sort.source()).unwrap()
                };
                bencher.iter_batched(|| Sort::new(spec.clone()), run, BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, sort);
criterion_main!(benches);
