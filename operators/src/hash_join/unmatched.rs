//! Hands out the build rows that come out by themselves: unmatched, matched or marked ones, by kind.
//!
//! Position: the source of a pipeline of its own, after every probe pipeline has ended. Chains take ranges
//! of build rows from a shared counter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use arrow::array::{ArrayRef, BooleanArray};
use pipelines::{Batch, LocalContext, LocalSource, Poll, Result, Source};

use super::{Join, JoinKind, gather, side::BuildSide};

/// Rows of a morsel, in batches: enough that few matching rows still make a batch worth its calls.
const MORSEL_BATCHES: usize = 8;

/// The source.
pub(super) struct Unmatched {
    join: Arc<Join>,
    next_row: Arc<AtomicUsize>,
}

impl Unmatched {
    pub(super) fn new(join: Arc<Join>) -> Self {
        Unmatched { join, next_row: Arc::new(AtomicUsize::new(0)) }
    }
}

impl Source for Unmatched {
    fn max_chains(&self) -> Option<usize> {
        let num_rows = match self.join.side.get() {
            Some(side) if self.join.spec.kind.emits_build_side() => side.num_rows,
            _ => 0,
        };
        Some(num_rows.div_ceil(MORSEL_BATCHES * pipelines::BATCH_ROWS).max(1))
    }

    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalUnmatched {
            side: self.join.side()?,
            join: Arc::clone(&self.join),
            next_row: Arc::clone(&self.next_row),
            rows: Vec::new(),
            batch_rows: context.batch_rows.max(1),
        }))
    }
}

struct LocalUnmatched {
    join: Arc<Join>,
    side: Arc<BuildSide>,
    next_row: Arc<AtomicUsize>,
    /// Rows of the morsel that come out, the next one last.
    rows: Vec<u32>,
    batch_rows: usize,
}

impl LocalSource for LocalUnmatched {
    fn next(&mut self, _waker: &Waker) -> Result<Poll> {
        if !self.join.spec.kind.emits_build_side() {
            return Ok(Poll::Finished);
        }
        while self.rows.is_empty() {
            let morsel_rows = MORSEL_BATCHES * self.batch_rows;
            let start = self.next_row.fetch_add(morsel_rows, Ordering::Relaxed);
            if start >= self.side.num_rows {
                return Ok(Poll::Finished);
            }
            let end = (start + morsel_rows).min(self.side.num_rows);
            self.rows = (start as u32..end as u32).rev().filter(|row| self.comes_out(*row)).collect();
        }
        let rest = self.rows.len().saturating_sub(self.batch_rows);
        let rows: Vec<u32> = self.rows.drain(rest..).rev().collect();
        Ok(Poll::Batch(self.batch(&rows)?))
    }
}

impl LocalUnmatched {
    fn comes_out(&self, row: u32) -> bool {
        let matched = self.side.matched.as_ref().is_some_and(|matched| matched.get(row));
        match self.join.spec.kind {
            JoinKind::BuildOuter | JoinKind::FullOuter | JoinKind::BuildAnti => !matched,
            JoinKind::BuildSemi => matched,
            _ => true,
        }
    }

    fn batch(&self, rows: &[u32]) -> crate::Result<Batch> {
        let spec = &self.join.spec;
        let mut columns: Vec<ArrayRef> = Vec::new();
        if matches!(spec.kind, JoinKind::BuildOuter | JoinKind::FullOuter) {
            columns.extend(spec.probe_output.iter().map(|column| gather::nulls(&spec.probe_types[*column], rows.len())));
        }
        let indices = gather::indices(rows);
        for place in &self.join.build_places {
            columns.push(gather::take(&self.side.columns[*place], &indices)?);
        }
        if spec.kind == JoinKind::BuildMark {
            columns.push(Arc::new(rows.iter().map(|row| self.mark(*row)).collect::<BooleanArray>()));
        }
        Ok(Batch::new(columns, rows.len()))
    }

    fn mark(&self, row: u32) -> Option<bool> {
        let side = &self.side;
        if side.matched.as_ref().is_some_and(|matched| matched.get(row)) {
            return Some(true);
        }
        if side.unknown.as_ref().is_some_and(|unknown| unknown.get(row)) {
            return None;
        }
        if self.join.has_exact_marks() {
            return Some(false);
        }
        // One key and no residual: a NULL on either side makes every comparison NULL.
        let has_null = side.null_key_rows.binary_search(&row).is_ok();
        let unknown = if has_null { side.saw_probe_row.load(Ordering::Relaxed) } else { side.saw_null_probe_key.load(Ordering::Relaxed) };
        if unknown { None } else { Some(false) }
    }
}
