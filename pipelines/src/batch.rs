//! A batch: equally long Arrow columns without a schema, what flows from source to sink.
//!
//! Position: made by sources, transformed by operators, kept by sinks. The types of its columns are fixed
//! by whoever built the pipeline; a batch does not repeat them. One liberty is allowed: a string column may
//! arrive as `Utf8View` or as `Dictionary(UInt32, Utf8View)`, batch by batch, because Parquet pages are
//! dictionary-encoded chunk by chunk and comparing codes beats comparing strings.
//!
//! Batches are dense: filters and join filters that are pushed into a scan decode only the rows that pass,
//! and what is filtered later is copied together. A selection vector between operators was left out on
//! purpose: after the scan few rows are dropped, and every kernel stays a loop over slices.

use arrow::array::{Array, ArrayRef};

/// Rows a source aims for in one batch. Eight columns of 8 bytes are 512 KiB: within a core's L2 cache, and
/// large enough that the cost of a call per operator (about 100 ns) vanishes.
pub const BATCH_ROWS: usize = 8192;

/// Equally long columns. Cloning is cheap: columns are shared.
#[derive(Debug, Clone)]
pub struct Batch {
    columns: Vec<ArrayRef>,
    num_rows: usize,
}

impl Batch {
    /// A batch of `columns`, each `num_rows` long; `num_rows` matters where there is no column.
    ///
    /// # Panics
    /// In debug builds, when a column has another length.
    pub fn new(columns: Vec<ArrayRef>, num_rows: usize) -> Self {
        debug_assert!(columns.iter().all(|c| c.len() == num_rows), "columns differ in length");
        Batch { columns, num_rows }
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.num_rows == 0
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// Column `index`.
    pub fn column(&self, index: usize) -> &ArrayRef {
        &self.columns[index]
    }

    /// The columns, taken out of the batch.
    pub fn into_columns(self) -> Vec<ArrayRef> {
        self.columns
    }

    /// Rows `offset .. offset + length`, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Batch {
        Batch { columns: self.columns.iter().map(|c| c.slice(offset, length)).collect(), num_rows: length }
    }

    /// Bytes of memory the rows of this batch stand for (slices count their share, not the whole buffer).
    pub fn num_bytes(&self) -> usize {
        self.columns.iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size())).sum()
    }
}
