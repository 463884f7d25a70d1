//! The rows of a running query, on their way from a pipeline's sink to the client.
//!
//! Position: [`ResultSink`] is the last sink of every query's graph; [`ResultStream`] is read by the protocol
//! (async) or by the command line (blocking). Between them a queue bounded in bytes: when the client is slower
//! than the query, the sink's chains are parked, and no thread waits. Rows of a query on several nodes come to the stream through a
//! channel from the task that drives the query, which reads the root's queue itself ([`RootRows`]).

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use pipelines::{Batch, CancelToken, Flow, GraphMetrics, LocalContext, LocalSink, QueryHandle, Sink};
use tokio::sync::mpsc;

use super::{admission::Permit, registry::QueryEntry};
use crate::{error::Result, session::ResultColumn};

/// Bytes of rows that may wait for the client before the query is held back.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// What the sink and the stream share.
#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    num_bytes: usize,
    /// Chains that wait for room.
    writers: Vec<Waker>,
    /// The client's side, waiting for rows.
    reader: Option<Waker>,
}

/// The last sink of a query.
pub struct ResultSink {
    queue: Arc<Mutex<Queue>>,
}

struct LocalResultSink {
    queue: Arc<Mutex<Queue>>,
}

impl Sink for ResultSink {
    fn local(&self, _context: &LocalContext) -> pipelines::Result<Box<dyn LocalSink>> {
        Ok(Box::new(LocalResultSink { queue: Arc::clone(&self.queue) }))
    }
}

impl LocalSink for LocalResultSink {
    fn is_ready(&mut self, waker: &Waker) -> pipelines::Result<bool> {
        let mut queue = self.queue.lock();
        if queue.num_bytes < QUEUE_BYTES_MAX {
            return Ok(true);
        }
        queue.writers.push(waker.clone());
        Ok(false)
    }

    fn push(&mut self, batch: Batch) -> pipelines::Result<Flow> {
        let num_bytes = batch.num_bytes();
        let reader = {
            let mut queue = self.queue.lock();
            queue.num_bytes += num_bytes;
            queue.batches.push_back(batch);
            queue.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> pipelines::Result<()> {
        Ok(())
    }
}

/// A sink for a graph, and the queue its stream will read.
pub struct ResultChannel {
    queue: Arc<Mutex<Queue>>,
}

impl ResultChannel {
    /// An empty channel.
    pub fn new() -> Self {
        ResultChannel { queue: Arc::default() }
    }

    /// The sink, to be placed into the graph.
    pub fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(ResultSink { queue: Arc::clone(&self.queue) })
    }

    /// The stream of the rows of the running query.
    pub fn stream(self, columns: Vec<ResultColumn>, query: QueryHandle, cancel: CancelToken) -> ResultStream {
        ResultStream { columns, state: State::Running { queue: self.queue, query, cancel }, tracking: None }
    }
}

impl Default for ResultChannel {
    fn default() -> Self {
        Self::new()
    }
}

/// The rows of a root fragment, for whoever drives the query.
pub struct RootRows(ResultChannel);

impl RootRows {
    /// No rows yet.
    pub fn new() -> Self {
        RootRows(ResultChannel::new())
    }

    /// The sink, to be placed into the root's graph.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.0.sink()
    }

    /// The next batch, when there is one; rows that have ended are never there.
    pub async fn next(&self) -> Batch {
        std::future::poll_fn(|context| pop(&self.0.queue, context.waker()).map_or(Poll::Pending, Poll::Ready)).await
    }

    /// A batch that is there.
    pub fn take(&self) -> Option<Batch> {
        pop(&self.0.queue, Waker::noop())
    }
}

impl Default for RootRows {
    fn default() -> Self {
        Self::new()
    }
}

/// Rows as they are computed. Dropping it stops the query.
pub struct ResultStream {
    columns: Vec<ResultColumn>,
    state: State,
    /// Until the query has ended.
    tracking: Option<Tracking>,
}

/// The query that the rows are of: its end is told to the registry, and its place goes to the next.
pub struct Tracking {
    entry: Arc<QueryEntry>,
    _permit: Permit,
}

impl Tracking {
    /// Of a query that has been admitted.
    pub fn new(entry: Arc<QueryEntry>, permit: Permit) -> Self {
        Tracking { entry, _permit: permit }
    }
}

enum State {
    Running {
        queue: Arc<Mutex<Queue>>,
        query: QueryHandle,
        cancel: CancelToken,
    },
    /// Runs on several nodes; whoever drives it sends the rows.
    Driven {
        rows: mpsc::Receiver<Result<Batch>>,
        cancel: CancelToken,
    },
    /// The query has ended, or never had to run: what is left to hand out.
    Drained {
        batches: VecDeque<Batch>,
        metrics: Option<GraphMetrics>,
    },
}

