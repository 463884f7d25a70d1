//! LIMIT and OFFSET without an order.
//!
//! Position: an operator; which rows it passes is up to which chain comes first. With an order see
//! [`crate::sort`].

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pipelines::{Batch, Flow, LocalContext, LocalOperator, Operator, Output, Result};

/// An operator that leaves out `offset` rows and then passes at most `limit`, counted over all chains; it ends
/// the pipeline once they have passed.
pub fn limit(limit: Option<usize>, offset: usize) -> Arc<dyn Operator> {
    let end = limit.map_or(usize::MAX, |limit| offset.saturating_add(limit));
    Arc::new(Limit(Arc::new(Window { start: offset, end, seen: AtomicUsize::new(0) })))
}

/// Positions `start .. end` of the rows of all chains, numbered as they arrive.
struct Window {
    start: usize,
    end: usize,
    seen: AtomicUsize,
}

struct Limit(Arc<Window>);

impl Operator for Limit {
    fn local(&self, _context: &LocalContext) -> Result<Box<dyn LocalOperator>> {
        Ok(Box::new(LocalLimit(Arc::clone(&self.0))))
    }
}

struct LocalLimit(Arc<Window>);

impl LocalOperator for LocalLimit {
    fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        let window = &*self.0;
        let num_rows = batch.num_rows();
        // Relaxed: the counter hands out positions and guards no other memory. It cannot wrap: it stops
        // growing soon after `end`, at most one batch per chain later.
        let first = window.seen.fetch_add(num_rows, Ordering::Relaxed);
        let next = first.saturating_add(num_rows);
        let (from, to) = (first.max(window.start), next.min(window.end));
        let flow = if to <= from {
            Flow::Continue
        } else if to - from == num_rows {
            output.push(batch)?
        } else {
            output.push(batch.slice(from - first, to - from))?
        };
        Ok(if next >= window.end { Flow::Finished } else { flow })
    }
}
