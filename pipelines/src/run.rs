//! The push loop of one chain of one pipeline; no threads here.
//!
//! ```text
//!   step:  is the sink ready? ──► next source batch ──► operator ──► operator ──► sink
//!               │ no                   │ none now
//!               └──► Parked            └──► Parked                  (the caller keeps the chain)
//! ```
//!
//! Position: the scheduler makes chains and calls [`Chain::step`] until it says [`Step::Done`]. The loop
//! counts rows and time around every call, with one clock read where control passes from stage to stage.
//! Deliberately elsewhere: when a chain runs and on which thread, time slices, cancellation, panics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::Instant,
};

use crate::{
    Batch, Flow, GraphMetrics, LocalContext, LocalOperator, LocalSink, LocalSource, OperatorId, OperatorMetrics, Output, Pipeline, Poll,
    Result, Sink,
};

/// Where a chain stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There may be more: step again.
    Ready,
    /// The source or the sink has kept the waker; step again after it was woken.
    Parked,
    /// Everything is pushed and combined. Never step again.
    Done,
}

/// Shared by the chains of a pipeline: set when one of them learns that no further row matters.
#[derive(Debug, Default)]
pub struct Stop {
    // The highest stage that answered `Finished`; 0 while nobody has. Relaxed: it carries no data.
    stage: AtomicUsize,
}

impl Stop {
    /// Whether the pipeline is to stop early.
    pub fn is_set(&self) -> bool {
        self.stage() > 0
    }

    fn stage(&self) -> usize {
        self.stage.load(Ordering::Relaxed)
    }

    fn set(&self, stage: usize) {
        self.stage.fetch_max(stage, Ordering::Relaxed);
    }
}

/// The local parts of one chain. Any thread may step it, one at a time.
pub struct Chain {
    // Dropped in this order: a sink may hold what an operator lent it, an operator what the source did.
    sink: Option<Box<dyn LocalSink>>,
    operators: Vec<Box<dyn LocalOperator>>,
    source: Box<dyn LocalSource>,
    stop: Arc<Stop>,
    meters: Meters,
    exhausted: bool,
    parked: Option<(usize, Instant)>,
}

impl Chain {
    /// Makes the local parts, from the sink up to the source, so that nothing is read for a chain that cannot run.
    ///
    /// # Errors
    /// Those of the `local` constructors.
    pub fn start(pipeline: &Pipeline, sink: (OperatorId, &dyn Sink), context: &LocalContext, stop: Arc<Stop>) -> Result<Chain> {
        let ids = std::iter::once(pipeline.source.0).chain(pipeline.operators.iter().map(|o| o.0)).chain([sink.0]);
        let meters = Meters::new(ids.collect());
        let sink = sink.1.local(context)?;
        let operators = pipeline.operators.iter().map(|(_, operator)| operator.local(context)).collect::<Result<Vec<_>>>()?;
        let source = pipeline.source.1.local(context)?;
        Ok(Chain { sink: Some(sink), operators, source, stop, meters, exhausted: false, parked: None })
    }

    /// To be called before the first step of a time slice: the time since the last step was not work.
    pub fn resume(&mut self) {
        self.meters.at = SOURCE;
        self.meters.since = Instant::now();
        if let Some((stage, since)) = self.parked.take() {
            self.meters.stages[stage].blocked_ns += nanoseconds(since, self.meters.since);
        }
    }

    /// The time of the last change of stage: a clock that costs nothing.
    pub fn now(&self) -> Instant {
        self.meters.since
    }

    /// Whether the source has said that it has no more rows for this chain.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Pushes one source batch through, or ends the chain.
    ///
    /// # Errors
    /// Whatever a stage fails with. The chain is then only to be dropped.
    ///
    /// # Panics
    /// If the chain was done already; and with whatever a stage panics with.
    pub fn step(&mut self, waker: &Waker) -> Result<Step> {
        let stopped_at = self.stop.stage();
        self.meters.finished_from = self.meters.finished_from.max(stopped_at);
        let ends = self.exhausted || stopped_at > 0;
        // A sink that wants no more rows gets none from `finish` either, so its room does not matter.
        if self.meters.finished_from < self.sink_stage() && !self.sink_is_ready(waker)? {
            return Ok(self.park(self.sink_stage()));
        }
        if !ends {
            match self.source.next(waker)? {
                Poll::Batch(batch) => {
                    if self.rest_from(SOURCE + 1).push(batch)? == Flow::Finished {
                        self.stop.set(self.meters.finished_from);
                    }
                    return Ok(Step::Ready);
                }
                Poll::Blocked => return Ok(self.park(SOURCE)),
                Poll::Finished => self.exhausted = true,
            }
        }
        self.finish()?;
        Ok(Step::Done)
    }

