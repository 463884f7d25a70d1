//! Rendezvous hashing: every unit has a home that depends only on its data and on who is there.
//!
//! Every node draws a number for every unit, and the best draw wins. When a node goes, only its own units move; when it comes back,
//! exactly those return. Nodes with more threads draw proportionally better.

use super::NodeShape;
use crate::{
    cluster::node::NodeIndex,
    connectors::part::{stable_hash, stable_mix},
};

/// The nodes that units may be at home on.
#[derive(Debug)]
pub struct Homes {
    nodes: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    name_hash: u64,
    weight: f64,
    is_usable: bool,
}

impl Homes {
    /// All nodes but the first, which is the coordinator.
    pub fn new(nodes: &[NodeShape]) -> Self {
        let candidate = |(index, node): (usize, &NodeShape)| Candidate {
            // The same in every version of the program, so that caches outlive upgrades.
            name_hash: stable_hash([node.name.as_bytes()]),
            weight: f64::from(node.threads.max(1)),
            is_usable: index > 0,
        };
        Homes { nodes: nodes.iter().enumerate().map(candidate).collect() }
    }

    /// How many nodes there are, the coordinator among them.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Says whether a node may be a home.
    pub fn set_usable(&mut self, node: NodeIndex, is_usable: bool) {
        if let Some(candidate) = self.nodes.get_mut(usize::from(node.0)) {
            candidate.is_usable = is_usable && node != NodeIndex::COORDINATOR;
        }
    }

    /// The nodes that may be homes.
    pub fn usable(&self) -> impl Iterator<Item = NodeIndex> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.is_usable).map(|(index, _)| NodeIndex(index as u16))
    }

    /// The home of what has this affinity. Without usable nodes the coordinator, which takes nothing: others steal it from there.
    pub fn of(&self, affinity: u64) -> NodeIndex {
        let draw = |node: &NodeIndex| {
            let candidate = &self.nodes[usize::from(node.0)];
            -unit_interval(stable_mix(affinity ^ candidate.name_hash)).ln() / candidate.weight
        };
        self.usable().min_by(|a, b| draw(a).total_cmp(&draw(b))).unwrap_or(NodeIndex::COORDINATOR)
    }
}

/// Between 0 and 1, without either.
fn unit_interval(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}
