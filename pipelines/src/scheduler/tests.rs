//! Behaviour of the scheduler and the push loop, with sources, operators and sinks that do as they are told.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;

use super::*;
use crate::{
    After, Batch, Error, Flow, LocalContext, LocalOperator, LocalSink, LocalSource, MemoryPool, Operator, OperatorId, Output, Pipeline,
    PipelineId, Poll, Reservation, Result, Sink, SinkId, Source,
    metrics::Counters,
    testing::{CollectSink, VecSource, batch, run_graph, run_operator},
};

/// The methods of the contract, as events of a log and as places where things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    SourceMaxChains,
    SourceLocal,
    SourceNext,
    SourceReport,
    OperatorLocal,
    OperatorPush,
    OperatorFinish,
    OperatorReport,
    SinkLocal,
    SinkIsReady,
    SinkPush,
    SinkCombine,
    SinkBeginFinish,
    SinkFinishPart,
    SinkFinish,
    SinkReport,
}

#[derive(Debug, thiserror::Error)]
#[error("told to fail")]
struct Told;

type Hook = dyn Fn(At) -> Result<()> + Send + Sync;

/// Parts of a query that call `hook` wherever they are called.
#[derive(Clone)]
struct Parts {
    hook: Arc<Hook>,
    /// Counts the parts that exist.
    alive: Arc<()>,
}

impl Parts {
    fn new(hook: impl Fn(At) -> Result<()> + Send + Sync + 'static) -> Self {
        Parts { hook: Arc::new(hook), alive: Arc::new(()) }
    }

    /// Waits until nothing made of these parts exists any more.
    fn wait_until_dropped(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(&self.alive) > 1 {
            assert!(Instant::now() < deadline, "parts of a dead query are still alive");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What a source says, by the number of the call.
type Script = dyn Fn(usize, &Waker) -> Poll + Send + Sync;

struct ScriptSource {
    parts: Parts,
    script: Arc<Script>,
    calls: Arc<AtomicUsize>,
    max_chains: Option<usize>,
    is_ordered: bool,
}

fn source(parts: &Parts, max_chains: Option<usize>, script: impl Fn(usize, &Waker) -> Poll + Send + Sync + 'static) -> Arc<ScriptSource> {
    Arc::new(ScriptSource { parts: parts.clone(), script: Arc::new(script), calls: Arc::default(), max_chains, is_ordered: false })
}

/// One row `0`, one row `1` and so on.
fn numbers(count: usize) -> impl Fn(usize, &Waker) -> Poll + Send + Sync {
    move |call, _| if call < count { Poll::Batch(number(call)) } else { Poll::Finished }
}

fn number(value: usize) -> Batch {
    batch(vec![Arc::new(Int64Array::from(vec![value as i64]))])
}

fn values(batches: &[Batch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn sorted(mut values: Vec<i64>) -> Vec<i64> {
    values.sort_unstable();
    values
}

impl Source for ScriptSource {
    fn max_chains(&self) -> Option<usize> {
        // No way to say it otherwise: this method has no error.
        (self.parts.hook)(At::SourceMaxChains).expect("told to panic");
        self.max_chains
    }

    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        (self.parts.hook)(At::SourceLocal)?;
        let (parts, script, calls) = (self.parts.clone(), Arc::clone(&self.script), Arc::clone(&self.calls));
        Ok(Box::new(LocalScriptSource { parts, script, calls }))
    }

    fn is_ordered(&self) -> bool {
        self.is_ordered
    }
}

struct LocalScriptSource {
    parts: Parts,
    script: Arc<Script>,
    calls: Arc<AtomicUsize>,
}

impl LocalSource for LocalScriptSource {
    fn next(&mut self, waker: &Waker) -> Result<Poll> {
        (self.parts.hook)(At::SourceNext)?;
        Ok((self.script)(self.calls.fetch_add(1, Ordering::Relaxed), waker))
    }

    fn report(&mut self, _counters: &mut Counters) {
        (self.parts.hook)(At::SourceReport).expect("told to panic");
    }
}

/// Passes batches on, and one row `-1` when it finishes.
struct PassOn {
    parts: Parts,
}

impl Operator for PassOn {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        (self.parts.hook)(At::OperatorLocal)?;
        let mut memory = context.memory.reservation("test");
        memory.grow(1000)?;
        Ok(Box::new(LocalPassOn { parts: self.parts.clone(), _memory: memory }))
    }
}

struct LocalPassOn {
    parts: Parts,
    _memory: Reservation,
}

impl LocalOperator for LocalPassOn {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        (self.parts.hook)(At::OperatorPush)?;
        output.push(batch)
    }

    fn finish(&mut self, output: &mut dyn Output) -> Result<()> {
        (self.parts.hook)(At::OperatorFinish)?;
        output.push(batch(vec![Arc::new(Int64Array::from(vec![-1]))])).map(drop)
    }

    fn report(&mut self, counters: &mut Counters) {
        (self.parts.hook)(At::OperatorReport).expect("told to panic");
        counters.add("reports", 1);
    }
}

/// Keeps rows; full after `limit` pushes.
struct HookSink {
    parts: Parts,
    limit: usize,
    pushes: Arc<AtomicUsize>,
    collected: Arc<CollectSink>,
}

fn sink(parts: &Parts, limit: usize) -> Arc<HookSink> {
    Arc::new(HookSink { parts: parts.clone(), limit, pushes: Arc::default(), collected: CollectSink::new() })
}

impl Sink for HookSink {
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        (self.parts.hook)(At::SinkLocal)?;
        let collected = self.collected.local(context)?;
        Ok(Box::new(LocalHookSink { parts: self.parts.clone(), limit: self.limit, pushes: Arc::clone(&self.pushes), collected }))
    }

    fn begin_finish(&self) -> Result<usize> {
        (self.parts.hook)(At::SinkBeginFinish)?;
        Ok(5)
    }

    fn finish_part(&self, part: usize) -> Result<()> {
        assert!(part < 5);
        (self.parts.hook)(At::SinkFinishPart)
    }

    fn finish(&self) -> Result<()> {
        (self.parts.hook)(At::SinkFinish)
    }

    fn report(&self, _counters: &mut Counters) {
        (self.parts.hook)(At::SinkReport).expect("told to panic");
    }
}

struct LocalHookSink {
    parts: Parts,
    limit: usize,
    pushes: Arc<AtomicUsize>,
    collected: Box<dyn LocalSink>,
}

impl LocalSink for LocalHookSink {
    fn is_ready(&mut self, _waker: &Waker) -> Result<bool> {
        (self.parts.hook)(At::SinkIsReady)?;
        Ok(true)
    }

