//! What a worker's part of a source, operator or sink gets to know when it is made.

use std::sync::Arc;

use crate::{CancelToken, QueryMemory};

/// Given to every `local` constructor.
#[derive(Debug, Clone)]
pub struct LocalContext {
    /// Which of the pipeline's chains this is: `0..num_chains`. Not a thread: a parked chain may be resumed
    /// by any thread of the pool.
    pub chain: usize,
    /// At most this many chains of the pipeline exist.
    pub num_chains: usize,
    /// Rows to aim for in one batch.
    pub batch_rows: usize,
    /// The query's share of the memory budget.
    pub memory: Arc<QueryMemory>,
    /// Set when the query is to stop; long loops inside one call look at it themselves.
    pub cancel: CancelToken,
}
