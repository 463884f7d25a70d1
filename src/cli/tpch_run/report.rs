//! What a run of the queries has shown, and how it is printed.
//!
//! Position: filled by [`super::local`] and [`super::remote`]. What only the process that runs a query knows is unknown of a server.

use std::time::Instant;

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Table as TextTable, presets};
use serde::Serialize;

use crate::error::{Error, Result};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// All queries.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// Of this program.
    pub version: &'static str,
    /// The server that ran the queries; `None`: this process.
    pub server: Option<String>,
    /// Scale whose answers are the right ones.
    pub scale: f64,
    /// Threads of the pool.
    pub threads: Option<usize>,
    /// Each query, in the order they ran.
    pub queries: Vec<QueryReport>,
    /// Sum of the queries' medians.
    pub total_seconds: f64,
    /// Geometric mean of the queries' medians.
    pub geometric_mean_seconds: f64,
    /// The most memory this process ever held.
    pub peak_resident_bytes: Option<u64>,
}

/// What one query did.
#[derive(Debug, Clone, Serialize)]
pub struct QueryReport {
    /// Its number.
    pub query: usize,
    /// Rows of the result.
    pub rows: usize,
    /// Median of the timed runs, from SQL text to the last row.
    pub seconds: f64,
    /// Every timed run.
    pub all_seconds: Vec<f64>,
    /// Rows that scans looked at.
    pub rows_scanned: Option<u64>,
    /// The most memory the query reserved.
    pub peak_memory_bytes: Option<u64>,
    /// Whether the answer is right.
    pub verdict: Verdict,
    /// Why it is not.
    pub message: Option<String>,
}

/// Whether an answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Ok,
    /// It is not.
    Wrong,
    /// There is none.
    Failed,
    /// No answer is known at this scale.
    Unchecked,
}

impl QueryReport {
    /// A query that gave `rows` in runs of so many seconds.
    pub(super) fn answered(query: usize, scale: f64, rows: &[Vec<String>], all_seconds: Vec<f64>) -> Self {
        let (verdict, message) = match tpch::answer(scale, query) {
            None => (Verdict::Unchecked, None),
            Some(answer) => match tpch::compare(&answer, rows) {
                Ok(()) => (Verdict::Ok, None),
                Err(difference) => (Verdict::Wrong, Some(difference.to_string())),
            },
        };
        QueryReport {
            query,
            rows: rows.len(),
            seconds: median(&all_seconds),
            all_seconds,
            rows_scanned: None,
            peak_memory_bytes: None,
            verdict,
            message,
        }
    }

    /// A query that gave an error.
    pub(super) fn failed(query: usize, message: String) -> Self {
        QueryReport {
            query,
            rows: 0,
            seconds: 0.0,
            all_seconds: vec![],
            rows_scanned: None,
            peak_memory_bytes: None,
            verdict: Verdict::Failed,
            message: Some(message),
        }
    }
}

impl RunReport {
    /// The report of `queries`.
    pub(super) fn new(scale: f64, queries: Vec<QueryReport>) -> Self {
        RunReport {
            version: env!("CARGO_PKG_VERSION"),
            server: None,
            scale,
            threads: None,
            total_seconds: queries.iter().map(|q| q.seconds).sum(),
            geometric_mean_seconds: (queries.iter().map(|q| q.seconds.max(1e-9).ln()).sum::<f64>() / queries.len().max(1) as f64).exp(),
            peak_resident_bytes: None,
            queries,
        }
    }

    /// Whether no answer is wrong or missing.
    pub fn is_right(&self) -> bool {
        self.queries.iter().all(|q| matches!(q.verdict, Verdict::Ok | Verdict::Unchecked))
    }

    /// Writes it to the standard output.
    ///
    /// # Errors
    /// XX000, never seen.
    pub fn print(&self, format: OutputFormat) -> Result<()> {
        match format {
            OutputFormat::Table => println!("{self}"),
            OutputFormat::Json => {
                println!("{}", serde_json::to_string_pretty(self).map_err(|error| Error::internal(error.to_string()))?);
            }
        }
        Ok(())
    }
}

