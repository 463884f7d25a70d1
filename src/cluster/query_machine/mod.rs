//! The coordinator's head for one attempt at one query: hears what happens, says what to do, and does nothing itself.
//!
//! ```text
//!   Ready, Done, FilterPart, NodeLost … ──step(event, now)──►  units       which runs live where, what is done
//!                                                             filters     which runtime filters are known
//!   Start, Run, Filter, Forget, Restart … ◄──────────────────  nodes       who is ready, draining, suspected, lost
//!                                                             scheduler   which unit goes where (`node_scheduler`)
//! ```
//!
//! There is no clock, no task and no channel in here: time comes with every event, and two machines that hear the same say the same.
//! So the simulator in the tests can play thousands of faults a second against it.
//!
//! What it keeps, whatever happens:
//! - a unit counts once, however often it runs, and no unit is forgotten;
//! - a lost or draining node is given no work, and a lost one is not listened to any more;
//! - no unit runs before its node knows the filters of its fragment;
//! - slots are per fragment, so a unit that waits for its receiver never keeps a unit of another fragment from starting;
//! - a fault that cannot be mended within the attempt ends it with exactly one last action.
//!
//! Position: the driver of a query carries out actions over control streams and starts the next attempt. Deliberately elsewhere: rows
//! (`exchange`), health of nodes between queries (`membership`), limits on the number of attempts (the driver).

mod event;
mod filters;
mod nodes;
mod progress;
mod rule;
mod stragglers;
mod units;
mod verdict;

#[cfg(test)]
mod simulator;
#[cfg(test)]
pub(in crate::cluster) mod testing;
#[cfg(test)]
mod tests;

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::Arc,
    time::Duration,
};

pub use event::{Action, Event};
pub use progress::{FragmentProgress, Progress};

use super::{
    control::{UnitId, UnitRun},
    node::NodeIndex,
    node_scheduler::{NodeScheduler, NodeShape},
};
use crate::{
    error::Error,
    plan::fragment::{DistributedPlan, Fragment, FragmentId, LeafUnit, Placement, UnitPart},
};
use filters::Filters;
use nodes::Nodes;
use rule::Rule;
use units::Units;

/// What is done about faults of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recovery {
    /// Lost units run again elsewhere; where that is not enough, the attempt is restarted.
    #[default]
    Auto,
    /// The attempt is restarted.
    Restart,
    /// The query fails.
    Off,
}

/// What an attempt starts from.
#[derive(Debug, Clone)]
pub struct MachineConfig {
    /// What is computed.
    pub plan: Arc<DistributedPlan>,
    /// By [`NodeIndex`]: the coordinator, then the workers.
    pub nodes: Vec<NodeShape>,
    /// What is done about faults of the cluster.
    pub recovery: Recovery,
    /// Whether units that take unusually long are run a second time on an idle node.
    pub speculation: bool,
}

/// One attempt at a query, as the coordinator knows it.
#[derive(Debug)]
pub struct QueryMachine {
    plan: Arc<DistributedPlan>,
    recovery: Recovery,
    speculation: bool,
    phase: Phase,
    nodes: Nodes,
    units: Units,
    filters: Filters,
    scheduler: NodeScheduler,
    actions: Vec<Action>,
    #[cfg(test)]
    broken: Option<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Preparing,
    Running,
    Over,
}

/// `Break` with the last action of the attempt.
type Flow = ControlFlow<Action>;

impl QueryMachine {
    /// An attempt of which nothing is known yet. The driver tells all nodes to begin; the machine waits until they are ready.
    pub fn new(config: MachineConfig) -> Self {
        let MachineConfig { plan, nodes, recovery, speculation } = config;
        QueryMachine {
            recovery,
            speculation,
            phase: Phase::Preparing,
            units: Units::new(&plan, nodes.len().saturating_sub(1)),
            filters: Filters::new(&plan),
            scheduler: NodeScheduler::new(&nodes, &plan),
            nodes: Nodes::new(nodes.into_iter().map(|node| node.name)),
            plan,
            actions: vec![],
            #[cfg(test)]
            broken: None,
        }
    }

