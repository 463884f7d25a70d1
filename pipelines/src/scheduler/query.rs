//! The state of one query: what has ended, what may start, and how it all ends.
//!
//! Position: workers run tasks (`task.rs`) and report here what became of them; the answers of this file are new
//! tasks. One lock per query guards it, taken a few times per time slice, never while code of a
//! source, operator or sink runs.
//!
//! Every started chain and every call that finishes a sink is counted in `State::live` until it is over, wherever it
//! is (queued, running, parked). When the count is zero, the query ends, well or badly.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::{Wake, Waker},
    time::Instant,
};

use super::{
    QueryOptions,
    queue::LaneId,
    task::{ChainWaker, Task},
    worker::Workers,
};
use crate::{After, Error, GraphMetrics, OperatorId, Pipeline, PipelineGraph, Result, Sink, metrics::PipelineMetrics, run::Stop};

/// A query in the hands of a scheduler.
pub(super) struct Query {
    workers: Arc<Workers>,
    lane: LaneId,
    pub(super) options: QueryOptions,
    submitted: Instant,
    state: Mutex<State>,
    has_ended: Condvar,
}

/// Everything that changes.
pub(super) struct State {
    /// Tasks that are not over yet.
    live: usize,
    pub(super) pipelines: Vec<PipelineState>,
    pub(super) sinks: Vec<SinkState>,
    pub(super) metrics: GraphMetrics,
    /// The first reason to end early.
    error: Option<Error>,
    outcome: Option<Result<()>>,
    waker: Option<Waker>,
}

/// A pipeline: waits, has chains, has ended.
pub(super) struct PipelineState {
    /// Given back when the pipeline has ended, so that a join's table is freed while the query goes on.
    pub(super) pipeline: Option<Arc<Pipeline>>,
    sink: usize,
    waits_for: usize,
    waiting: Vec<usize>,
    pub(super) stop: Arc<Stop>,
    /// Chains that may exist; 1 until the source has been asked.
    pub(super) max_chains: usize,
    /// Whether the source knew how many.
    pub(super) is_measured: bool,
    /// Chains that are started or to be started by a task in the queue.
    asked: usize,
    started: usize,
    live: usize,
    /// No more chains are to be started: one has seen the end of the source, or all have ended.
    is_closed: bool,
    wakers: Vec<Arc<ChainWaker>>,
}

/// A sink: gathers, finishes its parts, has finished.
pub(super) struct SinkState {
    pub(super) id: OperatorId,
    /// For messages: the last pipeline that feeds it.
    pub(super) name: Arc<str>,
    pub(super) sink: Option<Arc<dyn Sink>>,
    feeders: usize,
    parts_left: usize,
    waiting: Vec<usize>,
}

/// What a chain needs to be started.
pub(super) struct Admission {
    pub(super) number: usize,
    pub(super) max_chains: usize,
    pub(super) is_measured: bool,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) sink: (OperatorId, Arc<dyn Sink>),
    pub(super) stop: Arc<Stop>,
    pub(super) waker: Arc<ChainWaker>,
}

/// Pipelines of a graph wait for each other in a circle.
#[derive(Debug, thiserror::Error)]
#[error("pipeline {0} waits for something that waits for it")]
struct Circle(String);

const FINISHING: u32 = 0;

fn priority(pipeline: usize) -> u32 {
    pipeline as u32 + 1
}

impl Query {
    /// Takes over a graph and queues what is ready.
    pub(super) fn submit(workers: &Arc<Workers>, graph: PipelineGraph, options: QueryOptions) -> Arc<Query> {
        let query = Arc::new(Query {
            workers: Arc::clone(workers),
            lane: workers.open_lane(),
            options,
            submitted: Instant::now(),
            state: Mutex::new(State::new(graph)),
            has_ended: Condvar::new(),
        });
        query.options.cancel.wake_on_cancel(Waker::from(Arc::new(CancelListener(Arc::downgrade(&query)))));
        let mut tasks = Vec::new();
        let is_over = {
            let mut state = query.lock();
            state.start_what_is_ready(&mut tasks);
            state.live == 0
        };
        if is_over {
            query.end();
        } else {
            workers.submit(&query, tasks);
        }
        query
    }

