//! What a node is, to itself and to others.
//!
//! Position: plain data, used by all of `cluster`. Deliberately elsewhere: what is known of a node's health (`membership`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node's name: `worker_id` of its configuration, `"coordinator"` for the coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub String);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number a process draws when it starts: a node that comes back under its name is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// A new one.
    pub fn draw() -> Self {
        // The second half of such an identifier is random but for two bits.
        Incarnation(uuid::Uuid::now_v7().as_u64_pair().1)
    }
}

/// A node among those of one query attempt: 0 is the coordinator, workers follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// The coordinator.
    pub const COORDINATOR: NodeIndex = NodeIndex(0);
}

/// What a node tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub id: NodeId,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Where other nodes reach its Flight port: `host:port`, never an address that means "all".
    pub address: String,
    /// Threads that run queries.
    pub threads: u16,
    /// Memory budget of queries, in bytes.
    pub memory_bytes: u64,
    /// Version of the program.
    pub version: String,
    /// Hash of everything that must be equal for nodes to understand each other's plans; see [`crate::cluster::PROTOCOL`].
    pub protocol: u64,
}
