//! Build and probe throughput of hash joins, in rows per second of one thread's time on a core (so that what
//! else the machine does disturbs little).
//!
//! The build side has 1.5 million rows (with one payload column), the probe side 4 million; the key
//! distributions lead to the different structures: see the names. Probes come clustered (in key order, as
//! lineitem against orders) or shuffled. A tenth to a fortieth of the probes match where keys are sparse.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{array::Int64Array, datatypes::DataType};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use operators::{
    Expression,
    hash_join::{HashJoin, JoinKey, JoinKind, JoinSpec},
};
use pipelines::{BATCH_ROWS, Batch, CancelToken, Flow, LocalContext, Output, QueryMemory, Result};

const BUILD_ROWS: usize = 1_500_000;
const PROBE_ROWS: usize = 4_000_000;

/// Keys of both sides.
struct Keys {
    name: &'static str,
    build: Vec<i64>,
    probe: Vec<i64>,
}

/// A permutation of `0..n` by a fixed pseudo-random sequence.
fn shuffled(mut keys: Vec<i64>) -> Vec<i64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for index in (1..keys.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        keys.swap(index, ((state >> 33) as usize) % (index + 1));
    }
    keys
}

fn keys() -> Vec<Keys> {
    let sparse = || (0..BUILD_ROWS as i64).map(|i| i * 40 + i % 7).collect::<Vec<_>>();
    let wide = |keys: Vec<i64>| keys.into_iter().map(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64)).collect::<Vec<_>>();
    let over_60m = || (0..PROBE_ROWS as i64).map(|i| i * 15).collect::<Vec<_>>();
    let dense = || (0..BUILD_ROWS as i64).collect::<Vec<_>>();
    let over_dense = || (0..PROBE_ROWS as i64).map(|i| i * 3 / 8).collect::<Vec<_>>();
    vec![
        Keys { name: "rank in order, clustered probe", build: sparse(), probe: over_60m() },
        Keys { name: "rank in order, shuffled probe", build: sparse(), probe: shuffled(over_60m()) },
        Keys { name: "rank shuffled, clustered probe", build: shuffled(sparse()), probe: over_60m() },
        Keys { name: "rank shuffled, shuffled probe", build: shuffled(sparse()), probe: shuffled(over_60m()) },
        Keys { name: "dense, clustered probe", build: dense(), probe: over_dense() },
        Keys { name: "dense, shuffled probe", build: dense(), probe: shuffled(over_dense()) },
        Keys { name: "direct, clustered probe", build: shuffled(dense()), probe: over_dense() },
        Keys { name: "direct, shuffled probe", build: shuffled(dense()), probe: shuffled(over_dense()) },
        Keys { name: "unchained, few matches", build: wide(shuffled(sparse())), probe: wide(shuffled(over_60m())) },
        Keys { name: "unchained, all match", build: wide(shuffled(dense())), probe: wide(shuffled(over_dense())) },
    ]
}

fn batches(keys: &[i64]) -> Vec<Batch> {
    let batch = |chunk: &[i64]| {
        let key = Arc::new(Int64Array::from(chunk.to_vec()));
        let payload = Arc::new(Int64Array::from(chunk.to_vec()));
        Batch::new(vec![key, payload], chunk.len())
    };
    keys.chunks(BATCH_ROWS).map(batch).collect()
}

fn join(kind: JoinKind) -> Arc<HashJoin> {
    let key = || Expression::Column { index: 0, data_type: DataType::Int64 };
    let types = vec![DataType::Int64, DataType::Int64];
    HashJoin::new(JoinSpec {
        kind,
        keys: vec![JoinKey { probe: key(), build: key(), nulls_match: false }],
        residual: None,
        probe_types: types.clone(),
        build_types: types,
        probe_output: vec![1],
        build_output: if kind == JoinKind::Inner { vec![1] } else { vec![] },
        runtime_filters: Vec::new(),
        estimated_build_rows: BUILD_ROWS,
    })
}

fn context() -> LocalContext {
    LocalContext { chain: 0, num_chains: 1, batch_rows: BATCH_ROWS, memory: QueryMemory::unlimited(), cancel: CancelToken::new() }
}

fn build(join: &Arc<HashJoin>, batches: &[Batch]) -> Result<()> {
    let sink = join.build_sink();
    let mut local = sink.local(&context())?;
    for batch in batches {
        let _ = local.push(batch.clone())?;
    }
    local.combine()?;
    (0..sink.begin_finish()?).try_for_each(|part| sink.finish_part(part))?;
    sink.finish()
}

struct Discard(usize);

impl Output for Discard {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        self.0 += black_box(&batch).num_rows();
        Ok(Flow::Continue)
    }
}

fn probe(join: &Arc<HashJoin>, batches: &[Batch]) -> Result<usize> {
    let mut local = join.probe().local(&context())?;
    let mut output = Discard(0);
    for batch in batches {
        let _ = local.push(batch.clone(), &mut output)?;
    }
    local.finish(&mut output)?;
    Ok(output.0)
}

/// Time this thread has been on a core, as Linux counts it; elsewhere the time since `start`.
fn thread_time(start: Instant) -> Duration {
    std::thread::yield_now();
    let of_thread = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = of_thread.and_then(|text| text.split(' ').next().and_then(|number| number.parse().ok()));
    nanoseconds.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn timed(iterations: u64, mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    let before = thread_time(start);
    (0..iterations).for_each(|_| run());
    thread_time(start).saturating_sub(before)
}

fn hash_join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash_join");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for keys in keys() {
        let (build_side, probe_side) = (batches(&keys.build), batches(&keys.probe));
        if keys.name.ends_with("clustered probe") || keys.name.starts_with("unchained") {
            group.throughput(Throughput::Elements(BUILD_ROWS as u64));
            group.bench_function(format!("build: {}", keys.name), |bencher| {
                bencher.iter_custom(|iterations| timed(iterations, || build(&join(JoinKind::Inner), &build_side).expect("a build side")));
            });
        }
        group.throughput(Throughput::Elements(PROBE_ROWS as u64));
        for kind in [JoinKind::Inner, JoinKind::ProbeSemi] {
            let join = join(kind);
            build(&join, &build_side).expect("a build side");
            group.bench_function(format!("probe {kind:?}: {}", keys.name), |bencher| {
                bencher.iter_custom(|iterations| {
                    timed(iterations, || {
                        probe(&join, &probe_side).expect("rows");
                    })
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, hash_join);
criterion_main!(benches);
