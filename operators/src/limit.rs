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

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use pipelines::{
        OperatorId, Pipeline, PipelineGraph,
        testing::{CollectSink, VecSource, batch, run_graph, run_operator, split},
    };

    use super::*;

    fn ten() -> Batch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10));
        batch(vec![column])
    }

    #[test]
    fn one_chain_passes_the_rows_of_the_window() {
        for (rows, offset, expected) in
            [(None, 0, 10), (None, 4, 6), (Some(3), 0, 3), (Some(3), 9, 1), (Some(0), 0, 0), (Some(5), 20, 0), (Some(usize::MAX), 1, 9)]
        {
            for batch_rows in [1, 3, 100] {
                let output = run_operator(limit(rows, offset), split(&[ten()], batch_rows)).unwrap();
                let values: Vec<i64> = output
                    .iter()
                    .flat_map(|batch| batch.column(0).to_data().buffer::<i64>(0)[batch.column(0).offset()..][..batch.num_rows()].to_vec())
                    .collect();
                let expected: Vec<i64> = (offset as i64..).take(expected).collect();
                assert_eq!(values, expected, "limit {rows:?} offset {offset}");
            }
        }
    }

    #[test]
    fn chains_share_one_window() {
        for seed in 0..5 {
            let output = CollectSink::new();
            let mut graph = PipelineGraph::new();
            let sink = graph.add_sink(OperatorId(0), Arc::clone(&output) as _);
            let source = VecSource::new(split(&vec![ten(); 30], 4));
            let operators = vec![(OperatorId(2), limit(Some(17), 8))];
            graph.add_pipeline(Pipeline { name: "test".to_owned(), source: (OperatorId(1), source), operators, sink, after: vec![] });
            run_graph(graph, seed).unwrap();
            assert_eq!(output.num_rows(), 17);
        }
    }
}