    fn push(&mut self, batch: Batch) -> Result<Flow> {
        (self.parts.hook)(At::SinkPush)?;
        let flow = self.collected.push(batch)?;
        Ok(if self.pushes.fetch_add(1, Ordering::Relaxed) + 1 >= self.limit { Flow::Finished } else { flow })
    }

    fn combine(self: Box<Self>) -> Result<()> {
        (self.parts.hook)(At::SinkCombine)?;
        self.collected.combine()
    }
}

fn pipeline(name: &str, source: Arc<dyn Source>, operators: Vec<Arc<dyn Operator>>, sink: SinkId, after: Vec<After>) -> Pipeline {
    let operators = operators.into_iter().map(|operator| (OperatorId(1), operator)).collect();
    Pipeline { name: name.to_owned(), source: (OperatorId(0), source), operators, sink, after }
}

fn one_pipeline(source: Arc<dyn Source>, operators: Vec<Arc<dyn Operator>>, sink: Arc<dyn Sink>) -> PipelineGraph {
    let mut graph = PipelineGraph::new();
    let sink = graph.add_sink(OperatorId(2), sink);
    graph.add_pipeline(pipeline("only", source, operators, sink, Vec::new()));
    graph
}

fn options() -> QueryOptions {
    QueryOptions { batch_rows: 8192, memory: QueryMemory::unlimited(), cancel: CancelToken::new(), max_chains: None }
}

fn quiet() -> Parts {
    Parts::new(|_| Ok(()))
}

fn pass_on(parts: &Parts) -> Arc<dyn Operator> {
    Arc::new(PassOn { parts: parts.clone() })
}

const METHODS: [At; 16] = [
    At::SourceMaxChains,
    At::SourceLocal,
    At::SourceNext,
    At::SourceReport,
    At::OperatorLocal,
    At::OperatorPush,
    At::OperatorFinish,
    At::OperatorReport,
    At::SinkLocal,
    At::SinkIsReady,
    At::SinkPush,
    At::SinkCombine,
    At::SinkBeginFinish,
    At::SinkFinishPart,
    At::SinkFinish,
    At::SinkReport,
];

const CANNOT_FAIL: [At; 4] = [At::SourceMaxChains, At::SourceReport, At::OperatorReport, At::SinkReport];

#[test]
fn a_failure_or_panic_anywhere_ends_its_query_alone_and_returns_all_it_held() {
    let schedulers = [Scheduler::new(2), Scheduler::inline(1)];
    for (scheduler, panics, at) in
        schedulers.iter().flat_map(|s| [false, true].into_iter().flat_map(move |p| METHODS.into_iter().map(move |at| (s, p, at))))
    {
        let parts = Parts::new(move |here| match (here == at, panics) {
            (false, _) => Ok(()),
            (true, false) => Err(Error::failed(Told)),
            (true, true) => panic!("told to panic at {here:?}"),
        });
        let neighbour = sink(&quiet(), usize::MAX);
        let healthy = one_pipeline(source(&quiet(), None, numbers(50)), vec![], Arc::clone(&neighbour) as _);
        let graph = one_pipeline(source(&parts, None, numbers(20)), vec![pass_on(&parts)], sink(&parts, usize::MAX));
        let pool = MemoryPool::new(1_000_000);
        let limited = QueryOptions { memory: QueryMemory::new(Arc::clone(&pool), 1_000_000), ..options() };

        let healthy = scheduler.submit(healthy, options());
        let error = scheduler.submit(graph, limited).wait().expect_err("it was told to fail");
        match error {
            Error::Panicked { ref stage, ref message } if panics || CANNOT_FAIL.contains(&at) => {
                assert_eq!(stage, "only");
                assert!(message.contains("told to"), "{message}");
            }
            ref error => assert!(!panics && error.reason::<Told>().is_some(), "{at:?}: {error}"),
        }
        assert_eq!(Arc::strong_count(&parts.alive), 1, "{at:?}: everything is dropped when the outcome is there");
        assert_eq!(pool.used_bytes(), 0, "{at:?}");
        healthy.wait().expect("the other query is not touched");
        assert_eq!(neighbour.collected.num_rows(), 50);
    }
}

#[test]
fn many_queries_at_once_each_get_their_own_rows() {
    let scheduler = Scheduler::new(3);
    let queries: Vec<_> = (0..30)
        .map(|count| {
            let out = CollectSink::new();
            let graph = one_pipeline(source(&quiet(), None, numbers(count)), vec![pass_on(&quiet())], Arc::clone(&out) as _);
            (count, out, scheduler.submit(graph, options()))
        })
        .collect();
    for (count, out, handle) in queries {
        let metrics = handle.wait().expect("nothing fails");
        let chains = metrics.pipelines[0].chains as usize;
        let expected: Vec<i64> = std::iter::repeat_n(-1, chains).chain(0..count as i64).collect();
        assert_eq!(sorted(values(&out.batches())), expected);
        assert!((1..=3).contains(&chains));
        let operator = &metrics.operators[1];
        assert_eq!((operator.rows_in, operator.rows_out), (count as u64, (count + chains) as u64));
        assert_eq!(operator.extra.get("reports"), Some(chains as u64));
        assert_eq!((metrics.operators[0].rows_out, metrics.operators[2].rows_in), (operator.rows_in, operator.rows_out));
        assert!(metrics.pipelines[0].start_ns <= metrics.pipelines[0].end_ns && metrics.pipelines[0].end_ns <= metrics.elapsed_ns);
        assert!(metrics.peak_memory_bytes >= 1000);
    }
}

#[test]
fn a_short_query_overtakes_a_long_one() {
    let scheduler = Scheduler::new(1);
    let log: Arc<Mutex<Vec<char>>> = Arc::default();
    let busy = |who: char, log: &Arc<Mutex<Vec<char>>>| {
        let log = Arc::clone(log);
        Parts::new(move |at| {
            if at == At::SourceNext {
                thread::sleep(Duration::from_micros(500));
                log.lock().unwrap().push(who);
            }
            Ok(())
        })
    };
    let long = one_pipeline(source(&busy('l', &log), None, numbers(100_000)), vec![], sink(&quiet(), usize::MAX));
    let long = scheduler.submit(long, options());
    while log.lock().unwrap().len() < 300 {
        thread::sleep(Duration::from_millis(1));
    }
    let before = log.lock().unwrap().len();
    let short = one_pipeline(source(&busy('s', &log), None, numbers(40)), vec![], sink(&quiet(), usize::MAX));
    scheduler.submit(short, options()).wait().expect("nothing fails");
    let of_long = log.lock().unwrap()[before..].iter().filter(|who| **who == 'l').count();
    assert!(of_long < 80, "{of_long} batches of the long query ran while the short one needed 40");
    long.cancel();
    assert!(matches!(long.wait(), Err(Error::Cancelled)));
}

#[test]
fn cancelling_reaches_running_and_parked_chains() {
    for scheduler in [Scheduler::new(2), Scheduler::inline(3)] {
        for by in ["handle", "token", "drop"] {
            for parked in [true, false] {
                let parts = quiet();
                let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
                let wakers = Arc::clone(&kept);
                // An endless source on a scheduler without threads would never let `submit` return.
                let blocks_at = if parked {
                    7
                } else if scheduler.num_threads() == 3 {
                    100
                } else {
                    usize::MAX
                };
                let endless = source(&parts, None, move |call, waker| {
                    if call < blocks_at {
                        return Poll::Batch(number(1));
                    }
                    wakers.lock().unwrap().push(waker.clone());
                    Poll::Blocked
                });
                let graph = one_pipeline(endless, vec![pass_on(&parts)], sink(&parts, usize::MAX));
                let options = options();
                let token = options.cancel.clone();
                let memory = Arc::clone(&options.memory);
                let handle = scheduler.submit(graph, options);
                while handle.snapshot().operators.first().is_none_or(|source| source.rows_out < 7) {
                    thread::sleep(Duration::from_millis(1));
                }
                match by {
                    "drop" => drop(handle),
                    "token" => {
                        token.cancel();
                        assert!(matches!(handle.wait(), Err(Error::Cancelled)));
                    }
                    _ => {
                        handle.cancel();
                        assert!(matches!(handle.wait(), Err(Error::Cancelled)));
                    }
                }
                parts.wait_until_dropped();
                assert_eq!(memory.used_bytes(), 0);
                // Late wake-ups find nobody.
                kept.lock().unwrap().drain(..).for_each(Waker::wake);
            }
        }
    }
}

#[test]
fn a_query_cancelled_before_its_start_never_reads() {
    for scheduler in [Scheduler::new(1), Scheduler::inline(0)] {
        let parts = Parts::new(|at| panic!("{at:?} of a cancelled query was called"));
        let options = options();
        options.cancel.cancel();
        let graph = one_pipeline(source(&parts, None, numbers(5)), vec![], sink(&parts, 1));
        assert!(matches!(scheduler.submit(graph, options).wait(), Err(Error::Cancelled)));
        assert_eq!(Arc::strong_count(&parts.alive), 1);
    }
}

/// A bounded queue between two queries, or a query and a thread: full and empty sides park.
#[derive(Default)]
struct Channel {
    inner: Mutex<ChannelState>,
}

#[derive(Default)]
struct ChannelState {
    batches: VecDeque<Batch>,
    is_closed: bool,
    readers: Vec<Waker>,
    writers: Vec<Waker>,
}

impl Source for Arc<Channel> {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(Arc::clone(self)))
    }
}

