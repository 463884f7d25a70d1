//! Catalogs, schemas and tables by name.
//!
//! Position: asked by `sql::binder` for tables and views, by `optimizer` for statistics, by
//! `planner::pipeline_builder` for sources. A catalog is what a connector offers; views and search path are
//! the session's and live beside it.

pub mod information_schema;
pub mod memory;
pub mod system;

use std::sync::Arc;

use crate::{connectors::Table, error::Result, plan::logical::TableName};

/// All catalogs of a node.
#[derive(Default)]
pub struct Catalogs {
    catalogs: parking_lot::RwLock<Vec<(String, Arc<dyn Catalog>)>>,
}

/// What a connector offers: schemas with tables.
pub trait Catalog: Send + Sync {
    /// Names of the schemas, sorted.
    fn schemas(&self) -> Vec<String>;

    /// Names of the tables of a schema, sorted; none if there is no such schema.
    fn tables(&self, schema: &str) -> Vec<String>;

    /// A table, or `None` if there is none of that name.
    ///
    /// # Errors
    /// When the table exists but cannot be opened (a missing or corrupt file).
    fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>>;
}

impl Catalogs {
    /// Adds or replaces a catalog.
    pub fn add(&self, name: impl Into<String>, catalog: Arc<dyn Catalog>) {
        let name = name.into();
        let mut catalogs = self.catalogs.write();
        catalogs.retain(|(n, _)| *n != name);
        catalogs.push((name, catalog));
    }

    /// Names of the catalogs, in the order they were added.
    pub fn names(&self) -> Vec<String> {
        self.catalogs.read().iter().map(|(name, _)| name.clone()).collect()
    }

    /// A catalog by name.
    pub fn catalog(&self, name: &str) -> Option<Arc<dyn Catalog>> {
        self.catalogs.read().iter().find(|(n, _)| n == name).map(|(_, catalog)| Arc::clone(catalog))
    }

    /// A table by its full name; every catalog has `information_schema` and `system`.
    ///
    /// # Errors
    /// When it exists but cannot be opened.
    pub fn table(&self, name: &TableName) -> Result<Option<Arc<dyn Table>>> {
        match self.catalog(&name.catalog) {
            Some(_) if name.schema == information_schema::NAME => information_schema::table(self, &name.table),
            Some(_) if name.schema == system::NAME => match self.catalog(system::NAME) {
                Some(catalog) => catalog.table(system::SCHEMA, &name.table),
                None => Ok(None),
            },
            Some(catalog) => catalog.table(&name.schema, &name.table),
            None => Ok(None),
        }
    }
}

/// Whether a table says something of the node itself, whatever it holds: schemas and queries, not anyone's data.
pub fn is_of_the_node(name: &TableName) -> bool {
    name.catalog == system::NAME || [information_schema::NAME, system::NAME, "pg_catalog"].contains(&name.schema.as_str())
}
