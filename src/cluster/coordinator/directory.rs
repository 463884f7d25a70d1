//! The cluster's nodes as operators see them: the coordinator and the workers that membership knows.
//!
//! Position: behind `system.nodes`, the web API and metrics of a coordinator.

use std::sync::Arc;

use super::Cluster;
use crate::{
    Engine,
    cluster::{membership::NodeStatus, node::NodeId},
    error::{Error, ErrorKind, Result},
    execution::nodes::{ACTIVE, NodeDirectory, NodeRow, WORKER},
};

/// The nodes of a coordinator's cluster.
pub struct ClusterDirectory {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
}

impl ClusterDirectory {
    /// As `cluster` knows them; `engine` is the coordinator's own.
    pub fn new(cluster: Arc<Cluster>, engine: Arc<Engine>) -> Self {
        ClusterDirectory { cluster, engine }
    }

    fn own_row(&self) -> NodeRow {
        let me = &self.cluster.me;
        NodeRow {
            node_id: me.id.0.clone(),
            role: "coordinator".to_owned(),
            state: ACTIVE.to_owned(),
            address: me.address.clone(),
            version: me.version.clone(),
            threads: u64::from(me.threads),
            memory_bytes: self.engine.memory.budget_bytes() as u64,
            memory_used_bytes: self.engine.memory.used_bytes() as u64,
            running_tasks: u64::from(self.cluster.attempts.num_tasks()),
            last_heartbeat_ms: None,
            incarnation: me.incarnation.0,
            reason: None,
        }
    }
}

fn row(status: NodeStatus) -> NodeRow {
    NodeRow {
        node_id: status.info.id.0,
        role: WORKER.to_owned(),
        state: status.state.name().to_owned(),
        address: status.info.address,
        version: status.info.version,
        threads: u64::from(status.info.threads),
        memory_bytes: status.info.memory_bytes,
        memory_used_bytes: status.memory_used_bytes,
        running_tasks: u64::from(status.running_tasks),
        last_heartbeat_ms: Some(status.heartbeat_age.as_millis() as u64),
        incarnation: status.info.incarnation.0,
        reason: status.reason,
    }
}

fn unknown(node: &str) -> Error {
    Error::new(ErrorKind::Cluster, "42704", format!("there is no worker \"{node}\"")).with_hint("system.nodes lists them")
}

impl NodeDirectory for ClusterDirectory {
    fn nodes(&self) -> Vec<NodeRow> {
        std::iter::once(self.own_row()).chain(self.cluster.membership.all().into_iter().map(row)).collect()
    }

    fn drain(&self, node: &str) -> Result<()> {
        if self.cluster.membership.drain(&NodeId(node.to_owned())) { Ok(()) } else { Err(unknown(node)) }
    }

    fn resume(&self, node: &str) -> Result<()> {
        if self.cluster.membership.resume(&NodeId(node.to_owned())) { Ok(()) } else { Err(unknown(node)) }
    }

    fn exchange_bytes(&self) -> Option<u64> {
        Some(self.cluster.attempts.sent_bytes())
    }

    fn readiness(&self) -> Result<(), String> {
        match self.cluster.membership.active().is_empty() {
            true => Err("no worker is available".to_owned()),
            false => Ok(()),
        }
    }
}