impl LocalSource for Arc<Channel> {
    fn next(&mut self, waker: &Waker) -> Result<Poll> {
        let mut state = self.inner.lock().unwrap();
        let Some(batch) = state.batches.pop_front() else {
            if state.is_closed {
                return Ok(Poll::Finished);
            }
            state.readers.push(waker.clone());
            return Ok(Poll::Blocked);
        };
        // Woken under the lock on purpose: a scheduler must not run the woken chain right here.
        state.writers.drain(..).for_each(Waker::wake);
        Ok(Poll::Batch(batch))
    }
}

impl Sink for Arc<Channel> {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSink>> {
        Ok(Box::new(Arc::clone(self)))
    }

    fn finish(&self) -> Result<()> {
        let mut state = self.inner.lock().unwrap();
        state.is_closed = true;
        state.readers.drain(..).for_each(Waker::wake);
        Ok(())
    }
}

impl LocalSink for Arc<Channel> {
    fn is_ready(&mut self, waker: &Waker) -> Result<bool> {
        let mut state = self.inner.lock().unwrap();
        let has_room = state.batches.len() < 4;
        if !has_room {
            state.writers.push(waker.clone());
        }
        Ok(has_room)
    }

    fn push(&mut self, batch: Batch) -> Result<Flow> {
        let mut state = self.inner.lock().unwrap();
        state.batches.push_back(batch);
        state.readers.drain(..).for_each(Waker::wake);
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[test]
fn chains_park_on_a_full_sink_and_an_empty_source_and_lose_no_row() {
    let schedulers = [Scheduler::new(1), Scheduler::new(2), Scheduler::new(4), Scheduler::inline(5)];
    for scheduler in schedulers {
        let channel = Arc::new(Channel::default());
        let writer = one_pipeline(source(&quiet(), None, numbers(20_000)), vec![], Arc::new(Arc::clone(&channel)));
        let out = CollectSink::new();
        let reader = one_pipeline(Arc::new(channel), vec![], Arc::clone(&out) as _);
        let reader = scheduler.submit(reader, options());
        let writer = scheduler.submit(writer, options());
        reader.wait().expect("nothing fails");
        let metrics = writer.wait().expect("nothing fails");
        assert_eq!(sorted(values(&out.batches())), (0..20_000).collect::<Vec<_>>());
        assert!(metrics.operators[2].blocked_ns > 0, "the writer had to wait for room");
    }
}

#[test]
fn what_waits_starts_when_it_may_and_a_shared_sink_finishes_once() {
    for seed in 0..50 {
        let log: Arc<Mutex<Vec<(&'static str, At)>>> = Arc::default();
        let logged = |name: &'static str| {
            let log = Arc::clone(&log);
            Parts::new(move |at| {
                log.lock().unwrap().push((name, at));
                Ok(())
            })
        };
        let mut graph = PipelineGraph::new();
        let build = graph.add_sink(OperatorId(3), sink(&logged("build"), usize::MAX));
        let shared = sink(&logged("shared"), usize::MAX);
        let union = graph.add_sink(OperatorId(4), Arc::clone(&shared) as _);
        graph.add_pipeline(pipeline("build", source(&logged("build"), None, numbers(9)), vec![], build, vec![]));
        let probe: PipelineId =
            graph.add_pipeline(pipeline("probe", source(&logged("probe"), None, numbers(9)), vec![], union, vec![After::Sink(build)]));
        graph.add_pipeline(pipeline("rest", source(&logged("rest"), None, numbers(5)), vec![], union, vec![After::Pipeline(probe)]));
        let metrics = run_graph(graph, seed).expect("nothing fails");

        assert_eq!(shared.collected.num_rows(), 14);
        assert!(metrics.pipelines[0].chains > 1, "chains are interleaved");
        let log = log.lock().unwrap();
        let first = |name, at| log.iter().position(|event| *event == (name, at)).expect("it happened");
        let last = |name, at| log.iter().rposition(|event| *event == (name, at)).expect("it happened");
        let count = |name, at| log.iter().filter(|event| **event == (name, at)).count();
        assert!(last("build", At::SinkFinish) < first("probe", At::SourceMaxChains));
        assert!(last("probe", At::SourceReport) < first("rest", At::SourceMaxChains));
        for name in ["build", "shared"] {
            assert!(last(name, At::SinkCombine) < first(name, At::SinkBeginFinish));
            assert!(first(name, At::SinkBeginFinish) < first(name, At::SinkFinishPart));
            assert!(last(name, At::SinkFinishPart) < first(name, At::SinkFinish));
            assert_eq!([At::SinkBeginFinish, At::SinkFinishPart, At::SinkFinish, At::SinkReport].map(|at| count(name, at)), [1, 5, 1, 1]);
            assert_eq!(count(name, At::SinkLocal), count(name, At::SinkCombine));
        }
    }
}

/// Says `Finished` itself after one batch.
struct OnlyOne;

impl Operator for OnlyOne {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        Ok(Box::new(OnlyOne))
    }
}

impl LocalOperator for OnlyOne {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        let _ = output.push(batch)?;
        Ok(Flow::Finished)
    }
}

