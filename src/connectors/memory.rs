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

use super::{
    ColumnStatistics, ScanPart, ScanRequest, Split, Table, TableStatistics,
    part::{KeyRange, chosen_splits, integers, is_integer_like},
};
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
        let picked = |batch: &Batch| {
            let columns = request.columns.iter().map(|index| Arc::clone(batch.column(*index))).collect();
            Batch::new(columns, batch.num_rows())
        };
        Ok(values(match &request.part {
            ScanPart::All => self.batches.iter().map(picked).collect(),
            ScanPart::Splits(splits) => {
                let chosen = chosen_splits(splits, self.batches.len())?;
                self.batches.iter().zip(chosen).filter(|(_, is_chosen)| *is_chosen).map(|(batch, _)| picked(batch)).collect()
            }
            ScanPart::KeyRange { column, lower, upper } => {
                let range = KeyRange { lower: *lower, upper: *upper };
                self.batches.iter().map(|batch| range.keep(&picked(batch), batch.column(*column))).collect::<Result<_>>()?
            }
        }))
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let split = |(index, batch): (usize, &Batch)| Split {
            rows: batch.num_rows() as u64,
            bytes: batch.columns().iter().map(|column| column.get_array_memory_size() as u64).collect(),
            identity: index as u64,
        };
        Ok(self.batches.iter().enumerate().map(split).collect())
    }

    fn split_bounds(&self, column: usize) -> Result<Option<Vec<(i64, i64)>>> {
        if !self.schema.fields().get(column).is_some_and(|field| is_integer_like(field.data_type())) {
            return Ok(None);
        }
        let mut bounds = vec![];
        for keys in self.batches.iter().map(|batch| batch.column(column)) {
            let keys: Option<Vec<i64>> = integers(keys)?.into_iter().collect();
            let Some(range) = keys.and_then(|keys| Some((*keys.iter().min()?, *keys.iter().max()?))) else { return Ok(None) };
            bounds.push(range);
        }
        Ok(Some(bounds))
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

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, AsArray, Int32Array, StringViewArray},
        datatypes::{Field, Int32Type, Schema},
    };
    use pipelines::testing::run_source;

    use super::*;

    fn table(batches: &[&[Option<i32>]]) -> MemoryTable {
        let schema = Schema::new(vec![Field::new("k", DataType::Int32, true), Field::new("t", DataType::Utf8View, false)]);
        let batch = |keys: &&[Option<i32>]| {
            let texts: StringViewArray = keys.iter().map(|key| Some(format!("{key:?}"))).collect();
            Batch::new(vec![Arc::new(Int32Array::from(keys.to_vec())) as ArrayRef, Arc::new(texts)], keys.len())
        };
        MemoryTable::new(Arc::new(schema), batches.iter().map(batch).collect())
    }

    fn keys(table: &MemoryTable, part: ScanPart) -> Vec<Option<i32>> {
        let source = table.scan(ScanRequest { columns: vec![0], part, ..ScanRequest::default() }).unwrap();
        run_source(source).unwrap().iter().flat_map(|b| b.column(0).as_primitive::<Int32Type>().iter().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_batch_is_a_split() {
        let table = table(&[&[Some(1), Some(4)], &[Some(2)], &[Some(9), Some(7)]]);
        assert_eq!(table.splits().unwrap().iter().map(|split| (split.rows, split.identity)).collect::<Vec<_>>(), [(2, 0), (1, 1), (2, 2)]);
        assert_eq!(table.split_bounds(0).unwrap(), Some(vec![(1, 4), (2, 2), (7, 9)]));
        assert_eq!(table.split_bounds(1).unwrap(), None);
        assert_eq!(keys(&table, ScanPart::Splits(vec![2, 0])), [Some(1), Some(4), Some(9), Some(7)]);
        assert_eq!(keys(&table, ScanPart::Splits(vec![])), []);
    }

    #[test]
    fn ranges_of_keys_have_every_row_once() {
        let table = table(&[&[Some(1), None, Some(4)], &[], &[Some(2), Some(4)]]);
        assert_eq!(table.split_bounds(0).unwrap(), None);
        let range = |lower, upper| keys(&table, ScanPart::KeyRange { column: 0, lower, upper });
        assert_eq!(range(None, Some(2)), [Some(1), None]);
        assert_eq!(range(Some(2), Some(4)), [Some(2)]);
        assert_eq!(range(Some(4), None), [Some(4), Some(4)]);
        let columns = ScanRequest { part: ScanPart::KeyRange { column: 0, lower: Some(2), upper: None }, ..ScanRequest::default() };
        assert_eq!(run_source(table.scan(columns).unwrap()).unwrap().iter().map(Batch::num_rows).sum::<usize>(), 3);
    }
}
