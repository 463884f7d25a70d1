//! What a worker does in one turn: start a chain, drive one for a time slice, or finish a sink or a part of it.
//!
//! Position: called by `worker.rs`; tells `query.rs` what became of it. All calls into sources, operators and
//! sinks are made here (and in `run.rs`), and panics are caught here, so that they end one query and no thread.
//! Every slice of every chain passes `Query::drive`: what wants to record a timeline hooks in there.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Wake, Waker},
    time::Instant,
};

use super::{
    park::Parking,
    query::{Admission, Query, drop_guarded},
};
use crate::{
    Error, LocalContext, Pipeline, Result, Sink,
    metrics::Counters,
    run::{Chain, Step},
};

/// One turn of a worker.
pub(super) enum Task {
    /// Starts a chain of a pipeline. Only the first of a pipeline is sure to come to life.
    Start { pipeline: usize, is_first: bool },
    /// Drives a chain on.
    Resume(Box<ChainTask>),
    /// All pipelines that feed the sink have ended.
    BeginFinish { sink: usize },
    /// One part of finishing.
    FinishPart { sink: usize, part: usize },
}

/// A chain between two time slices. It is in one hand at a time: a worker's, the queue's, or its parking place's.
pub(super) struct ChainTask {
    chain: Chain,
    /// The pipeline's index, and its shared parts as long as a chain needs them.
    index: usize,
    pipeline: Arc<Pipeline>,
    /// Whether it has asked for more chains already.
    has_asked: bool,
    place: Arc<ChainWaker>,
    waker: Waker,
}

/// Wakes one chain.
pub(super) struct ChainWaker {
    index: usize,
    query: std::sync::Weak<Query>,
    parking: Parking<Box<ChainTask>>,
}

impl ChainWaker {
    pub(super) fn new(query: &Arc<Query>, index: usize) -> Arc<Self> {
        Arc::new(ChainWaker { index, query: Arc::downgrade(query), parking: Parking::new() })
    }
}

impl Wake for ChainWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A parked chain is counted as live, so its query exists: a handle or a running task holds it.
        if let Some(chain) = self.parking.notify()
            && let Some(query) = self.query.upgrade()
        {
            query.queue(self.index, Task::Resume(chain), false);
        }
    }
}

impl Query {
    /// Runs one task, at most until the first source batch after `deadline`.
    pub(super) fn run(self: &Arc<Self>, task: Task, deadline: Instant) {
        match task {
            Task::Start { pipeline, is_first } => self.start(pipeline, is_first, deadline),
            Task::Resume(chain) => self.drive(chain, deadline),
            Task::BeginFinish { sink } => self.begin_finish(sink),
            Task::FinishPart { sink, part } => self.finish_part(sink, part),
        }
    }

    fn start(self: &Arc<Self>, index: usize, is_first: bool, deadline: Instant) {
        if is_first && let Err(error) = self.measure(index) {
            self.fail(error);
            return self.chain_is_over(index, None, false);
        }
        let Some(admission) = self.admit(index, is_first) else { return };
        let place = Arc::clone(&admission.waker);
        // A source that knows its morsels has told so; of others, the first batch shows that there is work.
        let has_asked = admission.is_measured;
        if has_asked {
            self.ask_for_chains(index);
        }
        match guard(&admission.pipeline.name, || self.make_chain(&admission)) {
            Ok(chain) => {
                let Admission { pipeline, sink, waker: place, .. } = admission;
                // Not held during the slice: it may be the last, and the sink is to be gone when the query ends.
                drop(sink);
                let waker = Waker::from(Arc::clone(&place));
                self.drive(Box::new(ChainTask { chain, index, pipeline, has_asked, place, waker }), deadline);
            }
            Err(error) => {
                self.fail(error);
                drop_guarded(admission);
                self.chain_is_over(index, Some(&place), false);
            }
        }
    }

    /// Asks the source of a pipeline that starts how many chains it can feed.
    fn measure(&self, index: usize) -> Result<()> {
        self.options.cancel.check()?;
        let pipeline = self.lock().pipelines[index].pipeline.clone().expect("a pipeline that starts has not ended");
        let wanted = guard(&pipeline.name, || {
            let source = &pipeline.source.1;
            Ok(if source.is_ordered() { Some(1) } else { source.max_chains() })
        })?;
        let allowed = self.options.max_chains.unwrap_or(1);
        let entry = &mut self.lock().pipelines[index];
        entry.max_chains = wanted.unwrap_or(usize::MAX).min(allowed).max(1);
        entry.is_measured = wanted.is_some();
        Ok(())
    }

