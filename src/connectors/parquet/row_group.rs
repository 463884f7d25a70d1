//! Scans a piece of a row group: windows of rows, filters first, then what they leave.
//!
//! ```text
//!  window of rows ──► filter columns, cheapest and most selective first, each narrowing the mask
//!                 ──► predicates on several columns, on the rows that are left
//!                 ──► output columns, under the mask ──► appended until a batch is full
//! ```
//!
//! Position: [`super::source`] hands it morsels; it drives one [`ColumnReader`] per column. A column is not even read from the file
//! before the first row of it is wanted; a window without survivors costs its later columns nothing.

use std::sync::Arc;

use arrow::array::ArrayRef;
use parquet::{basic::Encoding, file::metadata::ColumnChunkMetaData};
use pipelines::{Batch, metrics::Counters};

use super::{
    column::{ColumnReader, ColumnWindow},
    fault::{Decoded, Fault, Place},
    filter::{ColumnFilter, RowFilter, Verdict},
    mask,
    output::OutputColumn,
    plan::{Morsel, ScanPlan},
    schema::Reading,
};
use crate::error::Result;

/// While more than one row in so many is left, a filter column is read whole: unpacking all is cheaper than picking.
const DENSE: usize = 4;

/// Scans morsels, one after the other; one per chain.
pub struct RowGroupScan {
    plan: Arc<ScanPlan>,
    columns: Vec<ScanColumn>,
    column_filters: Vec<ColumnFilter>,
    row_filters: Vec<RowFilter>,
    outputs: Vec<OutputColumn>,
    output_rows: usize,
    /// Rows per window and, about, per batch.
    window_rows: usize,
    current: Option<Current>,
    mask: Vec<u64>,
    row_groups_read: u64,
    row_groups_skipped: u64,
    /// Rows that were looked at.
    pub rows_scanned: u64,
}

/// A column of the scan.
struct ScanColumn {
    reader: ColumnReader,
    window: ColumnWindow,
    held: Held,
}

/// Which rows of the current window a column's [`ColumnWindow`] holds.
enum Held {
    Nothing,
    All,
    Selected(Vec<u64>),
}

struct Current {
    morsel: Morsel,
    next_row: usize,
    row_group_rows: usize,
    /// Whether a filter has found that no row of the row group passes.
    is_dead: bool,
}

/// A failure and the column it happened in.
type Located<T> = Result<T, (usize, Fault)>;

fn in_column<T>(slot: usize, decoded: Decoded<T>) -> Located<T> {
    decoded.map_err(|fault| (slot, fault))
}

impl RowGroupScan {
    /// A scan without a morsel; batches have about `batch_rows` rows.
    pub fn new(plan: Arc<ScanPlan>, batch_rows: usize) -> Self {
        let column = |reading: &Arc<Reading>| ScanColumn {
            reader: ColumnReader::new(Arc::clone(reading)),
            window: ColumnWindow::new(reading.layout),
            held: Held::Nothing,
        };
        let output = |slot: &usize| OutputColumn::new(plan.columns[*slot].data_type.clone(), plan.columns[*slot].layout);
        RowGroupScan {
            columns: plan.columns.iter().map(column).collect(),
            column_filters: plan.column_filters.iter().map(ColumnFilter::new).collect(),
            row_filters: plan.row_filters.iter().map(|(slots, predicate)| RowFilter::new(slots.clone(), predicate.clone())).collect(),
            outputs: plan.outputs.iter().map(output).collect(),
            output_rows: 0,
            window_rows: batch_rows.max(1),
            current: None,
            mask: Vec::new(),
            row_groups_read: 0,
            row_groups_skipped: 0,
            rows_scanned: 0,
            plan,
        }
    }

