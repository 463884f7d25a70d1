//! Sinks: the last of a pipeline, where rows gather; the pipeline breakers.
//!
//! Position: source → operators → **sink**. Several pipelines may feed one sink (that is how UNION ALL works):
//! it finishes when all of them have ended.
//!
//! ```text
//! chain 0: push* combine ─┐
//! chain 1: push* combine ─┼─► begin_finish ─► finish_part(0..n) in parallel ─► finish
//! chain 2: push* combine ─┘
//! ```

use std::task::Waker;

use crate::{Batch, Flow, LocalContext, Result, metrics::Counters};

/// The shared part: gets every chain's share and makes the result of it.
pub trait Sink: Send + Sync {
    /// The part of one chain; called concurrently.
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSink>>;

    /// Called once, when every chain of every pipeline that feeds this sink has combined. Answers how many
    /// parts the work of finishing has that may run in parallel.
    ///
    /// # Errors
    /// End the query, as do those of the next two.
    fn begin_finish(&self) -> Result<usize> {
        Ok(0)
    }

    /// Does part `part` of the work; different parts run concurrently on different threads.
    fn finish_part(&self, _part: usize) -> Result<()> {
        Ok(())
    }

    /// Called once, after all parts. What waits for this sink may start when it returns.
    fn finish(&self) -> Result<()> {
        Ok(())
    }

    /// Adds what only the sink can know (hash table size, memory, spill) to its counters; called once, after `finish`.
    fn report(&self, _counters: &mut Counters) {}
}

/// One chain's part.
///
/// *Contract*: called by one thread at a time. `push` is called only after `is_ready` answered true for the
/// current source batch; one source batch may cause many pushes.
pub trait LocalSink: Send {
    /// Whether there is room for what the next source batch becomes. If not, keeps `waker` and wakes it when
    /// there is; the chain is parked meanwhile.
    ///
    /// # Errors
    /// End the query.
    fn is_ready(&mut self, _waker: &Waker) -> Result<bool> {
        Ok(true)
    }

    /// Takes a batch (never an empty one).
    ///
    /// # Errors
    /// End the query.
    fn push(&mut self, batch: Batch) -> Result<Flow>;

    /// Hands this chain's share to the shared part. Called once, at the end, unless the query failed.
    ///
    /// # Errors
    /// End the query.
    fn combine(self: Box<Self>) -> Result<()>;
}
