//! Random queries through the whole engine, compared with the naive evaluation of their bound plans.
//!
//! The queries are those of `plans::random`, half of them under an ORDER BY over all columns with LIMIT and
//! OFFSET, where the order of rows counts too. `RANDOM_QUERIES` sets how many, `RANDOM_SEED` where to begin; a
//! failure names its seed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arneb::{Engine, catalog::memory::MemoryCatalog, connectors::memory::MemoryTable, engine::EngineOptions, session::Outcome};
use arrow::{array::new_empty_array, compute::concat};
use operators::Scalar;
use pipelines::{Batch, CancelToken};

use super::{
    naive::evaluate,
    tables::{CATALOG, SCHEMA, TestTable, TestTables},
    text,
};
use crate::{
    fixture::{SHAPES, Shape},
    plans::{bound, random::generate},
};

/// When to stop, however many queries are left: a slow machine checks fewer.
const TIME: Duration = Duration::from_secs(20);

fn engine(shape: Shape) -> Arc<Engine> {
    Engine::new(EngineOptions {
        num_threads: shape.num_threads,
        batch_rows: shape.batch_rows,
        default_catalog: CATALOG.to_owned(),
        default_schema: SCHEMA.to_owned(),
        ..EngineOptions::default()
    })
}

/// The rows as batches of the shape's size.
fn memory_table(table: &TestTable, batch_rows: usize) -> MemoryTable {
    let batch = |rows: &[Vec<Scalar>]| {
        let column = |index: usize| {
            let values: Vec<_> = rows.iter().map(|row| row[index].to_array(1)).collect();
            concat(&values.iter().map(AsRef::as_ref).collect::<Vec<_>>())
                .unwrap_or_else(|_| new_empty_array(table.schema.field(index).data_type()))
        };
        Batch::new((0..table.schema.fields().len()).map(column).collect(), rows.len())
    };
    MemoryTable::new(Arc::clone(&table.schema), table.rows.chunks(batch_rows).map(batch).collect())
}

fn run(engine: &Arc<Engine>, tables: &TestTables, sql: &str) -> arneb::Result<Vec<Vec<Scalar>>> {
    let catalog = MemoryCatalog::new();
    for (name, table) in &tables.0 {
        catalog.add(SCHEMA, name, Arc::new(memory_table(table, engine.options.batch_rows)));
    }
    engine.catalogs.add(CATALOG, catalog);
    let mut session = engine.session();
    let statement = session.parse(sql)?.remove(0);
    let prepared = session.prepare(statement, &[])?;
    let Outcome::Rows(mut stream) = session.execute(&prepared, &[], CancelToken::new())? else { panic!("not a query: {sql}") };
    let mut rows = vec![];
    while let Some(batch) = stream.next_blocking()? {
        let value = |row: usize| batch.columns().iter().map(|column| Scalar::from_array(column, row).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(value));
    }
    Ok(rows)
}

fn texts(rows: &[Vec<Scalar>], is_ordered: bool) -> Vec<String> {
    let mut rows: Vec<String> = rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect();
    if !is_ordered {
        rows.sort();
    }
    rows
}

/// Whether the query could be checked.
fn check(seed: u64, engines: &[Arc<Engine>]) -> bool {
    let (tables, mut sql) = generate(seed);
    let bind = |sql: &str| bound(sql, &tables.catalogs()).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{sql}"));
    let mut query = bind(&sql);
    let is_ordered = seed.is_multiple_of(2);
    if is_ordered {
        let directions = ["", " desc", " nulls first", " desc nulls last"];
        let keys: Vec<String> = (0..query.output.len()).map(|i| format!("{}{}", i + 1, directions[(seed as usize / 2 + i) % 4])).collect();
        sql = format!("select * from ({sql}) as x order by {} limit {} offset {}", keys.join(", "), 1 + seed % 7, seed / 2 % 3);
        query = bind(&sql);
    }
    let Ok(expected) = evaluate(&query, &tables.rows()) else { return false };
    let expected = texts(&expected, is_ordered);
    for engine in engines {
        let found = match run(engine, &tables, &sql) {
            Ok(rows) => texts(&rows, is_ordered),
            Err(error) if error.sqlstate.0 == "0A000" => return false,
            Err(error) => panic!("seed {seed}: {error}\n{sql}\n{:?}", tables.rows()),
        };
        assert_eq!(found, expected, "seed {seed} (left: engine, right: naive)\n{sql}\n{:?}", tables.rows());
        assert_eq!(engine.memory.used_bytes(), 0, "seed {seed}: memory was not given back\n{sql}");
    }
    true
}

#[test]
fn the_engine_gives_the_rows_of_the_naive_evaluator() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, count) = (number("RANDOM_SEED", 1001), number("RANDOM_QUERIES", 400));
    let engines = [engine(SHAPES[0]), engine(SHAPES[2])];
    let start = Instant::now();
    let (mut tried, mut checked) = (0, 0);
    for seed in first..first + count {
        if start.elapsed() > TIME {
            break;
        }
        tried += 1;
        checked += u64::from(check(seed, &engines));
    }
    assert!(checked * 10 > tried * 8, "only {checked} of {tried} queries could be checked");
}
