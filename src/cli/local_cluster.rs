//! A cluster of processes on this machine: one coordinator, some workers, each with its own configuration file and log.
//!
//! Position: under the commands that need such a cluster and under the tests of whole processes. It knows of a node what any
//! user knows: the command line, the TOML file, SQL, signals. Deliberately elsewhere: one process ([`node`]), one client
//! ([`client`]), what is done with the cluster (the commands and tests).
//!
//! Everything is bounded: what waits gives up after [`PATIENCE`] with an error that shows the end of the logs. Dropping the
//! cluster kills its processes.

pub mod client;
pub mod node;
pub mod random;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

pub use client::{Connection, Rows, SqlFailure};
pub use node::{LocalNode, LocalNodeOptions};

use crate::{
    config::Role,
    error::{Error, ErrorKind, Result},
};

/// How long a slow machine may take for what should be quick.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often something that is waited for is looked at.
pub const GLANCE: Duration = Duration::from_millis(20);

/// File descriptors a process may have more than before without having lost them: the runtime, the pool of connections between
/// nodes and the allocator open some when they are first needed.
pub const FILE_ALLOWANCE: usize = 8;

/// States of queries and tasks in which nothing runs any more.
pub const OVER: &[&str] = &["finished", "failed", "cancelled", "canceled", "lost"];

/// A table of Parquet files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFile {
    /// Its name in SQL.
    pub name: String,
    /// A file or a directory.
    pub path: PathBuf,
}

/// What cluster to start.
#[derive(Debug, Clone)]
pub struct LocalClusterOptions {
    /// The program of every node.
    pub program: PathBuf,
    /// Where configuration files, logs and the secret are put; it has to exist.
    pub directory: PathBuf,
    /// Workers, named `worker-1` and so on.
    pub num_workers: usize,
    /// Threads that run queries, of each node.
    pub threads: usize,
    /// Memory budget of each node in MiB.
    pub memory_mb: usize,
    /// The tables, the same on all nodes.
    pub tables: Vec<TableFile>,
    /// Further keys of `[cluster]` on all nodes: names and values as TOML writes them.
    pub cluster_keys: Vec<(&'static str, String)>,
}

/// How one worker differs from what is usual.
#[derive(Debug, Clone, Default)]
pub struct WorkerOptions {
    /// Its Flight port; `None`: a free one.
    pub rpc_port: Option<u16>,
    /// The address that other nodes are told.
    pub advertised_address: Option<String>,
    /// Where it looks for the coordinator; `None`: where that is.
    pub coordinator_address: Option<String>,
    /// Its tables; `None`: those of the cluster.
    pub tables: Option<Vec<TableFile>>,
    /// Where it keeps the secret; `None`: where all do.
    pub state_directory: Option<PathBuf>,
}

/// The processes.
pub struct LocalCluster {
    options: LocalClusterOptions,
    ports: CoordinatorPorts,
    coordinator: LocalNode,
    workers: Vec<LocalNode>,
}

/// Where the coordinator listens.
#[derive(Debug, Clone, Copy)]
pub struct CoordinatorPorts {
    /// The PostgreSQL protocol.
    pub sql: u16,
    /// The web API.
    pub web: u16,
    /// Flight.
    pub rpc: u16,
}

impl LocalCluster {
    /// Starts all nodes on free ports and waits until the coordinator calls every worker active.
    ///
    /// # Errors
    /// A file that cannot be written, a program that does not start, or nodes that do not find each other; with the logs.
    pub async fn start(options: LocalClusterOptions) -> Result<LocalCluster> {
        let ports = CoordinatorPorts { sql: free_port()?, web: free_port()?, rpc: free_port()? };
        LocalCluster::start_at(options, ports, &[]).await
    }

