//! Sources: the first of a pipeline. The shared part knows the work, the local part hands out batches.
//!
//! Position: **source** → operators → sink. Deliberately not here: prefetching threads; a source that waits
//! for something outside the pool answers [`Poll::Blocked`].

use std::task::Waker;

use crate::{Batch, LocalContext, Result, metrics::Counters};

/// What a source has.
#[derive(Debug)]
pub enum Poll {
    /// Rows; never an empty batch.
    Batch(Batch),
    /// Nothing now. The source has kept the waker and wakes it when that changes; the chain is parked.
    Blocked,
    /// No more rows for this chain, ever.
    Finished,
}

/// The shared part: which morsels there are. One per pipeline.
///
/// *Contract*: `max_chains` and `local` are called after every sink that the pipeline waits for has
/// finished; `local` from any thread of the pool, at most once per chain, concurrently.
pub trait Source: Send + Sync {
    /// The most chains that could find work (the number of morsels, say); `None` if unknown.
    fn max_chains(&self) -> Option<usize> {
        None
    }

    /// The part of one chain.
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>>;

    /// Whether rows come in an order that later stages rely on; then the pipeline runs as one chain.
    fn is_ordered(&self) -> bool {
        false
    }
}

/// One chain's part: takes morsels from the shared part and turns them into batches.
///
/// *Contract*: called by one thread at a time, never again after `Finished` or an error.
pub trait LocalSource: Send {
    /// The next batch. `waker` is to be kept when the answer is `Blocked`.
    ///
    /// # Errors
    /// Ends the query.
    fn next(&mut self, waker: &Waker) -> Result<Poll>;

    /// Adds what only the source can know (row groups skipped, bytes read) to its counters; called once,
    /// after the last `next`.
    fn report(&mut self, _counters: &mut Counters) {}
}
