//! Physical plans: which algorithm, over which positions in batches. A tree of plain, serializable data.
//!
//! Position: made by `planner::physical` of an optimized logical plan; turned into pipelines by
//! `planner::pipeline_builder`; shown by EXPLAIN. A fragment of a distributed plan is a subtree of it.

use arrow::datatypes::DataType;
use operators::{
    Expression, Scalar,
    aggregate::AggregateCall,
    hash_join::{JoinKey, JoinKind},
    set_operation::SetOperator,
    sort::SortKey,
};
use serde::{Deserialize, Serialize};

use super::{
    fragment::ExchangeSpec,
    logical::{CteId, TableName},
};

/// Identifies a node within a plan, in the order of a walk from the root; its counters have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// A column of a node's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhysicalColumn {
    /// For EXPLAIN.
    pub name: String,
    /// Physical type.
    pub data_type: DataType,
}

/// A node of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhysicalPlan {
    /// Its number.
    pub id: NodeId,
    /// What it does.
    pub operator: PhysicalOperator,
    /// What comes out.
    pub output: Vec<PhysicalColumn>,
    /// How many rows the optimizer expects.
    pub estimated_rows: f64,
}

/// A join's runtime filter within a plan: made by a `HashJoin`, used by `TableScan`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuntimeFilterId(pub u32);

/// What a node does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PhysicalOperator {
    /// Reads a table.
    TableScan {
        /// Which.
        table: TableName,
        /// Positions in the table's schema; the output, in order.
        columns: Vec<usize>,
        /// Positions of columns that only filters use, beyond `columns`.
        filter_columns: Vec<usize>,
        /// Their names, for EXPLAIN.
        filter_column_names: Vec<String>,
        /// Conjuncts over `columns` followed by `filter_columns`.
        filters: Vec<Expression>,
        /// Filters of joins above, each on one of `columns` followed by `filter_columns`.
        runtime_filters: Vec<(RuntimeFilterId, usize)>,
    },
    /// Constant rows.
    Values {
        /// Rows of the output's types.
        rows: Vec<Vec<Scalar>>,
    },
    /// Keeps rows for which a predicate is true.
    Filter {
        /// Input.
        input: Box<PhysicalPlan>,
        /// Over the input's columns.
        predicate: Expression,
    },
    /// Computes columns.
    Project {
        /// Input.
        input: Box<PhysicalPlan>,
        /// Over the input's columns.
        expressions: Vec<Expression>,
    },
    /// A hash join.
    HashJoin(PhysicalJoin),
    /// A nested-loop join; without keys.
    NestedLoopJoin(PhysicalJoin),
    /// Groups.
    HashAggregate {
        /// Input.
        input: Box<PhysicalPlan>,
        /// Over the input's columns.
        keys: Vec<Expression>,
        /// Over the input's columns.
        aggregates: Vec<AggregateCall>,
        /// Bounds of integer-like keys, as statistics know them.
        key_bounds: Vec<Option<(i64, i64)>>,
    },
    /// Order.
    Sort {
        /// Input.
        input: Box<PhysicalPlan>,
        /// Over the input's columns.
        keys: Vec<SortKey>,
        /// Only this many rows (top-k).
        limit: Option<usize>,
        /// Rows to leave out first.
        offset: usize,
    },
    /// LIMIT without an order.
    Limit {
        /// Input.
        input: Box<PhysicalPlan>,
        /// `None`: all.
        limit: Option<usize>,
        /// Rows to leave out first.
        offset: usize,
    },
    /// All rows of all inputs, which have the same columns.
    UnionAll {
        /// At least one.
        inputs: Vec<PhysicalPlan>,
    },
    /// INTERSECT, EXCEPT.
    SetOperation {
        /// Which.
        operator: SetOperator,
        /// Left input.
        left: Box<PhysicalPlan>,
        /// Right input, with the same columns.
        right: Box<PhysicalPlan>,
    },
    /// Computes shared CTEs first, then its input.
    With {
        /// Each before those that read it.
        ctes: Vec<(CteId, PhysicalPlan)>,
        /// What reads them.
        input: Box<PhysicalPlan>,
    },
    /// Reads a shared CTE.
    CteScan {
        /// Which.
        cte: CteId,
        /// Positions in its output.
        columns: Vec<usize>,
    },
    /// Reads the rows that another fragment sends.
    Exchange(ExchangeSpec),
}

