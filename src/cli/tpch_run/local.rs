//! The queries in this process, over Parquet files that are generated where they are missing.
//!
//! Position: what `arneb tpch run` does without a server. Deliberately elsewhere: data (`tpch_gen`).

use std::{path::Path, sync::Arc};

use operators::Scalar;
use pipelines::{Batch, CancelToken};
use tpch::Table;

use super::{
    OutputFormat, RunArguments,
    report::{QueryReport, RunReport, timed},
};
use crate::{
    Engine,
    catalog::memory::MemoryCatalog,
    cli::{default_memory_bytes, tpch_gen},
    connectors::parquet::ParquetTable,
    engine::EngineOptions,
    error::{Error, Result},
    execution::profile::{Profile, ProfileNode},
};

/// Runs the queries.
///
/// # Errors
/// Data that cannot be generated or opened; not a query that fails.
pub(super) fn measure(arguments: &RunArguments) -> Result<RunReport> {
    let directory = tpch_gen::ensure(arguments.data.as_deref(), arguments.scale, arguments.threads.map(usize::from))?;
    let engine = engine(arguments, &directory)?;
    let mut queries = vec![];
    for number in arguments.numbers() {
        let report = run_query(&engine, number, arguments)?;
        if arguments.output == OutputFormat::Table && arguments.runs > 1 {
            eprintln!("query {number}: {:.3} s", report.seconds);
        }
        queries.push(report);
    }
    let report = RunReport::new(arguments.scale, queries);
    Ok(RunReport { threads: Some(engine.options.num_threads), peak_resident_bytes: peak_resident_bytes(), ..report })
}

fn engine(arguments: &RunArguments, directory: &Path) -> Result<Arc<Engine>> {
    let memory_bytes = arguments.memory.unwrap_or_else(default_memory_bytes);
    let defaults = EngineOptions::default();
    let engine = Engine::new(EngineOptions {
        num_threads: arguments.threads.map_or(defaults.num_threads, usize::from),
        memory_bytes,
        query_memory_bytes: memory_bytes,
        ..defaults
    });
    let catalog = MemoryCatalog::new();
    for table in Table::ALL {
        let path = tpch_gen::table_path(directory, table)
            .ok_or_else(|| Error::connector(format!("\"{}\" has no table {}", directory.display(), table.name())))?;
        let opened = ParquetTable::open(&path.display().to_string())?;
        catalog.add("default", table.name(), Arc::new(opened));
    }
    engine.catalogs.add("file", catalog);
    Ok(engine)
}

fn run_query(engine: &Arc<Engine>, number: usize, arguments: &RunArguments) -> Result<QueryReport> {
    let sql = tpch::query(number).ok_or_else(|| Error::internal("a query number was not checked"))?;
    let shown = |error: Error| format!("{} ({})", error.message, error.sqlstate.0);
    let (executed, seconds) = match timed(arguments.runs, || execute(engine, sql).map_err(shown)) {
        Ok(executed) => executed,
        Err(message) => return Ok(QueryReport::failed(number, message)),
    };
    if let Some(directory) = &arguments.profiles {
        write_profile(directory, number, &executed.profile)?;
    }
    let rows = as_text(&executed.batches)?;
    Ok(QueryReport {
        rows_scanned: Some(rows_scanned(&executed.profile.root)),
        peak_memory_bytes: executed.profile.peak_memory_bytes,
        ..QueryReport::answered(number, arguments.scale, &rows, seconds)
    })
}

struct Executed {
    batches: Vec<Batch>,
    profile: Profile,
}

fn execute(engine: &Arc<Engine>, sql: &str) -> Result<Executed> {
    let session = engine.session();
    let statements = session.parse(sql)?;
    let statement = statements.first().ok_or_else(|| Error::internal("the query is empty"))?;
    let mut running = session.start_query(statement, CancelToken::new())?;
    let mut batches = vec![];
    while let Some(batch) = running.rows.next_blocking()? {
        batches.push(batch);
    }
    Ok(Executed { batches, profile: running.profile(sql) })
}

fn as_text(batches: &[Batch]) -> Result<Vec<Vec<String>>> {
    let row = |batch: &Batch, row: usize| batch.columns().iter().map(|column| Ok(cell(&Scalar::from_array(column, row)?))).collect();
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |r| row(batch, r))).collect()
}

fn cell(scalar: &Scalar) -> String {
    if scalar.is_null() { "NULL".to_owned() } else { scalar.to_string() }
}

/// Rows of the row groups that scans looked at, those they skipped by statistics left out.
fn rows_scanned(node: &ProfileNode) -> u64 {
    let own: u64 = node
        .actual
        .iter()
        .flat_map(|actual| &actual.parts)
        .filter(|stage| stage.role == "scan")
        .map(|stage| stage.metrics.extra.get("rows_scanned").unwrap_or(stage.metrics.rows_out))
        .sum();
    own + node.inputs.iter().map(rows_scanned).sum::<u64>()
}

fn write_profile(directory: &Path, number: usize, profile: &Profile) -> Result<()> {
    let path = directory.join(format!("q{number:02}.json"));
    let text = serde_json::to_string_pretty(profile).map_err(|error| Error::internal(error.to_string()))?;
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Error::connector(format!("cannot write \"{}\": {error}", path.display())))
}

/// The most memory this process ever held, as the operating system counts it; `None` where it does not say.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
