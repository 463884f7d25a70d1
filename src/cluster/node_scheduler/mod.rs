//! Which unit of a leaf fragment runs on which node: pure decisions, without clock, network or knowledge of faults.
//!
//! ```text
//!   fragment 0:  node 1 [u0 u3 u5]   node 2 [u1 u4]   node 3 [u2]      queues by home, chosen by rendezvous hashing
//!                     ▲ own units from the head ▲          ▲ then the tail of whoever has most left
//!   slots:       per node *and fragment*, so that units that cannot go on never keep units of another fragment from starting
//! ```
//!
//! Position: asked by `query_machine`, which tells it which nodes take work and when a slot is free. Deliberately elsewhere: runs of
//! units, their losses and their duplicates (`query_machine`); the order of morsels within a node (`pipelines`).

mod leaf_queue;
mod rendezvous;
#[cfg(test)]
mod tests;

use super::{
    control::{UnitId, units_at_once},
    node::NodeIndex,
};
use crate::plan::fragment::{DistributedPlan, FragmentId, LeafUnit, Placement};
use leaf_queue::LeafQueue;
use rendezvous::Homes;

/// What a node brings to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeShape {
    /// Threads that run queries.
    pub threads: u16,
    /// Its name: the same name is given the same units again, whose files it may have cached.
    pub name: String,
}

/// Hands out the units of all leaf fragments of a query.
#[derive(Debug)]
pub struct NodeScheduler {
    homes: Homes,
    slots: Vec<usize>,
    queues: Vec<FragmentQueue>,
}

#[derive(Debug)]
struct FragmentQueue {
    fragment: FragmentId,
    units: Vec<LeafUnit>,
    queue: LeafQueue,
    /// Per node: slots that are taken.
    taken: Vec<usize>,
    is_open: bool,
}

impl NodeScheduler {
    /// All units of the plan's leaf fragments, at home among the workers (every node but the first). No fragment is open.
    pub fn new(nodes: &[NodeShape], plan: &DistributedPlan) -> Self {
        let homes = Homes::new(nodes);
        let queues = plan.fragments.iter().filter_map(|fragment| match &fragment.placement {
            Placement::Leaf { units, .. } => Some(FragmentQueue::new(fragment.id, units, &homes)),
            Placement::Partitioned | Placement::Coordinator => None,
        });
        let queues = queues.collect();
        NodeScheduler { slots: nodes.iter().map(slots_per_fragment).collect(), homes, queues }
    }

    /// Lets units of a fragment be assigned.
    pub fn open(&mut self, fragment: FragmentId) {
        if let Some(queue) = self.queue_mut(fragment) {
            queue.is_open = true;
        }
    }

    /// Says whether a node takes new units. Units that wait at a node that does not are given another home.
    pub fn set_usable(&mut self, node: NodeIndex, is_usable: bool) {
        self.homes.set_usable(node, is_usable);
        if !is_usable {
            for FragmentQueue { queue, units, .. } in &mut self.queues {
                queue.move_away(node, |unit| self.homes.of(units[unit as usize].affinity));
            }
        }
    }

    /// Whether any node takes new units.
    pub fn has_usable_node(&self) -> bool {
        self.homes.usable().next().is_some()
    }

    /// Fills free slots; the caller runs what comes back, in this order.
    ///
    /// Fragments of earlier numbers, which feed the build sides of later ones, come first: while such a fragment has units waiting,
    /// later ones get one slot per node, so that they neither take the node's threads nor starve. A node gets its second unit when
    /// every node has a first.
    pub fn assign(&mut self) -> Vec<(NodeIndex, UnitId)> {
        let mut assigned = vec![];
        let mut is_earlier_waiting = false;
        for queue in self.queues.iter_mut().filter(|queue| queue.is_open) {
            let most = if is_earlier_waiting { 1 } else { usize::MAX };
            queue.fill(&self.homes, &self.slots, most, &mut assigned);
            is_earlier_waiting |= !queue.queue.is_empty();
        }
        assigned
    }

