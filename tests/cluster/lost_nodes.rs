//! Workers that die or stand still while they work on a query: the answer is right, or without recovery there is an error.

use arneb::cli::local_cluster::{PATIENCE, SqlFailure};

use crate::processes::TestCluster;

const SCAN_AND_AGGREGATE: &str = "SELECT l_returnflag, l_linestatus, count(*), sum(l_quantity), sum(l_extendedprice * (1 - l_discount)) \
     FROM tpch.sf1.lineitem WHERE l_shipdate <= DATE '1998-09-02' GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus";

/// Both tables are in the order of the key they are joined by.
const CO_LOCATED_JOIN: &str = "SELECT o_orderpriority, count(*), sum(l_quantity) FROM tpch.sf1.orders, tpch.sf1.lineitem \
     WHERE o_orderkey = l_orderkey AND l_commitdate < l_receiptdate GROUP BY o_orderpriority ORDER BY o_orderpriority";

/// Neither table is small, nor in the order of the keys.
const PARTITIONED_JOIN: &str = "SELECT l_shipmode, count(*), sum(ps_supplycost * l_quantity) FROM tpch.sf1.lineitem, tpch.sf1.partsupp \
     WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey GROUP BY l_shipmode ORDER BY l_shipmode";

/// Every worker needs all suppliers.
const BROADCAST_JOIN: &str = "SELECT n_name, count(*), sum(l_extendedprice) FROM tpch.sf1.lineitem, tpch.sf1.supplier, tpch.sf1.nation \
     WHERE l_suppkey = s_suppkey AND s_nationkey = n_nationkey GROUP BY n_name ORDER BY n_name";

