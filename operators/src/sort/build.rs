//! The sink of a sort that keeps all rows: every chain sorts what it gets into a run of its own.

use std::sync::Arc;

use arrow::{array::ArrayRef, compute::cast, datatypes::DataType};
use pipelines::{Batch, CancelToken, Flow, LocalContext, LocalSink, Reservation, Result};

use super::{
    Shared,
    key::EncodedRows,
    run::{Entry, Run},
};
use crate::input::InputEvaluator;

/// One chain's rows.
pub(crate) struct LocalSort {
    shared: Arc<Shared>,
    evaluator: InputEvaluator,
    batches: Vec<Batch>,
    keys: Vec<EncodedRows>,
    reservation: Reservation,
    cancel: CancelToken,
}

impl LocalSort {
    /// No rows.
    pub(crate) fn new(shared: Arc<Shared>, context: &LocalContext) -> Self {
        let (evaluator, reservation) = (shared.inputs.evaluator(), context.memory.reservation("sort"));
        LocalSort { shared, evaluator, batches: Vec::new(), keys: Vec::new(), reservation, cancel: context.cancel.clone() }
    }
}

impl LocalSink for LocalSort {
    fn push(&mut self, batch: Batch) -> Result<Flow> {
        let keys = self.evaluator.evaluate(&batch)?;
        let keys = self.shared.encoder.encode(&keys)?;
        let batch = without_dictionaries(batch)?;
        self.reservation.grow(batch.num_bytes() + keys.num_bytes() + batch.num_rows() * size_of::<Entry>())?;
        self.batches.push(batch);
        self.keys.push(keys);
        Ok(Flow::Continue)
    }

    fn combine(self: Box<Self>) -> Result<()> {
        let run = Run::of_many(self.batches, self.keys, self.shared.window.end, &self.cancel)?;
        self.shared.gather(run, self.reservation);
        Ok(())
    }
}

/// The batch with texts instead of codes: dictionaries of different batches cannot be brought together row
/// by row.
pub(crate) fn without_dictionaries(batch: Batch) -> crate::Result<Batch> {
    let num_rows = batch.num_rows();
    let plain = |column: ArrayRef| match column.data_type() {
        DataType::Dictionary(_, values) => Ok(cast(&column, values)?),
        _ => Ok(column),
    };
    Ok(Batch::new(batch.into_columns().into_iter().map(plain).collect::<crate::Result<_>>()?, num_rows))
}
