//! Parquet files written by the stock writer, read by ours: the same rows as the stock reader gives, whatever the codec, page
//! version, encoding, page and row group sizes, filters and batch sizes; and damaged files never panic.

mod damage;
mod filters;
mod parts;
mod statistics;
mod types;
mod writing;

use std::sync::Arc;

use arneb::connectors::{ScanRequest, Table, parquet::ParquetTable};
use arrow::{
    array::{Array, ArrayRef, RecordBatch, new_empty_array},
    compute::{cast, concat},
    datatypes::DataType,
};
use pipelines::{Batch, testing};

/// All rows of a scan, by column; strings as plain views.
pub fn scan(table: &ParquetTable, request: ScanRequest) -> arneb::Result<Vec<ArrayRef>> {
    let types: Vec<DataType> = request.columns.iter().map(|i| table.schema().field(*i).data_type().clone()).collect();
    Ok(columns(&testing::run_source(table.scan(request)?)?, &types))
}

/// All rows of a scan with batches of `batch_rows`.
pub fn scan_in_batches(table: &ParquetTable, request: ScanRequest, batch_rows: usize) -> arneb::Result<Vec<ArrayRef>> {
    let types: Vec<DataType> = request.columns.iter().map(|i| table.schema().field(*i).data_type().clone()).collect();
    let mut context = testing::context();
    context.batch_rows = batch_rows;
    let mut local = table.scan(request)?.local(&context)?;
    let mut batches = Vec::new();
    while let pipelines::Poll::Batch(batch) = local.next(std::task::Waker::noop())? {
        assert!(batch.num_rows() > 0, "sources give no empty batches");
        batches.push(batch);
    }
    Ok(columns(&batches, &types))
}

/// Batches, by column.
pub fn columns(batches: &[Batch], types: &[DataType]) -> Vec<ArrayRef> {
    let column = |(index, data_type): (usize, &DataType)| {
        let parts: Vec<ArrayRef> = batches.iter().map(|batch| cast(batch.column(index), data_type).unwrap()).collect();
        let parts: Vec<&dyn Array> = parts.iter().map(|part| &**part).collect();
        if parts.is_empty() { new_empty_array(data_type) } else { concat(&parts).unwrap() }
    };
    types.iter().enumerate().map(column).collect()
}

/// All columns of a table.
pub fn everything(table: &ParquetTable) -> ScanRequest {
    ScanRequest { columns: (0..table.schema().fields().len()).collect(), ..ScanRequest::default() }
}

/// Asserts that a scan of the file gives the columns of `expected`, which have the engine's types.
pub fn assert_reads(path: &str, expected: &RecordBatch) {
    let table = ParquetTable::open(path).unwrap();
    for (index, field) in expected.schema().fields().iter().enumerate() {
        assert_eq!(table.schema().field(index).data_type(), field.data_type(), "type of {}", field.name());
    }
    for (index, column) in scan(&table, everything(&table)).unwrap().iter().enumerate() {
        assert_eq!(column, expected.column(index), "column {}", expected.schema().field(index).name());
    }
}

/// An array of the engine's type.
pub fn array(values: impl Array + 'static) -> ArrayRef {
    Arc::new(values)
}
