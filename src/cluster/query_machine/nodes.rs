//! What is known of the nodes of an attempt: who is ready, who drains, who is lost, and whom somebody suspects.

use std::{collections::BTreeSet, time::Duration};

use crate::cluster::node::NodeIndex;

/// How long a suspected node has to answer before it counts as lost.
const PROBE_TIMEOUT: Duration = Duration::from_secs(6);

/// The nodes of an attempt.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<NodeState>,
}

#[derive(Debug)]
struct NodeState {
    name: String,
    is_ready: bool,
    is_draining: bool,
    is_lost: bool,
    suspicion: Option<Suspicion>,
}

#[derive(Debug)]
struct Suspicion {
    until: Duration,
    reporters: BTreeSet<NodeIndex>,
    reason: String,
}

impl Nodes {
    /// Nobody is ready, nobody is lost.
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let state = |name| NodeState { name, is_ready: false, is_draining: false, is_lost: false, suspicion: None };
        Nodes { nodes: names.map(state).collect() }
    }

    /// How many there are without the coordinator, the lost ones too.
    pub(super) fn num_workers(&self) -> usize {
        self.nodes.len().saturating_sub(1)
    }

    /// Its name, for messages.
    pub(super) fn name(&self, node: NodeIndex) -> &str {
        self.nodes.get(usize::from(node.0)).map_or("an unknown node", |node| &node.name)
    }

    /// Whether there is such a node and it is not lost: whoever else speaks is not listened to.
    pub(super) fn is_alive(&self, node: NodeIndex) -> bool {
        self.nodes.get(usize::from(node.0)).is_some_and(|node| !node.is_lost)
    }

    /// Whether it may be given work.
    pub(super) fn is_usable(&self, node: NodeIndex) -> bool {
        self.nodes.get(usize::from(node.0)).is_some_and(|node| !node.is_lost && !node.is_draining)
    }

    /// The node's inputs are open.
    pub(super) fn set_ready(&mut self, node: NodeIndex) {
        self.nodes[usize::from(node.0)].is_ready = true;
    }

    /// Whether all that live are ready.
    pub(super) fn are_all_ready(&self) -> bool {
        self.nodes.iter().all(|node| node.is_ready || node.is_lost)
    }

    /// It takes no more work, or takes work again.
    pub(super) fn set_draining(&mut self, node: NodeIndex, is_draining: bool) {
        self.nodes[usize::from(node.0)].is_draining = is_draining;
    }

    /// It is lost for the rest of the attempt.
    pub(super) fn set_lost(&mut self, node: NodeIndex) {
        let node = &mut self.nodes[usize::from(node.0)];
        (node.is_lost, node.suspicion) = (true, None);
    }

    /// Somebody has lost the connection to a node. Whether it has to be probed, because nobody had before.
    pub(super) fn suspect(&mut self, node: NodeIndex, reporter: NodeIndex, reason: String, now: Duration) -> bool {
        let suspicion = &mut self.nodes[usize::from(node.0)].suspicion;
        let is_new = suspicion.is_none();
        let fresh = || Suspicion { until: now + PROBE_TIMEOUT, reporters: BTreeSet::new(), reason };
        suspicion.get_or_insert_with(fresh).reporters.insert(reporter);
        is_new
    }

    /// The suspected node lives: between whom the connection broke, and how.
    pub(super) fn acquit(&mut self, node: NodeIndex) -> Option<(Vec<NodeIndex>, String)> {
        let suspicion = self.nodes.get_mut(usize::from(node.0))?.suspicion.take()?;
        Some((suspicion.reporters.into_iter().collect(), suspicion.reason))
    }

    /// A suspected node whose time is over.
    pub(super) fn overdue(&self, now: Duration) -> Option<NodeIndex> {
        let is_overdue = |node: &NodeState| node.suspicion.as_ref().is_some_and(|suspicion| suspicion.until <= now);
        self.nodes.iter().position(is_overdue).map(|node| NodeIndex(node as u16))
    }

    /// When the next suspected node's time is over.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.nodes.iter().filter_map(|node| node.suspicion.as_ref()).map(|suspicion| suspicion.until).min()
    }
}