#[test]
fn finished_stops_every_chain_and_finishes_only_what_comes_after() {
    for scheduler in [Scheduler::new(1), Scheduler::new(3), Scheduler::inline(11)] {
        let (before, after) = (counting(), counting());
        // Chains that find no row wait for good: they have to be woken to stop.
        let endless = source(&quiet(), None, |call, _| if call < 2 { Poll::Batch(number(call)) } else { Poll::Blocked });
        let gather = sink(&after.0, usize::MAX);
        let operators = vec![pass_on(&before.0), Arc::new(OnlyOne) as _, pass_on(&after.0)];
        let graph = one_pipeline(endless, operators, Arc::clone(&gather) as _);
        let metrics = scheduler.submit(graph, options()).wait().expect("nothing fails");
        let chains = metrics.pipelines[0].chains as usize;
        assert_eq!(before.get(At::OperatorFinish), 0, "nobody wants its rows any more");
        assert_eq!(after.get(At::OperatorFinish), chains, "its rows count");
        assert_eq!(after.get(At::SinkCombine), chains);
        assert!(values(&gather.collected.batches()).iter().filter(|value| **value == -1).count() == chains);
    }
}

#[test]
fn a_sink_that_has_enough_stops_its_pipeline_but_no_other() {
    for seed in 0..20 {
        let mut graph = PipelineGraph::new();
        let counted = counting();
        let limit = graph.add_sink(OperatorId(2), sink(&counted.0, 10));
        let all = sink(&quiet(), usize::MAX);
        let other = graph.add_sink(OperatorId(3), Arc::clone(&all) as _);
        let endless = source(&quiet(), None, |call, _| Poll::Batch(number(call)));
        graph.add_pipeline(pipeline("limit", endless, vec![pass_on(&counted.0)], limit, vec![]));
        graph.add_pipeline(pipeline("other", source(&quiet(), None, numbers(100)), vec![], other, vec![]));
        run_graph(graph, seed).expect("nothing fails");
        assert_eq!(counted.get(At::SinkPush), 10, "one batch at a time, so not one too many");
        assert_eq!(counted.get(At::OperatorFinish), 0);
        assert_eq!(all.collected.num_rows(), 100);
    }
}