    fn make_chain(&self, admission: &Admission) -> Result<Chain> {
        self.options.cancel.check()?;
        let context = LocalContext {
            chain: admission.number,
            num_chains: admission.max_chains,
            batch_rows: self.options.batch_rows,
            memory: Arc::clone(&self.options.memory),
            cancel: self.options.cancel.clone(),
        };
        let (id, sink) = &admission.sink;
        Chain::start(&admission.pipeline, (*id, &**sink), &context, Arc::clone(&admission.stop))
    }

    /// One time slice of a chain.
    fn drive(self: &Arc<Self>, mut task: Box<ChainTask>, deadline: Instant) {
        let index = task.index;
        let place = Arc::clone(&task.place);
        let pipeline = Arc::clone(&task.pipeline);
        place.parking.resume();
        let step = guard(&pipeline.name, || self.slice(&mut task, deadline));
        drop(pipeline);
        task.chain.drain_metrics(&mut self.lock().metrics);
        match step {
            Ok(Step::Ready) => self.queue(index, Task::Resume(task), true),
            Ok(Step::Parked) => {
                if let Some(task) = place.parking.park(task) {
                    self.queue(index, Task::Resume(task), true);
                }
            }
            Ok(Step::Done) => {
                drop_guarded(task);
                self.chain_is_over(index, Some(&place), true);
            }
            Err(error) => {
                self.fail(error);
                drop_guarded(task);
                self.chain_is_over(index, Some(&place), false);
            }
        }
    }

    fn slice(self: &Arc<Self>, task: &mut ChainTask, deadline: Instant) -> Result<Step> {
        task.chain.resume();
        loop {
            self.options.cancel.check()?;
            let step = task.chain.step(&task.waker)?;
            if step != Step::Ready {
                return Ok(step);
            }
            if !task.has_asked {
                task.has_asked = true;
                self.ask_for_chains(task.index);
            }
            if task.chain.now() >= deadline {
                return Ok(step);
            }
        }
    }

    fn begin_finish(self: &Arc<Self>, index: usize) {
        match self.call_sink(index, |sink| sink.begin_finish()) {
            Ok(0) => self.finish(index),
            Ok(count) => self.parts_are_known(index, count),
            Err(error) => self.fail_task(error),
        }
    }

    fn finish_part(self: &Arc<Self>, index: usize, part: usize) {
        match self.call_sink(index, |sink| sink.finish_part(part)) {
            Ok(()) if self.part_is_done(index) => self.finish(index),
            Ok(()) => self.task_is_over(),
            Err(error) => self.fail_task(error),
        }
    }

    fn finish(self: &Arc<Self>, index: usize) {
        let mut counters = Counters::default();
        let finished = self.call_sink(index, |sink| {
            sink.finish()?;
            sink.report(&mut counters);
            Ok(())
        });
        match finished {
            Ok(()) => {
                {
                    let mut state = self.lock();
                    let id = state.sinks[index].id;
                    state.metrics.operator_mut(id).extra.merge(&counters);
                }
                self.sink_has_finished(index);
            }
            Err(error) => self.fail_task(error),
        }
    }

    /// Calls the shared part of a sink and counts the time.
    fn call_sink<T>(&self, index: usize, call: impl FnOnce(&dyn Sink) -> Result<T>) -> Result<T> {
        self.options.cancel.check()?;
        let (id, name, sink) = {
            let state = self.lock();
            let entry = &state.sinks[index];
            (entry.id, Arc::clone(&entry.name), entry.sink.clone().expect("a sink that finishes has not finished"))
        };
        let started = Instant::now();
        let answer = guard(&name, || call(&*sink));
        self.lock().metrics.operator_mut(id).busy_ns += started.elapsed().as_nanos() as u64;
        answer
    }

    fn fail_task(&self, error: Error) {
        self.fail(error);
        self.task_is_over();
    }
}

/// Makes an error of a panic. What `call` worked on may be broken afterwards, and is dropped by the caller.
fn guard<T>(stage: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let message = message_of(&*payload);
        std::mem::forget(payload);
        Err(Error::Panicked { stage: stage.to_owned(), message })
    })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
