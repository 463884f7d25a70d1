//! What the machinery costs: per batch through 0, 1 and 4 operators that do nothing, and per query of one batch.
//!
//! `cargo bench -p pipelines --bench morsel_dispatch`. Per batch: criterion's time over [`BATCHES`]; the difference
//! between two numbers of operators is what an operator costs (two clock reads and a virtual call).

use std::{
    hint::black_box,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
};

use arrow::array::Int64Array;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pipelines::{
    BATCH_ROWS, Batch, CancelToken, Flow, LocalContext, LocalOperator, LocalSink, LocalSource, Operator, OperatorId, Output, Pipeline,
    PipelineGraph, Poll, QueryMemory, QueryOptions, Result, Scheduler, Sink, Source, testing,
};

const BATCHES: usize = 10_000;

/// The same batch, many times.
struct Repeat {
    batch: Batch,
    left: Arc<AtomicUsize>,
    count: usize,
}

impl Source for Repeat {
    fn max_chains(&self) -> Option<usize> {
        Some(self.count)
    }

    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(Repeat { batch: self.batch.clone(), left: Arc::clone(&self.left), count: self.count }))
    }
}

impl LocalSource for Repeat {
    fn next(&mut self, _waker: &Waker) -> Result<Poll> {
        let taken = self.left.fetch_add(1, Ordering::Relaxed);
        Ok(if taken < self.count { Poll::Batch(self.batch.clone()) } else { Poll::Finished })
    }
}

struct PassOn;

impl Operator for PassOn {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        Ok(Box::new(PassOn))
    }
}

impl LocalOperator for PassOn {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        output.push(batch)
    }
}

struct Ignore;

impl Sink for Ignore {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        Ok(Box::new(Ignore))
    }
}

impl LocalSink for Ignore {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        black_box(batch);
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn graph(num_batches: usize, num_operators: usize) -> PipelineGraph {
    let batch = testing::batch(vec![Arc::new(Int64Array::from(vec![1; BATCH_ROWS]))]);
    let mut graph = PipelineGraph::new();
    let sink = graph.add_sink(OperatorId(0), Arc::new(Ignore));
    let operators = (0..num_operators).map(|at| (OperatorId(at as u32 + 2), Arc::new(PassOn) as Arc<dyn Operator>)).collect();
    let source = Arc::new(Repeat { batch, left: Arc::default(), count: num_batches });
    graph.add_pipeline(Pipeline { name: "bench".to_owned(), source: (OperatorId(1), source), operators, sink, after: Vec::new() });
    graph
}

fn run(scheduler: &Arc<Scheduler>, num_batches: usize, num_operators: usize) {
    let options = QueryOptions { batch_rows: BATCH_ROWS, memory: QueryMemory::unlimited(), cancel: CancelToken::new(), max_chains: None };
    scheduler.submit(graph(num_batches, num_operators), options).wait().expect("nothing fails");
}

fn morsel_dispatch(criterion: &mut Criterion) {
    let one_thread = Scheduler::new(1);
    let mut group = criterion.benchmark_group("batches through operators, one thread");
    group.throughput(Throughput::Elements(BATCHES as u64));
    for num_operators in [0, 1, 4] {
        group.bench_function(num_operators.to_string(), |bencher| bencher.iter(|| run(&one_thread, BATCHES, num_operators)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("a query of one batch");
    for num_threads in [1, 2] {
        let scheduler = Scheduler::new(num_threads);
        group.bench_function(format!("{num_threads} threads"), |bencher| bencher.iter(|| run(&scheduler, 1, 1)));
    }
    group.finish();
}

criterion_group!(benches, morsel_dispatch);
criterion_main!(benches);
