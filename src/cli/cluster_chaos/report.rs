//! What happened: counted while it happens, printed at the end.
//!
//! Position: part of `cluster_chaos`; shared by its clients.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    disturbance::Disturber,
    load::{Outcome, Verdict},
};
use crate::{
    cli::local_cluster::LocalCluster,
    error::{Error, ErrorKind, Result},
};

/// So many different messages are printed.
const MESSAGES: usize = 20;

/// Outcomes so far.
#[derive(Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Seconds of right answers, by query.
    times: BTreeMap<usize, Vec<f64>>,
    queries: usize,
    wrong: usize,
    errors: usize,
    hangs: usize,
    /// What went wrong, and how often.
    messages: BTreeMap<String, usize>,
    leaks: Vec<String>,
    /// Attempts of queries that needed more than one.
    attempts: BTreeMap<String, usize>,
}

impl Tally {
    /// A query has ended.
    pub(super) fn add(&self, outcome: Outcome) {
        let mut counts = self.counts.lock();
        counts.queries += 1;
        let message = match outcome.verdict {
            Verdict::Right => {
                counts.times.entry(outcome.query).or_default().push(outcome.time.as_secs_f64());
                return;
            }
            Verdict::Wrong(difference) => {
                counts.wrong += 1;
                format!("q{:02} is wrong: {difference}", outcome.query)
            }
            Verdict::Failed(failure) => {
                counts.errors += 1;
                failure.to_string()
            }
            Verdict::Hang => {
                counts.hangs += 1;
                format!("q{:02} hangs", outcome.query)
            }
        };
        *counts.messages.entry(message).or_default() += 1;
    }

    /// Something was left behind.
    pub(super) fn note_leak(&self, what: &str) {
        self.counts.lock().leaks.push(what.to_owned());
    }

    /// Looks up which queries needed several attempts. What the coordinator has forgotten by then is missing.
    pub(super) async fn note_attempts(&self, cluster: &LocalCluster) {
        // A coordinator that does not answer will be noticed by the clients.
        let Ok(rows) = cluster.sql("SELECT query_id, attempts FROM system.queries WHERE attempts > 1").await else { return };
        let mut counts = self.counts.lock();
        for row in rows {
            counts.attempts.insert(row[0].clone(), row[1].parse().unwrap_or(0));
        }
    }

    /// Whether all is well without disturbances.
    ///
    /// # Errors
    /// It is not; with the messages.
    pub(super) fn check_calm(&self) -> Result<()> {
        let counts = self.counts.lock();
        match counts.messages.keys().next() {
            None => Ok(()),
            Some(message) => Err(Error::new(ErrorKind::Cluster, "58000", format!("a query fails without any disturbance: {message}"))),
        }
    }

    /// Whether there was no wrong answer, no hang and no leak; and no error, where the cluster `recovers`.
    pub(super) fn is_good(&self, recovers: bool) -> bool {
        let counts = self.counts.lock();
        counts.wrong == 0 && (counts.errors == 0 || !recovers) && counts.hangs == 0 && counts.leaks.is_empty()
    }

    /// One line.
    pub(super) fn progress(&self, elapsed: Duration, disturber: &Disturber) -> String {
        let counts = self.counts.lock();
        format!(
            "{:>5} s: {} queries, {} wrong, {} errors, {} hangs, {} restarted; {} kills, {} stops, {} restarts of workers",
            elapsed.as_secs(),
            counts.queries,
            counts.wrong,
            counts.errors,
            counts.hangs,
            counts.attempts.len(),
            disturber.kills,
            disturber.stops,
            disturber.restarts
        )
    }

    /// Everything.
    pub(super) fn print(&self, calm: &Tally, disturber: &Disturber) {
        let (counts, calm) = (self.counts.lock(), calm.counts.lock());
        println!("disturbances  {} kills, {} stops, {} restarts", disturber.kills, disturber.stops, disturber.restarts);
        println!("queries       {}", counts.queries);
        println!("wrong answers {}", counts.wrong);
        println!("errors        {}", counts.errors);
        println!("hangs         {} of queries, {} of ending workers", counts.hangs, disturber.stuck_ends);
        println!("own ends      {}", disturber.own_ends);
        let further: usize = counts.attempts.values().map(|attempts| attempts.saturating_sub(1)).sum();
        println!("restarts      {further}, of {} queries", counts.attempts.len());
        let mut slowdowns = slowdowns(&calm.times, &counts.times);
        slowdowns.sort_by(|a, b| a.1.total_cmp(&b.1));
        if let (Some(worst), Some(middle)) = (slowdowns.last(), slowdowns.get(slowdowns.len() / 2)) {
            println!("slowdown      median {:.2}, worst {:.2} (q{:02})", middle.1, worst.1, worst.0);
        }
        println!("leaks         {}", counts.leaks.len());
        for leak in &counts.leaks {
            println!("  {leak}");
        }
        for (message, times) in counts.messages.iter().take(MESSAGES) {
            println!("{times:>6} times: {message}");
        }
    }
}

/// Every time by the undisturbed median of its query.
fn slowdowns(calm: &BTreeMap<usize, Vec<f64>>, disturbed: &BTreeMap<usize, Vec<f64>>) -> Vec<(usize, f64)> {
    let ratios = |(query, times): (&usize, &Vec<f64>)| {
        let usual = calm.get(query).map(|times| median(times)).filter(|usual| *usual > 0.0);
        let query = *query;
        usual.into_iter().flat_map(move |usual| times.iter().map(move |time| (query, time / usual)).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    disturbed.iter().flat_map(ratios).collect()
}

/// The middle of some numbers; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Seconds since then.
pub(super) fn seconds_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(query: usize, verdict: Verdict) -> Outcome {
        Outcome { query, time: Duration::from_secs(2), verdict }
    }

    #[test]
    fn errors_are_bad_where_the_cluster_is_to_recover_and_wrong_answers_hangs_and_leaks_always() {
        let failure = crate::cli::local_cluster::SqlFailure::Disconnected("x".into());
        let tally = Tally::default();
        tally.add(outcome(1, Verdict::Right));
        tally.add(outcome(1, Verdict::Failed(failure)));
        assert!(tally.is_good(false) && !tally.is_good(true) && tally.check_calm().is_err());
        for bad in [Verdict::Hang, Verdict::Wrong("0 rows".into())] {
            let tally = Tally::default();
            tally.add(outcome(1, bad));
            assert!(!tally.is_good(false));
        }
        tally.note_leak("memory");
        assert!(!tally.is_good(false));
    }

    #[test]
    fn slowdowns_are_relative_to_the_query_s_own_median() {
        let calm = BTreeMap::from([(1, vec![1.0, 2.0, 9.0]), (2, vec![4.0])]);
        let disturbed = BTreeMap::from([(1, vec![4.0]), (2, vec![4.0, 8.0]), (3, vec![1.0])]);
        assert_eq!(slowdowns(&calm, &disturbed), vec![(1, 2.0), (2, 1.0), (2, 2.0)]);
    }
}