    /// Moves what was counted since the last call into `metrics`.
    pub fn drain_metrics(&mut self, metrics: &mut GraphMetrics) {
        for (id, counted) in self.meters.ids.iter().zip(&mut self.meters.stages) {
            metrics.operator_mut(*id).merge(&std::mem::take(counted));
        }
    }

    fn sink_stage(&self) -> usize {
        self.operators.len() + 1
    }

    fn park(&mut self, stage: usize) -> Step {
        self.meters.switch(SOURCE);
        self.parked = Some((stage, self.meters.since));
        Step::Parked
    }

    fn sink_is_ready(&mut self, waker: &Waker) -> Result<bool> {
        self.meters.switch(self.operators.len() + 1);
        let ready = self.local_sink().is_ready(waker)?;
        self.meters.switch(SOURCE);
        Ok(ready)
    }

    fn local_sink(&mut self) -> &mut dyn LocalSink {
        &mut **self.sink.as_mut().expect("a chain is not stepped after it is done")
    }

    /// The chain from `stage` (1 = the first operator) to the sink, as what the stage before it pushes into.
    fn rest_from(&mut self, stage: usize) -> Rest<'_> {
        let sink = &mut **self.sink.as_mut().expect("a chain is not stepped after it is done");
        Rest { operators: &mut self.operators[stage - 1..], sink, meters: &mut self.meters, stage }
    }

    fn finish(&mut self) -> Result<()> {
        for stage in 1..self.sink_stage() {
            if self.meters.finished_from > stage {
                continue;
            }
            self.meters.switch(stage);
            let (operator, rest) = self.operators[stage - 1..].split_first_mut().expect("stages before the sink are operators");
            let sink = &mut **self.sink.as_mut().expect("a chain is not stepped after it is done");
            operator.finish(&mut Rest { operators: rest, sink, meters: &mut self.meters, stage: stage + 1 })?;
        }
        self.meters.switch(self.sink_stage());
        self.sink.take().expect("a chain is not stepped after it is done").combine()?;
        self.meters.switch(SOURCE);
        self.source.report(&mut self.meters.stages[SOURCE].extra);
        for (index, operator) in self.operators.iter_mut().enumerate() {
            operator.report(&mut self.meters.stages[index + 1].extra);
        }
        Ok(())
    }
}

const SOURCE: usize = 0;

/// Counters and the running clock of one chain. Stages: 0 is the source, then the operators, last the sink.
struct Meters {
    ids: Vec<OperatorId>,
    stages: Vec<OperatorMetrics>,
    /// The stage that is working, since when.
    at: usize,
    since: Instant,
    /// The highest stage that answered `Finished`; nothing is pushed to it or before it. 0: none.
    finished_from: usize,
}

impl Meters {
    fn new(ids: Vec<OperatorId>) -> Self {
        let stages = vec![OperatorMetrics::default(); ids.len()];
        Meters { ids, stages, at: SOURCE, since: Instant::now(), finished_from: 0 }
    }

    /// Control passes to `stage`.
    fn switch(&mut self, stage: usize) {
        let now = Instant::now();
        self.stages[self.at].busy_ns += nanoseconds(self.since, now);
        self.at = stage;
        self.since = now;
    }

    fn count(&mut self, stage: usize, rows: u64) {
        let before = &mut self.stages[stage - 1];
        before.rows_out += rows;
        before.batches_out += 1;
        let after = &mut self.stages[stage];
        after.rows_in += rows;
        after.batches_in += 1;
    }
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    to.duration_since(from).as_nanos() as u64
}

/// What a stage pushes into: operator `stage` with all that follows it.
struct Rest<'a> {
    operators: &'a mut [Box<dyn LocalOperator>],
    sink: &'a mut dyn LocalSink,
    meters: &'a mut Meters,
    stage: usize,
}

impl Output for Rest<'_> {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        let stage = self.stage;
        if self.meters.finished_from >= stage {
            return Ok(Flow::Finished);
        }
        if batch.is_empty() {
            return Ok(Flow::Continue);
        }
        self.meters.count(stage, batch.num_rows() as u64);
        self.meters.switch(stage);
        let flow = match self.operators.split_first_mut() {
            Some((operator, operators)) => {
                operator.push(batch, &mut Rest { operators, sink: &mut *self.sink, meters: &mut *self.meters, stage: stage + 1 })?
            }
            None => self.sink.push(batch)?,
        };
        self.meters.switch(stage - 1);
        if flow == Flow::Finished {
            self.meters.finished_from = self.meters.finished_from.max(stage);
        }
        Ok(flow)
    }
}