struct Counting(Parts, Arc<Mutex<HashMap<At, usize>>>);

impl Counting {
    fn get(&self, at: At) -> usize {
        self.1.lock().unwrap().get(&at).copied().unwrap_or(0)
    }
}

fn counting() -> Counting {
    let counts: Arc<Mutex<HashMap<At, usize>>> = Arc::default();
    let inner = Arc::clone(&counts);
    let parts = Parts::new(move |at| {
        *inner.lock().unwrap().entry(at).or_default() += 1;
        Ok(())
    });
    Counting(parts, counts)
}

#[test]
fn chains_come_to_life_only_where_there_is_work_for_them() {
    let chains = |max_chains: Option<usize>, is_ordered: bool, count: usize, limit: Option<usize>| {
        let plain = source(&quiet(), max_chains, numbers(count));
        let source = ScriptSource { parts: quiet(), script: Arc::clone(&plain.script), calls: Arc::default(), max_chains, is_ordered };
        let graph = one_pipeline(Arc::new(source), vec![], sink(&quiet(), usize::MAX));
        let handle = Scheduler::inline(9).submit(graph, QueryOptions { max_chains: limit, ..options() });
        handle.wait().expect("nothing fails").pipelines[0].chains
    };
    assert_eq!(chains(Some(1), false, 100, None), 1, "one morsel");
    assert_eq!(chains(Some(0), false, 0, None), 1, "a sink always has something to combine");
    assert_eq!(chains(None, true, 100, None), 1, "in order");
    assert_eq!(chains(None, false, 0, None), 1, "the first chain found nothing");
    assert_eq!(chains(Some(100), false, 100, None), 3, "as many as there are threads");
    assert_eq!(chains(None, false, 100, None), 3);
    assert_eq!(chains(Some(100), false, 100, Some(7)), 7, "as many as asked for");
}

