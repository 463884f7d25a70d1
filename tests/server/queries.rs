//! The list of queries: what is in it, who has to wait, and how an operator stops one.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use arneb::{
    Engine,
    connectors::tpch::TpchCatalog,
    engine::EngineOptions,
    execution::registry::{QueryInfo, QueryState},
};
use tokio::task::JoinHandle;
use tokio_postgres::Error;

use crate::{
    cancel::ENDLESS,
    client::{Connected, PATIENCE, Server, state, text, texts},
    http::request,
};

/// A server where few may run and wait.
async fn crowded(max_running: usize, max_queued: usize, queue_timeout: Duration) -> Server {
    let engine = Engine::new(EngineOptions {
        num_threads: 2,
        max_running,
        max_queued,
        queue_timeout,
        default_catalog: "tpch".into(),
        ..EngineOptions::default()
    });
    engine.catalogs.add("tpch", Arc::new(TpchCatalog));
    Server::of(engine).await
}

/// Runs a statement whose end is not awaited.
fn spawn(client: Connected, sql: &'static str) -> JoinHandle<Result<(), Error>> {
    tokio::spawn(async move { client.simple_query(sql).await.map(drop) })
}

/// Asks again until it is so.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The query with this text, as soon as it is in this state.
async fn query_in(server: &Server, sql: &str, state: QueryState) -> QueryInfo {
    until(&format!("{sql} is never {state:?}"), || async {
        server.engine.registry.list().into_iter().find(|query| query.sql == sql && query.state == state)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_query_is_listed_and_really_stopped() {
    let server = Server::start().await;
    let client = server.connect().await;
    client.batch_execute("SET application_name = 'report'").await.unwrap();
    let running = spawn(client, ENDLESS);
    let query = query_in(&server, ENDLESS, QueryState::Running).await;
    let path = format!("/api/v1/queries/{}", query.id);
    let shown = request(server.web, "GET", &path).await.json();
    assert_eq!((&shown["state"], &shown["user"], &shown["application"]), (&"Running".into(), &"ada".into(), &"report".into()));
    assert_eq!((&shown["sql"], &shown["error"]), (&ENDLESS.into(), &serde_json::Value::Null));
    assert_eq!((&shown["tasks"][0]["node_id"], &shown["tasks"][0]["units_running"]), (&"standalone".into(), &1.into()));
    let listed = request(server.web, "GET", "/api/v1/queries?state=RUNNING").await.json();
    assert_eq!(listed["queries"][0]["query_id"], shown["query_id"]);

    assert_eq!(request(server.web, "DELETE", &path).await.status, 204);
    assert_eq!(state(&running.await.unwrap().unwrap_err()), "57014");
    server.memory_comes_back().await;
    assert_eq!(request(server.web, "GET", &path).await.json()["state"], "Cancelled");
    assert_eq!(request(server.web, "DELETE", &path).await.status, 204);
    assert_eq!(request(server.web, "GET", "/api/v1/queries?state=RUNNING").await.json()["queries"].as_array().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_run_a_query_is_in_the_list() {
    let server = Server::start().await;
    let client = server.connect().await;
    texts(&client, "SELECT k FROM r").await;
    texts(&client, "EXPLAIN ANALYZE SELECT k FROM r").await;
    texts(&client, "EXPLAIN SELECT k FROM r").await;
    client.query("SELECT k + $1 FROM r", &[&1_i32]).await.unwrap();
    client.batch_execute("PREPARE p AS SELECT w + $1 FROM r").await.unwrap();
    texts(&client, "EXECUTE p(1)").await;
    assert_eq!(state(&client.simple_query("SELECT 1 / (k - k) FROM r").await.unwrap_err()), "22012");
    let seen = texts(&client, "SELECT sql, state, rows, sqlstate, units_done FROM system.queries ORDER BY submitted_at").await;
    let seen: Vec<String> =
        seen.iter().map(|row| row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|")).collect();
    let rows = texts(&client, "SELECT k FROM r").await.len();
    let expected = [
        format!("SELECT k FROM r|Finished|{rows}|NULL|1"),
        format!("EXPLAIN ANALYZE SELECT k FROM r|Finished|{rows}|NULL|1"),
        format!("SELECT k + $1 FROM r|Finished|{rows}|NULL|1"),
        format!("PREPARE p AS SELECT w + $1 FROM r|Finished|{rows}|NULL|1"),
        "SELECT 1 / (k - k) FROM r|Failed|0|22012|0".to_owned(),
        "SELECT sql, state, rows, sqlstate, units_done FROM system.queries ORDER BY submitted_at|Running|0|NULL|0".to_owned(),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_its_query() {
    let server = Server::start().await;
    let Connected { client, driver } = server.connect().await;
    let query = tokio::spawn(async move { client.simple_query(ENDLESS).await.map(drop) });
    query_in(&server, ENDLESS, QueryState::Running).await;
    driver.abort();
    query.abort();
    query_in(&server, ENDLESS, QueryState::Cancelled).await;
    until("the query never ends", || async { (server.engine.registry.totals().cancelled == 1).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_lets_queries_wait_and_its_operator_look() {
    let server = crowded(1, 1, PATIENCE).await;
    let running = spawn(server.connect().await, ENDLESS);
    let first = query_in(&server, ENDLESS, QueryState::Running).await;

    let waiting_sql = "SELECT count(*) FROM tpch.tiny.nation";
    let waiting = spawn(server.connect().await, waiting_sql);
    until("nobody waits", || async { (server.engine.admission.running_and_waiting() == (1, 1)).then_some(()) }).await;
    let operator = server.connect().await;
    let line = texts(&operator, "SELECT state, queue_position FROM system.queries WHERE sql LIKE '%nation' ORDER BY 1").await;
    assert_eq!(line, [[Some("Queued".to_owned()), Some("1".to_owned())]]);
    assert_eq!(text(&operator, "SELECT 1").await, "1");
    assert!(!texts(&operator, "SELECT table_name FROM information_schema.tables").await.is_empty());

    let error = operator.simple_query("SELECT count(*) FROM tpch.tiny.region").await.unwrap_err();
    assert_eq!(state(&error), "53300");
    assert_eq!(error.as_db_error().unwrap().message(), "too many queries: 1 are running and 1 are waiting");
    assert!(error.as_db_error().unwrap().hint().is_some());

    request(server.web, "DELETE", &format!("/api/v1/queries/{}", first.id)).await;
    assert_eq!(state(&running.await.unwrap().unwrap_err()), "57014");
    waiting.await.unwrap().unwrap();
    let info = query_in(&server, waiting_sql, QueryState::Finished).await;
    assert!(info.queued <= info.elapsed && info.queue_position.is_none());
    assert_eq!(server.engine.admission.running_and_waiting(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_query_is_stopped_by_its_operator_or_its_client() {
    let server = crowded(1, 10, PATIENCE).await;
    let running = spawn(server.connect().await, ENDLESS);
    let first = query_in(&server, ENDLESS, QueryState::Running).await;
    let sql = "SELECT count(*) FROM tpch.tiny.nation";

    let waiting = spawn(server.connect().await, sql);
    let query = query_in(&server, sql, QueryState::Queued).await;
    assert_eq!(request(server.web, "DELETE", &format!("/api/v1/queries/{}", query.id)).await.status, 204);
    assert_eq!(state(&waiting.await.unwrap().unwrap_err()), "57014");

    let client = server.connect().await;
    client.batch_execute("SET statement_timeout = 50").await.unwrap();
    let error = client.simple_query(sql).await.unwrap_err();
    assert_eq!(state(&error), "57014");
    assert!(error.as_db_error().unwrap().message().contains("timeout"), "{error}");

    let Connected { client, driver } = server.connect().await;
    let left = tokio::spawn(async move { client.simple_query(sql).await.map(drop) });
    until("nobody waits", || async { (server.engine.admission.running_and_waiting() == (1, 1)).then_some(()) }).await;
    driver.abort();
    left.abort();
    until("it waits on", || async { (server.engine.admission.running_and_waiting() == (1, 0)).then_some(()) }).await;

    server.engine.registry.cancel(first.id);
    assert_eq!(state(&running.await.unwrap().unwrap_err()), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_too_long_is_an_error() {
    let server = crowded(1, 10, Duration::from_millis(50)).await;
    let running = spawn(server.connect().await, ENDLESS);
    let first = query_in(&server, ENDLESS, QueryState::Running).await;
    let client = server.connect().await;
    let error = client.simple_query("SELECT count(*) FROM tpch.tiny.nation").await.unwrap_err();
    assert_eq!(state(&error), "53300");
    assert!(error.as_db_error().unwrap().message().starts_with("the query waited 0.05 s"), "{error:?}");
    server.engine.registry.cancel(first.id);
    let _ = running.await.unwrap();
    assert_eq!(text(&client, "SELECT count(*) FROM tpch.tiny.nation").await, "25");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_keeps_its_place_until_it_is_closed_or_cancelled() {
    let server = crowded(1, 10, PATIENCE).await;
    let sql = "SELECT a.l_orderkey FROM tpch.tiny.lineitem a, tpch.tiny.lineitem b";
    for cancel in [false, true] {
        let mut client = server.connect().await.client;
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind(sql, &[]).await.unwrap();
        assert_eq!(transaction.query_portal(&portal, 2).await.unwrap().len(), 2);
        assert_eq!(server.engine.admission.running_and_waiting(), (1, 0));
        let query = query_in(&server, sql, QueryState::Running).await;
        if cancel {
            server.engine.registry.cancel(query.id);
        } else {
            drop(portal);
            let _ = transaction.rollback().await;
            drop(client);
        }
        until("the place is not free", || async { (server.engine.admission.running_and_waiting() == (0, 0)).then_some(()) }).await;
        query_in(&server, sql, QueryState::Cancelled).await;
        let other = server.connect().await;
        assert_eq!(text(&other, "SELECT count(*) FROM tpch.tiny.nation").await, "25");
    }
}
