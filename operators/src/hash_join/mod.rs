//! Hash join: a table of the build side, probed by the rows of the other.
//!
//! ```text
//!  build pipeline ──► [build]: segments per chain ──► [finish]: structure, columns, runtime filters
//!                                                        │
//!                                                        ▼ side (rows, table, marks)
//!  probe pipeline ──► [probe]: keys ─► codes ─► pairs ─► residual ─► rows by kind ──► …
//!                                                        │ marks of build rows
//!                                                        ▼
//!                     [unmatched]: build rows that come out by themselves ──► …
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`keys`] | keys of any type become a 64-bit code per row |
//! | [`table`] | from code to build rows: six structures, chosen from the rows that came |
//! | [`build`], [`finish`], [`side`] | the sink, its parallel end, what it leaves behind |
//! | [`probe`], [`emit`], [`coalesce`] | the operator and its output |
//! | [`residual`], [`unknown`], [`marks`] | conditions besides keys, NULL logic of marks, matched build rows |
//! | [`unmatched`] | the source after the probe |
//! | [`gather`], [`hashing`], [`pairs`] | kernels |
//!
//! A join without keys is the same machinery over a table in which every row matches every row:
//! [`crate::nested_loop_join`].
//!
//! **Runtime filters** are published for the kinds in which probe rows without a match have no influence
//! on the result: `Inner`, `ProbeSemi`, `BuildOuter`, `BuildSemi` and `BuildAnti`. Not for `BuildMark`: a probe
//! row with a NULL key makes marks NULL, and the filter would drop it.
//!
//! Deliberately elsewhere: which side is built and in which order joins run (`arneb::optimizer`); spilling,
//! which does not exist yet: a build side past the budget is an error.

mod build;
mod coalesce;
mod emit;
mod finish;
mod gather;
mod hashing;
mod keys;
mod marks;
mod pairs;
mod probe;
mod residual;
mod side;
mod table;
#[cfg(test)]
mod tests;
mod unknown;
mod unmatched;

use std::sync::{Arc, Mutex, OnceLock};

use arrow::datatypes::DataType;
use pipelines::{Operator, Sink, Source};
use serde::{Deserialize, Serialize};

use self::{build::Gathered, finish::Finishing, keys::KeyType, side::BuildSide};
use crate::{Error, Expression, Result, runtime_filter::RuntimeFilterSlot};

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
pub struct HashJoin {
    join: Arc<Join>,
}

impl HashJoin {
    /// A join that is about to be placed into a graph.
    pub fn new(spec: JoinSpec) -> Arc<Self> {
        Arc::new(HashJoin { join: Join::new(spec) })
    }

    /// Where the build side's rows go.
    pub fn build_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(build::BuildSink(Arc::clone(&self.join)))
    }

    /// What the probe side's rows pass, after the build sink has finished.
    pub fn probe(self: &Arc<Self>) -> Arc<dyn Operator> {
        Arc::new(probe::Probe(Arc::clone(&self.join)))
    }

    /// The build rows that come out by themselves, after every probe pipeline has ended.
    pub fn unmatched(self: &Arc<Self>) -> Arc<dyn Source> {
        Arc::new(unmatched::Unmatched::new(Arc::clone(&self.join)))
    }
}

/// What sink, operator and source share.
struct Join {
    spec: JoinSpec,
    key_types: Vec<KeyType>,
    /// Build columns that are kept: those that come out or that the residual names.
    stored: Vec<usize>,
    /// Per column of `build_output`, its place in `stored`.
    build_places: Vec<usize>,
    gathered: Mutex<Gathered>,
    finishing: Mutex<Option<Arc<Finishing>>>,
    side: OnceLock<Arc<BuildSide>>,
    /// The structure to use where it is possible.
    #[cfg(test)]
    forced_structure: Option<table::Structure>,
}

impl Join {
    fn new(spec: JoinSpec) -> Arc<Self> {
        Arc::new(Join::with_spec(spec))
    }

