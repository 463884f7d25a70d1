//! `arneb tpch run`: the 22 queries in this process, every answer checked, a table of what they took.
//!
//! Position: a command. Deliberately elsewhere: data (`tpch_gen`), queries and answers (`tpch`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, Table as TextTable, presets};
use operators::Scalar;
use pipelines::{Batch, CancelToken};
use serde::Serialize;
use tpch::Table;

use super::{default_memory_bytes, parse_bytes, tpch_gen};
use crate::{
    Engine,
    catalog::memory::MemoryCatalog,
    connectors::parquet::ParquetTable,
    engine::EngineOptions,
    error::{Error, Result},
    execution::profile::{Profile, ProfileNode},
};

/// What to run.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Scale factor; answers are known for 0.01, 0.1, 1 and 10.
    #[arg(long, short, default_value_t = 1.0, value_name = "N")]
    pub scale: f64,
    /// Directory of the Parquet files; generated into it if they are not there [default: tpch-data/sfN]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Which queries: 1,6 or 1-5 [default: all]
    #[arg(long, value_name = "LIST", value_parser = parse_queries)]
    pub queries: Option<QueryList>,
    /// Timed runs of each query, after one that is not timed if there are several.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// Memory budget of a query: 512MB, 4GB, … [default: four fifths of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub memory: Option<usize>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Write the profile of every query's last run there, as profile/v1 JSON.
    #[arg(long, value_name = "DIR")]
    pub profiles: Option<PathBuf>,
}

/// Numbers of queries, in the order they run.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryList(Vec<usize>);

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

impl QueryList {
    /// The numbers.
    pub fn numbers(self) -> Vec<usize> {
        self.0
    }
}

pub(super) fn parse_queries(text: &str) -> Result<QueryList, String> {
    let mut numbers = vec![];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = (first.trim().parse::<usize>(), last.trim().parse::<usize>());
        match bounds {
            (Ok(first), Ok(last)) if 1 <= first && first <= last && last <= 22 => numbers.extend(first..=last),
            _ => return Err(format!("\"{part}\" is no query: they are numbered 1 to 22")),
        }
    }
    Ok(QueryList(numbers))
}

/// What one query did.
#[derive(Debug, Serialize)]
struct QueryReport {
    query: usize,
    rows: usize,
    /// Median of the timed runs, from SQL text to the last row.
    seconds: f64,
    all_seconds: Vec<f64>,
    rows_scanned: u64,
    peak_memory_bytes: u64,
    verdict: Verdict,
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Wrong,
    Failed,
    /// No answer is known at this scale.
    Unchecked,
}

/// All of them.
#[derive(Debug, Serialize)]
struct RunReport {
    version: &'static str,
    scale: f64,
    threads: usize,
    queries: Vec<QueryReport>,
    total_seconds: f64,
    geometric_mean_seconds: f64,
    peak_resident_bytes: Option<u64>,
}

