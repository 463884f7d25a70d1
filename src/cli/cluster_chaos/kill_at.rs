//! One worker killed at a known moment of each query: how much longer the query takes, and how soon the loss is noticed.
//!
//! Position: the other mode of `cluster_chaos`. One client, one query at a time, so that times can be compared.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{
    load::{Load, Outcome, Verdict},
    report::{median, seconds_since},
};
use crate::{
    cli::local_cluster::{Connection, LocalCluster, SqlFailure, random::Random},
    error::{Error, ErrorKind, Result},
};

/// Runs whose median is the undisturbed time, after one that does not count.
const CALM_RUNS: usize = 3;

/// How often the coordinator is asked whether it has noticed.
const LOOK: Duration = Duration::from_millis(5);

/// Runs every query with a kill at every fraction of its time, prints the table; answers whether all was well.
///
/// # Errors
/// A query that fails without any disturbance, a worker that does not come back.
pub(super) async fn run(cluster: &mut LocalCluster, load: &Arc<Load>, fractions: &[f64], seed: u64) -> Result<bool> {
    let mut random = Random::new(seed);
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let mut header = vec!["query".to_owned(), "undisturbed".to_owned()];
    header.extend(fractions.iter().map(|fraction| format!("killed at {fraction}")));
    header.push("noticed after".to_owned());
    table.set_header(header);
    let (mut is_good, mut ratios, mut notices, mut messages) = (true, vec![], vec![], vec![]);
    for number in load.queries.clone() {
        let calm = calm_seconds(load, number).await?;
        let mut cells = vec![format!("q{number:02}"), format!("{calm:.3} s")];
        let mut noticed = vec![];
        for fraction in fractions {
            let kill = kill_once(cluster, load, number, calm * fraction, &mut random).await?;
            noticed.extend(kill.noticed);
            cells.push(match kill.outcome.verdict {
                Verdict::Right => {
                    let ratio = kill.outcome.time.as_secs_f64() / calm;
                    ratios.push(ratio);
                    format!("{ratio:.2}")
                }
                verdict => {
                    is_good = false;
                    messages.push(format!("q{number:02} with a kill at {fraction}: {verdict:?}"));
                    "failed".to_owned()
                }
            });
        }
        cells.push(if noticed.is_empty() { "".to_owned() } else { format!("{:.0} ms", median(&noticed) * 1000.0) });
        notices.extend(noticed);
        eprintln!("{}", cells.join("  "));
        let alignment = |index| if index > 0 { CellAlignment::Right } else { CellAlignment::Left };
        table.add_row(cells.into_iter().enumerate().map(|(i, text)| Cell::new(text).set_alignment(alignment(i))));
    }
    println!("{table}");
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    println!("time by undisturbed time: median {:.2}, worst {worst:.2}, of {} right answers", median(&ratios), ratios.len());
    let slowest = notices.iter().copied().fold(0.0, f64::max);
    println!("noticed after: median {:.0} ms, slowest {:.0} ms", median(&notices) * 1000.0, slowest * 1000.0);
    for message in messages {
        println!("{message}");
    }
    if let Err(error) = cluster.wait_quiet().await {
        println!("leak: {}", error.message);
        is_good = false;
    }
    Ok(is_good)
}

async fn calm_seconds(load: &Load, number: usize) -> Result<f64> {
    let failed = |what: String| Error::new(ErrorKind::Cluster, "58000", format!("q{number:02} fails without any disturbance: {what}"));
    let connection = load.connect().await.map_err(|failure| failed(failure.to_string()))?;
    let mut times = vec![];
    for _ in 0..=CALM_RUNS {
        let outcome = load.query(&connection, number).await;
        if outcome.verdict != Verdict::Right {
            return Err(failed(format!("{:?}", outcome.verdict)));
        }
        times.push(outcome.time.as_secs_f64());
    }
    Ok(median(&times[1..]))
}

struct Kill {
    outcome: Outcome,
    /// Seconds until the coordinator no longer called the worker active.
    noticed: Option<f64>,
}

async fn kill_once(cluster: &mut LocalCluster, load: &Arc<Load>, number: usize, seconds: f64, random: &mut Random) -> Result<Kill> {
    let unreachable = |failure: SqlFailure| Error::new(ErrorKind::Cluster, "58000", failure.to_string());
    let connection = load.connect().await.map_err(unreachable)?;
    let observer = Connection::open(load.port).await.map_err(unreachable)?;
    let query = tokio::spawn({
        let load = Arc::clone(load);
        async move { load.query(&connection, number).await }
    });
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let victim = 1 + random.below(cluster.num_workers());
    let name = cluster.worker(victim).name().to_owned();
    cluster.worker(victim).kill();
    let noticed = notice(&observer, &name, load.bound).await;
    let outcome = query.await.map_err(|error| Error::internal(format!("a client has ended: {error}")))?;
    cluster.worker(victim).restart()?;
    cluster.wait_active(cluster.num_workers()).await?;
    Ok(Kill { outcome, noticed })
}

/// Asks until the worker is no longer active.
async fn notice(observer: &Connection, worker: &str, bound: Duration) -> Option<f64> {
    let start = Instant::now();
    while start.elapsed() < bound {
        let rows = observer.rows("SELECT node_id, state FROM system.nodes", bound).await.ok()?;
        if !rows.iter().any(|row| row[0] == worker && row[1].eq_ignore_ascii_case("active")) {
            return Some(seconds_since(start));
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}
