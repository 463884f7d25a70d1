//! The kernels of Parquet decoding: unpacking codes, gathering from a dictionary, testing codes, Snappy against the stock decoder.

use std::hint::black_box;

use arneb::connectors::parquet::{chunk_bytes::PADDING, column::fixed, mask, rle::Codes, snappy};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parquet::{
    basic::Compression,
    compression::{CodecOptionsBuilder, create_codec},
    encodings::rle::RleEncoder,
};

const ROWS: usize = 20_000;

fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

fn codes(bit_width: u8) -> (Vec<u8>, usize) {
    let mut next = random(7);
    let mut encoder = RleEncoder::new(bit_width, ROWS * 8);
    (0..ROWS).for_each(|_| encoder.put(next() & ((1 << bit_width) - 1)));
    let mut page = encoder.consume();
    let end = page.len();
    page.resize(end + PADDING, 0);
    (page, end)
}

fn unpack(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unpack codes");
    group.throughput(Throughput::Elements(ROWS as u64));
    for bit_width in [1, 4, 12, 17] {
        let (page, end) = codes(bit_width);
        let mut out = vec![0; 8192];
        group.bench_function(BenchmarkId::from_parameter(bit_width), |bencher| {
            bencher.iter(|| {
                let mut codes = Codes::new(bit_width.into(), 0, end).expect("a width");
                let mut left = ROWS;
                while left > 0 {
                    let count = left.min(8192);
                    codes.read(&page, &mut out[..count]).expect("enough codes");
                    left -= count;
                }
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn gather_and_test(criterion: &mut Criterion) {
    let mut next = random(11);
    let mut group = criterion.benchmark_group("by code");
    group.throughput(Throughput::Elements(8192));
    for entries in [50usize, 2500, 110_000] {
        let dictionary: Vec<u8> = (0..entries as u64).flat_map(u64::to_le_bytes).collect();
        let codes: Vec<u32> = (0..8192).map(|_| (next() % entries as u64) as u32).collect();
        let mut out: Vec<u64> = Vec::new();
        group.bench_function(BenchmarkId::new("gather 8 bytes", entries), |bencher| {
            bencher.iter(|| {
                out.clear();
                fixed::gather(&dictionary, &codes, &mut out);
                black_box(&out);
            });
        });
        let table: Vec<u64> = (0..entries.div_ceil(64)).map(|_| next()).collect();
        let mut bits = Vec::new();
        group.bench_function(BenchmarkId::new("test", entries), |bencher| {
            bencher.iter(|| {
                mask::test_codes(&codes, &table, &mut bits);
                black_box(&bits);
            });
        });
        let selected: Vec<u64> = (0..128).map(|_| next() & next() & next()).collect();
        let mut kept = Vec::new();
        group.bench_function(BenchmarkId::new("compress to 1/8", entries), |bencher| {
            bencher.iter(|| {
                kept.clear();
                mask::compress(&codes, &selected, &mut kept);
                black_box(&kept);
            });
        });
    }
    group.finish();
}

fn decompress(criterion: &mut Criterion) {
    let mut next = random(13);
    let samples: [(&str, Vec<u8>); 3] = [
        ("prices", (0..110_000).flat_map(|_| (90_000 + next() % 10_000_000).to_le_bytes()).collect()),
        ("sorted keys", (0..30_000u64).flat_map(|i| (i / 8 * 32 + i % 8).to_le_bytes()).collect()),
        ("text", (0..4000).flat_map(|_| format!("{} carefully ironic {} requests ", next() % 50, next() % 9).into_bytes()).collect()),
    ];
    let mut group = criterion.benchmark_group("snappy");
    for (name, sample) in samples {
        let mut stock = create_codec(Compression::SNAPPY, &CodecOptionsBuilder::default().build()).expect("a codec").expect("a codec");
        let mut compressed = Vec::new();
        stock.compress(&sample, &mut compressed).expect("a page");
        let length = compressed.len();
        compressed.resize(length + PADDING, 0);
        group.throughput(Throughput::Bytes(sample.len() as u64));
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new("ours", name), |bencher| {
            bencher.iter(|| snappy::decompress(&compressed, length, sample.len(), &mut out).expect("a page"));
        });
        group.bench_function(BenchmarkId::new("stock", name), |bencher| {
            bencher.iter(|| {
                out.clear();
                stock.decompress(&compressed[..length], &mut out, Some(sample.len())).expect("a page");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, unpack, gather_and_test, decompress);
criterion_main!(benches);
