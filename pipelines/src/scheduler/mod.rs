//! Runs pipeline graphs on a private pool of threads, many queries side by side.
//!
//! ```text
//!   submit ──► Query ──tasks──► ReadyQueue (one lane per query) ──► workers ──► Chain::step
//!                ▲                   ▲                                 │
//!                │                   └── Parking ◄── not ready ────────┤
//!                └──────────────── what has ended ─────────────────────┘
//! ```
//!
//! Reading order: `README.md` in this folder (states, wake-ups, races by name), `queue.rs` (who is next), `park.rs`
//! (waiting without a thread), `worker.rs` (threads), `task.rs` (one turn of a worker), `query.rs` (what has ended
//! and what may start), `handle.rs`.
//!
//! Deliberately elsewhere: the push loop of a chain ([`crate::run`]), admission of queries (`arneb`).

mod handle;
mod query;
mod sync;
mod task;
#[cfg(all(test, not(loom)))]
mod tests;
mod worker;

// Open to the models of `tests/loom.rs` only.
#[cfg(not(loom))]
mod park;
#[cfg(loom)]
pub mod park;
#[cfg(not(loom))]
mod queue;
#[cfg(loom)]
pub mod queue;

use std::sync::Arc;

pub use handle::QueryHandle;

use self::{query::Query, worker::Workers};
use crate::{CancelToken, PipelineGraph, QueryMemory};

/// The pool. One per process; queries share it fairly.
pub struct Scheduler {
    num_threads: usize,
    workers: Arc<Workers>,
}

/// How one query is run.
#[derive(Clone)]
pub struct QueryOptions {
    /// Rows to aim for in one batch.
    pub batch_rows: usize,
    /// The query's memory.
    pub memory: Arc<QueryMemory>,
    /// Stops the query when set. The scheduler sets it itself when the query fails, so that every part of it
    /// sees that; hence never the same for two queries.
    pub cancel: CancelToken,
    /// At most this many chains of one pipeline run at once; `None`: as many as the pool has threads.
    pub max_chains: Option<usize>,
}

impl Scheduler {
    /// A pool of `num_threads` threads (at least one), named `arneb-worker-0` and so on. They sleep when nothing is ready.
    ///
    /// # Panics
    /// If the threads cannot be started.
    pub fn new(num_threads: usize) -> Arc<Self> {
        let num_threads = num_threads.max(1);
        Arc::new(Scheduler { num_threads, workers: Workers::pool(num_threads) })
    }

    /// A scheduler without threads, for tests: [`Scheduler::submit`] runs the query on the calling thread until it ends
    /// or only waits, one batch at a time, each of any chain of any pipeline that is ready, in an order that `seed`
    /// decides; three chains per pipeline. What is woken afterwards runs on a thread made for it.
    pub fn inline(seed: u64) -> Arc<Self> {
        Arc::new(Scheduler { num_threads: 3, workers: Workers::inline(seed) })
    }

    /// Threads of the pool; chains per pipeline of a scheduler without threads.
    pub fn num_threads(&self) -> usize {
        self.num_threads
    }

    /// Starts a query and returns at once.
    pub fn submit(self: &Arc<Self>, graph: PipelineGraph, mut options: QueryOptions) -> QueryHandle {
        options.max_chains.get_or_insert(self.num_threads);
        QueryHandle::new(Query::submit(&self.workers, graph, options))
    }
}
