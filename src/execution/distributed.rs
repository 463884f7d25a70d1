//! The door to other nodes: what a node that coordinates a cluster does with a planned query, and what it tells of it afterwards.
//!
//! Position: between `query` and `cluster`, so that a node on its own never touches the latter. Plain data and one trait.

use std::sync::{Arc, OnceLock};

use pipelines::{Batch, CancelToken, OperatorMetrics};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{query::PlannedQuery, registry::QueryEntry};
use crate::{
    engine::Engine,
    error::{Error, Result},
    plan::fragment::DistributedPlan,
};

/// When a query runs on several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DistributionMode {
    /// When it reads enough for that to be worth it.
    #[default]
    Auto,
    /// Whenever it can.
    Always,
    /// Never.
    Never,
}

/// What is done when a node is lost under a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryMode {
    /// Its units are run elsewhere if that is all that is lost; else the query is started again.
    #[default]
    Auto,
    /// The query is started again.
    Restart,
    /// The query fails.
    Off,
}

impl DistributionMode {
    /// The mode that a setting's value names.
    ///
    /// # Errors
    /// 22023 for any other value.
    pub fn parse(value: &str) -> Result<Self> {
        match value.to_ascii_lowercase().as_str() {
            "auto" => Ok(DistributionMode::Auto),
            "always" => Ok(DistributionMode::Always),
            "never" => Ok(DistributionMode::Never),
            _ => Err(invalid("distribution", value, "auto, always or never")),
        }
    }
}

impl RecoveryMode {
    /// The mode that a setting's value names.
    ///
    /// # Errors
    /// 22023 for any other value.
    pub fn parse(value: &str) -> Result<Self> {
        match value.to_ascii_lowercase().as_str() {
            "auto" => Ok(RecoveryMode::Auto),
            "restart" => Ok(RecoveryMode::Restart),
            "off" => Ok(RecoveryMode::Off),
            _ => Err(invalid("recovery", value, "auto, restart or off")),
        }
    }
}

fn invalid(name: &str, value: &str, valid: &str) -> Error {
    Error::binding("22023", format!("invalid value for parameter \"{name}\": \"{value}\"")).with_hint(format!("valid values are {valid}"))
}

/// How a session wants its queries distributed; `None`: as the node is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DistributionOptions {
    /// When.
    pub distribution: Option<DistributionMode>,
    /// What is done when a node is lost.
    pub recovery: Option<RecoveryMode>,
}

/// Runs queries on several nodes.
pub trait Distributor: Send + Sync {
    /// Starts a query on the cluster; `None`: it is to run on this node.
    ///
    /// # Errors
    /// Whatever goes wrong before anything runs.
    fn start(
        &self,
        engine: &Arc<Engine>,
        planned: &PlannedQuery,
        options: DistributionOptions,
        entry: &Arc<QueryEntry>,
        cancel: &CancelToken,
    ) -> Result<Option<DistributedRun>>;

    /// The text of EXPLAIN (DISTRIBUTED).
    ///
    /// # Errors
    /// Tables that cannot be read.
    fn explain(&self, engine: &Arc<Engine>, planned: &PlannedQuery, options: DistributionOptions) -> Result<Vec<String>>;
}

/// A query that runs on several nodes.
pub struct DistributedRun {
    /// Its rows, and at last why there are no more, if they are not all.
    pub rows: mpsc::Receiver<Result<Batch>>,
    /// What happened; filled before the rows end.
    pub outcome: Arc<OnceLock<DistributedOutcome>>,
}

/// What happened to a query on several nodes.
#[derive(Debug, Clone)]
pub struct DistributedOutcome {
    /// What ran, of the last attempt.
    pub plan: DistributedPlan,
    /// By fragment and node.
    pub tasks: Vec<TaskProfile>,
    /// Why earlier attempts were given up.
    pub restarts: Vec<String>,
    /// From the start to the last row, in nanoseconds.
    pub elapsed_ns: u64,
}

/// A fragment on one node.
#[derive(Debug, Clone, Serialize)]
pub struct TaskProfile {
    /// The fragment.
    pub fragment: u32,
    /// The node's name.
    pub node: String,
    /// Units that ended here.
    pub units: u32,
    /// Most memory that the query reserved on this node, in bytes.
    pub peak_memory_bytes: u64,
    /// Counters of operators: plan node, role in it, numbers.
    pub operators: Vec<OperatorProfile>,
    /// What it sent.
    pub exchanges: Vec<ExchangeProfile>,
}

/// Counters of one operator in one task.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorProfile {
    /// Number of the plan node.
    pub node: u32,
    /// Its part in it.
    pub role: String,
    /// The counters.
    #[serde(flatten)]
    pub metrics: OperatorMetrics,
}

/// What one task sent into an exchange.
#[derive(Debug, Clone, Serialize)]
pub struct ExchangeProfile {
    /// Which.
    pub exchange: u32,
    /// Per receiving node.
    pub sent: Vec<SentProfile>,
    /// Times a sender found no credit.
    pub credit_stalls: u64,
    /// Nanoseconds senders were parked for want of credit.
    pub blocked_ns: u64,
}

/// What one task sent to one node.
#[derive(Debug, Clone, Serialize)]
pub struct SentProfile {
    /// The receiver's name.
    pub node: String,
    /// Rows.
    pub rows: u64,
    /// Bytes on the wire; 0 for rows that stayed on their node.
    pub bytes: u64,
    /// Frames.
    pub frames: u64,
}
