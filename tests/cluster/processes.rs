//! The cluster under test: its data, its clients, and doing something to it while it works on a query.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use arneb::cli::local_cluster::{
    Connection, GLANCE, LocalCluster, LocalClusterOptions, OVER, PATIENCE, Rows, SqlFailure, TableFile, tpch_tables,
};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_arneb");

/// Files per table: so many splits every table has at least.
const PARTS: &str = "8";

/// Whose cluster runs.
static TURN: Mutex<()> = Mutex::const_new(());

/// Who writes data.
static WRITING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Keeps other clusters from running.
pub type Turn = MutexGuard<'static, ()>;

/// Waits until no other cluster runs.
pub async fn turn() -> Turn {
    TURN.lock().await
}

/// A cluster that is killed when it is dropped; a test that fails shows its logs.
pub struct TestCluster {
    cluster: LocalCluster,
    files: BTreeMap<String, usize>,
    _directory: TempDir,
    _turn: Turn,
}

/// What a node did for a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Units that have ended there.
    pub units_done: u64,
    /// Rows they gave.
    pub rows_out: u64,
}

impl TestCluster {
    /// With TPC-H at scale 0.01 and times that suit a busy machine.
    pub async fn start(num_workers: usize) -> TestCluster {
        TestCluster::with_lease(num_workers, 3000).await
    }

    /// With another lease.
    pub async fn with_lease(num_workers: usize, lease_ms: u32) -> TestCluster {
        TestCluster::over(num_workers, lease_ms, tpch_files("0.01")).await
    }

    /// Over these tables.
    pub async fn over(num_workers: usize, lease_ms: u32, tables: Vec<TableFile>) -> TestCluster {
        let turn = turn().await;
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path(), num_workers, lease_ms, tables);
        let cluster = LocalCluster::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        TestCluster::of(cluster, directory, turn)
    }

    /// A cluster that is already there.
    pub fn of(cluster: LocalCluster, directory: TempDir, turn: Turn) -> TestCluster {
        TestCluster { cluster, files: BTreeMap::new(), _directory: directory, _turn: turn }
    }

    /// A client with these settings.
    pub async fn client(&self, distribution: &str, recovery: &str) -> Connection {
        let connection = self.connect().await.unwrap();
        connection.set("distribution", distribution).await.unwrap();
        connection.set("recovery", recovery).await.unwrap();
        connection
    }

    /// Rows of a query that runs on the coordinator alone: what it should give everywhere.
    pub async fn expected(&self, sql: &str) -> Rows {
        let rows = self.client("never", "auto").await.rows(sql, PATIENCE).await.unwrap_or_else(|failure| panic!("{failure}\n{sql}"));
        assert!(!rows.is_empty(), "a query without rows shows nothing: {sql}");
        rows
    }

    /// Rows of a query that workers run.
    pub async fn distributed(&self, sql: &str) -> Rows {
        self.client("always", "auto").await.rows(sql, PATIENCE).await.unwrap_or_else(|failure| panic!("{failure}\n{sql}"))
    }

    /// Remembers how many files are open; every kind of query that follows should have run before.
    pub async fn remember_files(&mut self) {
        self.wait_quiet().await.unwrap();
        self.files = self.open_files();
    }

    /// Waits until nothing runs, no memory is reserved and no more files are open than were remembered.
    pub async fn leaves_nothing_behind(&self) {
        self.wait_quiet().await.unwrap();
        self.wait_for_files(&self.files).await.unwrap();
    }

    /// The newest query with this text.
    pub async fn query_id(&self, sql: &str) -> Option<String> {
        let rows = self.sql("SELECT query_id, sql FROM system.queries").await.unwrap();
        rows.into_iter().filter(|row| statement(&row[1]) == statement(sql)).map(|mut row| row.swap_remove(0)).max()
    }

    /// What each node did for the newest query with this text.
    pub async fn work(&self, sql: &str) -> BTreeMap<String, Work> {
        let id = self.query_id(sql).await.expect("the query is known");
        let rows = self.sql("SELECT query_id, node_id, units_done, rows_out FROM system.tasks").await.unwrap();
        let mut work: BTreeMap<String, Work> = BTreeMap::new();
        for row in rows.into_iter().filter(|row| row[0] == id) {
            let node = work.entry(row[1].clone()).or_default();
            node.units_done += row[2].parse::<u64>().unwrap();
            node.rows_out += row[3].parse::<u64>().unwrap_or(0);
        }
        work
    }

    /// Runs a query as a client of its own, and does something to the cluster once these workers are in the middle of it.
    pub async fn meanwhile(
        &mut self,
        client: Connection,
        sql: &'static str,
        workers: &[&str],
        act: impl FnOnce(&mut LocalCluster),
    ) -> Result<Rows, SqlFailure> {
        let client = Arc::new(client);
        let start = Instant::now();
        'query: loop {
            let before = self.query_id(sql).await;
            let asking = Arc::clone(&client);
            let query = tokio::spawn(async move { asking.rows(sql, PATIENCE).await });
            while !self.is_in_the_middle(sql, before.as_deref(), workers).await {
                assert!(start.elapsed() < PATIENCE, "{workers:?} do not take part: {:?}", self.busy().await);
                if query.is_finished() {
                    // It was over before anybody had looked: once more.
                    query.await.unwrap()?;
                    continue 'query;
                }
                tokio::time::sleep(GLANCE).await;
            }
            act(&mut self.cluster);
            return query.await.unwrap();
        }
    }

    /// Whether all these workers have something of the query to do, and something of it is done.
    async fn is_in_the_middle(&self, sql: &str, before: Option<&str>, workers: &[&str]) -> bool {
        let Some(id) = self.query_id(sql).await.filter(|id| Some(id.as_str()) != before) else { return false };
        let tasks = self.sql("SELECT query_id, node_id, state, units_done FROM system.tasks").await.unwrap();
        let tasks: Vec<_> = tasks.into_iter().filter(|row| row[0] == id).collect();
        let works = |worker: &str| tasks.iter().any(|row| row[1] == worker && !OVER.contains(&row[2].to_lowercase().as_str()));
        workers.iter().all(|worker| works(worker)) && tasks.iter().any(|row| row[3] != "0")
    }
}