#[test]
fn the_same_seed_gives_the_same_order_and_another_seed_another() {
    let order = |seed: u64| {
        let out = CollectSink::new();
        let graph = one_pipeline(VecSource::new((0..40).map(number).collect()), vec![pass_on(&quiet())], Arc::clone(&out) as _);
        run_graph(graph, seed).expect("nothing fails");
        values(&out.batches())
    };
    assert_eq!(order(1), order(1));
    assert!((2..10).any(|seed| order(seed) != order(1)));
}

#[test]
fn empty_batches_are_dropped_on_the_way() {
    struct Empty;
    impl Operator for Empty {
        fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
            Ok(Box::new(Empty))
        }
    }
    impl LocalOperator for Empty {
        fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
            let _ = output.push(batch.slice(0, 0))?;
            output.push(batch)
        }
    }
    let out = run_operator(Arc::new(Empty), vec![number(1), number(2)]).expect("nothing fails");
    assert_eq!(out.iter().map(Batch::num_rows).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_graph_that_waits_for_itself_is_an_error_and_an_empty_one_ends_at_once() {
    let mut graph = PipelineGraph::new();
    let first = graph.add_sink(OperatorId(2), CollectSink::new());
    let second = graph.add_sink(OperatorId(3), CollectSink::new());
    graph.add_pipeline(pipeline("egg", VecSource::new(vec![]), vec![], first, vec![After::Sink(second)]));
    graph.add_pipeline(pipeline("hen", VecSource::new(vec![]), vec![], second, vec![After::Sink(first)]));
    let error = run_graph(graph, 0).expect_err("neither can start");
    assert_eq!(error.to_string(), "pipeline egg waits for something that waits for it");
    run_graph(PipelineGraph::new(), 0).expect("nothing to do");
}

#[test]
fn what_waits_for_a_sink_that_nobody_feeds_starts_after_it_has_finished() {
    let counted = counting();
    let mut graph = PipelineGraph::new();
    let lonely = graph.add_sink(OperatorId(2), sink(&counted.0, usize::MAX));
    let out = CollectSink::new();
    let end = graph.add_sink(OperatorId(3), Arc::clone(&out) as _);
    graph.add_pipeline(pipeline("after", VecSource::new(vec![number(1)]), vec![], end, vec![After::Sink(lonely)]));
    run_graph(graph, 0).expect("nothing fails");
    assert_eq!((counted.get(At::SinkFinish), out.num_rows()), (1, 1));
}

#[test]
fn memory_of_an_ended_pipeline_is_returned_while_the_query_goes_on() {
    let parts = quiet();
    let mut graph = PipelineGraph::new();
    let first = graph.add_sink(OperatorId(2), sink(&parts, usize::MAX));
    let end = graph.add_sink(OperatorId(3), CollectSink::new());
    graph.add_pipeline(pipeline("first", source(&parts, None, numbers(3)), vec![pass_on(&parts)], first, vec![]));
    let alive = Arc::downgrade(&parts.alive);
    drop(parts);
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let seen_by_source = Arc::clone(&seen);
    let observer = source(&quiet(), Some(1), move |call, _| {
        // The first call may come while another worker is still dropping.
        if call < 3 {
            thread::sleep(Duration::from_millis(2));
            return Poll::Batch(number(call));
        }
        seen_by_source.store(alive.strong_count(), Ordering::Relaxed);
        Poll::Finished
    });
    graph.add_pipeline(pipeline("second", observer, vec![], end, vec![After::Sink(first)]));
    Scheduler::new(2).submit(graph, options()).wait().expect("nothing fails");
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_handle_is_a_future_of_the_end() {
    let scheduler = Scheduler::new(2);
    for count in 0..200 {
        let graph = one_pipeline(source(&quiet(), None, numbers(count)), vec![], sink(&quiet(), usize::MAX));
        let mut handle = pin!(scheduler.submit(graph, options()));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let metrics = loop {
            match handle.as_mut().poll(&mut Context::from_waker(&waker)) {
                std::task::Poll::Ready(outcome) => break outcome.expect("nothing fails"),
                std::task::Poll::Pending => thread::park(),
            }
        };
        assert_eq!(metrics.operators[2].rows_in, count as u64);
        assert_eq!(handle.snapshot().operators, metrics.operators);
    }
}
