//! What a coordinator and the workers of a query say to each other: one ordered stream per query attempt and worker.
//!
//! ```text
//!   coordinator                                   worker
//!     Begin (fragments, nodes, key) ────────────►  opens its inputs, builds what needs no unit
//!     ◄──────────────────────────────────── Ready
//!     Start ────────────────────────────────────►  partitioned units run
//!     Filter, Run(unit), Run(unit) … ───────────►
//!     ◄──────────── Done(unit), FilterPart, Stats …
//!     End ──────────────────────────────────────►  drops everything
//!     ◄──────────────────────────────────── Ended
//! ```
//!
//! Position: serialized with postcard, carried by Flight's DoExchange (`flight`); decided by `query_machine`, obeyed by `task`.
//! When the stream breaks, the worker drops the query, and the coordinator knows that the node may be lost.

use arrow::datatypes::DataType;
use operators::runtime_filter::RuntimeFilter;
use pipelines::OperatorMetrics;
use serde::{Deserialize, Serialize};

use super::{
    error::WireError,
    node::{Incarnation, NodeIndex},
};
use crate::plan::{
    fragment::{DistributedPlan, ExchangeId, FragmentId, UnitPart},
    physical::RuntimeFilterId,
};

/// One attempt at one query: what channels, streams and messages are labelled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueryAttempt {
    /// The query.
    pub query: uuid::Uuid,
    /// From 0; a restarted query gets the next.
    pub attempt: u32,
}

/// A unit of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitId {
    /// Of which fragment.
    pub fragment: FragmentId,
    /// Which: of a leaf fragment its number there, of a partitioned one the worker's place (node index − 1), else 0.
    pub unit: u32,
}

/// Units of one leaf fragment that run at the same time on a node with so many threads. Each can keep all of them busy, but for its end,
/// where others fill the gaps.
pub fn units_at_once(threads: usize) -> usize {
    threads.div_ceil(2).max(1)
}

/// One run of a unit; of several runs the first that ends everywhere counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UnitRun {
    /// The unit.
    pub id: UnitId,
    /// From 0.
    pub run: u16,
}

/// A node of a query attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryNode {
    /// Its name, for messages.
    pub name: String,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Its Flight address, `host:port`.
    pub address: String,
}

/// Everything a worker needs to take part in a query attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryStart {
    /// Which.
    pub attempt: QueryAttempt,
    /// Signs the tickets of this attempt's streams.
    pub key: [u8; 32],
    /// Who the receiver is among `nodes`.
    pub receiver: NodeIndex,
    /// By index; the coordinator first.
    pub nodes: Vec<QueryNode>,
    /// Which node has which hash class: `VIRTUAL_CLASSES` entries.
    pub classes: Vec<NodeIndex>,
    /// The plan.
    pub plan: DistributedPlan,
    /// Rows to aim for in one batch.
    pub batch_rows: u32,
    /// Memory the query may use on this node, in bytes.
    pub memory_bytes: u64,
}

/// Hash classes of an exchange before they are mapped to nodes.
pub const VIRTUAL_CLASSES: usize = 256;

/// From the coordinator to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// First.
    Begin(Box<QueryStart>),
    /// All nodes are ready.
    Start,
    /// The filter that scans wait for, before any unit that needs it; `None`: there is none, everything passes.
    Filter(RuntimeFilterId, Option<RuntimeFilter>),
    /// Run a unit of a leaf fragment.
    Run(UnitRun, UnitPart),
    /// Nobody wants the unit any more: another run of it has ended, or all who would read its rows have.
    Forget(UnitRun),
    /// A node is gone: nothing comes from it, nothing is to be sent to it.
    NodeGone(NodeIndex),
    /// The query is over.
    End,
}

/// From a worker to the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// Inputs are open.
    Ready,
    /// The unit has ended, and all who receive its rows have said that they have them.
    Done(UnitRun),
    /// The query fails.
    Failed(WireError),
    /// A stream to or from another node broke.
    PeerLost(NodeIndex, String),
    /// What a unit's (or, without, the node's shared) build side holds.
    FilterPart(RuntimeFilterId, Option<UnitId>, Option<RuntimeFilter>),
    /// Counters so far, now and then.
    Stats(Vec<TaskStats>),
    /// Everything is dropped; the last counters. Nothing follows.
    Ended(Vec<TaskStats>),
}

/// The counters of a task: a fragment on one node, all its units together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskStats {
    /// The fragment.
    pub fragment: u32,
    /// Units that have ended here.
    pub units_done: u32,
    /// Units that run now.
    pub units_running: u32,
    /// Counters of operators: plan node, role in it, numbers.
    pub operators: Vec<(u32, String, OperatorMetrics)>,
    /// What went through exchanges on this node.
    pub exchanges: Vec<ExchangeStats>,
    /// Most memory reserved at one time by the query on this node, in bytes.
    pub peak_memory_bytes: u64,
}

/// What one node sent into an exchange.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExchangeStats {
    /// Which.
    pub exchange: u32,
    /// Per receiving node: index, rows, bytes as they were sent, frames. Rows that stayed on the node have no frames.
    pub sent: Vec<(u16, u64, u64, u64)>,
    /// Times a sender found no credit.
    pub credit_stalls: u64,
    /// Nanoseconds senders were parked for want of credit.
    pub blocked_ns: u64,
}

/// The input of a fragment: which exchange, how many units send, and what comes.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Which exchange.
    pub exchange: ExchangeId,
    /// How many units have to end before the input has.
    pub num_units: u32,
    /// Whether a unit's rows are held back until it has ended, so that a unit that is run twice counts once.
    pub is_staged: bool,
    /// Types of the columns.
    pub types: Vec<DataType>,
}
