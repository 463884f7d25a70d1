//! Runs pipeline graphs on a private work-stealing pool.

use std::{sync::Arc, time::Duration};

use crate::{CancelToken, GraphMetrics, PipelineGraph, QueryMemory, Result};

/// The pool. One per process; queries share it fairly.
pub struct Scheduler {
    num_threads: usize,
}

/// How one query is run.
#[derive(Clone)]
pub struct QueryOptions {
    /// Rows to aim for in one batch.
    pub batch_rows: usize,
    /// The query's memory.
    pub memory: Arc<QueryMemory>,
    /// Stops the query when set.
    pub cancel: CancelToken,
    /// At most this many chains of one pipeline run at once; `None`: as many as the pool has threads.
    pub max_chains: Option<usize>,
}

impl Scheduler {
    /// A pool of `num_threads` threads.
    pub fn new(num_threads: usize) -> Arc<Self> {
        Arc::new(Scheduler { num_threads })
    }

    /// Threads of the pool.
    pub fn num_threads(&self) -> usize {
        self.num_threads
    }

    /// Starts a query and returns at once.
    pub fn submit(self: &Arc<Self>, _graph: PipelineGraph, _options: QueryOptions) -> QueryHandle {
        QueryHandle {}
    }
}

/// A running query. A future of its end; dropping it cancels the query.
pub struct QueryHandle {}

impl QueryHandle {
    /// Asks the query to stop. Returns at once.
    pub fn cancel(&self) {}

    /// Waits for the end. Never to be called on a thread of the pool.
    ///
    /// # Errors
    /// Why the query ended early.
    pub fn wait(self) -> Result<GraphMetrics> {
        std::thread::sleep(Duration::from_millis(1));
        Ok(GraphMetrics::default())
    }

    /// The counters so far, while it runs.
    pub fn snapshot(&self) -> GraphMetrics {
        GraphMetrics::default()
    }
}
