//! The command line: what `arneb` can be told, and one file per command.
//!
//! Position: called by `main`, above everything else. Without a command it starts the server.

pub mod cluster_chaos;
pub mod cluster_local;
pub mod local_cluster;
pub mod serve;
pub mod tpch_gen;
pub mod tpch_run;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Role;

/// The arguments.
#[derive(Debug, Parser)]
#[command(
    name = "arneb",
    version,
    about = "A SQL engine for analytics over Parquet",
    long_about = "A SQL engine for analytics over Parquet: one binary that is a standalone server for PostgreSQL \
                  clients, the coordinator of a cluster or one of its workers, a generator of TPC-H data and a benchmark. Without a \
                  command it starts the server.",
    after_help = "Examples:\n  \
        arneb                                     start a server on 127.0.0.1:5432 with the built-in catalog tpch\n  \
        arneb --config arneb.toml --port 5433     start a server with the tables of a file\n  \
        arneb --config a.toml --role coordinator  start the coordinator of a cluster\n  \
        arneb --config b.toml --role worker       start a worker, which finds its coordinator by [cluster] coordinator_address\n  \
        arneb tpch run                            generate TPC-H at scale 1 if needed, run and check the 22 queries\n  \
        arneb tpch gen --scale 10 --output data   write TPC-H as Parquet files, and an arneb.toml beside them\n  \
        arneb cluster local --workers 3           a coordinator and three workers on this machine, with TPC-H\n  \
        psql -h 127.0.0.1 -p 5432 -c \"SELECT count(*) FROM tpch.tiny.lineitem\""
)]
pub struct Arguments {
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeArguments,
    /// Log more: -v debug, -vv trace. RUST_LOG has precedence.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Log errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Configuration file [default: ./arneb.toml if there is one]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", env = "ARNEB_BIND_ADDRESS")]
    pub bind: Option<String>,
    /// Port of the PostgreSQL protocol [default: 5432]; the web is 1000 above, Flight at the rpc_port of the configuration; not of workers
    #[arg(long, value_name = "PORT", env = "ARNEB_PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// What this process is [default: the role in the configuration, else standalone]
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// Threads that run queries [default: one per core]
    #[arg(long, value_name = "N", env = "ARNEB_MAX_WORKER_THREADS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// Memory budget of queries: 512MB, 4GB, … [default: four fifths of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub memory: Option<usize>,
    /// The same in MiB; for compatibility.
    #[arg(long, hide = true, env = "ARNEB_MAX_MEMORY_MB")]
    pub max_memory_mb: Option<usize>,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// TPC-H: generate the data, run and check the queries.
    #[command(subcommand)]
    Tpch(TpchCommand),
    /// Clusters on this machine: to try one, and to see what it endures.
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

/// Cluster commands.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Start a coordinator and workers on this machine, with TPC-H tables; Ctrl-C ends them.
    #[command(after_help = "Exit status: 0 if all nodes ran until they were stopped, 1 if one ended by itself.\n\n\
        Example:\n  arneb cluster local --workers 3 --scale 1\n  psql -h 127.0.0.1 -p 5432 -c \"SELECT * FROM system.nodes\"")]
    Local(cluster_local::LocalArguments),
    /// Run the TPC-H queries on a cluster whose workers are killed, stopped and restarted meanwhile.
    #[command(after_help = "Exit status: 0 if every answer is right, nothing hangs and nothing is left behind; else 1.\n\n\
        Examples:\n  arneb cluster chaos --workers 3 --scale 1 --minutes 10 --seed 7\n  \
        arneb cluster chaos --kill --minutes 2 --recovery off      queries fail: the disturbances meet something\n  \
        arneb cluster chaos --kill-at 0.1,0.5,0.9                  how much longer each query takes when a worker dies")]
    Chaos(cluster_chaos::ChaosArguments),
}

/// TPC-H commands.
#[derive(Debug, Subcommand)]
pub enum TpchCommand {
    /// Write the eight tables as Parquet files, and an arneb.toml that serves them.
    #[command(after_help = "Example:\n  arneb tpch gen --scale 10 --output data && arneb --config data/arneb.toml")]
    Gen(tpch_gen::GenArguments),
    /// Run the 22 queries, in this process or on a server, check every answer, print a table.
    #[command(after_help = "Exit status: 0 if every answer is right, 1 if one is wrong or a query fails.\n\n\
        Examples:\n  arneb tpch run\n  arneb tpch run --scale 10 --threads 2 --queries 1,6 --runs 5\n  \
        arneb tpch run --output json --profiles profiles > run.json\n  \
        arneb tpch run --connect 127.0.0.1:5432 --search-path tpch.sf1")]
    Run(tpch_run::RunArguments),
}

/// A number of bytes: `4GB`, `512MiB`, `1000000`. Units are powers of 1024.
///
/// # Errors
/// What is wrong with it.
pub fn parse_bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0_f64.powi(4),
        unit => return Err(format!("unknown unit \"{unit}\": use KB, MB, GB or TB")),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number * factor < 1e18 => Ok((number * factor) as usize),
        _ => Err("expected a size such as 512MB or 4GB".to_owned()),
    }
}

/// Four fifths of the machine's memory, in bytes; 4 GiB where that cannot be found out.
pub fn default_memory_bytes() -> usize {
    let kibibytes = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    });
    kibibytes.map_or(4 << 30, |k| k * 1024 / 5 * 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("4GB", Some(4 << 30)),
            ("512 MiB", Some(512 << 20)),
            ("1.5k", Some(1536)),
            ("7", Some(7)),
            ("x", None),
            ("0", None),
            ("4 parsecs", None),
        ] {
            assert_eq!(parse_bytes(text).ok(), expected, "{text}");
        }
    }
}
