//! A table whose rows are made when it is scanned: what a node says of itself.
//!
//! Position: used by the catalogs that describe the node. Nothing but a guess of the number of rows is known before the scan: rows change
//! between planning and running, and a plan must not rely on values that are gone.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use operators::values::values;
use pipelines::{Batch, Source};

use super::{ColumnStatistics, ScanRequest, Table, TableStatistics};
use crate::error::Result;

/// Rows as they are at the moment of the scan.
pub struct LiveTable {
    schema: SchemaRef,
    statistics: Arc<TableStatistics>,
    rows: Box<dyn Fn() -> Batch + Send + Sync>,
}

impl LiveTable {
    /// A table of what `rows` gives, whose columns are those of `schema` and about `num_rows` long.
    pub fn new(schema: SchemaRef, num_rows: u64, rows: impl Fn() -> Batch + Send + Sync + 'static) -> Self {
        let columns = vec![ColumnStatistics::default(); schema.fields().len()];
        LiveTable { schema, statistics: Arc::new(TableStatistics { num_rows, columns }), rows: Box::new(rows) }
    }
}

impl Table for LiveTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        Ok(Arc::clone(&self.statistics))
    }

    fn scan(&self, request: ScanRequest) -> Result<Arc<dyn Source>> {
        let batch = (self.rows)();
        let columns = request.columns.iter().map(|index| Arc::clone(batch.column(*index))).collect();
        Ok(values(vec![Batch::new(columns, batch.num_rows())]))
    }

    fn is_shared(&self) -> bool {
        false
    }
}
