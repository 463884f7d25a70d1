//! What rows cost on their way to other nodes: scattered by hash into buffers, encoded, decoded; for 2 and 8 receivers.

use std::{hint::black_box, sync::Arc};

use arneb::cluster::{
    control::VIRTUAL_CLASSES,
    exchange::{EncodedRows, HashRouting, RowsEncoder, Scatter, decode_rows},
    node::NodeIndex,
};
use arrow::{
    array::{ArrayRef, Decimal64Array, Int64Array, StringViewArray},
    datatypes::DataType,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use operators::Expression;
use pipelines::{BATCH_ROWS, Batch, testing::batch};

const NUM_BATCHES: usize = 100;
/// Rows are sent when a buffer holds so many bytes.
const FRAME_BYTES: usize = 512 << 10;

fn types() -> [DataType; 4] {
    [DataType::Int64, DataType::Int64, DataType::Decimal64(15, 2), DataType::Utf8View]
}

fn batches() -> Vec<Batch> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let make = |_| {
        let keys: Vec<i64> = (0..BATCH_ROWS).map(|_| next()).collect();
        let prices = Decimal64Array::from_iter_values(keys.iter().map(|key| key % 1_000_000)).with_precision_and_scale(15, 2).unwrap();
        let texts = StringViewArray::from_iter_values(keys.iter().map(|key| format!("Customer#{key:012}")));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..BATCH_ROWS as i64));
        batch(vec![Arc::new(Int64Array::from(keys)), numbers, Arc::new(prices), Arc::new(texts)])
    };
    (0..NUM_BATCHES).map(make).collect()
}

/// Scatters all rows; what fills a frame goes to `send`.
fn scatter(rows: &[Batch], scatter: &mut Scatter, mut send: impl FnMut(Batch)) {
    for batch in rows {
        let flush = |scatter: &mut Scatter| {
            for buffer in 0..scatter.num_buffers() {
                if scatter.size(buffer).1 >= FRAME_BYTES {
                    send(scatter.take(buffer, true)?);
                }
            }
            Ok(())
        };
        scatter.push(batch.clone(), flush).unwrap();
    }
    (0..scatter.num_buffers()).for_each(|buffer| send(scatter.take(buffer, true).unwrap()));
}

fn exchange(criterion: &mut Criterion) {
    let rows = batches();
    let types = types();
    let mut group = criterion.benchmark_group("exchange");
    group.sample_size(10).throughput(Throughput::Elements((NUM_BATCHES * BATCH_ROWS) as u64));
    for num_receivers in [2_u16, 8] {
        let receivers: Vec<NodeIndex> = (1..=num_receivers).map(NodeIndex).collect();
        let classes: Vec<NodeIndex> = (0..VIRTUAL_CLASSES).map(|class| receivers[class % receivers.len()]).collect();
        let keys = vec![Expression::column(0, DataType::Int64)];
        let routing = HashRouting::new(keys, &classes, &receivers).unwrap();
        let mut buffers = Scatter::by_hash(&routing, &types).unwrap();
        let mut encoder = RowsEncoder::new().unwrap();
        group.bench_function(format!("scatter/{num_receivers}"), |bencher| {
            bencher.iter(|| scatter(&rows, &mut buffers, |batch| drop(black_box(batch))));
        });
        group.bench_function(format!("scatter_and_encode/{num_receivers}"), |bencher| {
            bencher.iter(|| scatter(&rows, &mut buffers, |batch| drop(black_box(encoder.encode(&batch, false).unwrap()))));
        });
        let mut frames: Vec<(usize, EncodedRows)> = Vec::new();
        scatter(&rows, &mut buffers, |batch| frames.push((batch.num_rows(), encoder.encode(&batch, false).unwrap())));
        group.bench_function(format!("decode/{num_receivers}"), |bencher| {
            let decode = |(num_rows, rows): &(usize, EncodedRows)| {
                drop(black_box(decode_rows(&types, *num_rows, &rows.message, &rows.body).unwrap()))
            };
            bencher.iter(|| frames.iter().for_each(decode));
        });
    }
    group.finish();
}

criterion_group!(benches, exchange);
criterion_main!(benches);
