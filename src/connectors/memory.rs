//! A table of batches in memory: for tests, `information_schema`, and small results.
//!
//! Position: one of the connectors. Its statistics are computed from the rows when it is made, so that plans
//! over it are chosen as over files.

use std::sync::Arc;

use arrow::{
    array::{Array, RecordBatch},
    compute::cast,
    datatypes::{DataType, SchemaRef},
};
use operators::{Scalar, values::values};
use pipelines::{Batch, Source};

use super::{ColumnStatistics, ScanRequest, Table, TableStatistics};
use crate::error::{Error, Result};

/// Rows that are there.
pub struct MemoryTable {
    schema: SchemaRef,
    batches: Vec<Batch>,
    statistics: Arc<TableStatistics>,
}

impl MemoryTable {
    /// A table of `batches`, all with `schema`, whose types are those of `operators::types`.
    pub fn new(schema: SchemaRef, batches: Vec<Batch>) -> Self {
        let num_rows = batches.iter().map(|b| b.num_rows() as u64).sum();
        let columns = (0..schema.fields().len()).map(|index| column_statistics(&batches, index)).collect();
        MemoryTable { schema, batches, statistics: Arc::new(TableStatistics { num_rows, columns }) }
    }

    /// A table of record batches; strings of any Arrow string type become `Utf8View`.
    ///
    /// # Errors
    /// When a column cannot be brought to a physical type.
    pub fn from_record_batches(schema: SchemaRef, batches: &[RecordBatch]) -> Result<Self> {
        let batches = batches
            .iter()
            .map(|batch| {
                let columns = batch
                    .columns()
                    .iter()
                    .zip(schema.fields())
                    .map(|(column, field)| match column.data_type() == field.data_type() {
                        true => Ok(Arc::clone(column)),
                        false => cast(column, field.data_type()).map_err(|error| Error::internal(error.to_string())),
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(Batch::new(columns, batch.num_rows()))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(MemoryTable::new(schema, batches))
    }
}

impl Table for MemoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        Ok(Arc::clone(&self.statistics))
    }

    fn scan(&self, request: ScanRequest) -> Result<Arc<dyn Source>> {
        let picked = self.batches.iter().map(|batch| {
            let columns = request.columns.iter().map(|index| Arc::clone(batch.column(*index))).collect();
            Batch::new(columns, batch.num_rows())
        });
        Ok(values(picked.collect()))
    }
}

fn column_statistics(batches: &[Batch], index: usize) -> ColumnStatistics {
    let mut statistics = ColumnStatistics { null_count: Some(0), ..ColumnStatistics::default() };
    for column in batches.iter().map(|batch| batch.column(index)) {
        statistics.null_count = statistics.null_count.map(|n| n + column.null_count() as u64);
        if matches!(column.data_type(), DataType::Null | DataType::Dictionary(..) | DataType::Interval(_)) {
            continue;
        }
        for value in (0..column.len()).filter(|row| column.is_valid(*row)).filter_map(|row| Scalar::from_array(column, row).ok()) {
            if statistics.min.as_ref().is_none_or(|min| value.partial_cmp(min).is_some_and(|o| o.is_lt())) {
                statistics.min = Some(value.clone());
            }
            if statistics.max.as_ref().is_none_or(|max| value.partial_cmp(max).is_some_and(|o| o.is_gt())) {
                statistics.max = Some(value);
            }
        }
    }
    statistics
}
