//! Operators: the middle of a pipeline. They get a batch and push what becomes of it.
//!
//! Position: source → **operator** → … → sink. An operator never blocks, never waits for another chain and
//! never calls into the pool; what must see all rows before it can go on is a sink.

use crate::{Batch, Flow, LocalContext, Result, metrics::Counters};

/// Where an operator pushes its rows: the rest of the chain.
pub trait Output {
    /// Hands a batch to the next stage. Empty batches are dropped on the way.
    ///
    /// # Errors
    /// Whatever a later stage fails with; to be passed on.
    fn push(&mut self, batch: Batch) -> Result<Flow>;
}

/// The shared part: immutable once the pipeline runs, or behind its own synchronisation.
pub trait Operator: Send + Sync {
    /// The part of one chain. Called after every sink that the pipeline waits for has finished.
    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalOperator>>;
}

/// One chain's part. *Contract*: called by one thread at a time; `finish` once, after the last `push`,
/// unless the query failed or a later stage answered [`Flow::Finished`].
pub trait LocalOperator: Send {
    /// Takes a batch (never an empty one) and pushes any number of batches.
    ///
    /// # Errors
    /// End the query.
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow>;

    /// Pushes what was held back.
    ///
    /// # Errors
    /// End the query.
    fn finish(&mut self, _output: &mut dyn Output) -> Result<()> {
        Ok(())
    }

    /// Adds what only the operator can know (hash table size, memory) to its counters; called once, at the end.
    fn report(&mut self, _counters: &mut Counters) {}
}
