//! `arneb tpch run`: the 22 queries in this process or on a server, every answer checked, a table of what they took.
//!
//! Position: a command. [`local`] runs the queries here, [`remote`] on a server, [`report`] is what is printed. Deliberately elsewhere:
//! data (`tpch_gen`), queries and answers (`tpch`).

mod local;
mod remote;
mod report;

use std::path::PathBuf;

use clap::Args;

pub use self::{
    remote::ServerAddress,
    report::{OutputFormat, QueryReport, RunReport, Verdict},
};
use super::parse_bytes;
use crate::error::Result;

/// What to run.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Scale factor; answers are known for 0.01, 0.1, 1 and 10.
    #[arg(long, short, default_value_t = 1.0, value_name = "N")]
    pub scale: f64,
    /// Directory of the Parquet files; generated into it if they are not there [default: tpch-data/sfN]
    #[arg(long, value_name = "DIR", conflicts_with = "connect")]
    pub data: Option<PathBuf>,
    /// Which queries: 1,6 or 1-5 [default: all]
    #[arg(long, value_name = "LIST", value_parser = parse_queries)]
    pub queries: Option<QueryList>,
    /// Timed runs of each query, after one that is not timed if there are several.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", conflicts_with = "connect", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// Memory budget of a query: 512MB, 4GB, … [default: four fifths of the machine's]
    #[arg(long, value_name = "SIZE", conflicts_with = "connect", value_parser = parse_bytes)]
    pub memory: Option<usize>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Write the profile of every query's last run there, as profile/v1 JSON.
    #[arg(long, value_name = "DIR", conflicts_with = "connect")]
    pub profiles: Option<PathBuf>,
    /// Run the queries on the server that listens there, not in this process; the port is 5432 unless given
    #[arg(long, value_name = "HOST:PORT")]
    pub connect: Option<ServerAddress>,
    /// User on the server
    #[arg(long, value_name = "NAME", default_value = "arneb", requires = "connect")]
    pub user: String,
    /// Database on the server
    #[arg(long, value_name = "NAME", default_value = "arneb", requires = "connect")]
    pub database: String,
    /// Where the server has the tables, if not under their plain names: SCHEMA or CATALOG.SCHEMA, such as tpch.sf1
    #[arg(long, value_name = "NAME", requires = "connect")]
    pub search_path: Option<String>,
}

/// Numbers of queries, in the order they run.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryList(Vec<usize>);

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

impl RunArguments {
    fn numbers(&self) -> Vec<usize> {
        self.queries.clone().map_or_else(|| (1..=tpch::QUERY_COUNT).collect(), |list| list.0)
    }
}

/// Runs and prints; answers whether every answer was right.
///
/// # Errors
/// Those of [`measure`].
pub fn run(arguments: &RunArguments) -> Result<bool> {
    let report = measure(arguments)?;
    report.print(arguments.output)?;
    Ok(report.is_right())
}

/// Runs. Blocks: not for a thread that drives tasks.
///
/// # Errors
/// Data that cannot be generated or opened, a server that cannot be reached; not a query that fails.
pub fn measure(arguments: &RunArguments) -> Result<RunReport> {
    match &arguments.connect {
        Some(address) => remote::measure(address, arguments),
        None => local::measure(arguments),
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
}
