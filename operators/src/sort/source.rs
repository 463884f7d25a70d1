//! The source of a sort: the parts of the result, one after the other, by one chain.

use std::{sync::Arc, task::Waker};

use pipelines::{Batch, LocalContext, LocalSource, Poll, Result, Source};

use super::Shared;

/// The source.
pub(crate) struct SortSource(pub(crate) Arc<Shared>);

impl Source for SortSource {
    fn max_chains(&self) -> Option<usize> {
        Some(1)
    }

    fn local(&self, context: &LocalContext) -> Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalReader { shared: Arc::clone(&self.0), part: 0, current: None, batch_rows: context.batch_rows.max(1) }))
    }

    fn is_ordered(&self) -> bool {
        true
    }
}

struct LocalReader {
    shared: Arc<Shared>,
    part: usize,
    /// A part and how many of its rows have gone out.
    current: Option<(Batch, usize)>,
    batch_rows: usize,
}

impl LocalSource for LocalReader {
    fn next(&mut self, _waker: &Waker) -> Result<Poll> {
        loop {
            if let Some((batch, start)) = &mut self.current {
                let length = self.batch_rows.min(batch.num_rows() - *start);
                if length > 0 {
                    let rows = batch.slice(*start, length);
                    *start += length;
                    return Ok(Poll::Batch(rows));
                }
            }
            let Some(part) = self.shared.result()?.get(self.part) else { return Ok(Poll::Finished) };
            self.part += 1;
            self.current = Some((part.clone(), 0));
        }
    }
}
