//! How the rows of a subplan lie over nodes, and which of its columns say where a row lies.
//!
//! Position: every step of the cut gives a [`Cut`]; joins and aggregations ask the columns whether equal values are in one place.

use std::collections::BTreeSet;

use operators::{Expression, hash_join::JoinKind};

use crate::plan::physical::{NodeId, PhysicalJoin, PhysicalPlan};

/// Columns of an output that hold the same values.
pub(super) type Positions = BTreeSet<usize>;

/// A subplan on its way into a fragment.
pub(super) struct Cut {
    /// What is computed.
    pub plan: PhysicalPlan,
    /// Where its rows lie.
    pub distribution: Distribution,
}

/// Where the rows of a subplan lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Distribution {
    /// Every row in one unit of a leaf fragment.
    Leaf(Leaf),
    /// Every row on one worker, together with all rows that have equal values in these columns; per hashed expression the output
    /// columns that hold it. Empty: nothing is known of the columns.
    Hash(Vec<Positions>),
    /// Every node can compute all of them.
    Replicated,
    /// All on the coordinator.
    Single,
}

/// A leaf fragment while it grows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    /// The driving scans.
    pub scans: Vec<NodeId>,
    /// Keys whose ranges the units can be.
    pub keys: Vec<LeafKey>,
    /// Units have to be ranges of the only key: something relies on equal keys being in one unit.
    pub by_key: bool,
    /// Units to aim for, as a multiple of the threads.
    pub units_per_thread: usize,
}

/// A key by which all driving scans are clustered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LeafKey {
    /// Per driving scan: position in the table's schema.
    pub columns: Vec<usize>,
    /// Output columns that hold it.
    pub positions: Positions,
}

impl Distribution {
    /// Whether no node can compute all rows by itself.
    pub fn is_spread(&self) -> bool {
        matches!(self, Distribution::Leaf(_) | Distribution::Hash(_))
    }

    /// The distribution of a plan whose columns stand where `moved` says.
    pub fn map(self, moved: impl Fn(&Positions) -> Positions) -> Self {
        match self {
            Distribution::Leaf(mut leaf) => {
                leaf.keys.iter_mut().for_each(|key| key.positions = moved(&key.positions));
                Distribution::Leaf(leaf)
            }
            Distribution::Hash(classes) => Distribution::hash(classes.iter().map(moved).collect()),
            whole => whole,
        }
    }

    /// Hashed by `classes`; of which nothing is known if one of them is in no column.
    pub fn hash(classes: Vec<Positions>) -> Self {
        if classes.iter().any(Positions::is_empty) { Distribution::Hash(vec![]) } else { Distribution::Hash(classes) }
    }

    /// The same if rows that agree in `keys` are in one place, else `None`; a leaf may have to be cut by a key for it.
    pub fn with_equal_together(&self, keys: &[Expression]) -> Option<Distribution> {
        let is_key = |positions: &Positions| keys.iter().filter_map(column_index).any(|index| positions.contains(&index));
        match self {
            Distribution::Leaf(leaf) => {
                let key = leaf.keys.iter().find(|key| is_key(&key.positions))?;
                Some(Distribution::Leaf(Leaf { keys: vec![key.clone()], by_key: true, ..leaf.clone() }))
            }
            Distribution::Hash(classes) => (!classes.is_empty() && classes.iter().all(is_key)).then(|| self.clone()),
            Distribution::Replicated | Distribution::Single => Some(self.clone()),
        }
    }
}

/// The column that an expression only passes on.
pub(super) fn column_index(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Column { index, .. } => Some(*index),
        _ => None,
    }
}

/// Where columns of the input stand among `expressions` over it.
pub(super) fn through_expressions(positions: &Positions, expressions: &[Expression]) -> Positions {
    let passed_on = |expression: &Expression| column_index(expression).is_some_and(|index| positions.contains(&index));
    (0..expressions.len()).filter(|output| passed_on(&expressions[*output])).collect()
}

/// Where columns of the probe side stand in a join's output, with columns of the build side that equal them. None if the join
/// gives rows that have NULL there.
pub(super) fn through_probe(positions: &Positions, join: &PhysicalJoin) -> Positions {
    if matches!(join.kind, JoinKind::BuildOuter | JoinKind::FullOuter) {
        return Positions::new();
    }
    let mut outputs = places(positions, &join.probe_output, 0);
    outputs.extend(places(&equated(positions, join, true), &join.build_output, join.probe_output.len()));
    outputs
}

/// The same of columns of the build side.
pub(super) fn through_build(positions: &Positions, join: &PhysicalJoin) -> Positions {
    if matches!(join.kind, JoinKind::ProbeOuter | JoinKind::ProbeSingle | JoinKind::FullOuter) {
        return Positions::new();
    }
    let mut outputs = places(positions, &join.build_output, join.probe_output.len());
    outputs.extend(places(&equated(positions, join, false), &join.probe_output, 0));
    outputs
}

fn places(positions: &Positions, kept: &[usize], offset: usize) -> Positions {
    (0..kept.len()).filter(|place| positions.contains(&kept[*place])).map(|place| place + offset).collect()
}

/// Columns of the other side that equal one of `positions` in every row of the result.
fn equated(positions: &Positions, join: &PhysicalJoin, of_probe: bool) -> Positions {
    if join.kind != JoinKind::Inner {
        return Positions::new();
    }
    let pairs = join.keys.iter().filter_map(|key| {
        let (probe, build) = (column_index(&key.probe)?, column_index(&key.build)?);
        Some(if of_probe { (probe, build) } else { (build, probe) })
    });
    pairs.filter(|(own, _)| positions.contains(own)).map(|(_, other)| other).collect()
}