/// Runs a query `runs` times, and once before where that is more than once; answers the last result and how long each timed run took.
pub(super) fn timed<T>(runs: u32, mut execute: impl FnMut() -> Result<T, String>) -> Result<(T, Vec<f64>), String> {
    if runs > 1 {
        execute()?;
    }
    let mut once = || -> Result<(T, f64), String> {
        let start = Instant::now();
        let result = execute()?;
        Ok((result, start.elapsed().as_secs_f64()))
    };
    let (mut last, first) = once()?;
    let mut seconds = vec![first];
    for _ in 1..runs {
        let (result, time) = once()?;
        last = result;
        seconds.push(time);
    }
    Ok((last, seconds))
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

/// A table, a summary, and what was wrong.
impl std::fmt::Display for RunReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = TextTable::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["query", "rows", "time", "rows/s scanned", "peak memory", "answer"]);
        for query in &self.queries {
            let alignment = |index| if (1..=4).contains(&index) { CellAlignment::Right } else { CellAlignment::Left };
            table.add_row(cells(query).into_iter().enumerate().map(|(i, text)| Cell::new(text).set_alignment(alignment(i))));
        }
        writeln!(f, "{table}")?;
        let place = match (&self.server, self.threads) {
            (Some(server), _) => format!(", server {server}"),
            (None, Some(threads)) => format!(", {threads} threads"),
            (None, None) => String::new(),
        };
        let resident = self.peak_resident_bytes.map(|bytes| format!(", peak resident memory {} MB", bytes >> 20)).unwrap_or_default();
        let (total, mean) = (self.total_seconds, self.geometric_mean_seconds);
        write!(f, "scale {}{place}: total {total:.3} s, geometric mean {mean:.3} s{resident}", self.scale)?;
        for query in &self.queries {
            if let Some(message) = &query.message {
                write!(f, "\nq{:02}: {message}", query.query)?;
            }
        }
        Ok(())
    }
}

fn cells(query: &QueryReport) -> [String; 6] {
    let unknown = || "-".to_owned();
    let rate = |rows: u64| if query.seconds > 0.0 { rows as f64 / query.seconds } else { 0.0 };
    let verdict = match query.verdict {
        Verdict::Ok => "ok",
        Verdict::Wrong => "wrong",
        Verdict::Failed => "failed",
        Verdict::Unchecked => "unchecked",
    };
    [
        format!("q{:02}", query.query),
        query.rows.to_string(),
        format!("{:.3} s", query.seconds),
        query.rows_scanned.map_or_else(unknown, |rows| format!("{:.1} M", rate(rows) / 1e6)),
        query.peak_memory_bytes.map_or_else(unknown, |bytes| format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))),
        verdict.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
    }

    #[test]
    fn the_first_of_several_runs_is_not_timed() {
        for (runs, executions) in [(1, 1), (2, 3), (5, 6)] {
            let mut count = 0;
            let (last, seconds) = timed(runs, || {
                count += 1;
                Ok(count)
            })
            .unwrap();
            assert_eq!((last, seconds.len()), (executions, runs as usize));
        }
        assert_eq!(timed(3, || Err::<(), _>("no".to_owned())), Err("no".to_owned()));
    }

    #[test]
    fn answers_are_checked_where_they_are_known() {
        let one = |scale| QueryReport::answered(6, scale, &[vec!["1.5".to_owned()]], vec![0.5]);
        assert_eq!(one(0.01).verdict, Verdict::Wrong);
        assert_eq!(one(3.0).verdict, Verdict::Unchecked);
        let report = RunReport::new(0.01, vec![one(3.0), QueryReport::failed(7, "broken (XX000)".to_owned())]);
        assert!(!report.is_right() && RunReport::new(3.0, vec![one(3.0)]).is_right());
        let shown = report.to_string();
        assert!(shown.contains("q07: broken (XX000)") && shown.contains("unchecked"), "{shown}");
    }
}