    pub(super) fn lane(&self) -> LaneId {
        self.lane
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for one more chain than there is (the first of a pipeline was granted when the pipeline started).
    /// `None` when none is needed any more.
    pub(super) fn admit(self: &Arc<Self>, index: usize, is_first: bool) -> Option<Admission> {
        let now_ns = self.now_ns();
        let mut guard = self.lock();
        let state = &mut *guard;
        let entry = &mut state.pipelines[index];
        if !is_first && (entry.is_closed || self.options.cancel.is_cancelled()) {
            return None;
        }
        let pipeline = Arc::clone(entry.pipeline.as_ref()?);
        let sink = &state.sinks[pipeline.sink.0];
        let sink = (sink.id, Arc::clone(sink.sink.as_ref()?));
        if !is_first {
            entry.live += 1;
            state.live += 1;
        }
        let waker = ChainWaker::new(self, index);
        entry.wakers.push(Arc::clone(&waker));
        let number = entry.started;
        entry.started += 1;
        let metrics = &mut state.metrics.pipelines[index];
        metrics.chains += 1;
        if number == 0 {
            metrics.start_ns = now_ns;
        }
        Some(Admission {
            number,
            max_chains: entry.max_chains,
            is_measured: entry.is_measured,
            pipeline,
            sink,
            stop: Arc::clone(&entry.stop),
            waker,
        })
    }

    /// Queues up to two more chains of a pipeline: 1, 2, 4 .. of them come to life while there is work and
    /// somebody to do it.
    pub(super) fn ask_for_chains(self: &Arc<Self>, index: usize) {
        let count = {
            let mut state = self.lock();
            let entry = &mut state.pipelines[index];
            let count = if entry.is_closed { 0 } else { entry.max_chains.saturating_sub(entry.asked).min(2) };
            entry.asked += count;
            count
        };
        let tasks = (0..count).map(|_| (priority(index), Task::Start { pipeline: index, is_first: false })).collect();
        self.workers.push(self, tasks, false);
    }

    /// Puts a chain into the queue. `returns`: by a worker that asks for its next task right away.
    pub(super) fn queue(self: &Arc<Self>, index: usize, task: Task, returns: bool) {
        self.workers.push(self, vec![(priority(index), task)], returns);
    }

    /// One chain is over and dropped. `is_done`: it has combined.
    pub(super) fn chain_is_over(self: &Arc<Self>, index: usize, waker: Option<&Arc<ChainWaker>>, is_done: bool) {
        let mut tasks = Vec::new();
        let (to_wake, ended) = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let entry = &mut state.pipelines[index];
            entry.live -= 1;
            entry.wakers.retain(|other| waker.is_none_or(|waker| !Arc::ptr_eq(waker, other)));
            entry.is_closed |= is_done;
            // Those that wait for rows or room would not notice that no further row matters.
            let to_wake = if is_done && entry.stop.is_set() { entry.wakers.clone() } else { Vec::new() };
            let ended = if entry.live == 0 && self.is_well(state) { state.end_pipeline(index, &mut tasks) } else { None };
            (to_wake, ended)
        };
        self.workers.push(self, tasks, true);
        to_wake.iter().for_each(Wake::wake_by_ref);
        drop_guarded(ended);
        self.task_is_over();
    }

    /// `begin_finish` has answered: queues the parts. The caller's task is over.
    pub(super) fn parts_are_known(self: &Arc<Self>, index: usize, count: usize) {
        {
            let mut state = self.lock();
            state.live += count;
            state.sinks[index].parts_left = count;
        }
        let tasks = (0..count).map(|part| (FINISHING, Task::FinishPart { sink: index, part })).collect();
        self.workers.push(self, tasks, true);
        self.task_is_over();
    }

    /// A part is done. Answers whether it was the last.
    pub(super) fn part_is_done(&self, index: usize) -> bool {
        let sink = &mut self.lock().sinks[index];
        sink.parts_left -= 1;
        sink.parts_left == 0
    }

