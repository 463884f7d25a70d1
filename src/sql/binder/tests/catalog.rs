//! A catalog of tables without rows, and shortcuts to bind over it.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use operators::{Scalar, types};
use pipelines::Source;

use crate::{
    catalog::{Catalog, Catalogs},
    connectors::{ScanRequest, Table, TableStatistics},
    error::{Error, Result},
    plan::logical::Query,
    sql::{
        binder::{BindContext, Bound, Parameters, View, bind},
        parser,
        statement::StatementKind,
    },
};

/// 2020-02-03 04:05:06 UTC.
pub const NOW_US: i64 = 1_580_702_706_000_000;

struct EmptyTable(SchemaRef);

impl Table for EmptyTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        Err(Error::internal("no statistics in this test"))
    }

    fn scan(&self, _request: ScanRequest) -> Result<Arc<dyn Source>> {
        Err(Error::internal("no rows in this test"))
    }
}

/// Tables by schema and name.
#[derive(Default)]
struct EmptyCatalog(Vec<(&'static str, &'static str, SchemaRef)>);

impl Catalog for EmptyCatalog {
    fn schemas(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|(schema, ..)| (*schema).to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn tables(&self, schema: &str) -> Vec<String> {
        self.0.iter().filter(|(s, ..)| *s == schema).map(|(_, name, _)| (*name).to_owned()).collect()
    }

    fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>> {
        let found = self.0.iter().find(|(s, t, _)| *s == schema && *t == table);
        Ok(found.map(|(.., schema)| Arc::new(EmptyTable(Arc::clone(schema))) as Arc<dyn Table>))
    }
}

fn table(columns: &str) -> SchemaRef {
    let fields = columns.split_whitespace().map(|column| {
        let (name, kind) = column.split_once(':').expect("name:type");
        let (kind, nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        let data_type = match kind {
            "b" => DataType::Boolean,
            "i16" => DataType::Int16,
            "i32" => DataType::Int32,
            "i64" => DataType::Int64,
            "f32" => DataType::Float32,
            "f64" => DataType::Float64,
            "d" => types::decimal(15, 2),
            "t" => DataType::Utf8View,
            "date" => DataType::Date32,
            "ts" => types::timestamp(),
            "tz" => types::timestamptz(),
            other => panic!("no type {other}"),
        };
        Field::new(name, data_type, nullable)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn catalogs() -> Catalogs {
    let tpch = tpch::Table::ALL.into_iter();
    let mut tables: Vec<(&str, &str, SchemaRef)> = tpch.map(|table| ("public", table.name(), table.schema())).collect();
    let all = "b:b? i16:i16? i32:i32? i64:i64? f32:f32? f64:f64? d:d? t:t? date:date? ts:ts? tz:tz?";
    tables.push(("public", "all_types", table(all)));
    tables.push(("public", "a", table("x:i32 y:i32? z:t?")));
    tables.push(("public", "b", table("x:i64 y:i32? w:t?")));
    tables.push(("other", "a", table("x:t only_here:i32")));
    let catalogs = Catalogs::default();
    catalogs.add("file", Arc::new(EmptyCatalog(tables)));
    catalogs.add("extra", Arc::new(EmptyCatalog(vec![("main", "t", table("k:i32"))])));
    catalogs
}

/// Binds a statement with views.
pub fn bind_with(text: &str, parameters: Parameters<'_>, views: &[(&str, &[&str], &str)]) -> Result<Bound> {
    let catalogs = catalogs();
    let views: HashMap<String, View> = views
        .iter()
        .map(|(name, columns, text)| {
            let columns = columns.iter().map(|c| (*c).to_owned()).collect();
            ((*name).to_owned(), View { columns, query: query_of(text) })
        })
        .collect();
    let search_path = ["public".to_owned()];
    let context =
        BindContext { catalogs: &catalogs, default_catalog: "file", search_path: &search_path, views: &views, now_us: NOW_US, user: "ada" };
    let statement = parser::parse(text)?.swap_remove(0);
    match &statement.kind {
        StatementKind::Query(query) => bind(query, &statement.text, parameters, &context),
        other => panic!("{other:?} is no query"),
    }
}

fn query_of(text: &str) -> Box<sqlparser::ast::Query> {
    match parser::parse(text).expect("a view that parses").swap_remove(0).kind {
        StatementKind::Query(query) => query,
        other => panic!("{other:?} is no query"),
    }
}

/// Binds a statement that is right.
pub fn query(text: &str) -> Query {
    match bind_with(text, Parameters::Types(&[]), &[]) {
        Ok(bound) => bound.query,
        Err(error) => panic!("{text}\n{error} ({}, at {:?})", error.sqlstate.0, error.position),
    }
}

/// Binds a statement that is wrong.
pub fn error(text: &str) -> Error {
    match bind_with(text, Parameters::Types(&[]), &[]) {
        Ok(bound) => panic!("{text} was bound:\n{}", crate::plan::display::query(&bound.query)),
        Err(error) => error,
    }
}

/// The plan of a statement that is right, as text.
pub fn plan(text: &str) -> String {
    crate::plan::display::query(&query(text))
}

/// Names and types of a statement's result.
pub fn columns(text: &str) -> Vec<(String, DataType)> {
    let query = query(text);
    query.output.iter().map(|o| (o.name.clone(), query.columns.get(o.column).data_type.clone())).collect()
}

/// Type of a statement's only column.
pub fn type_of(expression: &str) -> DataType {
    let mut columns = columns(&format!("select {expression} from all_types"));
    assert_eq!(columns.len(), 1, "{expression}");
    columns.swap_remove(0).1
}

/// The value of a statement's only column, which is a constant.
pub fn constant(expression: &str) -> Scalar {
    use crate::plan::logical::{Expr, LogicalPlan};
    let query = query(&format!("select {expression}"));
    match &query.root {
        LogicalPlan::Project { expressions, .. } => match expressions.as_slice() {
            [(_, Expr::Literal(scalar))] => scalar.clone(),
            other => panic!("{expression} is {other:?}"),
        },
        other => panic!("{expression} is {other:?}"),
    }
}