/// A join; see `operators::hash_join::JoinSpec` for the meaning of the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhysicalJoin {
    /// Rows that are looked up.
    pub probe: Box<PhysicalPlan>,
    /// Rows that are kept in a table.
    pub build: Box<PhysicalPlan>,
    /// Which rows come out.
    pub kind: JoinKind,
    /// Equalities.
    pub keys: Vec<JoinKey>,
    /// What must hold besides.
    pub residual: Option<Expression>,
    /// Probe columns that come out.
    pub probe_output: Vec<usize>,
    /// Build columns that come out.
    pub build_output: Vec<usize>,
    /// Per key: the runtime filter it makes, if any.
    pub runtime_filters: Vec<Option<RuntimeFilterId>>,
}

impl PhysicalPlan {
    /// The direct inputs: probe side before build side, shared CTEs first.
    pub fn inputs(&self) -> Vec<&PhysicalPlan> {
        match &self.operator {
            PhysicalOperator::TableScan { .. }
            | PhysicalOperator::Values { .. }
            | PhysicalOperator::CteScan { .. }
            | PhysicalOperator::Exchange(_) => vec![],
            PhysicalOperator::Filter { input, .. }
            | PhysicalOperator::Project { input, .. }
            | PhysicalOperator::HashAggregate { input, .. }
            | PhysicalOperator::Sort { input, .. }
            | PhysicalOperator::Limit { input, .. } => vec![input],
            PhysicalOperator::HashJoin(join) | PhysicalOperator::NestedLoopJoin(join) => vec![&join.probe, &join.build],
            PhysicalOperator::UnionAll { inputs } => inputs.iter().collect(),
            PhysicalOperator::SetOperation { left, right, .. } => vec![left, right],
            PhysicalOperator::With { ctes, input } => ctes.iter().map(|(_, plan)| plan).chain([&**input]).collect(),
        }
    }

    /// The direct inputs, to be changed; in the order of [`PhysicalPlan::inputs`].
    pub fn inputs_mut(&mut self) -> Vec<&mut PhysicalPlan> {
        match &mut self.operator {
            PhysicalOperator::TableScan { .. }
            | PhysicalOperator::Values { .. }
            | PhysicalOperator::CteScan { .. }
            | PhysicalOperator::Exchange(_) => vec![],
            PhysicalOperator::Filter { input, .. }
            | PhysicalOperator::Project { input, .. }
            | PhysicalOperator::HashAggregate { input, .. }
            | PhysicalOperator::Sort { input, .. }
            | PhysicalOperator::Limit { input, .. } => vec![input],
            PhysicalOperator::HashJoin(join) | PhysicalOperator::NestedLoopJoin(join) => vec![&mut join.probe, &mut join.build],
            PhysicalOperator::UnionAll { inputs } => inputs.iter_mut().collect(),
            PhysicalOperator::SetOperation { left, right, .. } => vec![left, right],
            PhysicalOperator::With { ctes, input } => ctes.iter_mut().map(|(_, plan)| plan).chain([&mut **input]).collect(),
        }
    }

    /// Calls `visit` on every node, from the root down.
    pub fn for_each<'a>(&'a self, visit: &mut impl FnMut(&'a PhysicalPlan)) {
        visit(self);
        self.inputs().into_iter().for_each(|input| input.for_each(visit));
    }

    /// Calls `visit` on every node, to change it, from the root down.
    pub fn for_each_mut(&mut self, visit: &mut impl FnMut(&mut PhysicalPlan)) {
        visit(self);
        self.inputs_mut().into_iter().for_each(|input| input.for_each_mut(visit));
    }

    /// The types of the output columns.
    pub fn types(&self) -> Vec<DataType> {
        self.output.iter().map(|column| column.data_type.clone()).collect()
    }
}
