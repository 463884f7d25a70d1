//! Nested-loop join: for conditions without an equality, and for crossing with a single row.

use std::sync::Arc;

use pipelines::{Operator, Sink, Source};

use crate::hash_join::JoinSpec;

/// A nested-loop join: every probe row against every build row.
pub struct NestedLoopJoin {}

impl NestedLoopJoin {
    /// A join that is about to be placed into a graph; its specification has no keys.
    pub fn new(_spec: JoinSpec) -> Arc<Self> {
        Arc::new(NestedLoopJoin {})
    }

    /// Where the build side's rows go.
    pub fn build_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        panic!("not here yet")
    }

    /// What the probe side's rows pass, after the build sink has finished.
    pub fn probe(self: &Arc<Self>) -> Arc<dyn Operator> {
        panic!("not here yet")
    }

    /// The build rows that come out by themselves, after every probe pipeline has ended.
    pub fn unmatched(self: &Arc<Self>) -> Arc<dyn Source> {
        panic!("not here yet")
    }
}
