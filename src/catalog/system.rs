//! What the node does, as tables: `system.nodes`, `system.queries`, `system.tasks`.
//!
//! Position: the catalog `system` with the schema `runtime`; every catalog shows the same tables in a schema `system`, so that two
//! parts of a name are enough. Rows are those of the moment of the scan. Deliberately elsewhere: where they come from
//! (`execution::registry`, `execution::nodes`).

use std::{sync::Arc, time::Duration};

use arrow::{
    array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
};
use operators::types;
use pipelines::Batch;

use super::Catalog;
use crate::{
    connectors::{Table, live::LiveTable},
    error::Result,
    execution::nodes::{NodeRow, Nodes},
    execution::registry::{QueryInfo, QueryRegistry, TaskInfo},
};

/// Name of the catalog, and of the schema in every other catalog.
pub const NAME: &str = "system";

/// The catalog's one schema.
pub const SCHEMA: &str = "runtime";

/// Its tables.
pub const TABLES: [&str; 3] = ["nodes", "queries", "tasks"];

/// The catalog.
pub struct SystemCatalog {
    queries: QueryRegistry,
    nodes: Nodes,
}

impl SystemCatalog {
    /// Of a node's queries and of the nodes it knows.
    pub fn new(queries: QueryRegistry, nodes: Nodes) -> Self {
        SystemCatalog { queries, nodes }
    }
}

impl Catalog for SystemCatalog {
    fn schemas(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn tables(&self, schema: &str) -> Vec<String> {
        if schema == SCHEMA { TABLES.map(str::to_owned).to_vec() } else { vec![] }
    }

    fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>> {
        if schema != SCHEMA {
            return Ok(None);
        }
        let queries = self.queries.clone();
        Ok(match table {
            "nodes" => {
                let nodes = self.nodes.clone();
                Some(live(node_columns, 10, move || nodes.directory().nodes()))
            }
            "queries" => Some(live(query_columns, 1000, move || queries.list())),
            "tasks" => Some(live(task_columns, 1000, move || tasks(queries.list()))),
            _ => None,
        })
    }
}

fn live<T: 'static>(
    columns: fn(&[T]) -> Columns<'_, T>,
    num_rows: u64,
    rows: impl Fn() -> Vec<T> + Send + Sync + 'static,
) -> Arc<dyn Table> {
    let schema = columns(&[]).schema();
    Arc::new(LiveTable::new(schema, num_rows, move || columns(&rows()).batch()))
}

/// The columns of some rows, one after the other.
struct Columns<'a, T> {
    rows: &'a [T],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'a, T> Columns<'a, T> {
    fn of(rows: &'a [T]) -> Self {
        Columns { rows, fields: vec![], arrays: vec![] }
    }

    fn text<'b, S: AsRef<str>>(self, name: &str, value: impl Fn(&'b T) -> Option<S>) -> Self
    where
        'a: 'b,
    {
        let array = StringViewArray::from_iter(self.rows.iter().map(value));
        self.column(name, DataType::Utf8View, Arc::new(array))
    }

    fn number(self, name: &str, value: impl Fn(&T) -> Option<u64>) -> Self {
        let array = Int64Array::from_iter(self.rows.iter().map(|row| value(row).map(|number| i64::try_from(number).unwrap_or(i64::MAX))));
        self.column(name, DataType::Int64, Arc::new(array))
    }

    fn instant(self, name: &str, value: impl Fn(&T) -> i64) -> Self {
        let array = TimestampMicrosecondArray::from_iter_values(self.rows.iter().map(value)).with_timezone("UTC");
        self.column(name, types::timestamptz(), Arc::new(array))
    }

    fn column(mut self, name: &str, data_type: DataType, array: ArrayRef) -> Self {
        self.fields.push(Field::new(name, data_type, true));
        self.arrays.push(array);
        self
    }

    fn schema(self) -> SchemaRef {
        Arc::new(Schema::new(self.fields))
    }

    fn batch(self) -> Batch {
        Batch::new(self.arrays, self.rows.len())
    }
}

fn node_columns(rows: &[NodeRow]) -> Columns<'_, NodeRow> {
    Columns::of(rows)
        .text("node_id", |node| Some(&node.node_id))
        .text("role", |node| Some(&node.role))
        .text("state", |node| Some(&node.state))
        .text("address", |node| Some(&node.address))
        .text("version", |node| Some(&node.version))
        .number("threads", |node| Some(node.threads))
        .number("memory_bytes", |node| Some(node.memory_bytes))
        .number("memory_used_bytes", |node| Some(node.memory_used_bytes))
        .number("running_tasks", |node| Some(node.running_tasks))
        .number("last_heartbeat_ms", |node| node.last_heartbeat_ms)
        // As text: it is a name, and may have more digits than a bigint.
        .text("incarnation", |node| Some(node.incarnation.to_string()))
        .text("reason", |node| node.reason.as_ref())
}

