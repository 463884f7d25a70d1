//! Counters of every source, operator and sink, taken around the calls by the loop that drives them.
//!
//! Operators hold no counters of rows or time; what only they can know (row groups skipped, bytes of a hash
//! table) they add at the end through `report`.

use serde::{Deserialize, Serialize};

use crate::graph::OperatorId;

/// The counters of one stage of the graph, summed over chains.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OperatorMetrics {
    /// Nanoseconds inside the stage itself, without the stages it pushed to; summed over chains.
    pub busy_ns: u64,
    /// Nanoseconds a source or sink was parked; summed over chains.
    pub blocked_ns: u64,
    /// Rows that came in (0 for sources).
    pub rows_in: u64,
    /// Rows that went out (0 for sinks).
    pub rows_out: u64,
    /// Batches that came in.
    pub batches_in: u64,
    /// Batches that went out.
    pub batches_out: u64,
    /// What the stage reported of itself.
    pub extra: Counters,
}

/// Named numbers a stage reports of itself; units are in the names (`memory_bytes`, `row_groups_read`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters(Vec<(String, u64)>);

impl Counters {
    /// Adds `amount` to counter `name`.
    pub fn add(&mut self, name: &str, amount: u64) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, value)) => *value += amount,
            None => self.0.push((name.to_owned(), amount)),
        }
    }

    /// The value of counter `name`, if anything was added to it.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    /// All counters, in the order of their first mention.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Counters) {
        other.iter().for_each(|(name, value)| self.add(name, value));
    }
}

impl OperatorMetrics {
    /// Adds the counters of another chain.
    pub fn merge(&mut self, other: &OperatorMetrics) {
        self.busy_ns += other.busy_ns;
        self.blocked_ns += other.blocked_ns;
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.batches_in += other.batches_in;
        self.batches_out += other.batches_out;
        self.extra.merge(&other.extra);
    }
}

/// The life of one pipeline, in nanoseconds since the query was submitted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PipelineMetrics {
    /// The pipeline's name.
    pub name: String,
    /// First morsel asked for.
    pub start_ns: u64,
    /// Sink finished.
    pub end_ns: u64,
    /// Chains that were started.
    pub chains: u32,
}

/// All counters of a query.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GraphMetrics {
    /// Indexed by [`OperatorId`].
    pub operators: Vec<OperatorMetrics>,
    /// In the order of the graph.
    pub pipelines: Vec<PipelineMetrics>,
    /// Wall time from submission to the end.
    pub elapsed_ns: u64,
    /// The most memory that was reserved at one time.
    pub peak_memory_bytes: u64,
}

impl GraphMetrics {
    /// The counters of `id`, made on first use.
    pub fn operator_mut(&mut self, id: OperatorId) -> &mut OperatorMetrics {
        let index = id.0 as usize;
        if self.operators.len() <= index {
            self.operators.resize_with(index + 1, Default::default);
        }
        &mut self.operators[index]
    }
}
