//! What happens to an attempt, and what is to be done about it: all that [`super::QueryMachine`] hears and says.

use operators::runtime_filter::RuntimeFilter;

use crate::{
    cluster::{
        control::{UnitId, UnitRun},
        node::NodeIndex,
    },
    error::Error,
    plan::{fragment::UnitPart, physical::RuntimeFilterId},
};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A node's inputs are open; the coordinator's too.
    Ready(NodeIndex),
    /// A unit has ended, and all who receive its rows have them; also a unit of the coordinator.
    Done {
        /// Who ran it.
        node: NodeIndex,
        /// Which.
        run: UnitRun,
    },
    /// What a build side holds.
    FilterPart {
        /// Whose build side.
        node: NodeIndex,
        /// For which filter.
        filter: RuntimeFilterId,
        /// Of which unit; `None`: what the node's units share.
        unit: Option<UnitId>,
        /// The filter; `None`: everything passes.
        value: Option<RuntimeFilter>,
    },
    /// A unit failed for a reason of its own.
    Failed {
        /// Where.
        node: NodeIndex,
        /// Why.
        error: Error,
    },
    /// A data stream between two nodes broke.
    PeerLost {
        /// Who noticed.
        reporter: NodeIndex,
        /// The other end.
        peer: NodeIndex,
        /// What was noticed.
        reason: String,
    },
    /// A node has answered [`Action::Probe`].
    NodeAlive(NodeIndex),
    /// A node is gone: its process has ended, or nobody has heard of it for too long.
    NodeLost {
        /// Which.
        node: NodeIndex,
        /// How that is known.
        reason: String,
    },
    /// A node shall take no more work.
    Draining(NodeIndex),
    /// A node that was draining takes work again.
    Resumed(NodeIndex),
    /// [`super::QueryMachine::next_deadline`] has come.
    Tick,
}

/// Something to be done, in the order of the list.
#[derive(Debug, Clone)]
pub enum Action {
    /// All are ready: the workers start, and so do the coordinator's units.
    Start,
    /// Tell a node a filter, once and before the first run there that needs it.
    Filter {
        /// Whom.
        node: NodeIndex,
        /// Which.
        filter: RuntimeFilterId,
        /// The filter; `None`: everything passes.
        value: Option<RuntimeFilter>,
    },
    /// Have a node run a unit of a leaf fragment.
    Run {
        /// Where.
        node: NodeIndex,
        /// Which.
        run: UnitRun,
        /// What it reads.
        part: UnitPart,
    },
    /// Have a node drop a run whose rows nobody needs any more.
    Forget {
        /// Where.
        node: NodeIndex,
        /// Which.
        run: UnitRun,
    },
    /// Tell all other nodes that one is gone.
    NodeGone {
        /// Which.
        gone: NodeIndex,
    },
    /// Find out whether a node lives.
    Probe(NodeIndex),
    /// This attempt is over; the query may be tried again. Nothing follows.
    Restart {
        /// What ended it.
        reason: String,
    },
    /// The query fails. Nothing follows.
    Fail(Error),
    /// The result is complete. Nothing follows.
    Succeed,
}

impl Action {
    /// Whether the attempt is over with this.
    pub fn is_last(&self) -> bool {
        matches!(self, Action::Restart { .. } | Action::Fail(_) | Action::Succeed)
    }
}