impl Deref for TestCluster {
    type Target = LocalCluster;

    fn deref(&self) -> &LocalCluster {
        &self.cluster
    }
}

impl DerefMut for TestCluster {
    fn deref_mut(&mut self) -> &mut LocalCluster {
        &mut self.cluster
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.cluster.logs());
        }
    }
}

/// A query's text without what may stand around it.
fn statement(sql: &str) -> &str {
    sql.trim().trim_end_matches(';').trim_end()
}

/// Options of nodes with one thread each.
pub fn options(directory: &Path, num_workers: usize, lease_ms: u32, tables: Vec<TableFile>) -> LocalClusterOptions {
    LocalClusterOptions {
        program: PROGRAM.into(),
        directory: directory.to_owned(),
        num_workers,
        threads: 1,
        memory_mb: 1024,
        tables,
        cluster_keys: vec![("heartbeat_ms", "200".to_owned()), ("lease_ms", lease_ms.to_string()), ("no_worker_grace_s", "1".to_owned())],
    }
}

/// The TPC-H tables at a scale, written by the program under test if it has not written them yet.
pub fn tpch_files(scale: &str) -> Vec<TableFile> {
    // Whoever panicked while it wrote left no directory under the final name.
    let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tpch-{scale}"));
    let written = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    if written(&directory) < written(Path::new(PROGRAM)) {
        let unfinished = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        let arguments = ["tpch", "gen", "--quiet", "--scale", scale, "--parts", PARTS, "--output"];
        let status = Command::new(PROGRAM).args(arguments).arg(&unfinished).status().unwrap();
        assert!(status.success(), "{status}");
        // An older one may be there.
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::rename(&unfinished, &directory).unwrap();
    }
    tpch_tables(&directory).unwrap()
}
