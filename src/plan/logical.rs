//! Logical plans: relational algebra over columns that keep their identity.
//!
//! Position: made by `sql::binder`, rewritten by `optimizer`, consumed by `planner`. A column is introduced by
//! one node (a scan, a projection, an aggregation, …) under a [`ColumnId`] that is unique in the query, and
//! keeps it however far up it travels: moving an expression needs no renumbering. What a column is called
//! and what type it has stands once, in [`Columns`]. A plan that is used twice (a CTE) is given fresh ids
//! for the second use.
//!
//! Deliberately elsewhere: positions and algorithms ([`super::physical`]), names that are visible where
//! (`sql::binder::scope`).

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Arithmetic, Comparison, ScalarFunction},
    set_operation::SetOperator,
};
use serde::{Deserialize, Serialize};

/// A column of the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ColumnId(pub u32);

/// What is known of a column wherever it appears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// For EXPLAIN and for result headers; not unique.
    pub name: String,
    /// Physical type, see `operators::types`.
    pub data_type: DataType,
    /// Whether the node that introduces it may put NULL into it. (An outer join above may add NULLs:
    /// [`LogicalPlan::nullable_columns`] knows.)
    pub nullable: bool,
}

/// All columns of a query, by id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns(Vec<ColumnInfo>);

impl Columns {
    /// Adds a column.
    pub fn add(&mut self, name: impl Into<String>, data_type: DataType, nullable: bool) -> ColumnId {
        self.0.push(ColumnInfo { name: name.into(), data_type, nullable });
        ColumnId(self.0.len() as u32 - 1)
    }

    /// What is known of `id`.
    pub fn get(&self, id: ColumnId) -> &ColumnInfo {
        &self.0[id.0 as usize]
    }

    /// What is known of `id`, to be changed (a narrower type that statistics prove).
    pub fn get_mut(&mut self, id: ColumnId) -> &mut ColumnInfo {
        &mut self.0[id.0 as usize]
    }

    /// A new column with the name, type and nullability of `id`.
    pub fn duplicate(&mut self, id: ColumnId) -> ColumnId {
        let info = self.get(id).clone();
        self.0.push(info);
        ColumnId(self.0.len() as u32 - 1)
    }
}

/// A whole query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// What is computed.
    pub root: LogicalPlan,
    /// What its columns are.
    pub columns: Columns,
    /// What the client gets, in order; names need not be unique.
    pub output: Vec<OutputColumn>,
    /// CTEs that are computed once and read several times; those that read others come after them.
    pub ctes: Vec<Cte>,
}

/// A result column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputColumn {
    /// Its header.
    pub name: String,
    /// What it shows.
    pub column: ColumnId,
}

/// A common table expression that is computed once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cte {
    /// Referred to by [`CteScan::cte`].
    pub id: CteId,
    /// For EXPLAIN.
    pub name: String,
    /// What it computes.
    pub plan: LogicalPlan,
    /// Which of the plan's columns readers get, in order.
    pub output: Vec<ColumnId>,
}

/// Identifies a CTE within a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CteId(pub u32);

/// A node of the algebra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LogicalPlan {
    /// Rows of a table.
    TableScan(TableScan),
    /// Rows of a shared CTE.
    CteScan(CteScan),
    /// Constant rows. No column and one row is what `SELECT 1` reads from.
    Values(Values),
    /// Rows for which all conjuncts are true.
    Filter {
        /// Input.
        input: Box<LogicalPlan>,
        /// Conjuncts, at least one.
        predicate: Vec<Expr>,
    },
    /// New columns, and which of the input's go on.
    Project {
        /// Input.
        input: Box<LogicalPlan>,
        /// Exactly the columns that come out. `(c, Expr::Column(c))` passes a column on under its own id.
        expressions: Vec<(ColumnId, Expr)>,
    },
    /// A join.
    Join(Join),
    /// A dependent join: `right` may use columns of `left`. Gone after unnesting.
    Apply(Join),
    /// Groups.
    Aggregate(Aggregate),
    /// Order; with a limit above it, only the first rows.
    Sort {
        /// Input.
        input: Box<LogicalPlan>,
        /// Most significant first.
        keys: Vec<SortKey>,
    },
    /// At most `limit` rows after `offset`.
    Limit {
        /// Input.
        input: Box<LogicalPlan>,
        /// `None`: all.
        limit: Option<u64>,
        /// Rows to leave out first.
        offset: u64,
    },
    /// All rows of all inputs.
    UnionAll {
        /// At least one.
        inputs: Vec<LogicalPlan>,
        /// What comes out: a new column, and per input the column it is made of (of the same type).
        output: Vec<(ColumnId, Vec<ColumnId>)>,
    },
    /// INTERSECT or EXCEPT. (UNION is an aggregation over `UnionAll`.)
    SetOperation {
        /// Which.
        operator: SetOperator,
        /// Left input.
        left: Box<LogicalPlan>,
        /// Right input.
        right: Box<LogicalPlan>,
        /// What comes out: a new column, and the left and right ones it is made of (of the same type).
        output: Vec<(ColumnId, ColumnId, ColumnId)>,
    },
}

