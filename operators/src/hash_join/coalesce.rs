//! Holds small batches back until they make a larger one together.
//!
//! A selective join leaves a few rows of every batch; what follows would spend its time on calls rather than
//! on rows.

use std::sync::Arc;

use arrow::datatypes::DataType;
use pipelines::{Batch, Flow, Output, Result};

use super::gather;

/// Batches from this many rows on are passed on as they are.
const SMALL_ROWS: usize = 256;
/// What was held back goes on when it has this many rows.
const ENOUGH_ROWS: usize = 2048;

/// Small batches held back, in order.
pub(super) struct Coalescer {
    types: Arc<[DataType]>,
    batches: Vec<Batch>,
    num_rows: usize,
}

impl Coalescer {
    /// For batches with columns of `types`.
    pub(super) fn new(types: Arc<[DataType]>) -> Self {
        Coalescer { types, batches: Vec::new(), num_rows: 0 }
    }

    /// Takes a batch and pushes on what is large enough; rows keep their order.
    pub(super) fn push(&mut self, batch: Batch, output: &mut dyn Output) -> Result<Flow> {
        if batch.is_empty() {
            return Ok(Flow::Continue);
        }
        if batch.num_rows() >= SMALL_ROWS {
            return match self.flush(output)? {
                Flow::Continue => output.push(batch),
                Flow::Finished => Ok(Flow::Finished),
            };
        }
        self.num_rows += batch.num_rows();
        self.batches.push(batch);
        if self.num_rows >= ENOUGH_ROWS { self.flush(output) } else { Ok(Flow::Continue) }
    }

    /// Pushes what was held back.
    pub(super) fn flush(&mut self, output: &mut dyn Output) -> Result<Flow> {
        let mut batches = std::mem::take(&mut self.batches);
        let num_rows = std::mem::take(&mut self.num_rows);
        match batches.len() {
            0 => return Ok(Flow::Continue),
            1 => return batches.pop().map_or(Ok(Flow::Continue), |batch| output.push(batch)),
            _ => {}
        }
        let columns = self.types.iter().enumerate().map(|(index, data_type)| {
            let arrays: Vec<_> = batches.iter().map(|batch| Arc::clone(batch.column(index))).collect();
            gather::concat(&arrays, data_type)
        });
        output.push(Batch::new(columns.collect::<crate::Result<Vec<_>>>()?, num_rows))
    }
}
