//! Who is disturbed, how and when; and who is brought back.
//!
//! Position: part of `cluster_chaos`. At least one worker is always left in peace, because a cluster without workers can only wait.
//! A process that ends without having been told to is a mistake of the program, and is counted.

use std::time::{Duration, Instant};

use super::ChaosArguments;
use crate::{
    cli::local_cluster::{LocalCluster, PATIENCE, random::Random},
    error::Result,
};

/// Shortest pause between two disturbances.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// How long a killed worker may be away; a stopped one longer, far beyond its lease.
const AWAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(6));
const STOPPED_MAX: Duration = Duration::from_secs(20);

/// How long a worker that was asked to end may finish what it runs.
const DRAIN_BOUND: Duration = Duration::from_secs(90);

/// A way to disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Stop,
    Restart,
}

/// A worker that is away.
struct Disturbed {
    worker: usize,
    kind: Kind,
    /// When it is brought back at the latest.
    until: Instant,
}

/// Disturbs workers.
pub(super) struct Disturber {
    kinds: Vec<Kind>,
    random: Random,
    longest_pause: Duration,
    next: Instant,
    disturbed: Vec<Disturbed>,
    /// Kills so far.
    pub(super) kills: usize,
    /// Stops so far.
    pub(super) stops: usize,
    /// Restarts so far.
    pub(super) restarts: usize,
    /// Processes that ended without having been told to.
    pub(super) own_ends: usize,
    /// Processes that were asked to end and did not.
    pub(super) stuck_ends: usize,
}

impl Disturber {
    /// With the kinds that were asked for; none means all.
    pub(super) fn new(arguments: &ChaosArguments, random: Random) -> Disturber {
        let asked = [(arguments.kill, Kind::Kill), (arguments.stop, Kind::Stop), (arguments.restart, Kind::Restart)];
        let any = asked.iter().any(|(wanted, _)| *wanted);
        Disturber {
            kinds: asked.iter().filter(|(wanted, _)| *wanted || !any).map(|(_, kind)| *kind).collect(),
            random,
            longest_pause: Duration::try_from_secs_f64(arguments.pause).unwrap_or(PATIENCE).max(SHORTEST_PAUSE),
            next: Instant::now(),
            disturbed: vec![],
            kills: 0,
            stops: 0,
            restarts: 0,
            own_ends: 0,
            stuck_ends: 0,
        }
    }

    /// Brings back who has been away long enough, and disturbs another if it is time.
    ///
    /// # Errors
    /// A process that cannot be started or signalled.
    pub(super) fn tick(&mut self, cluster: &mut LocalCluster) -> Result<()> {
        self.bring_back(cluster)?;
        self.look_after(cluster)?;
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + self.random.duration(SHORTEST_PAUSE, self.longest_pause);
        let is_away = |worker: usize, disturbed: &[Disturbed]| disturbed.iter().any(|d| d.worker == worker);
        let present: Vec<usize> = (1..=cluster.num_workers()).filter(|worker| !is_away(*worker, &self.disturbed)).collect();
        if present.len() < 2 {
            return Ok(());
        }
        let worker = present[self.random.below(present.len())];
        let kind = self.kinds[self.random.below(self.kinds.len())];
        let mut until = Instant::now() + self.random.duration(AWAY.0, AWAY.1);
        match kind {
            Kind::Kill => {
                cluster.worker(worker).kill();
                self.kills += 1;
            }
            Kind::Stop => {
                cluster.worker(worker).stop()?;
                until = Instant::now() + self.random.duration(AWAY.0, STOPPED_MAX);
                self.stops += 1;
            }
            Kind::Restart => {
                cluster.worker(worker).terminate()?;
                until = Instant::now() + DRAIN_BOUND;
                self.restarts += 1;
            }
        }
        self.disturbed.push(Disturbed { worker, kind, until });
        Ok(())
    }

    /// Brings back everybody.
    ///
    /// # Errors
    /// A process that cannot be started or signalled.
    pub(super) async fn repair_all(&mut self, cluster: &mut LocalCluster) -> Result<()> {
        while !self.disturbed.is_empty() {
            for disturbed in self.disturbed.iter_mut().filter(|d| d.kind != Kind::Restart) {
                disturbed.until = Instant::now();
            }
            self.bring_back(cluster)?;
            tokio::time::sleep(super::TICK).await;
        }
        self.look_after(cluster)
    }

    fn bring_back(&mut self, cluster: &mut LocalCluster) -> Result<()> {
        let now = Instant::now();
        let mut still_away = vec![];
        for disturbed in std::mem::take(&mut self.disturbed) {
            let node = cluster.worker(disturbed.worker);
            let is_due = now >= disturbed.until;
            match disturbed.kind {
                Kind::Kill if is_due => node.restart()?,
                Kind::Stop if is_due => node.cont()?,
                Kind::Restart if node.exit_status().is_some() => node.restart()?,
                Kind::Restart if is_due => {
                    self.stuck_ends += 1;
                    node.restart()?;
                }
                _ => still_away.push(disturbed),
            }
        }
        self.disturbed = still_away;
        Ok(())
    }

    /// Restarts workers that ended by themselves, and counts them.
    fn look_after(&mut self, cluster: &mut LocalCluster) -> Result<()> {
        for worker in 1..=cluster.num_workers() {
            let was_told = self.disturbed.iter().any(|d| d.worker == worker && d.kind != Kind::Stop);
            if let Some(status) = cluster.worker(worker).exit_status().filter(|_| !was_told) {
                self.own_ends += 1;
                let node = cluster.worker(worker);
                eprintln!("{} ended by itself: {status}\n{}", node.name(), node.log_end(20));
                node.restart()?;
                self.disturbed.retain(|d| d.worker != worker);
            }
        }
        Ok(())
    }
}