    /// As [`LocalCluster::start`] with given ports; workers for which there is no Flight port among `worker_ports` get a free one.
    ///
    /// # Errors
    /// As there.
    pub async fn start_at(options: LocalClusterOptions, ports: CoordinatorPorts, worker_ports: &[u16]) -> Result<LocalCluster> {
        let head = format!("port = {}\nweb_port = {}\n", ports.sql, ports.web);
        let mut cluster_keys = vec![("rpc_port", ports.rpc.to_string())];
        cluster_keys.extend(options.cluster_keys.iter().cloned());
        let config = configuration(&options, &head, &options.tables, &cluster_keys);
        let coordinator = LocalNode::start(node_options(&options, "coordinator", Role::Coordinator, config))?;
        let mut cluster = LocalCluster { options, ports, coordinator, workers: vec![] };
        cluster.wait_for_sql().await?;
        for index in 0..cluster.options.num_workers {
            cluster.add_worker(WorkerOptions { rpc_port: worker_ports.get(index).copied(), ..WorkerOptions::default() })?;
        }
        cluster.wait_active(cluster.options.num_workers).await?;
        Ok(cluster)
    }

    /// A cluster of nodes that were started one by one; `options` are those of workers that are added.
    pub fn assemble(
        options: LocalClusterOptions,
        ports: CoordinatorPorts,
        coordinator: LocalNode,
        workers: Vec<LocalNode>,
    ) -> LocalCluster {
        LocalCluster { options, ports, coordinator, workers }
    }

    /// Starts one more worker, without waiting for it; answers its number.
    ///
    /// # Errors
    /// A file that cannot be written, a program that does not start.
    pub fn add_worker(&mut self, worker: WorkerOptions) -> Result<usize> {
        let number = self.workers.len() + 1;
        let name = format!("worker-{number}");
        let rpc_port = worker.rpc_port.map_or_else(free_port, Ok)?;
        let coordinator_address = worker.coordinator_address.unwrap_or_else(|| format!("127.0.0.1:{}", self.ports.rpc));
        let mut keys =
            vec![("rpc_port", rpc_port.to_string()), ("coordinator_address", text(&coordinator_address)), ("worker_id", text(&name))];
        keys.extend(worker.advertised_address.map(|address| ("advertised_address", text(&address))));
        keys.extend(self.options.cluster_keys.iter().cloned());
        let tables = worker.tables.as_ref().unwrap_or(&self.options.tables);
        let config = configuration(&self.options, "", tables, &keys);
        let mut node = node_options(&self.options, &name, Role::Worker, config);
        node.state_directory = worker.state_directory.unwrap_or(node.state_directory);
        node.rpc_port = rpc_port;
        self.workers.push(LocalNode::start(node)?);
        Ok(number)
    }

    /// The coordinator.
    pub fn coordinator(&mut self) -> &mut LocalNode {
        &mut self.coordinator
    }

    /// The worker with this number, from 1.
    pub fn worker(&mut self, number: usize) -> &mut LocalNode {
        &mut self.workers[number - 1]
    }