fn query_columns(rows: &[QueryInfo]) -> Columns<'_, QueryInfo> {
    Columns::of(rows)
        .text("query_id", |query| Some(query.id.to_string()))
        .text("state", |query| Some(query.state.name()))
        .text("sql", |query| Some(&query.sql))
        .text("user_name", |query| Some(&query.user))
        .text("application_name", |query| Some(&query.application))
        .instant("submitted_at", |query| query.submitted_at.timestamp_micros())
        .number("elapsed_ms", |query| Some(milliseconds(query.elapsed)))
        .number("queued_ms", |query| Some(milliseconds(query.queued)))
        .number("queue_position", |query| query.queue_position.map(|position| position as u64))
        .number("rows", |query| Some(query.rows))
        .number("units_done", |query| Some(query.units_done))
        .number("units_total", |query| Some(query.units_total))
        .number("attempts", |query| Some(u64::from(query.attempts)))
        .number("peak_memory_bytes", |query| Some(query.peak_memory_bytes))
        .text("error", |query| query.error.as_ref().map(|error| &error.message))
        .text("sqlstate", |query| query.error.as_ref().map(|error| error.sqlstate))
}

/// A task with the name of its query.
struct TaskRow {
    query_id: String,
    task: TaskInfo,
}

fn tasks(queries: Vec<QueryInfo>) -> Vec<TaskRow> {
    let rows = |query: QueryInfo| query.tasks.into_iter().map(move |task| TaskRow { query_id: query.id.to_string(), task });
    queries.into_iter().flat_map(rows).collect()
}

fn task_columns(rows: &[TaskRow]) -> Columns<'_, TaskRow> {
    Columns::of(rows)
        .text("query_id", |row| Some(&row.query_id))
        .number("fragment", |row| Some(u64::from(row.task.fragment)))
        .text("node_id", |row| Some(&row.task.node_id))
        .text("state", |row| Some(row.task.state.name()))
        .number("units_done", |row| Some(row.task.units_done))
        .number("units_running", |row| Some(row.task.units_running))
        .number("rows_in", |row| Some(row.task.rows_in))
        .number("rows_out", |row| Some(row.task.rows_out))
        .number("bytes_sent", |row| Some(row.task.bytes_sent))
        .number("busy_ms", |row| Some(row.task.busy_ns / 1_000_000))
        .number("blocked_ms", |row| Some(row.task.blocked_ns / 1_000_000))
        .number("peak_memory_bytes", |row| Some(row.task.peak_memory_bytes))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use pipelines::CancelToken;

    use super::*;
    use crate::{Engine, Session, engine::EngineOptions, session::Outcome};

    /// The first column's values, as text.
    fn values(session: &mut Session, sql: &str) -> Vec<String> {
        let statement = session.parse(sql).unwrap().remove(0);
        let prepared = session.prepare(statement, &[]).unwrap();
        let Outcome::Rows(mut rows) = session.execute(&prepared, &[], CancelToken::new()).unwrap() else { panic!("no rows") };
        let mut values = vec![];
        while let Some(batch) = rows.next_blocking().unwrap() {
            values.extend((0..batch.num_rows()).map(|row| operators::Scalar::from_array(batch.column(0), row).unwrap().to_string()));
        }
        values
    }

    #[test]
    fn a_node_without_tables_lists_itself_under_every_name() {
        let engine = Engine::new(EngineOptions { num_threads: 1, ..EngineOptions::default() });
        let mut session = engine.session();
        for name in ["system.nodes", "system.runtime.nodes"] {
            assert_eq!(values(&mut session, &format!("SELECT node_id FROM {name} WHERE state = 'active'")), ["standalone"], "{name}");
        }
        assert_eq!(values(&mut session, "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'runtime'"), ["40"]);
    }

    #[test]
    fn a_query_sees_itself_run_and_those_before_it_ended() {
        let engine = Engine::new(EngineOptions { num_threads: 1, ..EngineOptions::default() });
        let mut session = engine.session();
        session.set_user("ada");
        assert_eq!(values(&mut session, "SELECT 41 + 1"), ["42"]);
        let seen = "SELECT state || ' ' || rows || ' ' || user_name || ' ' || sql FROM system.queries ORDER BY submitted_at, state";
        assert_eq!(values(&mut session, seen), ["Finished 1 ada SELECT 41 + 1".to_owned(), format!("Running 0 ada {seen}")]);
        let tasks = "SELECT node_id || ' ' || t.state || ' ' || rows_out FROM system.tasks t JOIN system.queries q ON t.query_id = q.query_id \
                     WHERE sql = 'SELECT 41 + 1'";
        assert_eq!(values(&mut session, tasks), ["standalone Finished 1"]);
    }

    #[test]
    fn tables_of_a_node_are_not_shared() {
        let engine = Engine::new(EngineOptions { num_threads: 1, ..EngineOptions::default() });
        let catalog = engine.catalogs.catalog(NAME).unwrap();
        for name in TABLES {
            assert!(!catalog.table(SCHEMA, name).unwrap().unwrap().is_shared(), "{name}");
        }
        let columns = super::super::information_schema::table(&engine.catalogs, "columns").unwrap().unwrap();
        assert!(!columns.is_shared());
    }
}
