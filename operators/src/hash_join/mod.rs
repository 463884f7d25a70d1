//! Hash join: a table of the build side, probed by the rows of the other.

use std::sync::Arc;

use arrow::datatypes::DataType;
use pipelines::{Operator, Sink, Source};
use serde::{Deserialize, Serialize};

use crate::{Expression, runtime_filter::RuntimeFilterSlot};

/// Which rows a join gives. `Probe…` and `Build…` name the side whose rows are kept, padded or tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// Pairs, and probe rows without a match padded with NULLs.
    ProbeOuter,
    /// Pairs, and build rows without a match padded with NULLs.
    BuildOuter,
    /// Pairs, and rows of both sides without a match.
    FullOuter,
    /// Probe rows with a match, once each.
    ProbeSemi,
    /// Probe rows without a match.
    ProbeAnti,
    /// Every probe row, and a nullable Boolean as the last column: true if it has a match; else NULL if a
    /// comparison was NULL (a NULL key on either side, with the other side not empty); else false. `x IN (…)`.
    ProbeMark,
    /// Every probe row with its match or NULLs; a second match is the error `MoreThanOneRow`. Scalar subqueries.
    ProbeSingle,
    /// Build rows with a match, once each.
    BuildSemi,
    /// Build rows without a match.
    BuildAnti,
    /// Every build row, and a nullable Boolean as the last column, as for `ProbeMark`.
    BuildMark,
}

impl JoinKind {
    /// Whether build rows come out after the probe side has ended, from [`HashJoin::unmatched`].
    pub fn emits_build_side(self) -> bool {
        use JoinKind::*;
        matches!(self, BuildOuter | FullOuter | BuildSemi | BuildAnti | BuildMark)
    }

    /// Whether the probe operator itself pushes rows.
    pub fn emits_probe_side(self) -> bool {
        use JoinKind::*;
        !matches!(self, BuildSemi | BuildAnti | BuildMark)
    }
}

/// One equality of a join.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinKey {
    /// Over the probe side's columns.
    pub probe: Expression,
    /// Over the build side's columns; of the same type (decimals: the same scale).
    pub build: Expression,
    /// `IS NOT DISTINCT FROM`: NULL matches NULL.
    pub nulls_match: bool,
}

/// A join as plain data. The rows that come out hold `probe_output` columns, then `build_output` columns,
/// then the mark where the kind has one. Semi and anti joins give only their own side's.
#[derive(Debug, Clone)]
pub struct JoinSpec {
    /// Which rows.
    pub kind: JoinKind,
    /// Equalities; at least one for a hash join, none for a nested-loop join.
    pub keys: Vec<JoinKey>,
    /// What must hold besides, over the probe side's columns followed by the build side's.
    pub residual: Option<Expression>,
    /// Types of the probe side's columns.
    pub probe_types: Vec<DataType>,
    /// Types of the build side's columns.
    pub build_types: Vec<DataType>,
    /// Probe columns that come out.
    pub probe_output: Vec<usize>,
    /// Build columns that come out.
    pub build_output: Vec<usize>,
    /// Per key: where to publish what the build side holds.
    pub runtime_filters: Vec<Option<Arc<RuntimeFilterSlot>>>,
    /// Expected rows of the build side, for the first allocation; a guess is fine.
    pub estimated_build_rows: usize,
}

/// A hash join.
pub struct HashJoin {}

impl HashJoin {
    /// A join that is about to be placed into a graph.
    pub fn new(_spec: JoinSpec) -> Arc<Self> {
        Arc::new(HashJoin {})
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