    /// A sink has finished: starts what waited for it. The caller's task is over.
    pub(super) fn sink_has_finished(self: &Arc<Self>, index: usize) {
        let now_ns = self.now_ns();
        let mut tasks = Vec::new();
        let finished = {
            let mut guard = self.lock();
            let state = &mut *guard;
            for (entry, metrics) in state.pipelines.iter().zip(&mut state.metrics.pipelines) {
                if entry.sink == index {
                    metrics.end_ns = now_ns;
                }
            }
            for pipeline in std::mem::take(&mut state.sinks[index].waiting) {
                state.release(pipeline, &mut tasks);
            }
            state.sinks[index].sink.take()
        };
        self.workers.push(self, tasks, true);
        drop_guarded(finished);
        self.task_is_over();
    }

    /// Ends the query early; the first reason counts. Returns at once.
    pub(super) fn fail(&self, error: Error) {
        self.lock().error.get_or_insert(error);
        // Whoever is parked is woken by the listener, finds the flag and is dropped by a worker.
        self.options.cancel.cancel();
    }

    /// One counted task is over, with everything it held. The last one ends the query.
    pub(super) fn task_is_over(&self) {
        let is_last = {
            let mut state = self.lock();
            state.live -= 1;
            state.live == 0
        };
        if is_last {
            self.end();
        }
    }

    pub(super) fn outcome(&self, state: &State) -> Option<Result<GraphMetrics>> {
        state.outcome.as_ref().map(|outcome| outcome.clone().map(|()| state.metrics.clone()))
    }

    /// Blocks until the end.
    pub(super) fn wait(&self) -> Result<GraphMetrics> {
        let state = self.has_ended.wait_while(self.lock(), |state| state.outcome.is_none()).unwrap_or_else(PoisonError::into_inner);
        self.outcome(&state).expect("a query that has ended has an outcome")
    }

    /// The outcome, or `waker` is woken when there is one.
    pub(super) fn poll(&self, waker: &Waker) -> Option<Result<GraphMetrics>> {
        let mut state = self.lock();
        let outcome = self.outcome(&state);
        if outcome.is_none() {
            state.waker = Some(waker.clone());
        }
        outcome
    }

    pub(super) fn snapshot(&self) -> GraphMetrics {
        let state = self.lock();
        let mut metrics = state.metrics.clone();
        if state.outcome.is_none() {
            metrics.elapsed_ns = self.now_ns();
            metrics.peak_memory_bytes = self.options.memory.peak_bytes() as u64;
        }
        metrics
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().outcome.is_some()
    }

    fn is_well(&self, state: &State) -> bool {
        state.error.is_none() && !self.options.cancel.is_cancelled()
    }

    fn now_ns(&self) -> u64 {
        self.submitted.elapsed().as_nanos() as u64
    }

    /// No task is left: frees everything, then publishes the outcome, so that whoever waited finds the memory returned.
    fn end(&self) {
        let (sinks, pipelines) = {
            let mut state = self.lock();
            let sinks: Vec<_> = state.sinks.iter_mut().filter_map(|sink| sink.sink.take()).collect();
            let pipelines: Vec<_> = state.pipelines.iter_mut().filter_map(|entry| entry.pipeline.take()).collect();
            (sinks, pipelines)
        };
        // Tasks that never started a chain; they hold nothing of the query's.
        self.workers.close_lane(self.lane);
        let is_cancelled = self.options.cancel.is_cancelled();
        let unfinished =
            pipelines.first().map(|pipeline| if is_cancelled { Error::Cancelled } else { Error::failed(Circle(pipeline.name.clone())) });
        sinks.into_iter().for_each(drop_guarded);
        pipelines.into_iter().for_each(drop_guarded);
        let waker = {
            let mut state = self.lock();
            state.metrics.elapsed_ns = self.now_ns();
            state.metrics.peak_memory_bytes = self.options.memory.peak_bytes() as u64;
            state.outcome = Some(state.error.take().or(unfinished).map_or(Ok(()), Err));
            state.waker.take()
        };
        self.has_ended.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The flag is set: parked chains have to see it.
    fn on_cancel(&self) {
        self.workers.prefer(self.lane);
        let wakers: Vec<_> = self.lock().pipelines.iter().flat_map(|entry| entry.wakers.clone()).collect();
        wakers.iter().for_each(Wake::wake_by_ref);
    }
}

impl State {
    fn new(graph: PipelineGraph) -> Self {
        let sink_state =
            |(id, sink)| SinkState { id, name: Arc::from("sink"), sink: Some(sink), feeders: 0, parts_left: 0, waiting: Vec::new() };
        let mut sinks: Vec<_> = graph.sinks.into_iter().map(sink_state).collect();
        let mut metrics = GraphMetrics::default();
        let mut pipelines: Vec<PipelineState> = Vec::with_capacity(graph.pipelines.len());
        for (index, mut pipeline) in graph.pipelines.into_iter().enumerate() {
            pipeline.after.sort_unstable();
            pipeline.after.dedup();
            for after in &pipeline.after {
                match after {
                    After::Sink(sink) => sinks[sink.0].waiting.push(index),
                    After::Pipeline(other) => pipelines[other.0].waiting.push(index),
                }
            }
            sinks[pipeline.sink.0].feeders += 1;
            sinks[pipeline.sink.0].name = Arc::from(pipeline.name.as_str());
            metrics.pipelines.push(PipelineMetrics { name: pipeline.name.clone(), ..Default::default() });
            pipelines.push(PipelineState::new(pipeline));
        }
        State { live: 0, pipelines, sinks, metrics, error: None, outcome: None, waker: None }
    }