/// Where a table is: catalog, schema, name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// Catalog ("file", "tpch").
    pub catalog: String,
    /// Schema within it.
    pub schema: String,
    /// Table within that.
    pub table: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.schema, self.table)
    }
}

/// Rows of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableScan {
    /// Which table.
    pub table: TableName,
    /// The alias it has in the query, for EXPLAIN.
    pub alias: String,
    /// Columns that are read: id, and position in the table's schema.
    pub columns: Vec<(ColumnId, usize)>,
    /// Conjuncts over these columns that the scan applies itself.
    pub filters: Vec<Expr>,
    /// Which of `columns` come out (those that only filters need do not); `None`: all.
    pub output: Option<Vec<ColumnId>>,
}

/// Rows of a shared CTE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CteScan {
    /// Which.
    pub cte: CteId,
    /// A new id per reader, and the position in [`Cte::output`].
    pub columns: Vec<(ColumnId, usize)>,
}

/// Constant rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// The columns.
    pub columns: Vec<ColumnId>,
    /// The rows, each as long as `columns`, of the columns' types.
    pub rows: Vec<Vec<Scalar>>,
}

/// A join. Its output is the left columns then the right ones; semi and anti joins have only the left ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Left input.
    pub left: Box<LogicalPlan>,
    /// Right input.
    pub right: Box<LogicalPlan>,
    /// Which rows.
    pub kind: JoinKind,
    /// Conjuncts over both sides' columns; none: every pair matches.
    pub condition: Vec<Expr>,
}

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JoinKind {
    /// Pairs.
    Inner,
    /// Pairs, and left rows without a match.
    Left,
    /// Pairs, and right rows without a match.
    Right,
    /// Pairs, and rows of both sides without a match.
    Full,
    /// Left rows with a match.
    Semi,
    /// Left rows without one.
    Anti,
    /// Left rows and this nullable Boolean column: whether the condition is true for a right row; else NULL
    /// if it is NULL for one; else false.
    Mark(ColumnId),
    /// Left rows with their one match or NULLs; a second match is an error.
    Single,
}

/// Groups. Its output is the keys, then the aggregates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Input.
    pub input: Box<LogicalPlan>,
    /// A key may keep its id: `(c, Expr::Column(c))`. No key and no aggregate never occurs.
    pub keys: Vec<(ColumnId, Expr)>,
    /// New columns.
    pub aggregates: Vec<(ColumnId, AggregateExpr)>,
}

/// One aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateExpr {
    /// Which; `operators::aggregate` says which result type follows from which argument types.
    pub function: AggregateFunction,
    /// Its arguments.
    pub arguments: Vec<Expr>,
    /// Only distinct arguments count.
    pub distinct: bool,
    /// Only rows for which this is true count.
    pub filter: Option<Box<Expr>>,
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    /// What is compared.
    pub expr: Expr,
    /// Largest first.
    pub descending: bool,
    /// NULLs first.
    pub nulls_first: bool,
}

