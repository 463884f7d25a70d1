//! The web API: shapes that clients rely on, refusals, metrics, probes.

use std::sync::Arc;

use arneb::{
    error::{Error, ErrorKind, Result},
    execution::nodes::{NodeDirectory, NodeRow},
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    client::{Server, text, texts},
    http::{request, request_with},
};

/// A coordinator with two workers, as a directory knows them.
#[derive(Default)]
struct Cluster {
    drained: Mutex<Vec<String>>,
}

impl NodeDirectory for Cluster {
    fn nodes(&self) -> Vec<NodeRow> {
        let node = |id: &str, role: &str, state: &str, heartbeat| NodeRow {
            node_id: id.to_owned(),
            role: role.to_owned(),
            state: state.to_owned(),
            address: format!("{id}:9090"),
            threads: 8,
            last_heartbeat_ms: heartbeat,
            ..NodeRow::default()
        };
        vec![
            node("coordinator", "coordinator", "active", None),
            node("worker-1", "worker", "active", Some(1_500)),
            node("worker-2", "worker", "lost", Some(60_000)),
        ]
    }

    fn drain(&self, node: &str) -> Result<()> {
        if node != "worker-1" {
            return Err(Error::new(ErrorKind::Cluster, "42704", format!("there is no worker \"{node}\"")));
        }
        self.drained.lock().push(node.to_owned());
        Ok(())
    }

    fn resume(&self, node: &str) -> Result<()> {
        self.drained.lock().retain(|drained| drained != node);
        Ok(())
    }

    fn readiness(&self) -> Result<(), String> {
        Err("1 of 2 workers is lost".to_owned())
    }