    /// Turns to `morsel`; false when its footer says that no row passes.
    pub fn start(&mut self, morsel: Morsel) -> Result<bool> {
        let (footer, file) = &self.plan.files[morsel.file];
        let row_group = footer.metadata.row_group(morsel.row_group);
        for filter in &mut self.column_filters {
            let slot = filter.slot;
            if !filter.start_row_group(morsel.tests_range, || self.plan.facts(footer, morsel.row_group, slot).bounds) {
                self.row_groups_skipped += 1;
                return Ok(false);
            }
        }
        let rows = footer.num_rows(morsel.row_group);
        for (slot, column) in self.columns.iter_mut().enumerate() {
            let chunk = row_group.column(column.reader.reading().leaf);
            let started = column.reader.start(file, footer.file_bytes, chunk, rows);
            started.map_err(|fault| place(&self.plan, &morsel, slot).error(fault))?;
        }
        let bytes_per_row = |slot: usize| {
            let chunk = row_group.column(self.plan.columns[slot].leaf);
            chunk.compressed_size() as f64 / rows.max(1) as f64
        };
        self.column_filters.sort_by(|l, r| l.rank(bytes_per_row(l.slot)).total_cmp(&r.rank(bytes_per_row(r.slot))));
        self.row_groups_read += 1;
        self.current = Some(Current { next_row: morsel.rows.start, morsel, row_group_rows: rows, is_dead: false });
        Ok(true)
    }

    /// The next batch of the current morsel; `None` when it is exhausted.
    pub fn next_batch(&mut self) -> Result<Option<Batch>> {
        while let Some(current) = &self.current {
            if current.next_row >= current.morsel.rows.end || current.is_dead {
                self.current = None;
                break;
            }
            let window = self.window_rows.min(current.morsel.rows.end - current.next_row);
            let start = current.next_row;
            let scanned = self.scan_window(start, window);
            let current = self.current.as_mut().expect("the loop holds a morsel");
            if let Err((slot, fault)) = scanned {
                let error = place(&self.plan, &current.morsel, slot).error(fault);
                self.current = None;
                return Err(error);
            }
            current.next_row += window;
            self.rows_scanned += window as u64;
            if self.output_rows >= self.window_rows {
                return Ok(self.take_batch());
            }
        }
        Ok(self.take_batch())
    }

    fn take_batch(&mut self) -> Option<Batch> {
        if self.output_rows == 0 {
            return None;
        }
        let columns = self.outputs.iter_mut().map(OutputColumn::take_array).collect();
        Some(Batch::new(columns, std::mem::take(&mut self.output_rows)))
    }

    fn scan_window(&mut self, start: usize, rows: usize) -> Located<()> {
        self.columns.iter_mut().for_each(|column| column.held = Held::Nothing);
        let mut survivors = rows;
        if !self.column_filters.is_empty() || !self.row_filters.is_empty() {
            mask::fill(&mut self.mask, rows);
            for index in 0..self.column_filters.len() {
                survivors = self.apply_column_filter(index, start, rows, survivors)?;
                if survivors == 0 {
                    return Ok(());
                }
            }
            for index in 0..self.row_filters.len() {
                survivors = self.apply_row_filter(index, start, rows, survivors)?;
                if survivors == 0 {
                    return Ok(());
                }
            }
        }
        let mask = (survivors < rows).then_some(&self.mask[..]);
        for (output, slot) in self.outputs.iter_mut().zip(&self.plan.outputs) {
            let column = &mut self.columns[*slot];
            in_column(*slot, column.hold(start, rows, mask))?;
            column.append_to(mask, output);
        }
        self.output_rows += survivors;
        Ok(())
    }