impl ResultStream {
    /// A stream of rows that are there already.
    pub fn fixed(columns: Vec<ResultColumn>, batches: Vec<Batch>) -> Self {
        ResultStream { columns, state: State::Drained { batches: batches.into(), metrics: None }, tracking: None }
    }

    /// A stream of the rows that come through `rows`; `cancel` stops who sends them.
    pub fn driven(columns: Vec<ResultColumn>, rows: mpsc::Receiver<Result<Batch>>, cancel: CancelToken) -> Self {
        ResultStream { columns, state: State::Driven { rows, cancel }, tracking: None }
    }

    /// Tells `tracking` what becomes of the query from now on.
    pub fn track(&mut self, tracking: Tracking) {
        self.tracking = Some(tracking);
    }

    /// The result's columns.
    pub fn columns(&self) -> &[ResultColumn] {
        &self.columns
    }

    /// The next batch; `None` at the end. String columns may be dictionaries.
    ///
    /// # Errors
    /// Why the query ended early.
    pub async fn next(&mut self) -> Result<Option<Batch>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`ResultStream::next`], blocking the thread. Never on a thread of the pool or of tokio.
    ///
    /// # Errors
    /// Why the query ended early.
    pub fn next_blocking(&mut self) -> Result<Option<Batch>> {
        futures::executor::block_on(self.next())
    }

    /// The counters of the query, once `next` has answered `None`.
    pub fn metrics(&self) -> Option<&GraphMetrics> {
        match &self.state {
            State::Drained { metrics, .. } => metrics.as_ref(),
            State::Running { .. } | State::Driven { .. } => None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Batch>>> {
        let (queue, query) = match &mut self.state {
            State::Running { queue, query, .. } => (queue, query),
            State::Driven { rows, .. } => {
                let received = std::task::ready!(rows.poll_recv(context));
                return Poll::Ready(self.driven_batch(received));
            }
            State::Drained { batches, .. } => return Poll::Ready(Ok(batches.pop_front())),
        };
        if let Some(batch) = pop(queue, context.waker()) {
            if let Some(tracking) = &self.tracking {
                tracking.entry.add_rows(batch.num_rows() as u64);
            }
            return Poll::Ready(Ok(Some(batch)));
        }
        let ended = std::task::ready!(Pin::new(query).poll(context)).map_err(Into::into);
        // Rows may have been pushed between the look into the queue and the end.
        let batches = std::mem::take(&mut queue.lock().batches);
        Poll::Ready(self.end(ended, batches))
    }

    fn driven_batch(&mut self, received: Option<Result<Batch>>) -> Result<Option<Batch>> {
        match received {
            Some(Ok(batch)) => {
                if let Some(tracking) = &self.tracking {
                    tracking.entry.add_rows(batch.num_rows() as u64);
                }
                Ok(Some(batch))
            }
            Some(Err(error)) => self.end(Err(error), VecDeque::new()),
            None => {
                if let Some(Tracking { entry, .. }) = self.tracking.take() {
                    entry.finish(Ok(()));
                }
                self.state = State::Drained { batches: VecDeque::new(), metrics: None };
                Ok(None)
            }
        }
    }

    /// The query has ended; `batches` are still to be handed out, unless it failed.
    fn end(&mut self, ended: Result<GraphMetrics>, mut batches: VecDeque<Batch>) -> Result<Option<Batch>> {
        let tracking = self.tracking.take();
        match ended {
            Ok(metrics) => {
                if let Some(Tracking { entry, .. }) = &tracking {
                    entry.add_rows(batches.iter().map(|batch| batch.num_rows() as u64).sum());
                    entry.set_local_counters(&metrics);
                    entry.finish(Ok(()));
                }
                let first = batches.pop_front();
                self.state = State::Drained { batches, metrics: Some(metrics) };
                Ok(first)
            }
            Err(error) => {
                if let Some(Tracking { entry, .. }) = &tracking {
                    entry.finish(Err(&error));
                }
                self.state = State::Drained { batches: VecDeque::new(), metrics: None };
                Err(error)
            }
        }
    }
}

fn pop(queue: &Mutex<Queue>, reader: &Waker) -> Option<Batch> {
    let (batch, writers) = {
        let mut queue = queue.lock();
        let Some(batch) = queue.batches.pop_front() else {
            queue.reader = Some(reader.clone());
            return None;
        };
        queue.num_bytes = queue.num_bytes.saturating_sub(batch.num_bytes());
        let writers = if queue.num_bytes < QUEUE_BYTES_MAX { std::mem::take(&mut queue.writers) } else { vec![] };
        (batch, writers)
    };
    writers.into_iter().for_each(Waker::wake);
    Some(batch)
}

impl Drop for ResultStream {
    fn drop(&mut self) {
        if let State::Running { cancel, .. } | State::Driven { cancel, .. } = &self.state {
            cancel.cancel();
        }
        if let Some(tracking) = &self.tracking {
            tracking.entry.abandon();
        }
    }
}
