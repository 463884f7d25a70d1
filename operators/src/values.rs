//! A source of batches that are known when the plan is made.
//!
//! Position: first of a pipeline: constant rows, and the inputs of tests. Each batch is one morsel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use pipelines::{Batch, LocalContext, LocalSource, Poll, Result, Source};

/// A source of `batches`; empty ones are skipped.
pub fn values(batches: Vec<Batch>) -> Arc<dyn Source> {
    let batches: Arc<[Batch]> = batches.into_iter().filter(|batch| !batch.is_empty()).collect();
    Arc::new(SharedBatches::new(batches))
}

/// Batches that several chains take from, each batch once.
pub(crate) struct SharedBatches {
    batches: Arc<[Batch]>,
    next: Arc<AtomicUsize>,
}

impl SharedBatches {
    /// Starts at the first of `batches`, none of which is empty.
    pub(crate) fn new(batches: Arc<[Batch]>) -> Self {
        SharedBatches { batches, next: Arc::default() }
    }
}

impl Source for SharedBatches {
    fn max_chains(&self) -> Option<usize> {
        Some(self.batches.len())
    }

    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalBatches { batches: Arc::clone(&self.batches), next: Arc::clone(&self.next) }))
    }
}

struct LocalBatches {
    batches: Arc<[Batch]>,
    next: Arc<AtomicUsize>,
}

impl LocalSource for LocalBatches {
    fn next(&mut self, _waker: &Waker) -> Result<Poll> {
        // Relaxed: the counter only has to give every index once; the batches were there before it.
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.batches.get(index).map_or(Poll::Finished, |batch| Poll::Batch(batch.clone())))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use pipelines::testing::run_source;

    use super::*;

    #[test]
    fn empty_batches_are_skipped_and_columns_are_not_needed() {
        let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
        let batches =
            vec![Batch::new(vec![column(vec![])], 0), Batch::new(vec![column(vec![1, 2])], 2), Batch::new(vec![column(vec![3])], 1)];
        let output = run_source(values(batches)).unwrap();
        assert_eq!(output.iter().map(Batch::num_rows).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(run_source(values(vec![Batch::new(vec![], 1)])).unwrap()[0].num_rows(), 1);
    }
}
