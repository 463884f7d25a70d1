//! The sink of a sort with a limit: keeps the first rows only.
//!
//! A chain buffers rows until it has about twice as many as are wanted, then cuts to the first ones. From then
//! on a row has to come before the last of these. Chains share how far they have got: the leading number of
//! their last row, by which most rows are dropped after a look at their first key.

use std::sync::{Arc, atomic::Ordering};

use arrow::{
    array::{ArrayRef, BooleanArray, UInt32Array},
    compute::{filter, take},
};
use pipelines::{Batch, Flow, LocalContext, LocalSink, Reservation, Result};

use super::{Shared, build::without_dictionaries, key::EncodedRows, run::Run};
use crate::input::InputEvaluator;

/// Rows that are buffered at least before a cut.
const BUFFERED_ROWS_MIN: usize = 32 * 1024;

/// One chain's first rows.
pub(crate) struct LocalTop {
    shared: Arc<Shared>,
    evaluator: InputEvaluator,
    /// Input columns, then key columns.
    batches: Vec<Batch>,
    keys: Vec<EncodedRows>,
    num_rows: usize,
    /// Key of the last row that would come out as far as is known: a single row.
    last: Option<EncodedRows>,
    num_columns: usize,
    reservation: Reservation,
}

impl LocalTop {
    /// No rows.
    pub(crate) fn new(shared: Arc<Shared>, context: &LocalContext) -> Self {
        let (evaluator, reservation) = (shared.inputs.evaluator(), context.memory.reservation("sort"));
        LocalTop { shared, evaluator, batches: Vec::new(), keys: Vec::new(), num_rows: 0, last: None, num_columns: 0, reservation }
    }

    fn add(&mut self, batch: Batch) -> crate::Result<()> {
        self.num_columns = batch.columns().len();
        let keys = self.evaluator.evaluate(&batch)?;
        let num_rows = batch.num_rows();
        let mut batch = Batch::new(batch.into_columns().into_iter().chain(keys).collect(), num_rows);
        // Relaxed: the number only ever sharpens, and an old one drops fewer rows.
        let threshold = self.shared.threshold.load(Ordering::Relaxed);
        if threshold < u64::MAX {
            let leading = self.shared.encoder.leading(&batch.columns()[self.num_columns..])?;
            let rows: Vec<u32> = (0_u32..).zip(&leading).filter(|(_, number)| **number <= threshold).map(|(row, _)| row).collect();
            if rows.is_empty() {
                return Ok(());
            }
            if rows.len() < num_rows {
                batch = take_rows(&batch, rows)?;
            }
        }
        let mut keys = self.shared.encoder.encode(&batch.columns()[self.num_columns..])?;
        if let Some(last) = &self.last {
            let before = |row: &usize| keys.prefixes[*row].cmp(&last.prefixes[0]).then_with(|| keys.compare_ties(*row, last, 0)).is_lt();
            let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(before(&row))).collect();
            if mask.true_count() == 0 {
                return Ok(());
            }
            if mask.true_count() < batch.num_rows() {
                batch = filter_rows(&batch, &mask)?;
                keys = self.shared.encoder.encode(&batch.columns()[self.num_columns..])?;
            }
        }
        self.num_rows += batch.num_rows();
        self.batches.push(without_dictionaries(batch)?);
        self.keys.push(keys);
        Ok(())
    }

    /// Drops all but the first rows; sharpens the thresholds.
    fn cut(&mut self) -> crate::Result<()> {
        let limit = self.shared.window.end;
        let run = Run::new(std::mem::take(&mut self.batches), std::mem::take(&mut self.keys), limit);
        let batch = run.gather()?;
        drop(run);
        self.num_rows = batch.num_rows();
        if self.num_rows == limit && limit > 0 {
            let last = batch.slice(limit - 1, 1);
            let last_keys = &last.columns()[self.num_columns..];
            self.last = Some(self.shared.encoder.encode(last_keys)?);
            self.shared.threshold.fetch_min(self.shared.encoder.leading(last_keys)?[0], Ordering::Relaxed);
        }
        self.keys.push(self.shared.encoder.encode(&batch.columns()[self.num_columns..])?);
        self.batches.push(batch);
        Ok(())
    }
}

impl LocalSink for LocalTop {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        let limit = self.shared.window.end;
        if limit == 0 || self.shared.window.is_empty() {
            return Ok(Flow::Finished);
        }
        self.add(batch)?;
        if self.num_rows >= limit.saturating_mul(2).max(BUFFERED_ROWS_MIN) {
            self.cut()?;
        }
        let bytes = |(batch, keys): (&Batch, &EncodedRows)| batch.num_bytes() + keys.num_bytes();
        self.reservation.resize(self.batches.iter().zip(&self.keys).map(bytes).sum())?;
        Ok(Flow::Continue)
    }

    fn combine(mut self: Box<Self>) -> Result<()> {
        if self.num_rows > 0 {
            let batches = std::mem::take(&mut self.batches).into_iter().map(|batch| {
                let num_rows = batch.num_rows();
                Batch::new(batch.into_columns().into_iter().take(self.num_columns).collect(), num_rows)
            });
            let run = Run::new(batches.collect(), std::mem::take(&mut self.keys), self.shared.window.end);
            self.shared.gather(run, self.reservation);
        }
        Ok(())
    }
}

fn take_rows(batch: &Batch, rows: Vec<u32>) -> crate::Result<Batch> {
    let num_rows = rows.len();
    let rows = UInt32Array::from(rows);
    let columns = batch.columns().iter().map(|column| take(column, &rows, None)).collect::<Result<Vec<ArrayRef>, _>>()?;
    Ok(Batch::new(columns, num_rows))
}

fn filter_rows(batch: &Batch, mask: &BooleanArray) -> crate::Result<Batch> {
    let columns = batch.columns().iter().map(|column| filter(column, mask)).collect::<Result<Vec<ArrayRef>, _>>()?;
    Ok(Batch::new(columns, mask.true_count()))
}
