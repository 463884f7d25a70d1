//! Looks over the machine's shoulder: what it may never do, whatever the faults.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::super::{Action, Event, QueryMachine};
use crate::{
    cluster::{
        control::{UnitId, UnitRun},
        node::NodeIndex,
        node_scheduler::NodeShape,
    },
    error::ErrorKind,
    plan::{
        fragment::{DistributedPlan, FragmentId},
        physical::RuntimeFilterId,
    },
};

/// What has been seen of an attempt.
#[derive(Debug)]
pub struct Watch {
    slots: Vec<usize>,
    lost: BTreeSet<NodeIndex>,
    draining: BTreeSet<NodeIndex>,
    told: BTreeSet<(NodeIndex, RuntimeFilterId)>,
    out: BTreeMap<UnitRun, NodeIndex>,
    next_run: BTreeMap<UnitId, u16>,
    done: BTreeSet<UnitId>,
    has_started: bool,
}

impl Watch {
    /// Nothing has been seen.
    pub fn new(nodes: &[NodeShape]) -> Self {
        Watch {
            slots: nodes.iter().map(|node| usize::from(node.threads.div_ceil(2) + 1).max(2)).collect(),
            lost: BTreeSet::new(),
            draining: BTreeSet::new(),
            told: BTreeSet::new(),
            out: BTreeMap::new(),
            next_run: BTreeMap::new(),
            done: BTreeSet::new(),
            has_started: false,
        }
    }

    /// Whether a node is lost for this attempt.
    pub fn is_lost(&self, node: NodeIndex) -> bool {
        self.lost.contains(&node)
    }

    /// The machine is told something, and answers.
    ///
    /// # Errors
    /// What was wrong with the answer.
    pub fn check(&mut self, plan: &DistributedPlan, event: &Event, actions: &[Action]) -> Result<(), String> {
        let is_user_error = |kind| kind != ErrorKind::Cluster;
        match event {
            Event::NodeLost { node, .. } => drop(self.lost.insert(*node)),
            Event::Draining(node) => drop(self.draining.insert(*node)),
            Event::Resumed(node) => drop(self.draining.remove(node)),
            Event::Done { node, run } if !self.is_lost(*node) && self.out.get(run) == Some(node) => {
                self.out.remove(run);
                self.done.insert(run.id);
            }
            Event::Failed { node, error } if !self.is_lost(*node) && is_user_error(error.kind) => {
                if !matches!(actions, [Action::Fail(answer)] if answer == error) {
                    return Err(format!("a user's error was answered with {actions:?}"));
                }
            }
            _ => {}
        }
        for action in actions {
            self.check_action(plan, action)?;
        }
        for fragment in &plan.fragments {
            for (node, slots) in self.slots.iter().enumerate() {
                let out = self.out.iter().filter(|(run, at)| run.id.fragment == fragment.id && usize::from(at.0) == node);
                if out.count() > *slots {
                    return Err(format!("node {node} has more than {slots} units of {:?}", fragment.id));
                }
            }
        }
        let of_done = self.out.keys().find(|run| self.done.contains(&run.id));
        of_done.map_or(Ok(()), |run| Err(format!("{run:?} goes on, but another run of its unit has ended")))
    }

    fn check_action(&mut self, plan: &DistributedPlan, action: &Action) -> Result<(), String> {
        match action {
            Action::Start if self.has_started => return Err("a second start".to_owned()),
            Action::Start => self.has_started = true,
            Action::NodeGone { gone } => {
                self.lost.insert(*gone);
                self.out.retain(|_, node| node != gone);
            }
            Action::Filter { node, filter, .. } => {
                if !self.told.insert((*node, *filter)) {
                    return Err(format!("node {} is told {filter:?} twice", node.0));
                }
            }
            Action::Forget { node, run } => {
                if self.out.remove(run) != Some(*node) {
                    return Err(format!("node {} is to forget {run:?}, which it does not have", node.0));
                }
            }
            Action::Run { node, run, .. } => return self.check_run(plan, *node, *run),
            Action::Probe(_) | Action::Restart { .. } | Action::Fail(_) | Action::Succeed => {}
        }
        Ok(())
    }

    fn check_run(&mut self, plan: &DistributedPlan, node: NodeIndex, run: UnitRun) -> Result<(), String> {
        let mut filters = plan.fragment(run.id.fragment).filters_in.iter();
        let next_run = self.next_run.entry(run.id).or_default();
        let wrong = if !self.has_started {
            "before the start"
        } else if self.lost.contains(&node) || self.draining.contains(&node) {
            "by a node that takes no work"
        } else if filters.any(|filter| !self.told.contains(&(node, *filter))) {
            "before its filters are told"
        } else if self.done.contains(&run.id) {
            "although it is done"
        } else if *next_run != run.run {
            "under the wrong number"
        } else {
            *next_run += 1;
            self.out.insert(run, node);
            return Ok(());
        };
        Err(format!("{run:?} is run on node {} {wrong}", node.0))
    }

    /// The machine has answered; whether it knows what is done and waits for something that comes.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_state(&self, machine: &QueryMachine, now: Duration) -> Result<(), String> {
        let progress = machine.progress();
        for fragment in &progress.fragments {
            let done = self.done.iter().filter(|unit| unit.fragment == fragment.fragment).count() as u32;
            let is_unread = fragment.units_done == fragment.units_total;
            if fragment.units_done > fragment.units_total || fragment.units_done < done && !is_unread {
                return Err(format!("{done} units have ended, the machine says {fragment:?}"));
            }
        }
        match machine.next_deadline() {
            Some(deadline) if deadline <= now => Err(format!("a deadline of {deadline:?} is over at {now:?}")),
            _ => Ok(()),
        }
    }

    /// Adds units that run from the start.
    pub fn placed(&mut self, fragment: FragmentId, unit: u32, node: NodeIndex) {
        self.out.insert(UnitRun { id: UnitId { fragment, unit }, run: 0 }, node);
    }
}
