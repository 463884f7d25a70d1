//! The 22 TPC-H queries give the known answers on any number of workers, and the workers do the work.

use std::collections::BTreeMap;

use arneb::cli::local_cluster::PATIENCE;

use crate::processes::TestCluster;

/// The scale of the files.
const SCALE: f64 = 0.01;

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_gives_all_answers() {
    all_answers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_give_all_answers() {
    all_answers(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_give_all_answers() {
    all_answers(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_workers_give_all_answers() {
    all_answers(5).await;
}

async fn all_answers(num_workers: usize) {
    let cluster = TestCluster::start(num_workers).await;
    let client = cluster.client("always", "auto").await;
    let mut failures = vec![];
    let mut units: BTreeMap<String, u64> = BTreeMap::new();
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for (number, sql) in tpch::queries() {
        let answer = tpch::answer(SCALE, number).unwrap();
        let outcome = client.rows(sql, PATIENCE).await.map_err(|failure| failure.to_string());
        let outcome = outcome.and_then(|rows| tpch::compare(&answer, &rows).map_err(|difference| difference.to_string()));
        if let Err(reason) = outcome {
            failures.push(format!("query {number}: {reason}"));
            continue;
        }
        let work = cluster.work(sql).await;
        if !work.iter().any(|(node, work)| node.starts_with("worker-") && work.units_done > 0) {
            failures.push(format!("query {number} ran on the coordinator alone: {work:?}"));
        }
        for (node, work) in work {
            *units.entry(node.clone()).or_default() += work.units_done;
            *rows.entry(node).or_default() += work.rows_out;
        }
    }
    assert!(failures.is_empty(), "on {num_workers} workers:\n{}", failures.join("\n"));
    for number in 1..=num_workers {
        let name = format!("worker-{number}");
        assert!(units.get(&name).is_some_and(|units| *units > 0), "{name} did nothing: {units:?}");
        assert!(rows.get(&name).is_some_and(|rows| *rows > 0), "{name} read nothing: {rows:?}");
    }
    drop(client);
    cluster.wait_quiet().await.unwrap();
}

/// A scan long enough for every worker to get some of it.
#[tokio::test(flavor = "multi_thread")]
async fn every_worker_takes_part_in_a_scan() {
    let cluster = TestCluster::start(3).await;
    let sql = "SELECT l_returnflag, count(*) FROM tpch.sf1.lineitem GROUP BY l_returnflag ORDER BY l_returnflag";
    let expected = cluster.expected(sql).await;
    assert_eq!(cluster.distributed(sql).await, expected);
    let work = cluster.work(sql).await;
    for name in ["worker-1", "worker-2", "worker-3"] {
        let done = work.get(name).copied().unwrap_or_default();
        assert!(done.units_done > 0 && done.rows_out > 0, "{name} did nothing: {work:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn never_means_that_no_worker_takes_part() {
    let cluster = TestCluster::start(2).await;
    let sql = "SELECT count(*), sum(l_quantity) FROM lineitem";
    cluster.expected(sql).await;
    let work = cluster.work(sql).await;
    assert!(!work.keys().any(|node| node.starts_with("worker-")), "{work:?}");
}

/// Several clients at once, each with its own answers.
#[tokio::test(flavor = "multi_thread")]
async fn queries_of_several_clients_do_not_mix() {
    let cluster = TestCluster::start(2).await;
    let run = |number: usize| {
        let cluster = &cluster;
        async move {
            let client = cluster.client("always", "auto").await;
            let rows = client.rows(tpch::query(number).unwrap(), PATIENCE).await.unwrap_or_else(|failure| panic!("{number}: {failure}"));
            tpch::compare(&tpch::answer(SCALE, number).unwrap(), &rows).unwrap_or_else(|difference| panic!("{number}: {difference}"));
        }
    };
    futures::future::join_all([1, 3, 5, 9, 13, 18, 21, 22, 1, 3].map(run)).await;
    cluster.wait_quiet().await.unwrap();
}