const SORT: &str = "SELECT l_orderkey, l_linenumber, l_extendedprice FROM tpch.sf1.lineitem WHERE l_extendedprice > 95000 \
     ORDER BY l_extendedprice DESC, l_orderkey, l_linenumber";

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_survives_the_death_of_a_worker() {
    survives_death(SCAN_AND_AGGREGATE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_co_located_join_survives_the_death_of_a_worker() {
    survives_death(CO_LOCATED_JOIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_join_survives_the_death_of_a_worker() {
    survives_death(PARTITIONED_JOIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_join_survives_the_death_of_a_worker() {
    survives_death(BROADCAST_JOIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_survives_the_death_of_a_worker() {
    survives_death(SORT).await;
}

/// The same death with and without recovery: the error without shows that the death meets the query.
async fn survives_death(sql: &'static str) {
    let mut cluster = TestCluster::start(3).await;
    let expected = cluster.expected(sql).await;
    assert_eq!(cluster.distributed(sql).await, expected, "undisturbed");
    cluster.remember_files().await;

    let client = cluster.client("always", "auto").await;
    let rows = cluster.meanwhile(client, sql, &["worker-2"], |cluster| cluster.worker(2).kill()).await;
    assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected, "with recovery");
    cluster.worker(2).restart().unwrap();
    cluster.wait_active(3).await.unwrap();

    let client = cluster.client("always", "off").await;
    let outcome = cluster.meanwhile(client, sql, &["worker-2"], |cluster| cluster.worker(2).kill()).await;
    assert_names(&outcome.expect_err("without recovery"), "worker-2");
    cluster.worker(2).restart().unwrap();
    cluster.wait_active(3).await.unwrap();
    assert_eq!(cluster.distributed(sql).await, expected, "afterwards");
    cluster.leaves_nothing_behind().await;
}

fn assert_names(failure: &SqlFailure, what: &str) {
    let SqlFailure::Refused { sqlstate, message } = failure else { panic!("not an error of the server: {failure}") };
    assert!(message.contains(what), "the error does not say who: {message}");
    assert_ne!(sqlstate, "XX000", "{message}");
}

/// Recovery by running the whole query again gives the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_query_is_right() {
    let mut cluster = TestCluster::start(3).await;
    let expected = cluster.expected(SCAN_AND_AGGREGATE).await;
    let client = cluster.client("always", "restart").await;
    let rows = cluster.meanwhile(client, SCAN_AND_AGGREGATE, &["worker-1"], |cluster| cluster.worker(1).kill()).await;
    assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected);
    let id = cluster.query_id(SCAN_AND_AGGREGATE).await.unwrap();
    let attempts = cluster.sql(&format!("SELECT attempts FROM system.queries WHERE query_id = '{id}'")).await.unwrap();
    assert!(attempts[0][0].parse::<u32>().unwrap() > 1, "{attempts:?}");
    cluster.wait_quiet().await.unwrap();
}

/// Two of three die, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_worker_finishes_alone() {
    let mut cluster = TestCluster::start(3).await;
    let expected = cluster.expected(CO_LOCATED_JOIN).await;
    let client = cluster.client("always", "auto").await;
    let outcome = cluster.meanwhile(client, CO_LOCATED_JOIN, &["worker-1", "worker-2", "worker-3"], |cluster| {
        cluster.worker(1).kill();
        cluster.worker(3).kill();
    });
    assert_eq!(outcome.await.unwrap_or_else(|failure| panic!("{failure}")), expected);
    cluster.wait_active(1).await.unwrap();
    cluster.wait_quiet().await.unwrap();
}

/// A worker that stands still keeps its connections: only the lease tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_is_done_without() {
    let mut cluster = TestCluster::with_lease(3, 1500).await;
    for sql in [SCAN_AND_AGGREGATE, PARTITIONED_JOIN] {
        let expected = cluster.expected(sql).await;
        assert_eq!(cluster.distributed(sql).await, expected, "undisturbed");
        cluster.remember_files().await;
        let client = cluster.client("always", "auto").await;
        // It still stands when the answer is there.
        let rows = cluster.meanwhile(client, sql, &["worker-2"], |cluster| cluster.worker(2).stop().unwrap()).await;
        assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected, "{sql}");
        assert!(cluster.worker(2).is_stopped());
        cluster.wait_active(2).await.unwrap();
        cluster.worker(2).cont().unwrap();
        cluster.wait_active(3).await.unwrap();
        assert_eq!(cluster.distributed(sql).await, expected, "afterwards");
        cluster.leaves_nothing_behind().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_fails_a_query_without_recovery() {
    let mut cluster = TestCluster::with_lease(2, 1500).await;
    let client = cluster.client("always", "off").await;
    let outcome = cluster.meanwhile(client, SCAN_AND_AGGREGATE, &["worker-2"], |cluster| cluster.worker(2).stop().unwrap()).await;
    assert_names(&outcome.expect_err("without recovery"), "worker-2");
    cluster.worker(2).cont().unwrap();
    cluster.wait_active(2).await.unwrap();
    cluster.wait_quiet().await.unwrap();
}

/// A short stand is no death: nothing is lost, and the answer is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_within_its_lease_goes_on() {
    let mut cluster = TestCluster::with_lease(2, 60_000).await;
    let expected = cluster.expected(SCAN_AND_AGGREGATE).await;
    let client = cluster.client("always", "off").await;
    let rows = cluster.meanwhile(client, SCAN_AND_AGGREGATE, &["worker-2"], |cluster| {
        cluster.worker(2).stop().unwrap();
        cluster.worker(2).cont().unwrap();
    });
    assert_eq!(rows.await.unwrap_or_else(|failure| panic!("{failure}")), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_worker_there_is_a_clear_error_and_the_cluster_recovers() {
    let mut cluster = TestCluster::start(2).await;
    let expected = cluster.expected(SCAN_AND_AGGREGATE).await;
    let client = cluster.client("always", "auto").await;
    let outcome = cluster.meanwhile(client, SCAN_AND_AGGREGATE, &["worker-1", "worker-2"], |cluster| {
        cluster.worker(1).kill();
        cluster.worker(2).kill();
    });
    assert_names(&outcome.await.expect_err("nobody is left"), "worker");
    cluster.wait_active(0).await.unwrap();
    // A query that has to be distributed is refused, one that has not runs here.
    let refused = cluster.client("always", "auto").await.rows("SELECT count(*) FROM lineitem", PATIENCE).await;
    assert_names(&refused.expect_err("nobody is there"), "worker");
    let local = cluster.client("auto", "auto").await.rows("SELECT count(*) FROM lineitem", PATIENCE).await;
    assert_eq!(local.unwrap(), [["60175"]]);
    for number in [1, 2] {
        cluster.worker(number).restart().unwrap();
    }
    cluster.wait_active(2).await.unwrap();
    assert_eq!(cluster.distributed(SCAN_AND_AGGREGATE).await, expected);
    cluster.wait_quiet().await.unwrap();
}

/// A worker that comes back under its name before its lease is over is a new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_quickly_back_is_not_taken_for_the_one_before() {
    let mut cluster = TestCluster::with_lease(2, 30_000).await;
    let expected = cluster.expected(PARTITIONED_JOIN).await;
    let client = cluster.client("always", "auto").await;
    let rows = cluster.meanwhile(client, PARTITIONED_JOIN, &["worker-2"], |cluster| cluster.worker(2).restart().unwrap()).await;
    assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected);
    cluster.wait_active(2).await.unwrap();
    assert_eq!(cluster.distributed(PARTITIONED_JOIN).await, expected);
    cluster.wait_quiet().await.unwrap();
}