/// An expression over columns by id; the same node kinds as `operators::Expression`, and subqueries. Types
/// are settled: the binder has coerced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Expr {
    /// A column of the input, or (in a subquery, before unnesting) of an outer query.
    Column(ColumnId),
    /// A constant.
    Literal(Scalar),
    /// Comparison of two operands of the same type (decimals: the same scale).
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// Kleene AND.
    And(Vec<Expr>),
    /// Kleene OR.
    Or(Vec<Expr>),
    /// Kleene NOT.
    Not(Box<Expr>),
    /// `IS NULL`.
    IsNull(Box<Expr>),
    /// Arithmetic with the type of its result.
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>, DataType),
    /// Unary minus.
    Negate(Box<Expr>),
    /// Cast.
    Cast(Box<Expr>, DataType),
    /// Searched CASE (the simple form has been rewritten).
    Case {
        /// Conditions and values.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
        /// Type of all values.
        data_type: DataType,
    },
    /// LIKE and ILIKE.
    Like {
        /// Text.
        operand: Box<Expr>,
        /// Pattern.
        pattern: Box<Expr>,
        /// Escape character.
        escape: Option<char>,
        /// ILIKE.
        case_insensitive: bool,
    },
    /// IN over constants.
    InList {
        /// What is looked for.
        operand: Box<Expr>,
        /// Constants of the operand's type.
        list: Vec<Scalar>,
    },
    /// A function call.
    Function(ScalarFunction, Vec<Expr>, DataType),
    /// A subquery. Gone after unnesting.
    Subquery(Box<Subquery>),
}

/// A subquery inside an expression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subquery {
    /// How it is used.
    pub kind: SubqueryKind,
    /// What it computes; may use columns of the outer query.
    pub plan: LogicalPlan,
    /// Its result columns.
    pub output: Vec<ColumnId>,
}

/// How a subquery is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum SubqueryKind {
    /// The value of the one column of its one row; NULL if there is no row.
    Scalar,
    /// Whether there is a row.
    Exists,
    /// `operands comparison ANY (subquery)`, operand by operand joined by AND; `IN` is `= ANY`. One operand
    /// per result column, of the same type. `ALL` has been rewritten as NOT ANY of the negated comparison,
    /// `NOT IN` as NOT.
    Any {
        /// Left sides.
        operands: Vec<Expr>,
        /// Comparison.
        comparison: Comparison,
    },
}

impl Expr {
    /// Calls `visit` on every direct operand (not on the plan of a subquery, but on the operands of ANY).
    pub fn for_each_child<'a>(&'a self, mut visit: impl FnMut(&'a Expr)) {
        match self {
            Expr::Column(_) | Expr::Literal(_) => {}
            Expr::Compare(_, left, right) | Expr::Arithmetic(_, left, right, _) => {
                visit(left);
                visit(right);
            }
            Expr::And(operands) | Expr::Or(operands) | Expr::Function(_, operands, _) => operands.iter().for_each(visit),
            Expr::Not(operand) | Expr::IsNull(operand) | Expr::Negate(operand) | Expr::Cast(operand, _) => visit(operand),
            Expr::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    visit(condition);
                    visit(value);
                }
                otherwise.iter().for_each(|e| visit(e));
            }
            Expr::Like { operand, pattern, .. } => {
                visit(operand);
                visit(pattern);
            }
            Expr::InList { operand, .. } => visit(operand),
            Expr::Subquery(subquery) => {
                if let SubqueryKind::Any { operands, .. } = &subquery.kind {
                    operands.iter().for_each(visit);
                }
            }
        }
    }

    /// Calls `visit` on every direct operand, to change it.
    pub fn for_each_child_mut(&mut self, mut visit: impl FnMut(&mut Expr)) {
        match self {
            Expr::Column(_) | Expr::Literal(_) => {}
            Expr::Compare(_, left, right) | Expr::Arithmetic(_, left, right, _) => {
                visit(left);
                visit(right);
            }
            Expr::And(operands) | Expr::Or(operands) | Expr::Function(_, operands, _) => operands.iter_mut().for_each(visit),
            Expr::Not(operand) | Expr::IsNull(operand) | Expr::Negate(operand) | Expr::Cast(operand, _) => visit(operand),
            Expr::Case { branches, otherwise, .. } => {
                for (condition, value) in branches {
                    visit(condition);
                    visit(value);
                }
                otherwise.iter_mut().for_each(|e| visit(e));
            }
            Expr::Like { operand, pattern, .. } => {
                visit(operand);
                visit(pattern);
            }
            Expr::InList { operand, .. } => visit(operand),
            Expr::Subquery(subquery) => {
                if let SubqueryKind::Any { operands, .. } = &mut subquery.kind {
                    operands.iter_mut().for_each(visit);
                }
            }
        }
    }

    /// Adds the columns this expression uses; of a subquery its free (outer) ones.
    pub fn collect_columns(&self, into: &mut BTreeSet<ColumnId>) {
        match self {
            Expr::Column(id) => {
                into.insert(*id);
            }
            Expr::Subquery(subquery) => into.extend(subquery.plan.free_columns()),
            _ => {}
        }
        self.for_each_child(|child| child.collect_columns(into));
    }

    /// The columns this expression uses.
    pub fn columns(&self) -> BTreeSet<ColumnId> {
        let mut columns = BTreeSet::new();
        self.collect_columns(&mut columns);
        columns
    }

    /// The type of the result.
    pub fn data_type(&self, columns: &Columns) -> DataType {
        match self {
            Expr::Column(id) => columns.get(*id).data_type.clone(),
            Expr::Literal(scalar) => scalar.data_type(),
            Expr::Compare(..) | Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::IsNull(_) | Expr::Like { .. } | Expr::InList { .. } => {
                DataType::Boolean
            }
            Expr::Arithmetic(_, _, _, data_type)
            | Expr::Cast(_, data_type)
            | Expr::Case { data_type, .. }
            | Expr::Function(_, _, data_type) => data_type.clone(),
            Expr::Negate(operand) => operand.data_type(columns),
            Expr::Subquery(subquery) => match subquery.kind {
                SubqueryKind::Scalar => columns.get(subquery.output[0]).data_type.clone(),
                _ => DataType::Boolean,
            },
        }
    }
}

