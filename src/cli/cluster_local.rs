//! `arneb cluster local`: a coordinator and workers on this machine, with TPC-H tables, until it is interrupted.
//!
//! Position: a command, to try a cluster in one line. Ports are those everybody knows where they are free, else the next; which they
//! are is printed. Deliberately elsewhere: the processes and their configuration files ([`super::local_cluster`]), the data
//! (`tpch_gen`).

use std::{
    collections::BTreeSet,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use super::{
    default_memory_bytes,
    local_cluster::{CoordinatorPorts, LocalCluster, LocalClusterOptions, tpch_tables},
    serve::stop_signal,
    tpch_gen,
};
use crate::error::{Error, ErrorKind, Result};

/// How often the processes are looked at.
const WATCH: Duration = Duration::from_millis(500);

/// How long a node may take to end before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// The coordinator's Flight port, where it is free.
const FIRST_RPC_PORT: u16 = 9090;

/// What cluster to run.
#[derive(Debug, Clone, Args)]
pub struct LocalArguments {
    /// Workers.
    #[arg(long, short, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Scale factor of the TPC-H tables.
    #[arg(long, short, default_value_t = 1.0, value_name = "N")]
    pub scale: f64,
    /// Port of the PostgreSQL protocol, or the next that is free.
    #[arg(long, default_value_t = 5432, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Threads of each node that run queries [default: the cores, divided among the workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// Directory of the Parquet files; generated into it if they are not there [default: tpch-data/sfN]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Runs until SIGINT or SIGTERM; answers whether all nodes ran until then.
///
/// # Errors
/// Data that cannot be generated, a cluster that does not start.
pub fn run(arguments: &LocalArguments) -> Result<bool> {
    let data = tpch_gen::ensure(arguments.data.as_deref(), arguments.scale, None)?;
    let directory = std::env::temp_dir().join(format!("arneb-cluster-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|error| Error::connector(format!("cannot make {}: {error}", directory.display())))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("cannot start the I/O threads: {error}")))?;
    let result = options(arguments, &data, &directory).and_then(|options| runtime.block_on(serve(arguments, options)));
    match &result {
        Ok(true) => {
            // Left-over files in a temporary directory harm nobody.
            let _ = std::fs::remove_dir_all(&directory);
        }
        _ => eprintln!("configuration and logs of the nodes: {}", directory.display()),
    }
    result
}

fn options(arguments: &LocalArguments, data: &Path, directory: &Path) -> Result<LocalClusterOptions> {
    let num_workers = usize::from(arguments.workers);
    let num_cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    Ok(LocalClusterOptions {
        program: std::env::current_exe().map_err(|error| Error::internal(format!("cannot find the program itself: {error}")))?,
        directory: directory.to_owned(),
        num_workers,
        threads: arguments.threads.map_or((num_cores / num_workers).max(1), usize::from),
        memory_mb: ((default_memory_bytes() >> 20) / (num_workers + 1)).max(256),
        tables: tpch_tables(data)?,
        cluster_keys: vec![],
    })
}

async fn serve(arguments: &LocalArguments, options: LocalClusterOptions) -> Result<bool> {
    let directory = options.directory.clone();
    let (ports, worker_ports) = choose_ports(arguments.port, options.num_workers, is_free)?;
    println!("starting a coordinator and {} workers of {} threads each", options.num_workers, options.threads);
    let mut cluster = tokio::select! {
        cluster = LocalCluster::start_at(options, ports, &worker_ports) => cluster?,
        // What has been started is dropped, and killed.
        () = stop_signal() => return Ok(true),
    };
    println!("{}", invitation(ports, &worker_ports, arguments.scale, &directory));
    let all_ran = tokio::select! {
        biased;
        // First: a terminal interrupts the nodes too, and they end because of it.
        () = stop_signal() => true,
        name = first_end(&mut cluster) => {
            eprintln!("{name} has ended by itself\n{}", cluster.logs());
            false
        }
    };
    println!("stopping");
    stop(&mut cluster).await;
    Ok(all_ran)
}

/// The name of the first node that ends.
async fn first_end(cluster: &mut LocalCluster) -> String {
    loop {
        if let Some(node) = cluster.nodes_mut().find_map(|node| node.exit_status().map(|_| node.name().to_owned())) {
            return node;
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// Asks every node to end, workers before the coordinator, and kills those that do not.
async fn stop(cluster: &mut LocalCluster) {
    let nodes: Vec<_> = cluster.nodes_mut().collect();
    for node in nodes.into_iter().rev() {
        // A terminal has interrupted them all already: then there is nobody to ask.
        if node.exit_status().is_none() && node.terminate().and(node.wait_exit(STOP_PATIENCE).await).is_err() {
            eprintln!("{} does not end, and is killed", node.name());
            node.kill();
        }
    }
}

/// The ports of the coordinator and the Flight ports of the workers: the known ones, or the next that are free.
fn choose_ports(sql: u16, num_workers: usize, is_free: impl Fn(u16) -> bool) -> Result<(CoordinatorPorts, Vec<u16>)> {
    let mut taken = BTreeSet::new();
    let mut next = |from: u16| {
        let port = (from..=u16::MAX).find(|port| !taken.contains(port) && is_free(*port));
        let port = port.ok_or_else(|| {
            Error::new(ErrorKind::Resource, "58030", format!("no port from {from} on is free")).with_hint("choose a lower --port")
        })?;
        taken.insert(port);
        Ok::<u16, Error>(port)
    };
    let sql = next(sql)?;
    let ports = CoordinatorPorts { sql, web: next(sql.saturating_add(1000))?, rpc: next(FIRST_RPC_PORT)? };
    let workers = (0..num_workers).map(|_| next(ports.rpc)).collect::<Result<Vec<u16>>>()?;
    Ok((ports, workers))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// What there is, and what to type next.
fn invitation(ports: CoordinatorPorts, worker_ports: &[u16], scale: f64, directory: &Path) -> String {
    let CoordinatorPorts { sql, web, rpc } = ports;
    let workers: Vec<String> = worker_ports.iter().enumerate().map(|(index, port)| format!("worker-{} on {port}", index + 1)).collect();
    format!(
        "\nThe cluster is ready:\n  \
           SQL     127.0.0.1:{sql}\n  \
           web     http://127.0.0.1:{web}\n  \
           Flight  coordinator on {rpc}, {workers}\n  \
           logs    {directory}/*.log\n\n\
         Next, in another terminal:\n  \
           psql -h 127.0.0.1 -p {sql} -c \"SELECT count(*) FROM lineitem\"\n  \
           psql -h 127.0.0.1 -p {sql} -c \"SELECT node_id, state, running_tasks FROM system.nodes\"\n  \
           arneb tpch run --connect 127.0.0.1:{sql} --scale {scale}\n\n\
         Ctrl-C ends it.",
        workers = workers.join(", "),
        directory = directory.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ports_are_taken_where_they_are_free() {
        let (ports, workers) = choose_ports(5432, 3, |_| true).unwrap();
        assert_eq!((ports.sql, ports.web, ports.rpc), (5432, 6432, 9090));
        assert_eq!(workers, [9091, 9092, 9093]);
    }

    #[test]
    fn ports_that_are_taken_are_passed_over() {
        let taken = [5432, 6433, 9090, 9092];
        let (ports, workers) = choose_ports(5432, 2, |port| !taken.contains(&port)).unwrap();
        assert_eq!((ports.sql, ports.web, ports.rpc), (5433, 6434, 9091));
        assert_eq!(workers, [9093, 9094]);
    }

    #[test]
    fn no_port_is_given_twice_and_there_may_be_none() {
        let (ports, workers) = choose_ports(9089, 2, |_| true).unwrap();
        assert_eq!((ports.sql, ports.rpc, workers), (9089, 9090, vec![9091, 9092]));
        let (ports, workers) = choose_ports(9091, 2, |_| true).unwrap();
        assert_eq!((ports.sql, ports.rpc, workers), (9091, 9090, vec![9092, 9093]));
        let error = choose_ports(65_535, 1, |port| port != 65_535).err().unwrap();
        assert_eq!(error.message, "no port from 65535 on is free");
    }
}
