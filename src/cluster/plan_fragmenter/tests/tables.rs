//! Tables for plans that are cut and run: a key `k`, numbers `v` and `f`, a text `t`; in splits that claim to be large.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use operators::Scalar;
use pipelines::Source;

use crate::{
    catalog::{Catalogs, memory::MemoryCatalog},
    connectors::{ColumnStatistics, ScanRequest, Split, Table, TableStatistics},
    error::{Error, Result},
    plan::logical::TableName,
};

/// A row of a table.
pub(super) type Row = Vec<Scalar>;

/// Types of the columns of every table.
pub(super) const TYPES: [DataType; 4] = [DataType::Int64, DataType::Int64, DataType::Float64, DataType::Utf8View];

/// A table whose rows are there, and whose size is made up.
pub(super) struct FakeTable {
    num_rows: usize,
    split_rows: usize,
    split_bytes: u64,
    rows_per_key: usize,
    is_clustered: bool,
    is_shared: bool,
}

/// Name and content of every table.
fn tables() -> Vec<(&'static str, FakeTable)> {
    let table = |num_rows, split_rows, split_bytes, rows_per_key, is_clustered, is_shared| FakeTable {
        num_rows,
        split_rows,
        split_bytes,
        rows_per_key,
        is_clustered,
        is_shared,
    };
    vec![
        ("facts", table(24, 3, 64 << 20, 2, true, true)),
        ("heads", table(12, 4, 32 << 20, 1, true, true)),
        ("heap", table(20, 5, 64 << 20, 3, false, true)),
        ("small", table(5, 5, 500, 1, true, true)),
        ("empty", table(0, 1, 0, 1, true, true)),
        ("local", table(5, 5, 64 << 20, 1, true, false)),
    ]
}

/// Names of tables that every node has.
pub(super) const SHARED: [&str; 5] = ["facts", "heads", "heap", "small", "empty"];

/// The catalog of all of them.
pub(super) fn catalogs() -> Catalogs {
    let (catalogs, memory) = (Catalogs::default(), MemoryCatalog::new());
    tables().into_iter().for_each(|(name, table)| memory.add("s", name, Arc::new(table)));
    catalogs.add("c", memory);
    catalogs
}

/// The full name of a table.
pub(super) fn name(table: &str) -> TableName {
    TableName { catalog: "c".into(), schema: "s".into(), table: table.into() }
}

/// The rows of a table, split by split.
pub(super) fn splits(table: &TableName) -> Vec<Vec<Row>> {
    let (_, table) = tables().into_iter().find(|(name, _)| *name == table.table).expect("a table");
    let rows: Vec<Row> = (0..table.num_rows).map(|row| table.row(row)).collect();
    rows.chunks(table.split_rows).map(<[Row]>::to_vec).collect()
}

impl FakeTable {
    fn row(&self, row: usize) -> Row {
        let number = row as i64;
        let key = if self.is_clustered { number / self.rows_per_key as i64 } else { number * 5 % 17 };
        let v = if row % 7 == 3 { Scalar::Null(DataType::Int64) } else { Scalar::Int64(number * 7 % 6) };
        let t = if row % 5 == 4 { Scalar::Null(DataType::Utf8View) } else { Scalar::Utf8(["a", "b", "c"][row % 3].into()) };
        vec![Scalar::Int64(key), v, Scalar::Float64((row % 4) as f64), t]
    }

    fn num_splits(&self) -> usize {
        self.num_rows.div_ceil(self.split_rows)
    }
}

impl Table for FakeTable {
    fn schema(&self) -> SchemaRef {
        let fields = ["k", "v", "f", "t"].iter().zip(TYPES).map(|(name, data_type)| Field::new(*name, data_type, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        let mut columns = vec![ColumnStatistics::default(); 4];
        columns[0].is_clustered = self.is_clustered;
        Ok(Arc::new(TableStatistics { num_rows: self.num_rows as u64, columns }))
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let split =
            |number: usize| Split { rows: self.split_rows as u64, bytes: vec![self.split_bytes / 4; 4], identity: 100 + number as u64 };
        Ok((0..self.num_splits()).map(split).collect())
    }

    fn split_bounds(&self, column: usize) -> Result<Option<Vec<(i64, i64)>>> {
        let key = |row: usize| (row.min(self.num_rows - 1) / self.rows_per_key) as i64;
        let bounds = |split: usize| (key(split * self.split_rows), key((split + 1) * self.split_rows - 1));
        Ok((self.is_clustered && column == 0).then(|| (0..self.num_splits()).map(bounds).collect()))
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn scan(&self, _request: ScanRequest) -> Result<Arc<dyn Source>> {
        Err(Error::unsupported("reading rows of a table whose size is made up"))
    }
}
