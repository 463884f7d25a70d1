//! A catalog of tables that are handed to it: configured files, tables of tests.
//!
//! Position: one of the catalogs in [`super::Catalogs`]. Deliberately elsewhere: where the tables' rows come
//! from (`connectors`).

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use super::Catalog;
use crate::{connectors::Table, error::Result};

/// Tables by schema and name.
#[derive(Default)]
pub struct MemoryCatalog {
    tables: RwLock<BTreeMap<(String, String), Arc<dyn Table>>>,
}

impl MemoryCatalog {
    /// A catalog without tables.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Adds or replaces a table.
    pub fn add(&self, schema: impl Into<String>, name: impl Into<String>, table: Arc<dyn Table>) {
        self.tables.write().insert((schema.into(), name.into()), table);
    }
}

impl Catalog for MemoryCatalog {
    fn schemas(&self) -> Vec<String> {
        let mut schemas: Vec<String> = self.tables.read().keys().map(|(schema, _)| schema.clone()).collect();
        schemas.dedup();
        schemas
    }

    fn tables(&self, schema: &str) -> Vec<String> {
        self.tables.read().keys().filter(|(s, _)| s == schema).map(|(_, table)| table.clone()).collect()
    }

    fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>> {
        Ok(self.tables.read().get(&(schema.to_owned(), table.to_owned())).cloned())
    }
}