    /// Something has happened, `now` after the attempt began. What comes back is to be done in this order. After an action that is
    /// [last](Action::is_last) nothing comes back any more.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        if self.phase == Phase::Over {
            return vec![];
        }
        let flow = match self.hear(event, now) {
            Continue(()) => self.go_on(now),
            last => last,
        };
        match flow {
            Continue(()) => std::mem::take(&mut self.actions),
            Break(last) => {
                self.phase = Phase::Over;
                self.actions.clear();
                vec![last]
            }
        }
    }

    /// When [`Event::Tick`] is due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Over => None,
            Phase::Preparing => self.nodes.next_deadline(),
            Phase::Running => self.nodes.next_deadline().into_iter().chain(self.next_straggler()).min(),
        }
    }

    /// How far the attempt has come.
    pub fn progress(&self) -> Progress {
        self.units.progress()
    }

    fn hear(&mut self, event: Event, now: Duration) -> Flow {
        match event {
            Event::Ready(node) if self.nodes.is_alive(node) => self.nodes.set_ready(node),
            Event::Done { node, run } if self.nodes.is_alive(node) => return self.unit_done(node, run, now),
            Event::FilterPart { node, filter, unit, value } if self.nodes.is_alive(node) => {
                self.filters.add(node, filter, unit.is_some(), value);
            }
            Event::Failed { node, error } if self.nodes.is_alive(node) => return self.failed(node, error),
            Event::PeerLost { reporter, peer, reason } if self.nodes.is_alive(reporter) && self.nodes.is_alive(peer) => {
                return self.peer_lost(reporter, peer, reason, now);
            }
            Event::NodeAlive(node) => return self.node_alive(node),
            Event::NodeLost { node, reason } if self.nodes.is_alive(node) => return self.lose(node, &reason),
            Event::Draining(node) if self.nodes.is_alive(node) => self.set_draining(node, true),
            Event::Resumed(node) if self.nodes.is_alive(node) => self.set_draining(node, false),
            // Of a node that is lost, or of nobody; or only the time has changed.
            _ => {}
        }
        Continue(())
    }

    /// What is to be done now that something has changed.
    fn go_on(&mut self, now: Duration) -> Flow {
        while let Some(node) = self.nodes.overdue(now) {
            self.lose(node, "it does not answer")?;
        }
        if self.phase == Phase::Preparing && self.nodes.are_all_ready() {
            self.start();
        }
        if self.phase == Phase::Running {
            self.open_fragments();
            if self.scheduler.is_any_waiting() && !self.scheduler.has_usable_node() {
                return Break(self.recovery.after_fault("no worker is left that takes work".to_owned()));
            }
            for (node, unit) in self.scheduler.assign() {
                self.run(node, unit, now);
            }
            self.duplicate_stragglers(now);
        }
        Continue(())
    }

    fn start(&mut self) {
        self.phase = Phase::Running;
        self.actions.push(Action::Start);
        let ids: Vec<FragmentId> = self.plan.fragments.iter().map(|fragment| fragment.id).collect();
        for id in ids {
            self.close_if_done(id);
        }
    }

    fn unit_done(&mut self, node: NodeIndex, run: UnitRun, now: Duration) -> Flow {
        let Some(others) = self.units.end(node, run, now) else { return Continue(()) };
        let fragment = run.id.fragment;
        self.scheduler.release(node, fragment);
        self.filters.unit_done(node, fragment);
        for other in others {
            self.forget(other.node, other.run);
        }
        if fragment == self.plan.root().id {
            return Break(Action::Succeed);
        }
        self.close_if_done(fragment);
        Continue(())
    }

    /// A fragment whose units are done wants no rows: leaf units that nobody else reads either need not run.
    fn close_if_done(&mut self, fragment: FragmentId) {
        if !self.units.is_done(fragment) {
            return;
        }
        self.filters.fragment_done(fragment);
        let plan = Arc::clone(&self.plan);
        for sender in plan.fragments.iter().filter(|sender| is_leaf(sender) && sender.outputs.iter().any(|output| output.to == fragment)) {
            if !self.units.is_done(sender.id) && sender.outputs.iter().all(|output| self.units.is_done(output.to)) {
                self.scheduler.clear(sender.id);
                for run in self.units.abandon(sender.id) {
                    self.forget(run.node, run.run);
                }
                self.close_if_done(sender.id);
            }
        }
    }

    fn forget(&mut self, node: NodeIndex, run: UnitRun) {
        self.scheduler.release(node, run.id.fragment);
        self.actions.push(Action::Forget { node, run });
    }

    fn open_fragments(&mut self) {
        let alive = &self.nodes;
        self.filters.settle(alive.num_workers(), |node| alive.is_alive(node));
        for fragment in &self.plan.fragments {
            let is_known = |filter| self.filters.is_known(filter);
            if self.breaks(Rule::WaitForFilters) || fragment.filters_in.iter().copied().all(is_known) {
                self.scheduler.open(fragment.id);
            }
        }
    }

    fn run(&mut self, node: NodeIndex, id: UnitId, now: Duration) {
        debug_assert!(self.nodes.is_usable(node), "node {} is given work", node.0);
        let Some(unit) = leaf_unit(self.plan.fragment(id.fragment), id.unit) else { return };
        for filter in &self.plan.fragment(id.fragment).filters_in {
            if let Some(value) = self.filters.tell(node, *filter) {
                self.actions.push(Action::Filter { node, filter: *filter, value });
            }
        }
        // The unit still has to run, because its receivers wait for its end; but it has nothing to read.
        let part = if self.filters.exclude(&unit.keys) { UnitPart::Splits(vec![]) } else { unit.part.clone() };
        let run = self.units.begin(node, id, now);
        self.actions.push(Action::Run { node, run, part });
    }

    fn failed(&mut self, node: NodeIndex, error: Error) -> Flow {
        Break(self.recovery.after_error(self.nodes.name(node), error))
    }

    fn peer_lost(&mut self, reporter: NodeIndex, peer: NodeIndex, reason: String, now: Duration) -> Flow {
        if peer == reporter || self.breaks(Rule::RestartAfterBrokenConnection) {
            return Continue(());
        }
        if peer == NodeIndex::COORDINATOR {
            // That this node lives is known, and that the reporter does, too.
            return Break(self.connection_broke(&[reporter], peer, &reason));
        }
        if self.nodes.suspect(peer, reporter, reason, now) {
            self.actions.push(Action::Probe(peer));
        }
        Continue(())
    }

    fn node_alive(&mut self, node: NodeIndex) -> Flow {
        match self.nodes.acquit(node) {
            // Rows were on their way, and nobody knows which have arrived.
            Some((reporters, reason)) => Break(self.connection_broke(&reporters, node, &reason)),
            None => Continue(()),
        }
    }

    fn connection_broke(&self, reporters: &[NodeIndex], peer: NodeIndex, reason: &str) -> Action {
        let reporters: Vec<&str> = reporters.iter().map(|node| self.nodes.name(*node)).collect();
        let (reporters, peer) = (reporters.join(", "), self.nodes.name(peer));
        self.recovery.after_fault(format!("the connection between {reporters} and {peer} broke: {reason}"))
    }

    fn set_draining(&mut self, node: NodeIndex, is_draining: bool) {
        self.nodes.set_draining(node, is_draining);
        self.scheduler.set_usable(node, !is_draining);
    }

    fn lose(&mut self, node: NodeIndex, reason: &str) -> Flow {
        let what = format!("node {} is lost: {reason}", self.nodes.name(node));
        self.nodes.set_lost(node);
        let is_fatal = self.units.has_unfinished_partition(node) && !self.breaks(Rule::RestartWithoutPartition);
        if is_fatal || self.recovery != Recovery::Auto {
            return Break(self.recovery.after_fault(what));
        }
        self.scheduler.set_usable(node, false);
        self.actions.push(Action::NodeGone { gone: node });
        for lost in self.units.drop_node(node) {
            self.scheduler.release(node, lost.id.fragment);
            if lost.losses >= verdict::MAX_LOSSES {
                return Break(verdict::poison(lost.id));
            }
            if !lost.goes_on && !self.breaks(Rule::RunLostUnitsAgain) {
                self.scheduler.put_back(lost.id);
            }
        }
        Continue(())
    }
}

fn is_leaf(fragment: &Fragment) -> bool {
    matches!(fragment.placement, Placement::Leaf { .. })
}

fn leaf_unit(fragment: &Fragment, unit: u32) -> Option<&LeafUnit> {
    match &fragment.placement {
        Placement::Leaf { units, .. } => units.get(unit as usize),
        Placement::Partitioned | Placement::Coordinator => None,
    }
}
