//! The receiving end of an exchange, reduced to what matters for the result: which rows count.

use std::collections::{BTreeMap, BTreeSet};

use super::scenario::Row;
use crate::cluster::{
    control::{UnitId, UnitRun},
    node::NodeIndex,
};

/// The input of a fragment on one node.
#[derive(Debug)]
pub struct Input {
    num_units: usize,
    /// Rows of a unit are held back until it has ended.
    is_staged: bool,
    /// Whether the rows of every run count: wrong, and noticed.
    counts_every_run: bool,
    staged: BTreeMap<UnitRun, (NodeIndex, Vec<Row>)>,
    ended: BTreeSet<UnitId>,
    rows: Vec<Row>,
    /// Frames that nobody has taken yet, by sender: they are owed a credit each.
    untaken: BTreeMap<NodeIndex, usize>,
    /// Whether somebody takes the rows.
    pub is_open: bool,
    /// Whether nobody ever will.
    pub is_cancelled: bool,
}

impl Input {
    /// An input that waits for this many units.
    pub fn new(num_units: usize, is_staged: bool, is_open: bool, counts_every_run: bool) -> Self {
        Input {
            num_units,
            is_staged,
            counts_every_run,
            staged: BTreeMap::new(),
            ended: BTreeSet::new(),
            rows: vec![],
            untaken: BTreeMap::new(),
            is_open,
            is_cancelled: false,
        }
    }

    /// Rows have come. Whether the sender gets his credit back now.
    pub fn frame(&mut self, from: NodeIndex, run: UnitRun, rows: Vec<Row>) -> bool {
        if !self.is_cancelled {
            if self.is_staged {
                self.staged.entry(run).or_insert((from, vec![])).1.extend(rows);
            } else {
                self.rows.extend(rows);
            }
        }
        if !self.is_open {
            *self.untaken.entry(from).or_default() += 1;
        }
        self.is_open
    }

    /// A run has ended.
    pub fn end(&mut self, run: UnitRun) {
        let staged = self.staged.remove(&run);
        if self.ended.insert(run.id) || self.counts_every_run {
            self.rows.extend(staged.map(|(_, rows)| rows).unwrap_or_default());
        }
    }

    /// What a node has begun will not be ended.
    pub fn drop_node(&mut self, node: NodeIndex) {
        self.staged.retain(|_, (from, _)| *from != node);
    }

    /// Rows are taken from now on: the credits that are owed.
    pub fn open(&mut self) -> BTreeMap<NodeIndex, usize> {
        self.is_open = true;
        std::mem::take(&mut self.untaken)
    }

    /// Whether all units have ended.
    pub fn is_complete(&self) -> bool {
        self.ended.len() >= self.num_units
    }

    /// What has come, sorted.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows
    }
}
