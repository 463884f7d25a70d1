//! Names of tables: CTEs, views, and tables of the catalogs.

use std::sync::Arc;

use arrow::datatypes::DataType;
use sqlparser::ast::{self, Spanned};

use super::{
    Binder, View,
    query::{Output, Relational},
    scope::{Name, Relation, fold, name_parts, nearest},
};
use crate::{
    connectors::Table,
    error::{Error, Result},
    plan::logical::{LogicalPlan, TableName, TableScan},
};

/// Schemas that exist once, whatever the catalog, as far as clients are concerned.
const SYSTEM_SCHEMAS: [&str; 3] = ["information_schema", "pg_catalog", "system"];

impl<'a> Binder<'a> {
    /// Binds the name of a CTE, view or table.
    pub fn bind_table(&mut self, name: &'a ast::ObjectName, alias: Option<&'a ast::TableAlias>) -> Result<(LogicalPlan, Relation)> {
        let (mut plan, relation) = self.bind_table_parts(&name_parts(name)?)?;
        if let (LogicalPlan::TableScan(scan), Some(alias)) = (&mut plan, alias) {
            scan.alias = fold(&alias.name);
        }
        Ok((plan, relation))
    }

    /// `TABLE name`
    pub fn bind_table_command(&mut self, table: &'a ast::Table) -> Result<Relational> {
        let Some(name) = &table.table_name else { return Err(Error::syntax("TABLE needs a name")) };
        let parts: Vec<String> = table.schema_name.iter().chain([name]).map(|part| part.to_lowercase()).collect();
        let (plan, relation) = self.bind_table_parts(&parts)?;
        let output = relation.columns.into_iter().map(|c| Output { name: c.name, id: c.id, unknown: None }).collect();
        Ok(Relational { plan, output })
    }

    fn bind_table_parts(&mut self, parts: &[String]) -> Result<(LogicalPlan, Relation)> {
        if let [single] = parts {
            if let Some(found) = self.bind_cte_reference(single)? {
                return Ok(found);
            }
            let context = self.context;
            if let Some(view) = context.views.get(single) {
                return self.bind_view(single, view);
            }
        }
        self.bind_plain_table(parts)
    }

    fn bind_view(&mut self, name: &str, view: &'a View) -> Result<(LogicalPlan, Relation)> {
        if self.open_views.iter().any(|open| open == name) {
            return Err(Error::binding("42P17", format!("infinite recursion detected in view \"{name}\"")));
        }
        self.open_views.push(name.to_owned());
        let text = self.text.take();
        let result = self.bind_isolated(&view.query);
        self.text = text;
        self.open_views.pop();
        let Relational { plan, output } = result.map_err(|e| {
            let detail = format!("while reading the view \"{name}\"");
            if e.detail.is_none() { e.with_detail(detail) } else { e }
        })?;
        if view.columns.len() > output.len() {
            return Err(Error::syntax(format!("view \"{name}\" has more column names than columns")));
        }
        let given = view.columns.iter().map(Some).chain(std::iter::repeat(None));
        let columns = output.into_iter().zip(given).map(|(o, given)| Name { name: given.cloned().unwrap_or(o.name), id: o.id }).collect();
        Ok((plan, Relation { alias: name.to_owned(), table: None, columns }))
    }

    fn find_table(&self, parts: &[String]) -> Result<(TableName, Arc<dyn Table>)> {
        match parts {
            [table] => {
                let schemas = self.context.search_path.iter().map(String::as_str);
                for schema in schemas {
                    if let Some(found) = self.look_up_on_path(schema, table)? {
                        return Ok(found);
                    }
                }
                match self.look_up_in_system("pg_catalog", table)? {
                    Some(found) => Ok(found),
                    None => Err(self.unknown_table(table, table)),
                }
            }
            [schema, table] => {
                if let Some(found) = self.look_up(self.context.default_catalog, schema, table)? {
                    return Ok(found);
                }
                if SYSTEM_SCHEMAS.contains(&schema.as_str()) {
                    return match self.look_up_in_system(schema, table)? {
                        Some(found) => Ok(found),
                        None => Err(self.unknown_table(&format!("{schema}.{table}"), table)),
                    };
                }
                Err(self.unknown_in_schema(self.context.default_catalog, schema, table))
            }
            [catalog, schema, table] => match self.look_up(catalog, schema, table)? {
                Some(found) => Ok(found),
                None => Err(self.unknown_in_schema(catalog, schema, table)),
            },
            _ => Err(Error::syntax(format!("improper qualified name (too many dotted names): {}", parts.join(".")))),
        }
    }

