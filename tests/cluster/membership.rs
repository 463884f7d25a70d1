//! Workers that come and go in peace, while queries run.

use arneb::cli::local_cluster::{PATIENCE, WorkerOptions};

use crate::{http, processes::TestCluster};

/// Without groups, so that even one worker runs it in several units.
const SLOW: &str = "SELECT count(*), sum(l_quantity), min(l_shipdate) FROM tpch.sf1.lineitem";

/// So many queries a new worker may miss: those that ran when it came.
const LATE_QUERIES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_joins_gets_work_and_disturbs_nobody() {
    let mut cluster = TestCluster::start(1).await;
    let expected = cluster.expected(SLOW).await;
    let client = cluster.client("always", "off").await;
    let rows = cluster.meanwhile(client, SLOW, &["worker-1"], |cluster| {
        cluster.add_worker(WorkerOptions::default()).unwrap();
    });
    assert_eq!(rows.await.unwrap(), expected, "the query that ran when it joined");
    cluster.wait_active(2).await.unwrap();
    for _ in 0..LATE_QUERIES {
        assert_eq!(cluster.distributed(SLOW).await, expected);
        if cluster.work(SLOW).await.get("worker-2").is_some_and(|work| work.units_done > 0) {
            return;
        }
    }
    panic!("the new worker gets nothing to do: {:?}", cluster.work(SLOW).await);
}

/// Without recovery, so that only a worker that finishes what it has begun gives the right answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_end_finishes_its_queries_first() {
    let mut cluster = TestCluster::start(2).await;
    let expected = cluster.expected(SLOW).await;
    let client = cluster.client("always", "off").await;
    let rows = cluster.meanwhile(client, SLOW, &["worker-1", "worker-2"], |cluster| cluster.worker(2).terminate().unwrap()).await;
    assert_eq!(rows.unwrap_or_else(|failure| panic!("{failure}")), expected);
    let status = cluster.worker(2).wait_exit(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    cluster.wait_active(1).await.unwrap();
    assert_eq!(cluster.distributed(SLOW).await, expected, "on those that are left");
    cluster.wait_quiet().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_that_is_asked_to_end_ends() {
    let mut cluster = TestCluster::start(2).await;
    cluster.worker(1).terminate().unwrap();
    assert_eq!(cluster.worker(1).wait_exit(PATIENCE).await.unwrap().code(), Some(0));
    cluster.wait_active(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_is_asked_to_end_ends_and_its_workers_find_the_next_one() {
    let mut cluster = TestCluster::start(2).await;
    cluster.coordinator().terminate().unwrap();
    assert_eq!(cluster.coordinator().wait_exit(PATIENCE).await.unwrap().code(), Some(0));
    cluster.coordinator().restart().unwrap();
    cluster.wait_active(2).await.unwrap();
    assert_eq!(cluster.distributed("SELECT count(*) FROM lineitem").await, [["60175"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_can_be_taken_back() {
    let mut cluster = TestCluster::start(2).await;
    let expected = cluster.expected(SLOW).await;
    let web = cluster.ports().web;
    let path = "/api/v1/cluster/workers/worker-2/drain";
    let (status, body) = http::request(web, "POST", path).await;
    assert!((200..300).contains(&status), "{status} {body}");
    cluster.wait_state("worker-2", Some("draining")).await.unwrap();

    assert_eq!(cluster.distributed(SLOW).await, expected, "while one worker is draining");
    let work = cluster.work(SLOW).await;
    assert!(work.get("worker-2").is_none_or(|work| work.units_done == 0), "a draining worker got new work: {work:?}");
    assert!(cluster.worker(2).exit_status().is_none(), "a worker that another drains goes on running");

    let (status, body) = http::request(web, "DELETE", path).await;
    assert!((200..300).contains(&status), "{status} {body}");
    cluster.wait_state("worker-2", Some("active")).await.unwrap();
    for _ in 0..LATE_QUERIES {
        assert_eq!(cluster.distributed(SLOW).await, expected);
        if cluster.work(SLOW).await.get("worker-2").is_some_and(|work| work.units_done > 0) {
            return;
        }
    }
    panic!("the worker gets nothing to do any more: {:?}", cluster.work(SLOW).await);
}

/// Without recovery, so that only what was begun and is finished gives the right answer.
#[tokio::test(flavor = "multi_thread")]
async fn draining_lets_running_queries_finish() {
    let mut cluster = TestCluster::start(2).await;
    let expected = cluster.expected(SLOW).await;
    let client = cluster.client("always", "off").await;
    let web = cluster.ports().web;
    let mut drained = None;
    let rows = cluster.meanwhile(client, SLOW, &["worker-1", "worker-2"], |_| {
        drained = Some(tokio::spawn(http::request(web, "POST", "/api/v1/cluster/workers/worker-2/drain")));
    });
    assert_eq!(rows.await.unwrap_or_else(|failure| panic!("{failure}")), expected);
    let (status, body) = drained.unwrap().await.unwrap();
    assert!((200..300).contains(&status), "{status} {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_a_worker_nobody_knows_is_refused() {
    let cluster = TestCluster::start(1).await;
    let (status, body) = http::request(cluster.ports().web, "POST", "/api/v1/cluster/workers/worker-9/drain").await;
    assert_eq!(status, 404, "{body}");
    assert!(body.contains("worker-9"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_ready_while_it_has_a_coordinator_and_tells_its_numbers() {
    let mut cluster = TestCluster::start(1).await;
    let port = cluster.worker(1).rpc_port();
    let (status, body) = http::request(port, "GET", "/health/ready").await;
    assert_eq!((status, body.trim()), (200, "ready"));
    let (status, body) = http::request(port, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("role=\"worker\"") && body.contains("arneb_exchange_bytes_total"), "{body}");
    cluster.coordinator().kill();
    let start = std::time::Instant::now();
    loop {
        let (status, body) = http::request(port, "GET", "/health/ready").await;
        if status == 503 {
            assert!(body.contains("no coordinator"), "{body}");
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{status} {body}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(http::request(port, "GET", "/health/live").await.0, 200);
}
