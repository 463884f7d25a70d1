//! What is known of every unit of an attempt: which runs of it live where, and whether it is done.
//!
//! Position: the book that [`super::QueryMachine`] keeps. Deliberately elsewhere: who runs what next (`node_scheduler`).

use std::time::Duration;

use super::progress::{FragmentProgress, Progress};
use crate::{
    cluster::{
        control::{UnitId, UnitRun},
        node::NodeIndex,
    },
    plan::fragment::{DistributedPlan, FragmentId, Placement},
};

/// A run that has been handed out and has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LiveRun {
    pub(super) node: NodeIndex,
    pub(super) run: UnitRun,
    pub(super) since: Duration,
}

/// A unit that has lost a run with its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LostRun {
    pub(super) id: UnitId,
    /// Nodes that were lost while they had the unit, this one among them.
    pub(super) losses: u8,
    /// Whether another run of it goes on.
    pub(super) goes_on: bool,
}

#[derive(Debug, Default)]
struct UnitState {
    live: Vec<LiveRun>,
    next_run: u16,
    losses: u8,
    is_done: bool,
}

#[derive(Debug)]
struct FragmentUnits {
    is_leaf: bool,
    units: Vec<UnitState>,
    num_done: usize,
    /// How long units took, sorted.
    durations: Vec<Duration>,
}

/// All units of an attempt.
#[derive(Debug)]
pub(super) struct Units {
    fragments: Vec<FragmentUnits>,
}

impl Units {
    /// Units of leaf fragments wait to be begun; all others are where they belong from the start.
    pub(super) fn new(plan: &DistributedPlan, num_workers: usize) -> Self {
        let fragments = plan.fragments.iter().map(|fragment| match &fragment.placement {
            Placement::Leaf { units, .. } => FragmentUnits::waiting(units.len()),
            Placement::Partitioned => FragmentUnits::placed(fragment.id, (1..=num_workers).map(|node| NodeIndex(node as u16))),
            Placement::Coordinator => FragmentUnits::placed(fragment.id, [NodeIndex::COORDINATOR].into_iter()),
        });
        Units { fragments: fragments.collect() }
    }

    /// Begins a run of a leaf unit.
    pub(super) fn begin(&mut self, node: NodeIndex, id: UnitId, now: Duration) -> UnitRun {
        let unit = &mut self.fragments[id.fragment.0 as usize].units[id.unit as usize];
        debug_assert!(!unit.is_done, "{id:?} is done and runs again");
        debug_assert!(unit.live.iter().all(|live| live.node != node), "{id:?} runs twice on node {}", node.0);
        let run = UnitRun { id, run: unit.next_run };
        unit.next_run += 1;
        unit.live.push(LiveRun { node, run, since: now });
        run
    }

    /// A run has ended. Answers with the other runs of the unit, which nobody needs any more; `None` if the run was not wanted.
    pub(super) fn end(&mut self, node: NodeIndex, run: UnitRun, now: Duration) -> Option<Vec<LiveRun>> {
        let fragment = self.fragments.get_mut(run.id.fragment.0 as usize)?;
        let unit = fragment.units.get_mut(run.id.unit as usize)?;
        let winner = unit.live.iter().position(|live| live.node == node && live.run == run)?;
        debug_assert!(!unit.is_done, "{run:?} ends, but the unit was done before");
        let winner = unit.live.swap_remove(winner);
        unit.is_done = true;
        fragment.num_done += 1;
        let took = now.saturating_sub(winner.since);
        fragment.durations.insert(fragment.durations.partition_point(|other| *other <= took), took);
        Some(std::mem::take(&mut unit.live))
    }

    /// Takes all live runs of a leaf fragment away: what they compute is not needed.
    pub(super) fn abandon(&mut self, fragment: FragmentId) -> Vec<LiveRun> {
        let fragment = &mut self.fragments[fragment.0 as usize];
        fragment.num_done = fragment.units.len();
        let open = fragment.units.iter_mut().filter(|unit| !unit.is_done);
        open.flat_map(|unit| {
            unit.is_done = true;
            std::mem::take(&mut unit.live)
        })
        .collect()
    }

    /// Takes the runs of a lost node away.
    pub(super) fn drop_node(&mut self, node: NodeIndex) -> Vec<LostRun> {
        let mut lost = vec![];
        for unit in self.fragments.iter_mut().filter(|fragment| fragment.is_leaf).flat_map(|fragment| &mut fragment.units) {
            if let Some(position) = unit.live.iter().position(|live| live.node == node) {
                let LiveRun { run, .. } = unit.live.swap_remove(position);
                unit.losses += 1;
                lost.push(LostRun { id: run.id, losses: unit.losses, goes_on: !unit.live.is_empty() });
            }
        }
        lost
    }

    /// Whether the node has a unit that no other node can run.
    pub(super) fn has_unfinished_partition(&self, node: NodeIndex) -> bool {
        let placed = self.fragments.iter().filter(|fragment| !fragment.is_leaf).flat_map(|fragment| &fragment.units);
        placed.flat_map(|unit| &unit.live).any(|live| live.node == node)
    }

    /// Whether all units of the fragment are done.
    pub(super) fn is_done(&self, fragment: FragmentId) -> bool {
        let fragment = &self.fragments[fragment.0 as usize];
        fragment.num_done == fragment.units.len()
    }

    /// How long the middle one of the units that are done took.
    pub(super) fn median_duration(&self, fragment: FragmentId) -> Option<Duration> {
        let durations = &self.fragments[fragment.0 as usize].durations;
        durations.get(durations.len() / 2).copied()
    }

    /// Runs of a leaf fragment that are the only one of their unit, the oldest first.
    pub(super) fn lone_runs(&self, fragment: FragmentId) -> Vec<LiveRun> {
        let units = self.fragments[fragment.0 as usize].units.iter();
        let mut lone: Vec<LiveRun> = units.filter(|unit| unit.live.len() == 1).map(|unit| unit.live[0]).collect();
        lone.sort_by_key(|live| (live.since, live.run));
        lone
    }

    /// For those who watch.
    pub(super) fn progress(&self) -> Progress {
        let count = |(number, fragment): (usize, &FragmentUnits)| FragmentProgress {
            fragment: FragmentId(number as u32),
            units_done: fragment.num_done as u32,
            units_running: fragment.units.iter().filter(|unit| !unit.live.is_empty()).count() as u32,
            units_total: fragment.units.len() as u32,
        };
        Progress::of(self.fragments.iter().enumerate().map(count).collect())
    }
}

impl FragmentUnits {
    fn waiting(num_units: usize) -> Self {
        let units = (0..num_units).map(|_| UnitState::default()).collect();
        FragmentUnits { is_leaf: true, units, num_done: 0, durations: vec![] }
    }

    fn placed(fragment: FragmentId, nodes: impl Iterator<Item = NodeIndex>) -> Self {
        let place = |(unit, node): (usize, NodeIndex)| {
            let run = UnitRun { id: UnitId { fragment, unit: unit as u32 }, run: 0 };
            UnitState { live: vec![LiveRun { node, run, since: Duration::ZERO }], next_run: 1, ..UnitState::default() }
        };
        FragmentUnits { is_leaf: false, units: nodes.enumerate().map(place).collect(), num_done: 0, durations: vec![] }
    }
}
