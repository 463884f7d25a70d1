//! Units of one leaf fragment that wait, in a queue per home node.
//!
//! Position: a part of [`super::NodeScheduler`]. Deliberately elsewhere: what a home is (`rendezvous`).

use std::collections::VecDeque;

use crate::cluster::node::NodeIndex;

/// The waiting units of a fragment.
#[derive(Debug)]
pub struct LeafQueue {
    homes: Vec<HomeQueue>,
}

#[derive(Debug, Default)]
struct HomeQueue {
    /// Unit and bytes.
    units: VecDeque<(u32, u64)>,
    bytes: u64,
}

impl LeafQueue {
    /// Without units.
    pub fn new(num_nodes: usize) -> Self {
        LeafQueue { homes: (0..num_nodes).map(|_| HomeQueue::default()).collect() }
    }

    /// Adds a unit that is wanted last.
    pub fn push_back(&mut self, home: NodeIndex, unit: u32, bytes: u64) {
        let queue = &mut self.homes[usize::from(home.0)];
        queue.units.push_back((unit, bytes));
        queue.bytes += bytes;
    }

    /// Adds a unit that is wanted first.
    pub fn push_front(&mut self, home: NodeIndex, unit: u32, bytes: u64) {
        let queue = &mut self.homes[usize::from(home.0)];
        queue.units.push_front((unit, bytes));
        queue.bytes += bytes;
    }

    /// The first unit at home on the node.
    pub fn take_own(&mut self, node: NodeIndex) -> Option<u32> {
        let queue = &mut self.homes[usize::from(node.0)];
        let (unit, bytes) = queue.units.pop_front()?;
        queue.bytes -= bytes;
        Some(unit)
    }

    /// The last unit of the node that has most bytes left: the one its owner would come to last.
    pub fn steal(&mut self, thief: NodeIndex) -> Option<u32> {
        let others = self.homes.iter_mut().enumerate().filter(|(home, queue)| *home != usize::from(thief.0) && !queue.units.is_empty());
        let (_, queue) = others.max_by_key(|(_, queue)| (queue.bytes, queue.units.len()))?;
        let (unit, bytes) = queue.units.pop_back()?;
        queue.bytes -= bytes;
        Some(unit)
    }

    /// Gives the units at home on a node another home.
    pub fn move_away(&mut self, node: NodeIndex, new_home: impl Fn(u32) -> NodeIndex) {
        let HomeQueue { units, .. } = std::mem::take(&mut self.homes[usize::from(node.0)]);
        for (unit, bytes) in units {
            self.push_back(new_home(unit), unit, bytes);
        }
    }

    /// Drops all units.
    pub fn clear(&mut self) {
        self.homes.fill_with(HomeQueue::default);
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.homes.iter().all(|queue| queue.units.is_empty())
    }
}
