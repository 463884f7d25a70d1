//! Small tables in memory, as a catalog to bind over and as rows for the naive evaluator.

use std::{collections::BTreeMap, sync::Arc};

use arneb::{
    Error, Result,
    catalog::{Catalog, Catalogs},
    connectors::{ColumnStatistics, ScanRequest, Table, TableStatistics},
    plan::logical::TableName,
};
use arrow::datatypes::SchemaRef;
use operators::Scalar;
use pipelines::Source;

use super::naive::Tables;

/// The catalog and schema all test tables are in.
pub const CATALOG: &str = "test";
pub const SCHEMA: &str = "public";

/// A table with its rows; without any, it may claim more in `claimed_rows`.
#[derive(Clone)]
pub struct TestTable {
    pub schema: SchemaRef,
    pub rows: Vec<Vec<Scalar>>,
    pub claimed_rows: u64,
}

impl Table for TestTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        let unknown = vec![ColumnStatistics::default(); self.schema.fields().len()];
        Ok(Arc::new(TableStatistics { num_rows: self.claimed_rows, columns: unknown }))
    }

    fn scan(&self, _request: ScanRequest) -> Result<Arc<dyn Source>> {
        Err(Error::unsupported("reading rows of a test table"))
    }
}

/// Tables by name.
#[derive(Clone, Default)]
pub struct TestTables(pub BTreeMap<String, TestTable>);

impl TestTables {
    /// What the naive evaluator reads.
    pub fn rows(&self) -> Tables {
        let name = |table: &String| TableName { catalog: CATALOG.into(), schema: SCHEMA.into(), table: table.clone() };
        self.0.iter().map(|(table, content)| (name(table), content.rows.clone())).collect()
    }

    /// What the binder and the optimizer read.
    pub fn catalogs(&self) -> Catalogs {
        let catalogs = Catalogs::default();
        catalogs.add(CATALOG, Arc::new(self.clone()));
        catalogs
    }
}

impl Catalog for TestTables {
    fn schemas(&self) -> Vec<String> {
        vec![SCHEMA.into()]
    }

    fn tables(&self, _schema: &str) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn table(&self, _schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>> {
        Ok(self.0.get(table).map(|table| Arc::new(table.clone()) as Arc<dyn Table>))
    }
}