    fn start_what_is_ready(&mut self, tasks: &mut Vec<(u32, Task)>) {
        for index in 0..self.sinks.len() {
            if self.sinks[index].feeders == 0 {
                self.begin_finish(index, tasks);
            }
        }
        for index in 0..self.pipelines.len() {
            if self.pipelines[index].waits_for == 0 {
                self.start(index, tasks);
            }
        }
    }

    fn start(&mut self, index: usize, tasks: &mut Vec<(u32, Task)>) {
        self.live += 1;
        self.pipelines[index].live = 1;
        self.pipelines[index].asked = 1;
        tasks.push((priority(index), Task::Start { pipeline: index, is_first: true }));
    }

    /// One of the things that a pipeline waits for is over.
    fn release(&mut self, index: usize, tasks: &mut Vec<(u32, Task)>) {
        self.pipelines[index].waits_for -= 1;
        if self.pipelines[index].waits_for == 0 {
            self.start(index, tasks);
        }
    }

    /// All chains have ended. Answers the shared parts, to be dropped outside the lock.
    fn end_pipeline(&mut self, index: usize, tasks: &mut Vec<(u32, Task)>) -> Option<Arc<Pipeline>> {
        let entry = &mut self.pipelines[index];
        entry.is_closed = true;
        let pipeline = entry.pipeline.take()?;
        for waiting in std::mem::take(&mut entry.waiting) {
            self.release(waiting, tasks);
        }
        let sink = pipeline.sink.0;
        self.sinks[sink].feeders -= 1;
        if self.sinks[sink].feeders == 0 {
            self.begin_finish(sink, tasks);
        }
        Some(pipeline)
    }

    fn begin_finish(&mut self, sink: usize, tasks: &mut Vec<(u32, Task)>) {
        self.live += 1;
        tasks.push((FINISHING, Task::BeginFinish { sink }));
    }
}

impl PipelineState {
    fn new(pipeline: Pipeline) -> Self {
        PipelineState {
            sink: pipeline.sink.0,
            waits_for: pipeline.after.len(),
            pipeline: Some(Arc::new(pipeline)),
            waiting: Vec::new(),
            stop: Arc::default(),
            max_chains: 1,
            is_measured: false,
            asked: 0,
            started: 0,
            live: 0,
            is_closed: false,
            wakers: Vec::new(),
        }
    }
}

/// Drops what belongs to a query; a panic of its destructor ends there.
pub(super) fn drop_guarded<T>(value: T) {
    // The payload is leaked rather than dropped: its destructor may panic as well.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        std::mem::forget(payload);
    }
}

struct CancelListener(Weak<Query>);

impl Wake for CancelListener {
    fn wake(self: Arc<Self>) {
        if let Some(query) = self.0.upgrade() {
            query.on_cancel();
        }
    }
}
