//! A scan as a pipeline source: morsels from one shared cursor, in file order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use pipelines::{Batch, CancelToken, LocalContext, LocalSource, Poll, Source, metrics::Counters};

use super::{plan::ScanPlan, row_group::RowGroupScan};

/// The shared part of a scan.
pub struct ParquetSource {
    plan: Arc<ScanPlan>,
    /// The next morsel. Guards nothing: morsels are immutable.
    next_morsel: Arc<AtomicUsize>,
}

impl ParquetSource {
    /// A source of the rows of `plan`.
    pub fn new(plan: ScanPlan) -> Self {
        ParquetSource { plan: Arc::new(plan), next_morsel: Arc::default() }
    }
}

impl Source for ParquetSource {
    fn max_chains(&self) -> Option<usize> {
        Some(self.plan.morsels.len())
    }

    fn local(&self, context: &LocalContext) -> pipelines::Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalParquetSource {
            plan: Arc::clone(&self.plan),
            next_morsel: Arc::clone(&self.next_morsel),
            scan: RowGroupScan::new(Arc::clone(&self.plan), context.batch_rows),
            rows_to_count: 0,
            reports_pruned: context.chain == 0,
            batch_rows: context.batch_rows.max(1),
            cancel: context.cancel.clone(),
        }))
    }
}

struct LocalParquetSource {
    plan: Arc<ScanPlan>,
    next_morsel: Arc<AtomicUsize>,
    scan: RowGroupScan,
    /// Rows of a scan without columns that have not come out yet.
    rows_to_count: usize,
    reports_pruned: bool,
    batch_rows: usize,
    cancel: CancelToken,
}

impl LocalSource for LocalParquetSource {
    fn next(&mut self, _waker: &Waker) -> pipelines::Result<Poll> {
        loop {
            if self.rows_to_count > 0 {
                let rows = self.rows_to_count.min(self.batch_rows);
                self.rows_to_count -= rows;
                return Ok(Poll::Batch(Batch::new(Vec::new(), rows)));
            }
            if let Some(batch) = self.scan.next_batch()? {
                return Ok(Poll::Batch(batch));
            }
            self.cancel.check()?;
            let Some(morsel) = self.plan.morsels.get(self.next_morsel.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(Poll::Finished);
            };
            if self.plan.columns.is_empty() && self.plan.row_filters.is_empty() {
                // Only rows are counted: the footer has said how many.
                self.rows_to_count = morsel.rows.len();
            } else {
                self.scan.start(morsel.clone())?;
            }
        }
    }

    fn report(&mut self, counters: &mut Counters) {
        self.scan.report(counters);
        if self.reports_pruned {
            counters.add("row_groups_skipped", self.plan.row_groups_pruned);
        }
    }
}
