//! `arneb cluster chaos`: the 22 TPC-H queries on a cluster whose workers are killed, stopped and restarted meanwhile.
//!
//! Position: a command. Every answer is checked, every wait is bounded, and at the end nothing may be left behind: neither
//! memory nor file descriptors. What happens to whom and when follows from the seed; what it meets does not, because
//! processes run as they like. Deliberately elsewhere: the processes (`local_cluster`), the queries of the clients ([`load`]), who is
//! disturbed ([`disturbance`]), the numbers ([`report`]), killing at a known moment ([`kill_at`]).

mod disturbance;
mod kill_at;
mod load;
mod report;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, ValueEnum};

use self::{disturbance::Disturber, load::Load, report::Tally};
use super::{
    default_memory_bytes,
    local_cluster::{LocalCluster, LocalClusterOptions, PATIENCE, random::Random, tpch_tables},
    tpch_gen,
    tpch_run::{QueryList, parse_queries},
};
use crate::error::{Error, Result};

/// How often a line says how things stand.
const PROGRESS: Duration = Duration::from_secs(10);

/// How often workers are looked at.
const TICK: Duration = Duration::from_millis(100);

/// What to disturb, and for how long.
#[derive(Debug, Clone, Args)]
pub struct ChaosArguments {
    /// Workers.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Threads of each node.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// Scale factor: one of 0.01, 0.1, 1 and 10, whose answers are known.
    #[arg(long, short, default_value_t = 1.0, value_name = "N")]
    pub scale: f64,
    /// Directory of the Parquet files; generated into it if they are not there [default: tpch-data/sfN]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How long workers are disturbed.
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    pub minutes: f64,
    /// Says who is disturbed, how and when [default: from the clock]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Clients that run queries at the same time.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub connections: u16,
    /// Which queries: 1,6 or 1-5 [default: all]
    #[arg(long, value_name = "LIST", value_parser = parse_queries)]
    pub queries: Option<QueryList>,
    /// Kill workers (SIGKILL) and start them again. Without --kill, --stop and --restart, all three.
    #[arg(long)]
    pub kill: bool,
    /// Stop workers (SIGSTOP) and let them go on.
    #[arg(long)]
    pub stop: bool,
    /// Ask workers to end (SIGTERM) and start them again.
    #[arg(long)]
    pub restart: bool,
    /// Longest pause between two disturbances, in seconds.
    #[arg(long, default_value_t = 8.0, value_name = "SECONDS")]
    pub pause: f64,
    /// A query without an answer after so long hangs.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub bound: u64,
    /// What the cluster does about lost workers: off shows that the disturbances meet something.
    #[arg(long, value_enum, default_value_t = Recovery::Auto)]
    pub recovery: Recovery,
    /// How long a silent worker counts as alive.
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    pub lease_ms: u32,
    /// Instead: kill one worker at these fractions of each query's undisturbed time, and print how long the queries took.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parse_fraction)]
    pub kill_at: Vec<f64>,
}

/// The setting `recovery` of the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Recovery {
    /// What was lost is run again, or the query.
    Auto,
    /// The query is run again.
    Restart,
    /// Nothing: the query fails.
    Off,
}

impl Recovery {
    fn as_setting(self) -> &'static str {
        match self {
            Recovery::Auto => "auto",
            Recovery::Restart => "restart",
            Recovery::Off => "off",
        }
    }
}

fn parse_fraction(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(fraction),
        _ => Err(format!("\"{text}\" is no fraction between 0 and 1")),
    }
}

