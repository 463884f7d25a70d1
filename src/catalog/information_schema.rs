//! `information_schema.tables` and `.columns` as tables that our own SQL reads.
//!
//! Position: visible in every catalog; made from what the catalogs say at the moment it is asked for. No query
//! is recognised by its text.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Int32Array, StringViewArray},
    datatypes::{DataType, Field, Schema},
};
use operators::types;
use pipelines::Batch;

use super::Catalogs;
use crate::{
    connectors::{Table, live::LiveTable},
    error::Result,
};

/// The schema's name.
pub const NAME: &str = "information_schema";

/// Its tables.
pub const TABLES: &[&str] = &["columns", "schemata", "tables"];

/// One of its tables.
///
/// # Errors
/// When a table whose columns are listed cannot be opened.
pub fn table(catalogs: &Catalogs, name: &str) -> Result<Option<Arc<dyn Table>>> {
    let table = match name {
        "tables" => tables(catalogs),
        "columns" => columns(catalogs)?,
        "schemata" => schemata(catalogs),
        _ => return Ok(None),
    };
    Ok(Some(Arc::new(table)))
}

/// Calls `visit` with catalog, schema and table of every table.
fn for_each_table(catalogs: &Catalogs, mut visit: impl FnMut(&str, &str, &str)) {
    for catalog in catalogs.names() {
        let Some(entry) = catalogs.catalog(&catalog) else { continue };
        for schema in entry.schemas() {
            entry.tables(&schema).iter().for_each(|table| visit(&catalog, &schema, table));
        }
        TABLES.iter().for_each(|table| visit(&catalog, NAME, table));
    }
}

fn tables(catalogs: &Catalogs) -> LiveTable {
    let mut rows: [Vec<String>; 4] = Default::default();
    for_each_table(catalogs, |catalog, schema, table| {
        let kind = if schema == NAME { "VIEW" } else { "BASE TABLE" };
        push(&mut rows, [catalog, schema, table, kind]);
    });
    text_table(["table_catalog", "table_schema", "table_name", "table_type"], rows)
}

fn schemata(catalogs: &Catalogs) -> LiveTable {
    let mut rows: [Vec<String>; 2] = Default::default();
    for catalog in catalogs.names() {
        let schemas = catalogs.catalog(&catalog).map(|c| c.schemas()).unwrap_or_default();
        schemas.iter().map(String::as_str).chain([NAME]).for_each(|schema| push(&mut rows, [&catalog, schema]));
    }
    text_table(["catalog_name", "schema_name"], rows)
}

fn columns(catalogs: &Catalogs) -> Result<LiveTable> {
    let mut names = vec![];
    for_each_table(catalogs, |catalog, schema, table| {
        if schema != NAME {
            names.push([catalog.to_owned(), schema.to_owned(), table.to_owned()]);
        }
    });
    let mut texts: [Vec<String>; 6] = Default::default();
    let (mut positions, mut precisions, mut scales) = (vec![], vec![], vec![]);
    for [catalog, schema, table] in &names {
        let Some(entry) = catalogs.catalog(catalog) else { continue };
        let Some(opened) = entry.table(schema, table)? else { continue };
        for (index, field) in opened.schema().fields().iter().enumerate() {
            let nullable = if field.is_nullable() { "YES" } else { "NO" };
            push(&mut texts, [catalog, schema, table, field.name(), types::sql_name(field.data_type()), nullable]);
            positions.push(index as i32 + 1);
            let digits = types::decimal_digits(field.data_type());
            precisions.push(digits.map(|(precision, _)| i32::from(precision)));
            scales.push(digits.map(|(_, scale)| i32::from(scale)));
        }
    }
    let num_rows = positions.len();
    let mut arrays = texts.map(|column| Arc::new(StringViewArray::from_iter_values(column)) as ArrayRef).to_vec();
    arrays.insert(4, Arc::new(Int32Array::from(positions)));
    arrays.push(Arc::new(Int32Array::from(precisions)));
    arrays.push(Arc::new(Int32Array::from(scales)));
    let text = |name: &str| Field::new(name, DataType::Utf8View, false);
    let number = |name: &str, nullable| Field::new(name, DataType::Int32, nullable);
    let schema = Schema::new(vec![
        text("table_catalog"),
        text("table_schema"),
        text("table_name"),
        text("column_name"),
        number("ordinal_position", false),
        text("data_type"),
        text("is_nullable"),
        number("numeric_precision", true),
        number("numeric_scale", true),
    ]);
    Ok(fixed(schema, arrays, num_rows))
}

/// Rows of this node: another may have other tables.
fn fixed(schema: Schema, arrays: Vec<ArrayRef>, num_rows: usize) -> LiveTable {
    let batch = Batch::new(arrays, num_rows);
    LiveTable::new(Arc::new(schema), num_rows as u64, move || batch.clone())
}

fn push<const N: usize>(rows: &mut [Vec<String>; N], values: [&str; N]) {
    rows.iter_mut().zip(values).for_each(|(column, value)| column.push(value.to_owned()));
}

fn text_table<const N: usize>(names: [&str; N], columns: [Vec<String>; N]) -> LiveTable {
    let schema = Schema::new(names.map(|name| Field::new(name, DataType::Utf8View, false)).to_vec());
    let num_rows = columns[0].len();
    let arrays = columns.map(|column| Arc::new(StringViewArray::from_iter_values(column)) as ArrayRef).to_vec();
    fixed(schema, arrays, num_rows)
}