    /// How many workers were ever started.
    pub fn num_workers(&self) -> usize {
        self.workers.len()
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &LocalNode> {
        std::iter::once(&self.coordinator).chain(&self.workers)
    }

    /// Every node, the coordinator first.
    pub fn nodes_mut(&mut self) -> impl Iterator<Item = &mut LocalNode> {
        std::iter::once(&mut self.coordinator).chain(&mut self.workers)
    }

    /// Where the coordinator listens.
    pub fn ports(&self) -> CoordinatorPorts {
        self.ports
    }

    /// A new client.
    ///
    /// # Errors
    /// The coordinator does not answer.
    pub async fn connect(&self) -> Result<Connection, SqlFailure> {
        Connection::open(self.ports.sql).await
    }

    /// Runs one statement as a new client.
    ///
    /// # Errors
    /// What the server said, or that it said nothing in time.
    pub async fn sql(&self, sql: &str) -> Result<Rows, SqlFailure> {
        self.connect().await?.rows(sql, PATIENCE).await
    }

    /// The states of all workers the coordinator knows, in lower case, by name.
    ///
    /// # Errors
    /// What the server said.
    pub async fn worker_states(&self) -> Result<BTreeMap<String, String>, SqlFailure> {
        let rows = self.sql("SELECT node_id, role, state FROM system.nodes").await?;
        let workers = rows.into_iter().filter(|row| row[1].eq_ignore_ascii_case("worker"));
        Ok(workers.map(|row| (row[0].clone(), row[2].to_lowercase())).collect())
    }

    /// Waits until exactly so many workers are active.
    ///
    /// # Errors
    /// They are not in time; with states and logs.
    pub async fn wait_active(&self, number: usize) -> Result<()> {
        let start = Instant::now();
        loop {
            let states = self.worker_states().await;
            if states.as_ref().is_ok_and(|states| states.values().filter(|state| *state == "active").count() == number) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(format!("not {number} workers are active but: {states:?}")));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until the coordinator gives a worker this state, in lower case; `None`: until it does not know the worker.
    ///
    /// # Errors
    /// It does not in time; with states and logs.
    pub async fn wait_state(&self, worker: &str, state: Option<&str>) -> Result<()> {
        let start = Instant::now();
        loop {
            let states = self.worker_states().await;
            if states.as_ref().is_ok_and(|states| states.get(worker).map(String::as_str) == state) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(format!("{worker} does not become {state:?}: {states:?}")));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until nothing runs and no node has memory reserved.
    ///
    /// # Errors
    /// Something does not end; it is named, with logs.
    pub async fn wait_quiet(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            let busy = self.busy().await;
            if busy.as_ref().is_ok_and(Vec::is_empty) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(format!("the cluster does not become quiet: {busy:?}")));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// What runs or holds memory now.
    ///
    /// # Errors
    /// What the server said.
    pub async fn busy(&self) -> Result<Vec<String>, SqlFailure> {
        let client = self.connect().await?;
        // The questions filter nothing by themselves, so that they reserve no memory; and they are queries too, which do not count.
        let is_over = |state: &str| OVER.contains(&state.to_lowercase().as_str());
        let tasks = client.rows("SELECT query_id, fragment, node_id, state FROM system.tasks", PATIENCE).await?;
        let queries = client.rows("SELECT query_id, state, sql FROM system.queries", PATIENCE).await?;
        let (questions, queries): (Vec<_>, Vec<_>) = queries.into_iter().partition(|row| row[2].contains("system."));
        let mut busy = vec![];
        for row in queries.iter().filter(|row| !is_over(&row[1])) {
            busy.push(format!("query {} is {}", row[0], row[1]));
        }
        for row in tasks.iter().filter(|row| !is_over(&row[3]) && !questions.iter().any(|question| question[0] == row[0])) {
            busy.push(format!("task {} of query {} on {} is {}", row[1], row[0], row[2], row[3]));
        }
        for row in client.rows("SELECT node_id, state, memory_used_bytes FROM system.nodes", PATIENCE).await? {
            if row[1].eq_ignore_ascii_case("active") && row[2] != "0" {
                busy.push(format!("{} has {} bytes reserved", row[0], row[2]));
            }
        }
        Ok(busy)
    }

    /// Open file descriptors of every running node, by name.
    pub fn open_files(&self) -> BTreeMap<String, usize> {
        self.nodes().filter_map(|node| Some((node.name().to_owned(), node.open_files()?))).collect()
    }

    /// Waits until no node has more file descriptors open than before, save [`FILE_ALLOWANCE`].
    ///
    /// # Errors
    /// A node keeps more; with logs.
    pub async fn wait_for_files(&self, before: &BTreeMap<String, usize>) -> Result<()> {
        let start = Instant::now();
        loop {
            let now = self.open_files();
            let leaking = |name: &String, files: usize| before.get(name).is_some_and(|before| files > before + FILE_ALLOWANCE);
            if !now.iter().any(|(name, files)| leaking(name, *files)) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(format!("file descriptors are left open: {before:?} before, {now:?} now")));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// How every node's process is, and the end of its log.
    pub fn logs(&self) -> String {
        self.nodes().fold(String::new(), |mut text, node| {
            let _ = writeln!(text, "--- {} ({}) ---\n{}", node.name(), node.condition(), node.log_end(60));
            text
        })
    }

    async fn wait_for_sql(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let outcome = self.sql("SELECT 1").await;
            if outcome.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.coordinator.exit_status() {
                return Err(self.failure(format!("the coordinator has ended: {status}")));
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(format!("the coordinator does not answer: {outcome:?}")));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn failure(&self, message: String) -> Error {
        Error::new(ErrorKind::Cluster, "58000", message).with_detail(self.logs())
    }
}

/// A port nobody listens on. Below those the system gives to outgoing connections, so that it stays free while its node restarts.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 15_000;
    // Processes that run at the same time begin at different places.
    let offset = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
    for _ in 0..1000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (u32::from(offset) + u32::from(step)).rem_euclid(u32::from(COUNT)) as u16;
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::new(ErrorKind::Resource, "58030", "no free port was found"))
}

/// A text as TOML writes it.
pub fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// The `[[tables]]` sections of a configuration file.
pub fn table_sections(tables: &[TableFile]) -> String {
    tables.iter().fold(String::new(), |mut sections, table| {
        let path = text(&table.path.display().to_string());
        let _ = write!(sections, "\n[[tables]]\nname = {}\npath = {path}\nformat = \"parquet\"\n", text(&table.name));
        sections
    })
}

/// The TPC-H tables of a directory that `arneb tpch gen` has written.
///
/// # Errors
/// A table is not there.
pub fn tpch_tables(directory: &Path) -> Result<Vec<TableFile>> {
    let directory = std::path::absolute(directory).map_err(|error| Error::connector(format!("{}: {error}", directory.display())))?;
    let table = |table: tpch::Table| {
        let path = super::tpch_gen::table_path(&directory, table)
            .ok_or_else(|| Error::connector(format!("\"{}\" has no table {}", directory.display(), table.name())))?;
        Ok(TableFile { name: table.name().to_owned(), path })
    };
    tpch::Table::ALL.into_iter().map(table).collect()
}

fn configuration(options: &LocalClusterOptions, head: &str, tables: &[TableFile], cluster_keys: &[(&str, String)]) -> String {
    let mut config =
        format!("bind_address = \"127.0.0.1\"\n{head}max_worker_threads = {}\nmax_memory_mb = {}\n", options.threads, options.memory_mb);
    config.push_str(&table_sections(tables));
    config.push_str("\n[cluster]\n");
    for (key, value) in cluster_keys {
        let _ = writeln!(config, "{key} = {value}");
    }
    config
}

fn node_options(options: &LocalClusterOptions, name: &str, role: Role, config: String) -> LocalNodeOptions {
    LocalNodeOptions {
        program: options.program.clone(),
        directory: options.directory.clone(),
        state_directory: options.directory.join("state"),
        name: name.to_owned(),
        role,
        config,
        arguments: vec![],
        rpc_port: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_handed_out_once() {
        let ports: std::collections::BTreeSet<u16> = (0..20).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn the_configuration_is_one_that_is_read() {
        let options = LocalClusterOptions {
            program: "arneb".into(),
            directory: ".".into(),
            num_workers: 0,
            threads: 2,
            memory_mb: 100,
            tables: vec![TableFile { name: "t".into(), path: "/a \"b\"/t.parquet".into() }],
            cluster_keys: vec![],
        };
        let keys = [("rpc_port", "9091".to_owned()), ("worker_id", text("worker-1"))];
        let written = configuration(&options, "port = 5433\n", &options.tables, &keys);
        let read = crate::config::Config::parse("worker.toml", &written).unwrap();
        assert_eq!((read.port, read.max_worker_threads, read.max_memory_mb), (5433, Some(2), Some(100)));
        assert_eq!(read.tables[0].path, "/a \"b\"/t.parquet");
        assert_eq!((read.cluster.rpc_port, read.cluster.worker_id.as_deref()), (Some(9091), Some("worker-1")));
    }
}
