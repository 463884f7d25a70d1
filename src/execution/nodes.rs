//! The nodes as operators see them: a row each, whatever the role of the process that is asked.
//!
//! Position: read by the system tables, the web API and metrics. A standalone process lists itself ([`StandaloneNode`]); a coordinator
//! puts its membership behind the same interface. Deliberately elsewhere: how a node's health is found out.

use std::sync::Arc;

use parking_lot::RwLock;
use pipelines::MemoryPool;

use crate::{
    error::{Error, ErrorKind, Result},
    execution::registry::QueryRegistry,
};

/// A node at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeRow {
    /// Its name.
    pub node_id: String,
    /// `standalone`, `coordinator` or `worker`.
    pub role: String,
    /// `active`, or in which other state it is.
    pub state: String,
    /// Where it is reached, `host:port`; empty where nobody has to reach it.
    pub address: String,
    /// Version of its program.
    pub version: String,
    /// Threads that run queries.
    pub threads: u64,
    /// Memory budget of queries, in bytes.
    pub memory_bytes: u64,
    /// Bytes of it that are reserved.
    pub memory_used_bytes: u64,
    /// Tasks that run there.
    pub running_tasks: u64,
    /// Milliseconds since it was heard of; `None` for the node that is asked.
    pub last_heartbeat_ms: Option<u64>,
    /// Which start of it.
    pub incarnation: u64,
    /// Why it is in its state, if there is something to say.
    pub reason: Option<String>,
}

/// The state of a node that takes work.
pub const ACTIVE: &str = "active";

/// The role of nodes that only do work.
pub const WORKER: &str = "worker";

/// Who knows the nodes.
pub trait NodeDirectory: Send + Sync {
    /// All of them, the node that is asked first.
    fn nodes(&self) -> Vec<NodeRow>;

    /// Gives a node no new work; what it does it ends.
    ///
    /// # Errors
    /// 42704 if there is no such node, 0A000 where nodes cannot be drained, 55000 if it cannot be now.
    fn drain(&self, _node: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Cluster, "0A000", "nodes cannot be drained here").with_hint("ask the coordinator of a cluster"))
    }

    /// Takes [`NodeDirectory::drain`] back.
    ///
    /// # Errors
    /// As draining.
    fn resume(&self, node: &str) -> Result<()> {
        self.drain(node)
    }

    /// Whether queries can be answered; if not, why.
    ///
    /// # Errors
    /// What is missing.
    fn readiness(&self) -> Result<(), String> {
        Ok(())
    }

    /// Bytes that were sent to other nodes since the start, where that is counted.
    fn exchange_bytes(&self) -> Option<u64> {
        None
    }
}

/// The directory of an engine, which may be replaced when a process joins a cluster. Cloning shares it.
#[derive(Clone)]
pub struct Nodes(Arc<RwLock<Arc<dyn NodeDirectory>>>);

impl Nodes {
    /// As `directory` knows them.
    pub fn new(directory: Arc<dyn NodeDirectory>) -> Self {
        Nodes(Arc::new(RwLock::new(directory)))
    }

    /// From now on as `directory` knows them.
    pub fn set(&self, directory: Arc<dyn NodeDirectory>) {
        *self.0.write() = directory;
    }

    /// Who knows them now.
    pub fn directory(&self) -> Arc<dyn NodeDirectory> {
        Arc::clone(&self.0.read())
    }
}

/// A process that has no other nodes.
pub struct StandaloneNode {
    node_id: String,
    threads: usize,
    memory: Arc<MemoryPool>,
    queries: QueryRegistry,
    address: String,
}

impl StandaloneNode {
    /// A node that tells what its memory and its queries say.
    pub fn new(node_id: impl Into<String>, threads: usize, memory: Arc<MemoryPool>, queries: QueryRegistry) -> Self {
        StandaloneNode { node_id: node_id.into(), threads, memory, queries, address: String::new() }
    }

    /// Where clients reach it.
    pub fn at(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }
}

impl NodeDirectory for StandaloneNode {
    fn nodes(&self) -> Vec<NodeRow> {
        vec![NodeRow {
            node_id: self.node_id.clone(),
            role: "standalone".to_owned(),
            state: ACTIVE.to_owned(),
            address: self.address.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            threads: self.threads as u64,
            memory_bytes: self.memory.budget_bytes() as u64,
            memory_used_bytes: self.memory.used_bytes() as u64,
            running_tasks: self.queries.queued_and_running().1 as u64,
            last_heartbeat_ms: None,
            incarnation: 0,
            reason: None,
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standalone_node_lists_itself_and_cannot_be_drained() {
        let memory = MemoryPool::new(100);
        let nodes = Nodes::new(Arc::new(StandaloneNode::new("alone", 2, memory, QueryRegistry::default()).at("127.0.0.1:5432")));
        let rows = nodes.directory().nodes();
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].node_id.as_str(), rows[0].state.as_str(), rows[0].memory_bytes), ("alone", ACTIVE, 100));
        assert_eq!(nodes.directory().drain("alone").unwrap_err().sqlstate.0, "0A000");
        assert_eq!(nodes.directory().resume("alone").unwrap_err().sqlstate.0, "0A000");
    }
}