    fn look_up(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<(TableName, Arc<dyn Table>)>> {
        let name = TableName { catalog: catalog.to_owned(), schema: schema.to_owned(), table: table.to_owned() };
        Ok(self.context.catalogs.table(&name)?.map(|found| (name, found)))
    }

    /// Looks in a schema of the search path, which may be one of another catalog: `catalog.schema`.
    fn look_up_on_path(&self, schema: &str, table: &str) -> Result<Option<(TableName, Arc<dyn Table>)>> {
        let found = self.look_up(self.context.default_catalog, schema, table)?;
        match (found, schema.split_once('.')) {
            (None, Some((catalog, schema))) => self.look_up(catalog, schema, table),
            (found, _) => Ok(found),
        }
    }

    fn look_up_in_system(&self, schema: &str, table: &str) -> Result<Option<(TableName, Arc<dyn Table>)>> {
        for catalog in self.context.catalogs.names() {
            if let Some(found) = self.look_up(&catalog, schema, table)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn unknown_in_schema(&self, catalog: &str, schema: &str, table: &str) -> Error {
        let Some(found) = self.context.catalogs.catalog(catalog) else {
            let names = self.context.catalogs.names();
            let error = Error::binding("3D000", format!("catalog \"{catalog}\" does not exist"));
            return with_nearest(error, catalog, names.iter().map(String::as_str));
        };
        let schemas = found.schemas();
        if !schemas.iter().any(|s| s == schema) {
            let error = Error::binding("3F000", format!("schema \"{schema}\" does not exist"));
            return with_nearest(error, schema, schemas.iter().map(String::as_str));
        }
        let tables = found.tables(schema);
        let error = Error::binding("42P01", format!("relation \"{schema}.{table}\" does not exist"));
        with_nearest(error, table, tables.iter().map(String::as_str))
    }

    fn unknown_table(&self, shown: &str, table: &str) -> Error {
        let error = Error::binding("42P01", format!("relation \"{shown}\" does not exist"));
        let catalog = self.context.catalogs.catalog(self.context.default_catalog);
        let mut names: Vec<String> =
            catalog.map(|c| self.context.search_path.iter().flat_map(|schema| c.tables(schema)).collect()).unwrap_or_default();
        names.extend(self.context.views.keys().cloned());
        with_nearest(error, table, names.iter().map(String::as_str))
    }

    fn bind_plain_table(&mut self, parts: &[String]) -> Result<(LogicalPlan, Relation)> {
        let (table_name, table) = self.find_table(parts)?;
        let mut columns = vec![];
        let mut names = vec![];
        for (at, field) in table.schema().fields().iter().enumerate() {
            let id = self.columns.add(field.name(), plain_type(field.data_type()), field.is_nullable());
            columns.push((id, at));
            names.push(Name { name: field.name().clone(), id });
        }
        let scan = TableScan { table: table_name.clone(), alias: table_name.table.clone(), columns, filters: vec![], output: None };
        Ok((LogicalPlan::TableScan(scan), Relation { alias: table_name.table.clone(), table: Some(table_name), columns: names }))
    }

    /// The position of a name.
    pub fn name_position(&self, name: &ast::ObjectName) -> Option<usize> {
        self.position(name.span())
    }
}

fn with_nearest<'c>(error: Error, name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Error {
    match nearest(name, candidates) {
        Some(candidate) => error.with_hint(format!("perhaps you meant \"{candidate}\"")),
        None => error,
    }
}

/// Text is one type to SQL, however a batch holds it.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => (**value).clone(),
        other => other.clone(),
    }
}
