//! Nested-loop join: for conditions without an equality, and for crossing with a single row.
//!
//! Position: the machinery of [`crate::hash_join`] over a table in which every build row matches every probe
//! row, so that the whole condition is the residual: it is evaluated for a bounded number of pairs at a time.
//! A build side of one row (a scalar subquery) costs no pairs at all: its columns are constants, expanded
//! once, and the probe's columns pass through uncopied where the condition holds for all rows.

use std::sync::Arc;

use pipelines::{Operator, Sink, Source};

use crate::hash_join::{HashJoin, JoinSpec};

/// A nested-loop join: every probe row against every build row.
pub struct NestedLoopJoin {
    join: Arc<HashJoin>,
}

impl NestedLoopJoin {
    /// A join that is about to be placed into a graph; its specification has no keys.
    pub fn new(spec: JoinSpec) -> Arc<Self> {
        Arc::new(NestedLoopJoin { join: HashJoin::new(spec) })
    }

    /// Where the build side's rows go.
    pub fn build_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        self.join.build_sink()
    }

    /// What the probe side's rows pass, after the build sink has finished.
    pub fn probe(self: &Arc<Self>) -> Arc<dyn Operator> {
        self.join.probe()
    }

    /// The build rows that come out by themselves, after every probe pipeline has ended.
    pub fn unmatched(self: &Arc<Self>) -> Arc<dyn Source> {
        self.join.unmatched()
    }
}
