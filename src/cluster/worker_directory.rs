//! What a worker says of itself: one row, and whether its coordinator has it.
//!
//! Position: behind `/metrics` and `/health/ready` on the Flight port of a worker. The whole cluster is known to the coordinator only.

use std::sync::{Arc, Weak};

use pipelines::MemoryPool;

use super::{
    attempts::Attempts,
    membership::{Heartbeat, heartbeat::Standing},
};
use crate::{
    Engine,
    execution::nodes::{ACTIVE, NodeDirectory, NodeRow, WORKER},
};

/// A worker's view of the nodes: itself.
pub struct WorkerDirectory {
    node_id: String,
    threads: u64,
    memory: Arc<MemoryPool>,
    attempts: Arc<Attempts>,
    heartbeat: Weak<Heartbeat>,
}

impl WorkerDirectory {
    /// Of the worker that runs on `engine`.
    pub fn new(engine: &Engine, attempts: Arc<Attempts>, heartbeat: &Arc<Heartbeat>) -> Self {
        WorkerDirectory {
            node_id: engine.options.node_id.clone(),
            threads: engine.options.num_threads as u64,
            memory: Arc::clone(&engine.memory),
            attempts,
            heartbeat: Arc::downgrade(heartbeat),
        }
    }

    fn standing(&self) -> Standing {
        let gone = || Standing::Alone("it is stopping".to_owned());
        self.heartbeat.upgrade().map_or_else(gone, |heartbeat| heartbeat.standing().borrow().clone())
    }
}

impl NodeDirectory for WorkerDirectory {
    fn nodes(&self) -> Vec<NodeRow> {
        let (state, reason) = match self.standing() {
            Standing::Joined => (ACTIVE, None),
            Standing::Registered => ("joining", None),
            Standing::Draining => ("draining", None),
            Standing::Drained => ("left", None),
            Standing::Alone(why) => ("alone", Some(why)),
            Standing::Refused(why) => ("refused", Some(why)),
        };
        vec![NodeRow {
            node_id: self.node_id.clone(),
            role: WORKER.to_owned(),
            state: state.to_owned(),
            address: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            threads: self.threads,
            memory_bytes: self.memory.budget_bytes() as u64,
            memory_used_bytes: self.memory.used_bytes() as u64,
            running_tasks: u64::from(self.attempts.num_tasks()),
            last_heartbeat_ms: None,
            incarnation: self.heartbeat.upgrade().map_or(0, |heartbeat| heartbeat.incarnation().0),
            reason,
        }]
    }

    fn readiness(&self) -> Result<(), String> {
        match self.standing() {
            Standing::Joined => Ok(()),
            Standing::Registered => Err("the coordinator has not reached this node yet".to_owned()),
            Standing::Draining | Standing::Drained => Err("it is draining".to_owned()),
            Standing::Alone(why) => Err(format!("no coordinator: {why}")),
            Standing::Refused(why) => Err(format!("the coordinator refuses this node: {why}")),
        }
    }

    fn exchange_bytes(&self) -> Option<u64> {
        Some(self.attempts.sent_bytes())
    }
}
