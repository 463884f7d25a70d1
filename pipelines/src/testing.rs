//! Sources and sinks of plain vectors and one-call runners, for the tests of operators.
//!
//! Position: used by tests and benches only. Everything runs on the calling thread.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
};

use arrow::array::{Array, ArrayRef};

use crate::{
    BATCH_ROWS, Batch, CancelToken, Flow, GraphMetrics, LocalContext, LocalSink, LocalSource, Operator, OperatorId, Pipeline,
    PipelineGraph, Poll, QueryMemory, QueryOptions, Result, Scheduler, Sink, Source,
    run::{Chain, Step, Stop},
};

/// Hands out the batches of a vector in order, each as one morsel. Empty ones are left out.
pub struct VecSource {
    batches: Arc<Mutex<VecDeque<Batch>>>,
}

impl VecSource {
    /// A source of `batches`; it can be run once.
    #[allow(clippy::new_ret_no_self)]
    pub fn new(batches: Vec<Batch>) -> Arc<dyn Source> {
        let batches = batches.into_iter().filter(|batch| !batch.is_empty()).collect();
        Arc::new(VecSource { batches: Arc::new(Mutex::new(batches)) })
    }
}

impl Source for VecSource {
    fn max_chains(&self) -> Option<usize> {
        Some(self.batches.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalVecSource { batches: Arc::clone(&self.batches) }))
    }
}

struct LocalVecSource {
    batches: Arc<Mutex<VecDeque<Batch>>>,
}

impl LocalSource for LocalVecSource {
    fn next(&mut self, _waker: &Waker) -> Result<Poll> {
        let batch = self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(batch.map_or(Poll::Finished, Poll::Batch))
    }
}

/// Keeps every batch, in the order in which chains combine.
#[derive(Default)]
pub struct CollectSink {
    batches: Arc<Mutex<Vec<Batch>>>,
}

impl CollectSink {
    /// An empty sink.
    pub fn new() -> Arc<CollectSink> {
        Arc::default()
    }

    /// What has been combined so far.
    pub fn batches(&self) -> Vec<Batch> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rows that have been combined so far.
    pub fn num_rows(&self) -> usize {
        self.batches().iter().map(Batch::num_rows).sum()
    }
}

impl Sink for CollectSink {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        Ok(Box::new(LocalCollectSink { shared: Arc::clone(&self.batches), batches: Vec::new() }))
    }
}

struct LocalCollectSink {
    shared: Arc<Mutex<Vec<Batch>>>,
    batches: Vec<Batch>,
}

impl LocalSink for LocalCollectSink {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        self.batches.push(batch);
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).extend(self.batches);
        Ok(())
    }
}

/// The context of a test's only chain: default batch size, unlimited memory, never cancelled.
pub fn context() -> LocalContext {
    LocalContext { chain: 0, num_chains: 1, batch_rows: BATCH_ROWS, memory: QueryMemory::unlimited(), cancel: CancelToken::new() }
}

/// A batch of equally long columns, at least one.
///
/// # Panics
/// Without a column, or when columns differ in length.
pub fn batch(columns: Vec<ArrayRef>) -> Batch {
    let num_rows = columns[0].len();
    assert!(columns.iter().all(|column| column.len() == num_rows), "columns differ in length");
    Batch::new(columns, num_rows)
}

/// The rows of `batches`, cut anew: every batch becomes pieces of at most `batch_rows` rows.
pub fn split(batches: &[Batch], batch_rows: usize) -> Vec<Batch> {
    let pieces = |batch: &Batch| {
        let batch = batch.clone();
        (0..batch.num_rows()).step_by(batch_rows).map(move |at| batch.slice(at, batch_rows.min(batch.num_rows() - at))).collect::<Vec<_>>()
    };
    batches.iter().flat_map(pieces).collect()
}

/// Pushes `batches` through one chain of `operator` and finishes it.
///
/// # Errors
/// Those of the operator.
pub fn run_operator(operator: Arc<dyn Operator>, batches: Vec<Batch>) -> Result<Vec<Batch>> {
    let sink = CollectSink::new();
    run_chain(VecSource::new(batches), vec![operator], Arc::clone(&sink) as _)?;
    Ok(sink.batches())
}

/// Pushes `batches` into one chain of `sink`, combines and finishes it, all its parts in order.
///
/// # Errors
/// Those of the sink.
pub fn run_sink(sink: Arc<dyn Sink>, batches: Vec<Batch>) -> Result<()> {
    run_chain(VecSource::new(batches), Vec::new(), sink)
}

/// Everything one chain of `source` has.
///
/// # Errors
/// Those of the source.
pub fn run_source(source: Arc<dyn Source>) -> Result<Vec<Batch>> {
    let sink = CollectSink::new();
    run_chain(source, Vec::new(), Arc::clone(&sink) as _)?;
    Ok(sink.batches())
}

fn run_chain(source: Arc<dyn Source>, operators: Vec<Arc<dyn Operator>>, sink: Arc<dyn Sink>) -> Result<()> {
    let mut graph = PipelineGraph::new();
    let feeds = graph.add_sink(OperatorId(1), Arc::clone(&sink));
    let operators = operators.into_iter().map(|operator| (OperatorId(2), operator)).collect();
    let pipeline = Pipeline { name: "test".to_owned(), source: (OperatorId(0), source), operators, sink: feeds, after: Vec::new() };
    let mut chain = Chain::start(&pipeline, (OperatorId(1), &*sink), &context(), Arc::new(Stop::default()))?;
    chain.resume();
    // A parked chain is tried again until whoever has to fill or drain it has done so.
    while chain.step(Waker::noop())? != Step::Done {
        std::thread::yield_now();
    }
    (0..sink.begin_finish()?).try_for_each(|part| sink.finish_part(part))?;
    sink.finish()
}

/// Runs a whole graph on the calling thread, three chains per pipeline, interleaved in an order that `seed` decides.
///
/// # Errors
/// The first error of any stage.
pub fn run_graph(graph: PipelineGraph, seed: u64) -> Result<GraphMetrics> {
    let LocalContext { batch_rows, memory, cancel, .. } = context();
    Scheduler::inline(seed).submit(graph, QueryOptions { batch_rows, memory, cancel, max_chains: None }).wait()
}
