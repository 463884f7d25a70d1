//! Fragments: a physical plan cut at exchanges, as plain data that travels between nodes.
//!
//! ```text
//!   fragment 0 (leaf)                 fragment 1 (partitioned)             fragment 2 (coordinator)
//!   TableScan → partial aggregate ──hash exchange──► final aggregate → top k ──gather──► top k → client
//!   units: pieces of the table         units: one hash class per worker       one unit
//! ```
//!
//! Position: made of a [`PhysicalPlan`] by `cluster::plan_fragmenter`; a fragment is run unit by unit, see
//! `cluster/README.md`. Deliberately elsewhere: which node runs what (`cluster::node_scheduler`).

use operators::{Expression, sort::SortKey};
use serde::{Deserialize, Serialize};

use super::physical::{NodeId, PhysicalPlan, RuntimeFilterId};

/// Identifies a fragment of a query; an index into [`DistributedPlan::fragments`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FragmentId(pub u32);

/// Identifies an exchange of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExchangeId(pub u32);

/// A plan that runs on several nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DistributedPlan {
    /// By id; who sends stands before who receives, the root is the last. Node numbers are unique over all of them.
    pub fragments: Vec<Fragment>,
}

impl DistributedPlan {
    /// The fragment whose rows are the result; it runs on the coordinator.
    pub fn root(&self) -> &Fragment {
        self.fragments.last().expect("a plan has a root fragment")
    }

    /// The fragment with this id.
    pub fn fragment(&self, id: FragmentId) -> &Fragment {
        &self.fragments[id.0 as usize]
    }
}

/// A piece of a plan between exchanges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fragment {
    /// Its number.
    pub id: FragmentId,
    /// What its units compute. Leaves are scans, constants and `PhysicalOperator::Exchange`.
    pub plan: PhysicalPlan,
    /// Where the rows go: every exchange gets all of them. Empty for the root.
    pub outputs: Vec<ExchangeSpec>,
    /// Where and in how many units it runs.
    pub placement: Placement,
    /// Runtime filters that joins of other fragments make for scans of this one. No unit runs before they are known.
    pub filters_in: Vec<RuntimeFilterId>,
    /// Runtime filters that joins of this fragment make for scans of others: the union over its units.
    pub filters_out: Vec<RuntimeFilterId>,
}

/// Rows on their way from the units of one fragment to those of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExchangeSpec {
    /// Its number.
    pub id: ExchangeId,
    /// Who sends.
    pub from: FragmentId,
    /// Who receives.
    pub to: FragmentId,
    /// Which row goes where.
    pub routing: Routing,
}

/// Which row of an exchange goes where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Routing {
    /// All to the coordinator.
    Gather,
    /// All to the coordinator, where the sorted rows of every unit are merged.
    Merge(Vec<SortKey>),
    /// To the node that has the hash class of these keys, over the sender's output. NULL has a class like any value;
    /// equal values of decimals of different precision have the same.
    Hash(Vec<Expression>),
    /// A copy to every node that runs the receiving fragment.
    Broadcast,
}

/// Where and in how many units a fragment runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Placement {
    /// On any worker, unit by unit: unit `i` reads part `i` of the driving scans, and all of every other scan. What does not
    /// depend on the part (build sides without a driving scan) is computed once per node.
    Leaf {
        /// The scans of which a unit reads a part.
        drivers: Vec<Driver>,
        /// The parts; together every row once.
        units: Vec<LeafUnit>,
    },
    /// One unit on every worker: it gets the worker's hash class of every hash exchange.
    Partitioned,
    /// One unit on the coordinator.
    Coordinator,
}

/// A scan of which each unit reads a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Driver {
    /// The scan.
    pub scan: NodeId,
    /// Position in the table's schema of the column that key ranges are of; `None` where parts are splits.
    pub key_column: Option<usize>,
}

/// A unit of a leaf fragment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeafUnit {
    /// What it reads.
    pub part: UnitPart,
    /// How much that is, in stored bytes of the columns that are read: for balancing.
    pub bytes: u64,
    /// A number of the data it reads, the same in every query: nodes are chosen by it, so that file caches are met again.
    pub affinity: u64,
    /// What the filters that it waits for can say of it as a whole: a unit whose keys all lie outside of a filter reads nothing.
    pub keys: Vec<FilteredKeys>,
}

/// The keys in a unit to which a runtime filter will be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilteredKeys {
    /// The filter.
    pub filter: RuntimeFilterId,
    /// The smallest key.
    pub min: i64,
    /// The largest key.
    pub max: i64,
}

/// A part of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnitPart {
    /// Splits by their number. There is one driving scan.
    Splits(Vec<u32>),
    /// Rows of every driving scan whose key column is in `lower .. upper` (`None`: no bound). NULLs belong to the part without a
    /// lower bound.
    KeyRange {
        /// Smallest key.
        lower: Option<i64>,
        /// The key after the largest.
        upper: Option<i64>,
    },
}