    fn with_spec(spec: JoinSpec) -> Self {
        let key_types = spec.keys.iter().map(|key| keys::key_type(&key.probe.data_type(), &key.build.data_type())).collect();
        let mut stored = spec.build_output.clone();
        if let Some(residual) = &spec.residual {
            stored.extend(residual.columns().into_iter().filter_map(|column| column.checked_sub(spec.probe_types.len())));
        }
        stored.sort_unstable();
        stored.dedup();
        let build_places = spec.build_output.iter().filter_map(|column| stored.binary_search(column).ok()).collect();
        Join {
            spec,
            key_types,
            stored,
            build_places,
            gathered: Mutex::default(),
            finishing: Mutex::default(),
            side: OnceLock::new(),
            #[cfg(test)]
            forced_structure: None,
        }
    }

    /// The complete build side.
    fn side(&self) -> Result<Arc<BuildSide>> {
        self.side.get().cloned().ok_or_else(|| Error::Internal("a join is probed before its build side is complete".into()))
    }

    /// Whether the kind has a mark.
    fn is_mark(&self) -> bool {
        matches!(self.spec.kind, JoinKind::ProbeMark | JoinKind::BuildMark)
    }

    /// Whether pairs with a NULL key have to be looked at one by one to tell NULL marks from false ones.
    fn has_exact_marks(&self) -> bool {
        self.is_mark() && !self.spec.keys.is_empty() && (self.spec.keys.len() > 1 || self.spec.residual.is_some())
    }

    /// Whether build rows with a NULL key have no influence on the result.
    fn drops_null_keys(&self) -> bool {
        use JoinKind::*;
        matches!(self.spec.kind, Inner | ProbeOuter | ProbeSemi | ProbeAnti | ProbeSingle)
    }

    /// Whether the probe only asks if there is a match.
    fn asks_only_membership(&self) -> bool {
        use JoinKind::*;
        matches!(self.spec.kind, ProbeSemi | ProbeAnti | ProbeMark) && self.spec.residual.is_none() && !self.spec.keys.is_empty()
    }

    /// Whether no probe row can change the result any more.
    fn is_over_without_probe(&self, side: &BuildSide) -> bool {
        use JoinKind::*;
        match self.spec.kind {
            Inner | ProbeSemi | BuildOuter | BuildSemi | BuildAnti => !side.has_matchable_rows,
            BuildMark => side.num_rows == 0,
            ProbeOuter | FullOuter | ProbeAnti | ProbeMark | ProbeSingle => false,
        }
    }

    /// Where a key's runtime filter goes, if dropping the probe rows it rejects is right.
    fn filter_slot(&self, key: usize) -> Option<&Arc<RuntimeFilterSlot>> {
        use JoinKind::*;
        let keeps_unmatched_probe_rows = !matches!(self.spec.kind, Inner | ProbeSemi | BuildOuter | BuildSemi | BuildAnti);
        let JoinKey { probe, build, .. } = &self.spec.keys[key];
        if keeps_unmatched_probe_rows || !keys::is_filterable(&probe.data_type()) || !keys::is_filterable(&build.data_type()) {
            return None;
        }
        self.spec.runtime_filters.get(key).and_then(Option::as_ref)
    }

    /// Types of what the probe pushes.
    fn output_types(&self) -> Vec<DataType> {
        use JoinKind::*;
        let spec = &self.spec;
        let mut types: Vec<DataType> = spec.probe_output.iter().map(|column| spec.probe_types[*column].clone()).collect();
        match spec.kind {
            Inner | ProbeOuter | BuildOuter | FullOuter | ProbeSingle => {
                types.extend(spec.build_output.iter().map(|column| spec.build_types[*column].clone()));
            }
            ProbeMark => types.push(DataType::Boolean),
            ProbeSemi | ProbeAnti | BuildSemi | BuildAnti | BuildMark => {}
        }
        types
    }
}
