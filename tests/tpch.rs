//! The 22 TPC-H queries over generated Parquet files at scale 0.01, against the known answers.

use std::sync::Arc;

use arneb::{
    Engine,
    catalog::memory::MemoryCatalog,
    cli::tpch_gen::{self, GenArguments},
    connectors::parquet::ParquetTable,
    engine::EngineOptions,
};
use operators::Scalar;
use pipelines::CancelToken;

const SCALE: f64 = 0.01;

fn engine(directory: &std::path::Path, num_threads: usize, batch_rows: usize) -> Arc<Engine> {
    let engine = Engine::new(EngineOptions { num_threads, batch_rows, ..EngineOptions::default() });
    let catalog = MemoryCatalog::new();
    for table in tpch::Table::ALL {
        let path = tpch_gen::table_path(directory, table).unwrap();
        catalog.add("default", table.name(), Arc::new(ParquetTable::open(path.to_str().unwrap()).unwrap()));
    }
    engine.catalogs.add("file", catalog);
    engine
}

fn rows(engine: &Arc<Engine>, sql: &str) -> arneb::Result<Vec<Vec<String>>> {
    let session = engine.session();
    let statement = session.parse(sql)?.remove(0);
    let mut running = session.start_query(&statement, CancelToken::new())?;
    let mut rows = vec![];
    while let Some(batch) = running.rows.next_blocking()? {
        for row in 0..batch.num_rows() {
            let cell = |column| match Scalar::from_array(column, row).unwrap() {
                value if value.is_null() => "NULL".to_owned(),
                value => value.to_string(),
            };
            rows.push(batch.columns().iter().map(cell).collect());
        }
    }
    Ok(rows)
}

#[test]
fn all_22_queries_give_the_known_answers() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().to_owned();
    tpch_gen::run(&GenArguments { scale: SCALE, output: output.clone(), parts: 1, threads: None }).unwrap();
    let mut failures = vec![];
    for (num_threads, batch_rows) in [(1, 8192), (3, 8192), (1, 7), (3, 64)] {
        let engine = engine(&output, num_threads, batch_rows);
        for (number, sql) in tpch::queries() {
            let answer = tpch::answer(SCALE, number).unwrap();
            let outcome = rows(&engine, sql).map_err(|e| e.to_string());
            let outcome = outcome.and_then(|rows| tpch::compare(&answer, &rows).map_err(|e| e.to_string()));
            if let Err(reason) = outcome {
                failures.push(format!("query {number} with {num_threads} threads and batches of {batch_rows} rows: {reason}"));
            }
        }
        assert_eq!(engine.memory.used_bytes(), 0, "memory was not given back");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
