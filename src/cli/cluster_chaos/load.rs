//! Clients that run the queries and check every answer.
//!
//! Position: part of `cluster_chaos`. A client whose query failed goes on with the next one, after a hang or a broken connection with
//! a new connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::report::Tally;
use crate::cli::local_cluster::{Connection, SqlFailure, random::Random};

/// Pause before a client connects again, so that a coordinator that is gone is not asked all the time.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// What clients run.
pub(super) struct Load {
    /// The coordinator's port.
    pub(super) port: u16,
    /// Of the data.
    pub(super) scale: f64,
    /// Numbers of queries.
    pub(super) queries: Vec<usize>,
    /// A query without an answer for so long hangs.
    pub(super) bound: Duration,
    /// The setting.
    pub(super) recovery: &'static str,
}

/// How a query went.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Its number.
    pub(super) query: usize,
    /// From the text to the last row.
    pub(super) time: Duration,
    /// What came.
    pub(super) verdict: Verdict,
}

/// What came of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The known answer.
    Right,
    /// Another one: the first difference.
    Wrong(String),
    /// An error.
    Failed(SqlFailure),
    /// Nothing.
    Hang,
}

impl Load {
    /// A client with its settings.
    pub(super) async fn connect(&self) -> Result<Connection, SqlFailure> {
        let connection = Connection::open(self.port).await?;
        connection.set("distribution", "always").await?;
        connection.set("recovery", self.recovery).await?;
        Ok(connection)
    }

    /// Runs a query and compares.
    pub(super) async fn query(&self, connection: &Connection, number: usize) -> Outcome {
        let sql = tpch::query(number).unwrap_or_default();
        let start = Instant::now();
        let rows = connection.rows(sql, self.bound).await;
        let time = start.elapsed();
        let verdict = match rows {
            Ok(rows) => match tpch::answer(self.scale, number).map(|answer| tpch::compare(&answer, &rows)) {
                Some(Ok(())) => Verdict::Right,
                Some(Err(difference)) => Verdict::Wrong(difference.to_string()),
                None => Verdict::Wrong("there is no known answer".to_owned()),
            },
            Err(SqlFailure::Hang(_)) => Verdict::Hang,
            Err(failure) => Verdict::Failed(failure),
        };
        Outcome { query: number, time, verdict }
    }
}

/// Runs clients until each has run all queries `passes` times, or until they are told to stop.
pub(super) async fn run(load: &Arc<Load>, connections: u16, passes: Option<usize>, seed: u64, tally: &Arc<Tally>, stop: &Arc<AtomicBool>) {
    let clients: Vec<_> = (0..u64::from(connections))
        .map(|client| {
            let (load, tally, stop) = (Arc::clone(load), Arc::clone(tally), Arc::clone(stop));
            let random = Random::new(seed.wrapping_add(client << 32));
            tokio::spawn(async move { run_client(&load, passes.unwrap_or(usize::MAX), random, &tally, &stop).await })
        })
        .collect();
    for client in clients {
        if client.await.is_err() {
            tally.note_leak("a client has panicked");
        }
    }
}

async fn run_client(load: &Load, passes: usize, mut random: Random, tally: &Tally, stop: &AtomicBool) {
    let mut connection = None;
    for _ in 0..passes {
        let mut queries = load.queries.clone();
        random.shuffle(&mut queries);
        for number in queries {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let client = match connection.take() {
                Some(client) => client,
                None => match load.connect().await {
                    Ok(client) => client,
                    Err(failure) => {
                        tally.add(Outcome { query: number, time: Duration::ZERO, verdict: Verdict::Failed(failure) });
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                        continue;
                    }
                },
            };
            let outcome = load.query(&client, number).await;
            let is_usable = !matches!(outcome.verdict, Verdict::Hang | Verdict::Failed(SqlFailure::Disconnected(_)));
            connection = is_usable.then_some(client);
            tally.add(outcome);
        }
    }
}
