//! Puts the columns of a probe's output together and pushes them on.
//!
//! Probe columns of which every row comes out once and in order are passed through without copying; a build
//! side of a single row is expanded once and then sliced.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, BooleanArray, UInt32Array},
    datatypes::DataType,
};
use pipelines::{Batch, Flow, Output, Result};

use super::{Join, coalesce::Coalescer, gather, pairs::Pairs, side::BuildSide};

/// One chain's output.
pub(super) struct Emitter {
    join: Arc<Join>,
    side: Arc<BuildSide>,
    coalescer: Coalescer,
    /// The kept columns of a single build row, expanded.
    constants: Vec<Option<ArrayRef>>,
}

impl Emitter {
    pub(super) fn new(join: &Arc<Join>, side: &Arc<BuildSide>) -> Self {
        let types: Arc<[DataType]> = join.output_types().into();
        Emitter {
            join: Arc::clone(join),
            side: Arc::clone(side),
            coalescer: Coalescer::new(types),
            constants: vec![None; side.columns.len()],
        }
    }

    /// Pushes a row per pair.
    pub(super) fn pairs(&mut self, batch: &Batch, pairs: &Pairs, output: &mut dyn Output) -> Result<Flow> {
        if pairs.is_empty() {
            return Ok(Flow::Continue);
        }
        let mut columns = self.probe_columns(batch, &pairs.positions)?;
        self.append_build_columns(&pairs.rows, &mut columns)?;
        self.coalescer.push(Batch::new(columns, pairs.len()), output)
    }

    /// Pushes every probe row with the build row given for its position, [`super::table::NO_ROW`] for none.
    pub(super) fn all_with(&mut self, batch: &Batch, rows: &[u32], output: &mut dyn Output) -> Result<Flow> {
        let mut columns = self.all_probe_columns(batch);
        let rows = gather::indices_or_null(rows);
        for place in &self.join.build_places {
            columns.push(gather::take(&self.side.columns[*place], &rows)?);
        }
        self.coalescer.push(Batch::new(columns, batch.num_rows()), output)
    }

    /// Pushes probe rows padded with NULLs.
    pub(super) fn padded(&mut self, batch: &Batch, positions: &[u32], output: &mut dyn Output) -> Result<Flow> {
        if positions.is_empty() {
            return Ok(Flow::Continue);
        }
        let mut columns = self.probe_columns(batch, positions)?;
        let spec = &self.join.spec;
        columns.extend(spec.build_output.iter().map(|column| gather::nulls(&spec.build_types[*column], positions.len())));
        self.coalescer.push(Batch::new(columns, positions.len()), output)
    }

    /// Pushes probe rows alone.
    pub(super) fn probe_rows(&mut self, batch: &Batch, positions: &[u32], output: &mut dyn Output) -> Result<Flow> {
        if positions.is_empty() {
            return Ok(Flow::Continue);
        }
        let columns = self.probe_columns(batch, positions)?;
        self.coalescer.push(Batch::new(columns, positions.len()), output)
    }

    /// Pushes every probe row with its mark.
    pub(super) fn all_marked(&mut self, batch: &Batch, marks: BooleanArray, output: &mut dyn Output) -> Result<Flow> {
        let mut columns = self.all_probe_columns(batch);
        columns.push(Arc::new(marks));
        self.coalescer.push(Batch::new(columns, batch.num_rows()), output)
    }

    /// Pushes what was held back.
    pub(super) fn finish(&mut self, output: &mut dyn Output) -> Result<Flow> {
        self.coalescer.flush(output)
    }

    /// Rows of a kept build column.
    pub(super) fn build_column(&mut self, place: usize, rows: &UInt32Array) -> crate::Result<ArrayRef> {
        let column = &self.side.columns[place];
        if self.side.num_rows != 1 {
            return gather::take(column, rows);
        }
        let len = rows.len();
        match &self.constants[place] {
            Some(expanded) if expanded.len() >= len => Ok(expanded.slice(0, len)),
            _ => {
                let expanded = gather::take(column, rows)?;
                self.constants[place] = Some(Arc::clone(&expanded));
                Ok(expanded)
            }
        }
    }

    fn append_build_columns(&mut self, rows: &[u32], columns: &mut Vec<ArrayRef>) -> crate::Result<()> {
        if self.join.build_places.is_empty() {
            return Ok(());
        }
        let rows = gather::indices(rows);
        let join = Arc::clone(&self.join);
        for place in &join.build_places {
            columns.push(self.build_column(*place, &rows)?);
        }
        Ok(())
    }

    fn all_probe_columns(&self, batch: &Batch) -> Vec<ArrayRef> {
        self.join.spec.probe_output.iter().map(|column| Arc::clone(batch.column(*column))).collect()
    }

    fn probe_columns(&self, batch: &Batch, positions: &[u32]) -> crate::Result<Vec<ArrayRef>> {
        if is_identity(positions, batch.num_rows()) {
            return Ok(self.all_probe_columns(batch));
        }
        if self.join.spec.probe_output.is_empty() {
            return Ok(Vec::new());
        }
        let positions = gather::indices(positions);
        self.join.spec.probe_output.iter().map(|column| gather::take(batch.column(*column), &positions)).collect()
    }
}

/// Whether ascending `positions` (each may be there several times) are exactly `0..num_rows`.
pub(super) fn is_identity(positions: &[u32], num_rows: usize) -> bool {
    positions.len() == num_rows && positions.iter().enumerate().all(|(index, position)| index == *position as usize)
}