/// Runs; answers whether there was no wrong answer, no hang, no leak and no node that ended by itself.
///
/// # Errors
/// A scale without answers, data that cannot be generated, a cluster that does not start.
pub fn run(arguments: &ChaosArguments) -> Result<bool> {
    if tpch::answer(arguments.scale, 1).is_none() {
        return Err(Error::unsupported(format!("checking answers at scale {}", arguments.scale)).with_hint("use 0.01, 0.1, 1 or 10"));
    }
    let data = tpch_gen::ensure(arguments.data.as_deref(), arguments.scale, None)?;
    let directory = std::env::temp_dir().join(format!("arneb-chaos-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|error| Error::connector(format!("cannot make {}: {error}", directory.display())))?;
    let program = std::env::current_exe().map_err(|error| Error::internal(format!("cannot find the program itself: {error}")))?;
    let options = LocalClusterOptions {
        program,
        directory: directory.clone(),
        num_workers: usize::from(arguments.workers),
        threads: usize::from(arguments.threads),
        memory_mb: ((default_memory_bytes() >> 20) / (usize::from(arguments.workers) + 1)).max(256),
        tables: tpch_tables(&data)?,
        cluster_keys: vec![("heartbeat_ms", (arguments.lease_ms / 8).max(50).to_string()), ("lease_ms", arguments.lease_ms.to_string())],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start the I/O threads: {error}")))?;
    // An interrupt must not leave stopped processes behind: the cluster is dropped, and kills them.
    let good = runtime.block_on(async {
        tokio::select! {
            good = disturb(arguments, options) => good,
            _ = tokio::signal::ctrl_c() => Err(Error::from(pipelines::Error::Cancelled)),
        }
    });
    match &good {
        Ok(true) => {
            // Left-over files in a temporary directory harm nobody.
            let _ = std::fs::remove_dir_all(&directory);
        }
        _ => eprintln!("configuration and logs of the nodes: {}", directory.display()),
    }
    good
}

async fn disturb(arguments: &ChaosArguments, options: LocalClusterOptions) -> Result<bool> {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
    let seed = arguments.seed.unwrap_or(clock);
    println!("chaos: {} workers, scale {}, seed {seed}, recovery {}", arguments.workers, arguments.scale, arguments.recovery.as_setting());
    let mut cluster = LocalCluster::start(options).await?;
    let load = Arc::new(Load {
        port: cluster.ports().sql,
        scale: arguments.scale,
        queries: arguments.queries.clone().map_or_else(|| (1..=tpch::QUERY_COUNT).collect(), QueryList::numbers),
        bound: Duration::from_secs(arguments.bound),
        recovery: arguments.recovery.as_setting(),
    });
    if !arguments.kill_at.is_empty() {
        return kill_at::run(&mut cluster, &load, &arguments.kill_at, seed).await;
    }

    eprintln!("undisturbed: every client runs every query twice");
    let calm = Arc::new(Tally::default());
    let never = Arc::new(AtomicBool::new(false));
    load::run(&load, arguments.connections, Some(2), seed, &calm, &never).await;
    calm.check_calm()?;
    cluster.wait_quiet().await?;
    let files = cluster.open_files();

    let tally = Arc::new(Tally::default());
    let stop = Arc::new(AtomicBool::new(false));
    let clients = tokio::spawn({
        let (load, tally, stop, connections) = (Arc::clone(&load), Arc::clone(&tally), Arc::clone(&stop), arguments.connections);
        async move { load::run(&load, connections, None, seed.wrapping_add(1), &tally, &stop).await }
    });
    let mut disturber = Disturber::new(arguments, Random::new(seed));
    let start = Instant::now();
    let mut next_progress = start + PROGRESS;
    while start.elapsed().as_secs_f64() < arguments.minutes * 60.0 {
        tokio::time::sleep(TICK).await;
        disturber.tick(&mut cluster)?;
        if Instant::now() >= next_progress {
            next_progress += PROGRESS;
            tally.note_attempts(&cluster).await;
            eprintln!("{}", tally.progress(start.elapsed(), &disturber));
        }
    }
    // Clients end their last queries while workers are being brought back.
    stop.store(true, Ordering::Relaxed);
    disturber.repair_all(&mut cluster).await?;
    if tokio::time::timeout(load.bound + PATIENCE, clients).await.is_err() {
        tally.note_leak("a client does not end");
    }
    tally.note_attempts(&cluster).await;
    for settled in [cluster.wait_active(cluster.num_workers()).await, cluster.wait_quiet().await, cluster.wait_for_files(&files).await] {
        if let Err(error) = settled {
            tally.note_leak(&error.message);
        }
    }
    tally.print(&calm, &disturber);
    let recovers = arguments.recovery != Recovery::Off;
    Ok(tally.is_good(recovers) && disturber.own_ends == 0 && disturber.stuck_ends == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_between_nothing_and_all() {
        assert_eq!(parse_fraction(" 0.5"), Ok(0.5));
        assert!(parse_fraction("1.5").is_err());
        assert!(parse_fraction("half").is_err());
    }
}
