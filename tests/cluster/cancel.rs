//! Queries that are stopped, by request or by their client's leaving, stop on every node.

use std::time::{Duration, Instant};

use arneb::cli::local_cluster::{Connection, GLANCE, OVER, PATIENCE, SqlFailure};

use crate::processes::TestCluster;

/// Would generate for minutes, in little memory.
const LONG_SCAN: &str = "SELECT count(*) FROM tpch.sf10.lineitem WHERE l_comment LIKE '%no%such%comment%'";

/// Holds rows in memory on every node while it runs for minutes.
const LONG_JOIN: &str =
    "SELECT count(*) FROM tpch.sf10.lineitem, tpch.sf1.orders WHERE l_partkey = o_custkey AND l_comment LIKE '%no%such%'";

/// A time that no query here needs.
const FOREVER: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_a_query_on_every_node() {
    let mut cluster = TestCluster::start(2).await;
    cluster.distributed("SELECT count(*) FROM lineitem, orders WHERE l_partkey = o_custkey").await;
    cluster.remember_files().await;
    for sql in [LONG_SCAN, LONG_JOIN] {
        let client = std::sync::Arc::new(cluster.client("always", "auto").await);
        let query = tokio::spawn({
            let client = std::sync::Arc::clone(&client);
            async move { client.rows(sql, FOREVER).await }
        });
        runs_everywhere(&cluster, sql).await;
        client.cancel().await.unwrap();
        let outcome = tokio::time::timeout(PATIENCE, query).await.expect("the query ends").unwrap();
        let Err(SqlFailure::Refused { sqlstate, .. }) = &outcome else { panic!("{outcome:?}") };
        assert_eq!(sqlstate, "57014");
        cluster.wait_quiet().await.unwrap();
        // The session goes on.
        assert_eq!(client.rows("SELECT count(*) FROM lineitem", PATIENCE).await.unwrap(), [["60175"]]);
    }
    cluster.leaves_nothing_behind().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_a_client_that_leaves_stops_on_every_node() {
    let mut cluster = TestCluster::start(2).await;
    cluster.distributed("SELECT count(*) FROM lineitem, orders WHERE l_partkey = o_custkey").await;
    cluster.remember_files().await;
    for sql in [LONG_SCAN, LONG_JOIN] {
        let client: std::sync::Arc<Connection> = std::sync::Arc::new(cluster.client("always", "auto").await);
        let query = tokio::spawn({
            let client = std::sync::Arc::clone(&client);
            async move { client.rows(sql, FOREVER).await }
        });
        runs_everywhere(&cluster, sql).await;
        client.leave();
        assert!(query.await.unwrap().is_err());
        cluster.wait_quiet().await.unwrap();
    }
    cluster.leaves_nothing_behind().await;
}

/// Most rows are never fetched: the client has seen enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_stops_the_workers() {
    let cluster = TestCluster::start(2).await;
    let rows = cluster.distributed("SELECT l_orderkey FROM tpch.sf10.lineitem LIMIT 5").await;
    assert_eq!(rows.len(), 5);
    cluster.wait_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_on_a_worker_is_the_client_s_and_stops_the_others() {
    let cluster = TestCluster::start(2).await;
    let client = cluster.client("always", "auto").await;
    let sql = "SELECT sum(l_quantity / (l_orderkey - 3000000)) FROM tpch.sf1.lineitem WHERE l_comment NOT LIKE '%no%such%'";
    let outcome = client.rows(sql, PATIENCE).await;
    let Err(SqlFailure::Refused { sqlstate, message }) = &outcome else { panic!("{outcome:?}") };
    assert_eq!((sqlstate.as_str(), message.contains("zero")), ("22012", true), "{message}");
    cluster.wait_quiet().await.unwrap();
    cluster.wait_active(2).await.unwrap();
}

async fn runs_everywhere(cluster: &TestCluster, sql: &str) {
    let start = Instant::now();
    loop {
        if let Some(id) = cluster.query_id(sql).await {
            let tasks = cluster.sql("SELECT query_id, node_id, state FROM system.tasks").await.unwrap();
            let runs = |worker| tasks.iter().any(|row| row[0] == id && row[1] == worker && !OVER.contains(&row[2].to_lowercase().as_str()));
            if runs("worker-1") && runs("worker-2") {
                return;
            }
        }
        assert!(start.elapsed() < PATIENCE, "the query does not run on both workers: {:?}", cluster.busy().await);
        tokio::time::sleep(GLANCE).await;
    }
}
