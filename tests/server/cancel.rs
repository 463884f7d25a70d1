//! Queries that are stopped: by request, by the clock, by the client's leaving.

use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

use crate::client::{PATIENCE, Server, state, text};

/// Would run for days, in little memory.
pub const ENDLESS: &str = "SELECT count(*) FROM tpch.tiny.lineitem a, tpch.tiny.lineitem b, tpch.tiny.lineitem c \
                       WHERE a.l_orderkey + b.l_orderkey + c.l_orderkey < 0";
/// Would generate for minutes.
const LONG_SCAN: &str = "SELECT count(*) FROM tpch.sf10.lineitem WHERE l_comment LIKE '%no%such%comment%'";
/// Gives rows for days.
const MANY_ROWS: &str =
    "SELECT a.l_orderkey, b.l_orderkey, c.l_orderkey FROM tpch.tiny.lineitem a, tpch.tiny.lineitem b, tpch.tiny.lineitem c";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_a_query() {
    let server = Server::start().await;
    for sql in [ENDLESS, LONG_SCAN] {
        let client = server.connect().await;
        let token = client.cancel_token();
        let canceller = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await.unwrap();
        });
        let start = Instant::now();
        let error = client.query(sql, &[]).await.unwrap_err();
        assert_eq!(state(&error), "57014", "{sql}");
        assert!(start.elapsed() < PATIENCE, "{sql}");
        canceller.await.unwrap();
        // The session goes on.
        assert_eq!(text(&client, "SELECT 1").await, "1");
    }
    server.memory_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_without_a_running_query_does_nothing() {
    let server = Server::start().await;
    let client = server.connect().await;
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    assert_eq!(text(&client, "SELECT count(*) FROM tpch.tiny.lineitem").await, "60175");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_only_its_own_client_s_query() {
    let server = Server::start().await;
    let (one, two) = (server.connect().await, server.connect().await);
    let token = one.cancel_token();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        token.cancel_query(NoTls).await.unwrap();
    });
    let (stopped, finished) =
        tokio::join!(one.simple_query(ENDLESS), two.query_one("SELECT count(DISTINCT l_comment) FROM tpch.tiny.lineitem", &[]));
    assert_eq!(state(&stopped.unwrap_err()), "57014");
    assert!(finished.unwrap().get::<_, i64>(0) > 0);
    canceller.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_when_its_time_is_over() {
    let server = Server::start().await;
    let client = server.connect().await;
    client.batch_execute("SET statement_timeout = 150").await.unwrap();
    for _ in 0..2 {
        let error = client.simple_query(ENDLESS).await.unwrap_err();
        assert_eq!(state(&error), "57014");
        assert!(error.as_db_error().unwrap().message().contains("timeout"), "{error}");
    }
    client.batch_execute("SET statement_timeout = 0").await.unwrap();
    assert_eq!(text(&client, "SELECT 1").await, "1");
    server.memory_comes_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_a_client_that_leaves_is_stopped() {
    let server = Server::start().await;
    for sql in [ENDLESS, MANY_ROWS] {
        let connected = server.connect().await;
        let (client, driver) = (connected.client, connected.driver);
        let query = tokio::spawn(async move {
            let _ = client.query_raw(sql, Vec::<i32>::new()).await.map(Box::pin);
            std::future::pending::<()>().await;
        });
        // Both cross joins hold a side in memory while they run.
        let start = Instant::now();
        while server.engine.memory.used_bytes() == 0 && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // The socket closes without a word.
        driver.abort();
        query.abort();
        server.memory_comes_back().await;
    }
    let other = server.connect().await;
    assert_eq!(text(&other, "SELECT count(*) FROM tpch.tiny.lineitem").await, "60175");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_the_server_stops_its_queries() {
    let server = Server::start().await;
    let client = server.connect().await;
    let engine = std::sync::Arc::clone(&server.engine);
    let query = tokio::spawn(async move { client.simple_query(ENDLESS).await.map(|_| ()) });
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(server);
    assert!(tokio::time::timeout(PATIENCE, query).await.expect("the query ends").unwrap().is_err());
    let start = Instant::now();
    while engine.memory.used_bytes() > 0 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