    fn exchange_bytes(&self) -> Option<u64> {
        Some(77)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_have_the_shape_that_clients_rely_on() {
    let server = Server::start().await;
    let client = server.connect().await;
    assert_eq!(text(&client, "SELECT 42").await, "42");
    assert!(client.simple_query("SELECT 1 / 0").await.is_err());
    let answer = request(server.web, "GET", "/api/v1/queries").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.to_ascii_lowercase().contains("content-type: application/json"), "{}", answer.head);
    let queries = answer.json()["queries"].as_array().unwrap().clone();
    assert_eq!(queries.len(), 2);
    let [failed, finished] = [&queries[0], &queries[1]];
    assert_eq!((&failed["state"], &failed["error"]), (&"Failed".into(), &"division by zero".into()));
    assert_eq!((&finished["state"], &finished["sql"], &finished["error"]), (&"Finished".into(), &"SELECT 42".into(), &Value::Null));
    assert_eq!((&finished["rows"], &finished["progress"]), (&1.into(), &1.0.into()));
    let ask = |path: &'static str| async move { request(server.web, "GET", path).await.json()["queries"].as_array().unwrap().len() };
    assert_eq!(ask("/api/v1/queries?state=FAILED").await, 1);
    assert_eq!(ask("/api/v1/queries?state=Finished").await, 1);
    assert_eq!(ask("/api/v1/queries?state=QUEUED").await, 0);
    assert_eq!(ask("/api/v1/queries?state=nonsense").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_and_paths_that_are_none_are_refused() {
    let server = Server::start().await;
    for method in ["GET", "DELETE"] {
        assert_eq!(request(server.web, method, "/api/v1/queries/17").await.status, 400, "{method}");
        let unknown = request(server.web, method, "/api/v1/queries/01890000-0000-7000-8000-000000000000").await;
        assert_eq!(unknown.status, 404, "{method}");
        assert!(unknown.json()["error"].as_str().unwrap().starts_with("there is no query"), "{method}");
    }
    assert_eq!(request(server.web, "GET", "/api/v2").await.status, 404);
    assert_eq!(request(server.web, "POST", "/api/v1/queries").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standalone_node_says_what_it_is() {
    let server = Server::start().await;
    let info = request(server.web, "GET", "/api/v1/info").await.json();
    assert_eq!((&info["role"], &info["version"]), (&"standalone".into(), &env!("CARGO_PKG_VERSION").into()));
    assert!(info["uptime_secs"].is_u64());
    let cluster = request(server.web, "GET", "/api/v1/cluster").await.json();
    assert_eq!((&cluster["role"], &cluster["worker_count"]), (&"standalone".into(), &0.into()));
    assert_eq!(request(server.web, "GET", "/api/v1/cluster/workers").await.body, "[]");
    assert_eq!(request(server.web, "POST", "/api/v1/cluster/workers/x/drain").await.status, 501);
    assert_eq!(request(server.web, "GET", "/health/live").await.status, 200);
    assert_eq!(request(server.web, "GET", "/health/ready").await.status, 200);
    let page = request(server.web, "GET", "/").await;
    assert!(page.status == 200 && page.body.contains("/api/v1/queries"), "{page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_a_cluster_are_listed_and_drained() {
    let server = Server::start().await;
    let cluster = Arc::new(Cluster::default());
    server.engine.nodes.set(Arc::clone(&cluster) as Arc<dyn NodeDirectory>);
    assert_eq!(request(server.web, "GET", "/api/v1/cluster").await.json()["worker_count"], 1);
    let workers = request(server.web, "GET", "/api/v1/cluster/workers").await.json();
    assert_eq!(workers.as_array().unwrap().len(), 2);
    let worker = &workers[0];
    assert_eq!((&worker["worker_id"], &worker["address"], &worker["alive"]), (&"worker-1".into(), &"worker-1:9090".into(), &true.into()));
    assert_eq!((&worker["max_splits"], &worker["last_heartbeat_secs_ago"]), (&8.into(), &1.into()));
    assert_eq!((&workers[1]["alive"], &workers[1]["state"]), (&false.into(), &"lost".into()));

    assert_eq!(request(server.web, "POST", "/api/v1/cluster/workers/worker-1/drain").await.status, 204);
    assert_eq!(*cluster.drained.lock(), ["worker-1"]);
    assert_eq!(request(server.web, "DELETE", "/api/v1/cluster/workers/worker-1/drain").await.status, 204);
    assert!(cluster.drained.lock().is_empty());
    assert_eq!(request(server.web, "POST", "/api/v1/cluster/workers/worker-9/drain").await.status, 404);

    let ready = request(server.web, "GET", "/health/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: 1 of 2 workers is lost\n"));
    let client = server.connect().await;
    let rows = texts(&client, "SELECT node_id, last_heartbeat_ms FROM system.nodes WHERE role = 'worker' ORDER BY 1").await;
    assert_eq!(rows.iter().map(|row| row[1].clone().unwrap()).collect::<Vec<_>>(), ["1500", "60000"]);
    let metrics = request(server.web, "GET", "/metrics").await.body;
    assert!(metrics.contains("\narneb_nodes{role=\"worker\",state=\"lost\"} 1\n"), "{metrics}");
    assert!(metrics.contains("\narneb_exchange_bytes_total 77\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_queries_and_rows() {
    let server = Server::start().await;
    let client = server.connect().await;
    assert_eq!(texts(&client, "SELECT * FROM tpch.tiny.nation").await.len(), 25);
    assert!(client.simple_query("SELECT 1 / 0").await.is_err());
    let metrics = request(server.web, "GET", "/metrics").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    for line in [
        "arneb_queries{state=\"running\"} 0",
        "arneb_queries_total{state=\"finished\"} 1",
        "arneb_queries_total{state=\"failed\"} 1",
        "arneb_rows_total 25",
        "arneb_nodes{role=\"standalone\",state=\"active\"} 1",
    ] {
        assert!(metrics.body.lines().any(|l| l == line), "{line} is not in\n{}", metrics.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_can_neither_read_nor_change() {
    let server = Server::start().await;
    let own = server.web.to_string();
    let path = "/api/v1/queries/01890000-0000-7000-8000-000000000000";
    let ask = |method: &'static str, headers: Vec<(&'static str, String)>| async move {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        request_with(server.web, method, path, &headers).await.status
    };
    // A name that was re-bound to this address.
    assert_eq!(ask("GET", vec![("Host", "evil.example".into())]).await, 403);
    assert_eq!(ask("DELETE", vec![("Host", "evil.example".into())]).await, 403);
    assert_eq!(ask("DELETE", vec![("Host", own.clone()), ("Origin", "http://evil.example".into())]).await, 403);
    assert_eq!(ask("DELETE", vec![("Host", own.clone()), ("Origin", "null".into())]).await, 403);
    // Nothing of ours: refused later, because there is no such query.
    assert_eq!(ask("DELETE", vec![("Host", own.clone()), ("Origin", format!("http://{own}"))]).await, 404);
    assert_eq!(ask("DELETE", vec![("Host", "localhost:1".into())]).await, 404);
    assert_eq!(ask("DELETE", vec![("Host", "db.example".into())]).await, 404);
}