impl LogicalPlan {
    /// The direct inputs.
    pub fn inputs(&self) -> Vec<&LogicalPlan> {
        match self {
            LogicalPlan::TableScan(_) | LogicalPlan::CteScan(_) | LogicalPlan::Values(_) => vec![],
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Project { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Aggregate(Aggregate { input, .. }) => vec![input],
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => vec![&join.left, &join.right],
            LogicalPlan::UnionAll { inputs, .. } => inputs.iter().collect(),
            LogicalPlan::SetOperation { left, right, .. } => vec![left, right],
        }
    }

    /// The direct inputs, to be changed.
    pub fn inputs_mut(&mut self) -> Vec<&mut LogicalPlan> {
        match self {
            LogicalPlan::TableScan(_) | LogicalPlan::CteScan(_) | LogicalPlan::Values(_) => vec![],
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Project { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Aggregate(Aggregate { input, .. }) => vec![input],
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => vec![&mut join.left, &mut join.right],
            LogicalPlan::UnionAll { inputs, .. } => inputs.iter_mut().collect(),
            LogicalPlan::SetOperation { left, right, .. } => vec![left, right],
        }
    }

    /// Calls `visit` on every expression of this node (not of its inputs).
    pub fn for_each_expr<'a>(&'a self, mut visit: impl FnMut(&'a Expr)) {
        match self {
            LogicalPlan::TableScan(scan) => scan.filters.iter().for_each(visit),
            LogicalPlan::Filter { predicate, .. } => predicate.iter().for_each(visit),
            LogicalPlan::Project { expressions, .. } => expressions.iter().for_each(|(_, e)| visit(e)),
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => join.condition.iter().for_each(visit),
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.keys.iter().for_each(|(_, e)| visit(e));
                for (_, call) in &aggregate.aggregates {
                    call.arguments.iter().for_each(&mut visit);
                    call.filter.iter().for_each(|e| visit(e));
                }
            }
            LogicalPlan::Sort { keys, .. } => keys.iter().for_each(|k| visit(&k.expr)),
            _ => {}
        }
    }

    /// Calls `visit` on every expression of this node (not of its inputs), to change it.
    pub fn for_each_expr_mut(&mut self, mut visit: impl FnMut(&mut Expr)) {
        match self {
            LogicalPlan::TableScan(scan) => scan.filters.iter_mut().for_each(visit),
            LogicalPlan::Filter { predicate, .. } => predicate.iter_mut().for_each(visit),
            LogicalPlan::Project { expressions, .. } => expressions.iter_mut().for_each(|(_, e)| visit(e)),
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => join.condition.iter_mut().for_each(visit),
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.keys.iter_mut().for_each(|(_, e)| visit(e));
                for (_, call) in &mut aggregate.aggregates {
                    call.arguments.iter_mut().for_each(&mut visit);
                    call.filter.iter_mut().for_each(|e| visit(e));
                }
            }
            LogicalPlan::Sort { keys, .. } => keys.iter_mut().for_each(|k| visit(&mut k.expr)),
            _ => {}
        }
    }

