//! Runs the sqllogictest files in every shape of the engine, and on clusters of three workers.

use std::{path::PathBuf, sync::Arc};

use arneb::{Engine, Error, Session, session::Outcome, sql::statement::StatementKind};
use async_trait::async_trait;
use operators::Scalar;
use pipelines::CancelToken;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, parse_file};

use crate::{
    cluster::Cluster,
    fixture::{SHAPES, Shape, engine},
};

struct Database {
    session: Session,
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let mut output = DBOutput::StatementComplete(0);
        for statement in self.session.parse(sql)? {
            if matches!(statement.kind, StatementKind::Empty) {
                continue;
            }
            let prepared = self.session.prepare(statement, &[])?;
            if let Outcome::Rows(mut stream) = self.session.execute(&prepared, &[], CancelToken::new())? {
                let types = vec![DefaultColumnType::Any; stream.columns().len()];
                let mut rows = vec![];
                while let Some(batch) = stream.next().await? {
                    rows.extend(
                        (0..batch.num_rows())
                            .map(|row| batch.columns().iter().map(|c| cell(&Scalar::from_array(c, row).unwrap())).collect()),
                    );
                }
                output = DBOutput::Rows { types, rows };
            }
        }
        Ok(output)
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "arneb"
    }

    fn error_sql_state(error: &Error) -> Option<String> {
        Some(error.sqlstate.0.to_owned())
    }
}

/// A value as it stands in the files.
fn cell(value: &Scalar) -> String {
    match value {
        value if value.is_null() => "NULL".to_owned(),
        Scalar::Utf8(text) if text.is_empty() => "(empty)".to_owned(),
        Scalar::Boolean(value) => if *value { "t" } else { "f" }.to_owned(),
        value => value.to_string(),
    }
}

fn files() -> Vec<PathBuf> {
    let wanted = std::env::var("SLT").unwrap_or_default();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sql/slt");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "slt") && file.to_string_lossy().contains(&wanted));
    files.sort();
    files
}

fn run(shape: Shape) {
    let engine = engine(shape);
    run_on(&engine, shape);
    assert_eq!(engine.memory.used_bytes(), 0, "memory was not given back");
}

fn run_on_cluster(shape: Shape) {
    let cluster = Cluster::start(shape, 3);
    run_on(&cluster.coordinator, shape);
    let ran_on =
        |name: &str| cluster.coordinator.registry.list().iter().flat_map(|q| &q.tasks).any(|t| t.node_id == name && t.units_done > 0);
    for worker in ["worker-1", "worker-2", "worker-3"] {
        assert!(ran_on(worker), "{worker} has done nothing");
    }
    cluster.assert_nothing_is_left();
}

fn run_on(engine: &Arc<Engine>, shape: Shape) {
    let mut failures = vec![];
    for file in files() {
        // Tens of thousands of rows, two by two, would take minutes.
        if shape.batch_rows < 100 && file.ends_with("tpch.slt") {
            continue;
        }
        let mut runner = Runner::new(|| {
            let session = Arc::clone(engine).session();
            async move { Ok(Database { session }) }
        });
        // All differences of a run are shown, not only the first.
        for record in parse_file(&file).unwrap() {
            if let Err(error) = runner.run(record) {
                failures.push(error.to_string());
            }
        }
    }
    assert!(failures.is_empty(), "with {shape:?}:\n{}", failures.join("\n"));
}

#[test]
fn slt_files_with_tiny_batches_on_one_thread() {
    run(SHAPES[0]);
}

#[test]
fn slt_files_with_normal_batches_on_one_thread() {
    run(SHAPES[1]);
}

#[test]
fn slt_files_with_tiny_batches_on_several_threads() {
    run(SHAPES[2]);
}

#[test]
fn slt_files_with_normal_batches_on_several_threads() {
    run(SHAPES[3]);
}

#[test]
fn slt_files_on_three_workers_with_tiny_batches() {
    run_on_cluster(SHAPES[0]);
}

#[test]
fn slt_files_on_three_workers_with_normal_batches() {
    run_on_cluster(SHAPES[3]);
}

#[test]
fn there_are_files_to_run() {
    assert!(!files().is_empty() || std::env::var("SLT").is_ok());
}