    /// Gives a slot back: a run has ended, or is not wanted any more.
    pub fn release(&mut self, node: NodeIndex, fragment: FragmentId) {
        if let Some(taken) = self.queue_mut(fragment).and_then(|queue| queue.taken.get_mut(usize::from(node.0))) {
            debug_assert!(*taken > 0, "a slot of node {} is given back twice", node.0);
            *taken = taken.saturating_sub(1);
        }
    }

    /// Puts a unit back whose run was lost: it is the next at its home.
    pub fn put_back(&mut self, id: UnitId) {
        let homes = &self.homes;
        if let Some(FragmentQueue { queue, units, .. }) = self.queues.iter_mut().find(|queue| queue.fragment == id.fragment)
            && let Some(unit) = units.get(id.unit as usize)
        {
            queue.push_front(homes.of(unit.affinity), id.unit, unit.bytes);
        }
    }

    /// Drops the units of a fragment that wait: nobody reads their rows.
    pub fn clear(&mut self, fragment: FragmentId) {
        if let Some(queue) = self.queue_mut(fragment) {
            queue.queue.clear();
        }
    }

    /// Whether units of the fragment wait for a node.
    pub fn is_waiting(&self, fragment: FragmentId) -> bool {
        self.queues.iter().any(|queue| queue.fragment == fragment && !queue.queue.is_empty())
    }

    /// Whether units of any fragment wait for a node.
    pub fn is_any_waiting(&self) -> bool {
        self.queues.iter().any(|queue| !queue.queue.is_empty())
    }

    /// A node other than `except` that runs nothing of the fragment: of several, the one with least to do.
    pub fn idle_node(&self, fragment: FragmentId, except: NodeIndex) -> Option<NodeIndex> {
        let queue = self.queues.iter().find(|queue| queue.fragment == fragment)?;
        let load = |node: &NodeIndex| self.queues.iter().map(|queue| queue.taken[usize::from(node.0)]).sum::<usize>();
        self.homes.usable().filter(|node| *node != except && queue.taken[usize::from(node.0)] == 0).min_by_key(load)
    }

    /// Takes a slot for a run that [`assign`](Self::assign) did not hand out.
    pub fn take_slot(&mut self, node: NodeIndex, fragment: FragmentId) {
        if let Some(queue) = self.queue_mut(fragment) {
            queue.taken[usize::from(node.0)] += 1;
        }
    }

    fn queue_mut(&mut self, fragment: FragmentId) -> Option<&mut FragmentQueue> {
        self.queues.iter_mut().find(|queue| queue.fragment == fragment)
    }
}

impl FragmentQueue {
    fn new(fragment: FragmentId, units: &[LeafUnit], homes: &Homes) -> Self {
        let mut queue = LeafQueue::new(homes.len());
        for (number, unit) in units.iter().enumerate() {
            queue.push_back(homes.of(unit.affinity), number as u32, unit.bytes);
        }
        FragmentQueue { fragment, units: units.to_vec(), queue, taken: vec![0; homes.len()], is_open: false }
    }

    /// Level by level: nobody gets a second unit before everybody has had a chance to get a first, and nobody's own unit is stolen
    /// for a level that the owner fills himself.
    fn fill(&mut self, homes: &Homes, slots: &[usize], most: usize, assigned: &mut Vec<(NodeIndex, UnitId)>) {
        let allowed = |node: NodeIndex| slots[usize::from(node.0)].min(most);
        let levels = homes.usable().map(allowed).max().unwrap_or(0);
        for level in 0..levels {
            for take in [LeafQueue::take_own, LeafQueue::steal] {
                for node in homes.usable().filter(|node| allowed(*node) > level) {
                    let taken = &mut self.taken[usize::from(node.0)];
                    if *taken == level
                        && let Some(unit) = take(&mut self.queue, node)
                    {
                        *taken += 1;
                        assigned.push((node, UnitId { fragment: self.fragment, unit }));
                    }
                }
            }
        }
    }
}

/// As many as the node runs at once, and one more so that the next is there when one ends. What only waits there could not be stolen.
fn slots_per_fragment(node: &NodeShape) -> usize {
    units_at_once(usize::from(node.threads)) + 1
}