    /// The columns that come out, in order.
    pub fn output(&self) -> Vec<ColumnId> {
        match self {
            LogicalPlan::TableScan(scan) => match &scan.output {
                Some(output) => output.clone(),
                None => scan.columns.iter().map(|(id, _)| *id).collect(),
            },
            LogicalPlan::CteScan(scan) => scan.columns.iter().map(|(id, _)| *id).collect(),
            LogicalPlan::Values(values) => values.columns.clone(),
            LogicalPlan::Filter { input, .. } | LogicalPlan::Sort { input, .. } | LogicalPlan::Limit { input, .. } => input.output(),
            LogicalPlan::Project { expressions, .. } => expressions.iter().map(|(id, _)| *id).collect(),
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => {
                let mut output = join.left.output();
                match join.kind {
                    JoinKind::Semi | JoinKind::Anti => {}
                    JoinKind::Mark(mark) => output.push(mark),
                    _ => output.extend(join.right.output()),
                }
                output
            }
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.keys.iter().map(|(id, _)| *id).chain(aggregate.aggregates.iter().map(|(id, _)| *id)).collect()
            }
            LogicalPlan::UnionAll { output, .. } => output.iter().map(|(id, _)| *id).collect(),
            LogicalPlan::SetOperation { output, .. } => output.iter().map(|(id, ..)| *id).collect(),
        }
    }

    /// Columns this plan uses but does not introduce: the outer columns of a correlated subquery.
    pub fn free_columns(&self) -> BTreeSet<ColumnId> {
        let mut used = BTreeSet::new();
        let mut introduced = BTreeSet::new();
        self.collect_free(&mut used, &mut introduced);
        used.difference(&introduced).copied().collect()
    }

    fn collect_free(&self, used: &mut BTreeSet<ColumnId>, introduced: &mut BTreeSet<ColumnId>) {
        self.for_each_expr(|expr| expr.collect_columns(used));
        match self {
            LogicalPlan::TableScan(scan) => introduced.extend(scan.columns.iter().map(|(id, _)| *id)),
            LogicalPlan::UnionAll { output, .. } => used.extend(output.iter().flat_map(|(_, inputs)| inputs)),
            LogicalPlan::SetOperation { output, .. } => used.extend(output.iter().flat_map(|(_, l, r)| [l, r])),
            _ => {}
        }
        if !matches!(self, LogicalPlan::Filter { .. } | LogicalPlan::Sort { .. } | LogicalPlan::Limit { .. }) {
            // A projection that passes an outer column on under its own id does not introduce it.
            let passed_on: BTreeSet<ColumnId> = match self {
                LogicalPlan::Project { expressions, .. } => passed_on(expressions),
                LogicalPlan::Aggregate(aggregate) => passed_on(&aggregate.keys),
                LogicalPlan::Join(_) | LogicalPlan::Apply(_) => BTreeSet::new(),
                _ => BTreeSet::new(),
            };
            match self {
                LogicalPlan::Join(Join { kind: JoinKind::Mark(mark), .. })
                | LogicalPlan::Apply(Join { kind: JoinKind::Mark(mark), .. }) => {
                    introduced.insert(*mark);
                }
                LogicalPlan::Join(_) | LogicalPlan::Apply(_) => {}
                _ => introduced.extend(self.output().into_iter().filter(|id| !passed_on.contains(id))),
            }
        }
        self.inputs().into_iter().for_each(|input| input.collect_free(used, introduced));
    }
}

fn passed_on(expressions: &[(ColumnId, Expr)]) -> BTreeSet<ColumnId> {
    expressions.iter().filter(|(id, e)| *e == Expr::Column(*id)).map(|(id, _)| *id).collect()
}
