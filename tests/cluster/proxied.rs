//! Networks that are slow, break connections or go silent: answers stay right, and silence is noticed.

use std::time::Duration;

use arneb::cli::local_cluster::{PATIENCE, SqlFailure, WorkerOptions, free_port};

use crate::{
    fault_proxy::{FaultProxy, Treatment},
    processes::{TestCluster, tpch_files},
};

/// The scale of the files.
const SCALE: f64 = 0.1;

/// Queries that exchange rows by hash, by broadcast and to the coordinator.
const QUERIES: [usize; 5] = [1, 3, 9, 13, 18];

const SLOW: &str = "SELECT l_shipmode, count(*), sum(ps_supplycost * l_quantity) FROM tpch.sf1.lineitem, tpch.sf1.partsupp \
     WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey GROUP BY l_shipmode ORDER BY l_shipmode";

/// The proxies of one worker.
struct Proxies {
    /// Between all others and the worker: what is asked of it, and the rows it gets.
    inward: FaultProxy,
    /// Between the worker and its coordinator: heartbeats.
    outward: FaultProxy,
}

impl Proxies {
    fn treat(&self, treatment: Treatment) {
        self.inward.treat(treatment);
        self.outward.treat(treatment);
    }
}

/// A cluster whose workers are all behind proxies.
async fn proxied(num_workers: usize, lease_ms: u32) -> (TestCluster, Vec<Proxies>) {
    let mut cluster = TestCluster::over(0, lease_ms, tpch_files("0.1")).await;
    let mut proxies = vec![];
    for number in 0..num_workers as u64 {
        let rpc_port = free_port().unwrap();
        let inward = FaultProxy::start(rpc_port, number).await;
        let outward = FaultProxy::start(cluster.ports().rpc, number).await;
        let worker = WorkerOptions {
            rpc_port: Some(rpc_port),
            advertised_address: Some(inward.address()),
            coordinator_address: Some(outward.address()),
            ..WorkerOptions::default()
        };
        cluster.add_worker(worker).unwrap();
        proxies.push(Proxies { inward, outward });
    }
    cluster.wait_active(num_workers).await.unwrap();
    (cluster, proxies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_of_50_ms_changes_no_answer() {
    let (cluster, proxies) = proxied(3, 5000).await;
    proxies.iter().for_each(|proxies| proxies.treat(Treatment::delayed(Duration::from_millis(50))));
    let client = cluster.client("always", "off").await;
    for number in QUERIES {
        let rows = client.rows(tpch::query(number).unwrap(), PATIENCE).await.unwrap_or_else(|failure| panic!("{number}: {failure}"));
        tpch::compare(&tpch::answer(SCALE, number).unwrap(), &rows).unwrap_or_else(|difference| panic!("{number}: {difference}"));
    }
    drop(client);
    cluster.wait_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_change_no_answer() {
    let (cluster, proxies) = proxied(3, 5000).await;
    let client = cluster.client("always", "auto").await;
    let mut num_resets = 0;
    for (round, number) in QUERIES.into_iter().chain(QUERIES).enumerate() {
        let broken = &proxies[round % proxies.len()].inward;
        broken.reset(1, 20_000);
        let rows = client.rows(tpch::query(number).unwrap(), PATIENCE).await.unwrap_or_else(|failure| panic!("{number}: {failure}"));
        tpch::compare(&tpch::answer(SCALE, number).unwrap(), &rows).unwrap_or_else(|difference| panic!("{number}: {difference}"));
        num_resets = proxies.iter().map(|proxies| proxies.inward.num_resets()).sum();
    }
    assert!(num_resets > 0, "no connection was broken");
    proxies.iter().for_each(|proxies| proxies.inward.reset(0, 1));
    drop(client);
    cluster.wait_active(3).await.unwrap();
    cluster.wait_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_recovery_a_broken_connection_is_a_clear_error_and_never_a_wrong_answer() {
    let (cluster, proxies) = proxied(2, 5000).await;
    let client = cluster.client("always", "off").await;
    let mut num_errors = 0;
    for (round, number) in QUERIES.into_iter().chain(QUERIES).enumerate() {
        proxies[round % proxies.len()].inward.reset(1, 5000);
        match client.rows(tpch::query(number).unwrap(), PATIENCE).await {
            Ok(rows) => {
                tpch::compare(&tpch::answer(SCALE, number).unwrap(), &rows).unwrap_or_else(|difference| panic!("{number}: {difference}"));
            }
            Err(SqlFailure::Refused { sqlstate, message }) => {
                assert!(message.contains("worker-") && sqlstate != "XX000", "not clear: {message} ({sqlstate})");
                num_errors += 1;
            }
            Err(failure) => panic!("{number}: {failure}"),
        }
        cluster.wait_active(2).await.unwrap();
    }
    assert!(num_errors > 0, "no broken connection met a query");
    proxies.iter().for_each(|proxies| proxies.inward.reset(0, 1));
    drop(client);
    cluster.wait_quiet().await.unwrap();
}

/// All connections stay open and nothing comes through them: only the lease tells.
#[tokio::test(flavor = "multi_thread")]
async fn silence_is_noticed_and_the_query_goes_on_without_the_silent_worker() {
    let (mut cluster, proxies) = proxied(3, 1500).await;
    let expected = cluster.expected(SLOW).await;
    let client = cluster.client("always", "auto").await;
    let silent = &proxies[1];
    let rows = cluster.meanwhile(client, SLOW, &["worker-2"], |_| silent.treat(Treatment::SILENT)).await;
    assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected);
    cluster.wait_active(2).await.unwrap();
    silent.treat(Treatment::WELL);
    cluster.wait_active(3).await.unwrap();
    assert_eq!(cluster.distributed(SLOW).await, expected, "afterwards");
    cluster.wait_quiet().await.unwrap();
}

/// The worker is heard but hears nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_be_reached_is_done_without() {
    let (mut cluster, proxies) = proxied(3, 1500).await;
    let expected = cluster.expected(SLOW).await;
    let client = cluster.client("always", "auto").await;
    let deaf = &proxies[1];
    let rows = cluster.meanwhile(client, SLOW, &["worker-2"], |_| deaf.inward.treat(Treatment::DEAF)).await;
    assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected);
    deaf.inward.treat(Treatment::WELL);
    cluster.wait_active(3).await.unwrap();
    assert_eq!(cluster.distributed(SLOW).await, expected, "afterwards");
    cluster.wait_quiet().await.unwrap();
}
