//! Which nodes there are, and which of them are alive.
//!
//! ```text
//!   worker                                             coordinator
//!   heartbeat (thread and connection of its own)       Membership ── Machine (decides; knows no clock and no network)
//!     StreamOpen::Membership(info, tables) ──────────►    refuses, or
//!     ◄────────────────────────── Welcome, Joined         knocks at the node's address, and announces it
//!     Beat, Beat, Beat … ────────────────────────────►
//!     ◄─────────────────────────────── Ack, Ack …         no beat for a while, a broken stream, a peer's word: knocks;
//!                                                         nobody there, or the lease has run out: announces the loss
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`messages`] | what the two sides say |
//! | [`machine`] | who is what, decided from events and the time |
//! | [`coordinator`] | the machine's hands: streams, clock, knocks, announcements |
//! | [`heartbeat`] | the worker's side, and the answer to a knock |
//! | [`mod@fingerprint`] | what nodes must agree on of their tables |
//! | [`advertise`] | the address a node tells others |
//!
//! Position: beside everything that runs queries; who runs them asks [`Membership`] whom to use and hears of losses. Deliberately
//! elsewhere: what a loss means for a query (`query_machine`).

pub mod advertise;
pub mod coordinator;
pub mod fingerprint;
pub mod heartbeat;
pub mod machine;
pub mod messages;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    coordinator::Membership,
    fingerprint::fingerprint,
    heartbeat::{Heartbeat, HeartbeatOptions, Hooks},
    messages::Load,
};
use super::node::{Incarnation, NodeId, NodeInfo};
use crate::config::ClusterConfig;

/// How long things take; the coordinator's are everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// Without one, until a node is lost.
    pub lease: Duration,
}

impl From<&ClusterConfig> for Timing {
    fn from(config: &ClusterConfig) -> Self {
        Timing { heartbeat: Duration::from_millis(config.heartbeat_ms), lease: Duration::from_millis(config.lease_ms) }
    }
}

/// What a node is to its coordinator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It has registered; whether it can be reached is being found out.
    Joining,
    /// It gets work.
    Active,
    /// It finishes what it has, and gets nothing new.
    Draining,
    /// It may be dead: it gets nothing new until that is known.
    Suspect,
    /// It is lost.
    Dead,
    /// It has finished what it had, and is gone.
    Left,
}

impl NodeState {
    /// In lower case, as users see it.
    pub fn name(self) -> &'static str {
        match self {
            NodeState::Joining => "joining",
            NodeState::Active => "active",
            NodeState::Draining => "draining",
            NodeState::Suspect => "suspect",
            NodeState::Dead => "dead",
            NodeState::Left => "left",
        }
    }

    /// Whether the node may run something.
    pub fn is_live(self) -> bool {
        !matches!(self, NodeState::Dead | NodeState::Left)
    }
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// What it tells of itself.
    pub info: NodeInfo,
    /// What it is.
    pub state: NodeState,
    /// Since its last sign of life.
    pub heartbeat_age: Duration,
    /// Tasks that ran on it then.
    pub running_tasks: u32,
    /// Bytes of its memory budget that were in use then.
    pub memory_used_bytes: u64,
    /// Why it is suspect, dead or gone.
    pub reason: Option<String>,
}

/// A change that whoever runs queries must know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// A node gets work from now on.
    Joined(NodeInfo),
    /// A node is lost, with everything that ran on it; said once of every node that had joined and did not leave.
    Lost {
        /// Which.
        id: NodeId,
        /// Which start of it.
        incarnation: Incarnation,
        /// What happened, for messages.
        reason: String,
    },
    /// A node gets nothing new.
    Draining {
        /// Which.
        id: NodeId,
        /// Which start of it.
        incarnation: Incarnation,
    },
    /// A node gets work again.
    Resumed {
        /// Which.
        id: NodeId,
        /// Which start of it.
        incarnation: Incarnation,
    },
    /// A node has finished what it had, and is gone.
    Left {
        /// Which.
        id: NodeId,
        /// Which start of it.
        incarnation: Incarnation,
    },
}

impl NodeEvent {
    /// The node it is about.
    pub fn node(&self) -> &NodeId {
        match self {
            NodeEvent::Joined(info) => &info.id,
            NodeEvent::Lost { id, .. } | NodeEvent::Draining { id, .. } | NodeEvent::Resumed { id, .. } | NodeEvent::Left { id, .. } => id,
        }
    }
}
