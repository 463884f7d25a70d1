//! Merges sorted runs into batches.
//!
//! Position: under [`super::merge`]. Rows are sorted anew by the sort of `operators`, which finds the runs' order in them.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use arrow::datatypes::DataType;
use operators::sort::{Sort, SortKey, SortSpec};
use pipelines::{BATCH_ROWS, Batch, CancelToken, LocalContext, LocalSource, Poll, QueryMemory, Result};

/// Hands out the rows of all runs in order.
pub(super) struct RunMerger {
    sorted: Box<dyn LocalSource>,
    ready: VecDeque<Batch>,
}

impl RunMerger {
    /// Of runs that are sorted by `keys`; `types` are those of their columns.
    pub(super) fn new(keys: &[SortKey], types: &[DataType], runs: Vec<Vec<Batch>>) -> Result<RunMerger> {
        // The rows are reserved by whoever hands them in.
        let memory = QueryMemory::unlimited();
        let context = LocalContext { chain: 0, num_chains: 1, batch_rows: BATCH_ROWS, memory, cancel: CancelToken::new() };
        let sort = Sort::new(SortSpec { keys: keys.to_vec(), input_types: types.to_vec(), limit: None, offset: 0 });
        let sink = sort.sink();
        let mut local = sink.local(&context)?;
        for batch in runs.into_iter().flatten().filter(|batch| !batch.is_empty()) {
            let _ = local.push(batch)?;
        }
        local.combine()?;
        (0..sink.begin_finish()?).try_for_each(|part| sink.finish_part(part))?;
        sink.finish()?;
        let source: Arc<dyn pipelines::Source> = sort.source();
        Ok(RunMerger { sorted: source.local(&context)?, ready: VecDeque::new() })
    }

    /// At most `batch_rows` rows, in order; `None` at the end.
    pub(super) fn next_batch(&mut self, batch_rows: usize) -> Result<Option<Batch>> {
        if self.ready.is_empty() {
            match self.sorted.next(Waker::noop())? {
                Poll::Batch(batch) => {
                    let pieces = (0..batch.num_rows()).step_by(batch_rows);
                    self.ready.extend(pieces.map(|at| batch.slice(at, batch_rows.min(batch.num_rows() - at))));
                }
                Poll::Blocked | Poll::Finished => return Ok(None),
            }
        }
        Ok(self.ready.pop_front())
    }
}