/// Runs; answers whether every answer was right.
///
/// # Errors
/// Data that cannot be generated or opened; not a query that fails.
pub fn run(arguments: &RunArguments) -> Result<bool> {
    let directory = arguments.data.clone().unwrap_or_else(|| PathBuf::from(format!("tpch-data/sf{}", arguments.scale)));
    if !tpch_gen::is_complete(&directory) {
        eprintln!("generating TPC-H at scale {} into {}", arguments.scale, directory.display());
        let threads = arguments.threads.map(usize::from);
        tpch_gen::run(&tpch_gen::GenArguments { scale: arguments.scale, output: directory.clone(), parts: 1, threads })?;
    }
    let engine = engine(arguments, &directory)?;
    let numbers = arguments.queries.clone().map_or_else(|| (1..=22).collect(), QueryList::numbers);
    let mut queries = vec![];
    for number in numbers {
        let report = run_query(&engine, number, arguments)?;
        if arguments.output == OutputFormat::Table && arguments.runs > 1 {
            eprintln!("query {number}: {:.3} s", report.seconds);
        }
        queries.push(report);
    }
    let report = RunReport {
        version: env!("CARGO_PKG_VERSION"),
        scale: arguments.scale,
        threads: engine.options.num_threads,
        total_seconds: queries.iter().map(|q| q.seconds).sum(),
        geometric_mean_seconds: (queries.iter().map(|q| q.seconds.max(1e-9).ln()).sum::<f64>() / queries.len().max(1) as f64).exp(),
        peak_resident_bytes: peak_resident_bytes(),
        queries,
    };
    match arguments.output {
        OutputFormat::Table => print_table(&report),
        OutputFormat::Json => {
            println!("{}", serde_json::to_string_pretty(&report).map_err(|error| Error::internal(error.to_string()))?);
        }
    }
    Ok(report.queries.iter().all(|q| matches!(q.verdict, Verdict::Ok | Verdict::Unchecked)))
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
    let mut seconds = vec![];
    let mut last = None;
    let warm_ups = u32::from(arguments.runs > 1);
    for run in 0..warm_ups + arguments.runs {
        let start = Instant::now();
        match execute(engine, sql) {
            Ok(executed) => last = Some(executed),
            Err(error) => return Ok(QueryReport::failed(number, &error)),
        }
        if run >= warm_ups {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let executed = last.expect("there is at least one run");
    if let Some(directory) = &arguments.profiles {
        write_profile(directory, number, &executed.profile)?;
    }
    let rows = as_text(&executed.batches)?;
    let (verdict, message) = match tpch::answer(arguments.scale, number) {
        None => (Verdict::Unchecked, None),
        Some(answer) => match tpch::compare(&answer, &rows) {
            Ok(()) => (Verdict::Ok, None),
            Err(difference) => (Verdict::Wrong, Some(difference.to_string())),
        },
    };
    Ok(QueryReport {
        query: number,
        rows: rows.len(),
        seconds: median(&seconds),
        all_seconds: seconds,
        rows_scanned: rows_scanned(&executed.profile.root),
        peak_memory_bytes: executed.profile.peak_memory_bytes.unwrap_or(0),
        verdict,
        message,
    })
}

impl QueryReport {
    fn failed(query: usize, error: &Error) -> Self {
        QueryReport {
            query,
            rows: 0,
            seconds: 0.0,
            all_seconds: vec![],
            rows_scanned: 0,
            peak_memory_bytes: 0,
            verdict: Verdict::Failed,
            message: Some(format!("{} ({})", error.message, error.sqlstate.0)),
        }
    }
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
        .flat_map(|actual| &actual.stages)
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

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The most memory this process ever held, as the operating system counts it; `None` where it does not say.
fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

fn print_table(report: &RunReport) {
    let mut table = TextTable::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["query", "rows", "time", "rows/s scanned", "peak memory", "answer"]);
    for query in &report.queries {
        let rate = if query.seconds > 0.0 { query.rows_scanned as f64 / query.seconds } else { 0.0 };
        let verdict = match query.verdict {
            Verdict::Ok => "ok",
            Verdict::Wrong => "wrong",
            Verdict::Failed => "failed",
            Verdict::Unchecked => "unchecked",
        };
        let cells = [
            format!("q{:02}", query.query),
            query.rows.to_string(),
            format!("{:.3} s", query.seconds),
            format!("{:.1} M", rate / 1e6),
            format!("{:.1} MB", query.peak_memory_bytes as f64 / f64::from(1 << 20)),
            verdict.to_owned(),
        ];
        let alignment = |index| if (1..=4).contains(&index) { CellAlignment::Right } else { CellAlignment::Left };
        table.add_row(cells.into_iter().enumerate().map(|(i, text)| Cell::new(text).set_alignment(alignment(i))));
    }
    println!("{table}");
    println!(
        "scale {}, {} threads: total {:.3} s, geometric mean {:.3} s{}",
        report.scale,
        report.threads,
        report.total_seconds,
        report.geometric_mean_seconds,
        report.peak_resident_bytes.map(|bytes| format!(", peak resident memory {} MB", bytes >> 20)).unwrap_or_default()
    );
    for query in &report.queries {
        if let Some(message) = &query.message {
            println!("q{:02}: {message}", query.query);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_lists_and_ranges() {
        assert_eq!(parse_queries("1,6").unwrap(), QueryList(vec![1, 6]));
        assert_eq!(parse_queries("20-22,1").unwrap(), QueryList(vec![20, 21, 22, 1]));
        assert!(parse_queries("0").is_err());
        assert!(parse_queries("6-5").is_err());
        assert!(parse_queries("x").is_err());
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
    }
}