    fn apply_column_filter(&mut self, index: usize, start: usize, rows: usize, survivors: usize) -> Located<usize> {
        let filter = &mut self.column_filters[index];
        if !filter.is_active() {
            return Ok(survivors);
        }
        let slot = filter.slot;
        let column = &mut self.columns[slot];
        if let Some(dictionary) = in_column(slot, column.reader.dictionary())? {
            let current = self.current.as_mut().expect("windows are of a morsel");
            let expected = current.morsel.rows.len() as f64 * (survivors as f64 / rows as f64);
            let verdict = in_column(slot, filter.prepare(&dictionary, expected as usize, &self.plan.columns[slot]))?;
            if verdict == Verdict::None {
                let (footer, _) = &self.plan.files[current.morsel.file];
                let chunk = footer.metadata.row_group(current.morsel.row_group).column(self.plan.columns[slot].leaf);
                if has_only_codes(chunk) {
                    current.is_dead = true;
                    filter.observe(current.row_group_rows, 0);
                    return Ok(0);
                }
            }
        }
        let mask = (survivors * DENSE < rows).then_some(&self.mask[..]);
        in_column(slot, column.hold(start, rows, mask))?;
        let bits = in_column(slot, filter.test_window(&column.window, &self.plan.columns[slot]))?;
        match mask {
            None => self.mask.iter_mut().zip(bits).for_each(|(mask, bits)| *mask &= bits),
            Some(_) => mask::deposit(bits, &mut self.mask),
        }
        let left = mask::count(&self.mask);
        filter.observe(survivors, left);
        Ok(left)
    }

    fn apply_row_filter(&mut self, index: usize, start: usize, rows: usize, survivors: usize) -> Located<usize> {
        let filter = &mut self.row_filters[index];
        let mask = (survivors < rows).then_some(&self.mask[..]);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(filter.slots.len());
        for &slot in &filter.slots {
            let column = &mut self.columns[slot];
            in_column(slot, column.hold(start, rows, mask))?;
            let reading = &self.plan.columns[slot];
            let mut values = OutputColumn::new(reading.data_type.clone(), reading.layout);
            column.append_to(mask, &mut values);
            arrays.push(values.take_array());
        }
        let bits = in_column(filter.slots.first().copied().unwrap_or(0), filter.test(&Batch::new(arrays, survivors)))?;
        mask::deposit(&bits, &mut self.mask);
        Ok(mask::count(&self.mask))
    }

    /// Adds what this chain did to `counters`.
    pub fn report(&self, counters: &mut Counters) {
        counters.add("rows_scanned", self.rows_scanned);
        counters.add("row_groups_read", self.row_groups_read);
        counters.add("row_groups_skipped", self.row_groups_skipped);
        counters.add("pages_read", self.columns.iter().map(|column| column.reader.pages_read).sum());
        counters.add("pages_skipped", self.columns.iter().map(|column| column.reader.pages_skipped).sum());
        counters.add("bytes_read", self.columns.iter().map(|column| column.reader.bytes_read()).sum());
    }
}

impl ScanColumn {
    /// Reads the window's rows, all or those in `mask`, unless they are here already.
    fn hold(&mut self, start: usize, rows: usize, mask: Option<&[u64]>) -> Decoded<()> {
        if matches!(self.held, Held::Nothing) {
            self.reader.read(start, rows, mask, &mut self.window)?;
            self.held = mask.map_or(Held::All, |mask| Held::Selected(mask.to_vec()));
        }
        Ok(())
    }

    /// Appends the rows in `mask` (all if `None`), which are among those held, to `output`.
    fn append_to(&self, mask: Option<&[u64]>, output: &mut OutputColumn) {
        match (&self.held, mask) {
            (Held::Selected(held), Some(mask)) if held != mask => output.append(&self.window, Some(&mask::extract(mask, held))),
            (Held::All, mask @ Some(_)) => output.append(&self.window, mask),
            _ => output.append(&self.window, None),
        }
    }
}

fn place<'a>(plan: &'a ScanPlan, morsel: &Morsel, slot: usize) -> Place<'a> {
    let column = plan.names.get(slot).map_or("", String::as_str);
    Place { path: &plan.files[morsel.file].0.path, chunk: Some((morsel.row_group, column)) }
}

/// Whether all data pages of a chunk are dictionary-encoded, as its footer says.
fn has_only_codes(chunk: &ColumnChunkMetaData) -> bool {
    chunk
        .page_encoding_stats_mask()
        .is_some_and(|encodings| encodings.is_only(Encoding::RLE_DICTIONARY) || encodings.is_only(Encoding::PLAIN_DICTIONARY))
}
