//! Distributed mode as it is documented: these files, these commands, these ports.

use std::{net::TcpListener, path::Path};

use arneb::{
    cli::local_cluster::{CoordinatorPorts, LocalCluster, LocalNode, LocalNodeOptions, TableFile, free_port, text},
    config::Role,
};

use crate::{
    http,
    processes::{PROGRAM, TestCluster, Turn, options, tpch_files, turn},
};

const COORDINATOR: &str = r#"bind_address = "0.0.0.0"
port = 5432

[[tables]]
name = "lineitem"
path = "/data/lineitem.parquet"
format = "parquet"
"#;

const WORKER_1: &str = r#"bind_address = "0.0.0.0"

[[tables]]
name = "lineitem"
path = "/data/lineitem.parquet"
format = "parquet"

[cluster]
rpc_port = 9091
coordinator_address = "127.0.0.1:9090"
worker_id = "worker-1"
"#;

const WORKER_2: &str = r#"bind_address = "0.0.0.0"

[[tables]]
name = "lineitem"
path = "/data/lineitem.parquet"
format = "parquet"

[cluster]
rpc_port = 9092
coordinator_address = "127.0.0.1:9090"
worker_id = "worker-2"
"#;

/// The files are those of the documentation apart from the path of the data and the ports; the coordinator's Flight port, which they
/// leave at its default, is named in a section of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_terminals_work() {
    let turn = turn().await;
    let ports = CoordinatorPorts { sql: sql_port(), web: 0, rpc: free_port().unwrap() };
    let ports = CoordinatorPorts { web: ports.sql + 1000, ..ports };
    let coordinator = format!("{COORDINATOR}\n[cluster]\nrpc_port = {}\n", ports.rpc);
    terminals(turn, ports, [free_port().unwrap(), free_port().unwrap()], &coordinator).await;
}

/// Needs the ports 5432, 6432 and 9090 to 9092: `cargo test --test cluster verbatim -- --ignored`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the documented ports to be free: cargo test --test cluster verbatim -- --ignored"]
async fn the_documented_terminals_work_verbatim() {
    let turn = turn().await;
    terminals(turn, CoordinatorPorts { sql: 5432, web: 6432, rpc: 9090 }, [9091, 9092], COORDINATOR).await;
}

async fn terminals(turn: Turn, ports: CoordinatorPorts, worker_ports: [u16; 2], coordinator: &str) {
    let directory = tempfile::tempdir().unwrap();
    let lineitem = tpch_files("0.01").into_iter().find(|table| table.name == "lineitem").unwrap();
    let adapted = |config: &str| adapt(config, &lineitem, ports, worker_ports);
    // The workers first: they wait for their coordinator.
    let worker_1 = node(directory.path(), "worker-1", Role::Worker, adapted(WORKER_1), &[]);
    let worker_2 = node(directory.path(), "worker-2", Role::Worker, adapted(WORKER_2), &[]);
    let port = ports.sql.to_string();
    let coordinator = node(directory.path(), "coordinator", Role::Coordinator, adapted(coordinator), &["--port", &port]);
    let options = options(directory.path(), 2, 5000, vec![lineitem]);
    let cluster = TestCluster::of(LocalCluster::assemble(options, ports, coordinator, vec![worker_1, worker_2]), directory, turn);

    cluster.wait_active(2).await.unwrap();
    let sql = "SELECT count(*) FROM lineitem;";
    assert_eq!(cluster.sql(sql).await.unwrap(), [["60175"]]);
    assert_eq!(cluster.distributed(sql).await, [["60175"]]);
    let grouped = "SELECT l_returnflag, count(*), sum(l_quantity) FROM lineitem GROUP BY l_returnflag ORDER BY l_returnflag";
    assert_eq!(cluster.distributed(grouped).await, cluster.expected(grouped).await);

    // What is listened on is not what others are told.
    let nodes = cluster.sql("SELECT node_id, address FROM system.nodes").await.unwrap();
    assert!(nodes.len() >= 3, "{nodes:?}");
    for node in &nodes {
        assert!(!node[1].contains("0.0.0.0") && !node[1].is_empty(), "{nodes:?}");
    }
    let (status, _) = http::request(ports.web, "GET", "/").await;
    assert!(status < 500, "the web UI answers {status}");
}

/// A documented file with the data and the ports of the test.
fn adapt(config: &str, lineitem: &TableFile, ports: CoordinatorPorts, worker_ports: [u16; 2]) -> String {
    config
        .replace("\"/data/lineitem.parquet\"", &text(&lineitem.path.display().to_string()))
        .replace("port = 5432", &format!("port = {}", ports.sql))
        .replace("127.0.0.1:9090", &format!("127.0.0.1:{}", ports.rpc))
        .replace("rpc_port = 9091", &format!("rpc_port = {}", worker_ports[0]))
        .replace("rpc_port = 9092", &format!("rpc_port = {}", worker_ports[1]))
}

fn node(directory: &Path, name: &str, role: Role, config: String, arguments: &[&str]) -> LocalNode {
    let options = LocalNodeOptions {
        program: PROGRAM.into(),
        directory: directory.to_owned(),
        state_directory: directory.join("state"),
        name: name.to_owned(),
        role,
        config,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        rpc_port: 0,
    };
    LocalNode::start(options).unwrap()
}

/// A port of which the one that is 1000 higher is free too, for the web UI.
fn sql_port() -> u16 {
    (0..100).map(|_| free_port().unwrap()).find(|port| TcpListener::bind(("0.0.0.0", port + 1000)).is_ok()).expect("a pair of free ports")
}
