//! What is certain of a plan's rows and of an expression's value: NULLs, keys, number of rows.
//!
//! Position: asked by the rules of `optimizer`. Everything here is proven by the plan itself and by the
//! schemas of its tables. Deliberately elsewhere: what is only likely (`optimizer::statistics`), which must
//! never decide whether a rewrite is right.

use std::collections::BTreeSet;

use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Comparison, ScalarFunction},
    set_operation::SetOperator,
};

use super::logical::*;

/// A set of columns in which no two rows agree (two NULLs agree). The empty set: at most one row.
pub type UniqueKey = BTreeSet<ColumnId>;

/// Most keys that are followed through a plan; more bring nothing and cost time.
const KEYS_MAX: usize = 16;

impl Expr {
    /// Whether the value may be NULL, given which columns may be.
    pub fn is_nullable(&self, column_is_nullable: &dyn Fn(ColumnId) -> bool) -> bool {
        let any_operand = || {
            let mut nullable = false;
            self.for_each_child(|child| nullable = nullable || child.is_nullable(column_is_nullable));
            nullable
        };
        match self {
            Expr::Column(id) => column_is_nullable(*id),
            Expr::Literal(scalar) => scalar.is_null(),
            Expr::Compare(Comparison::Distinct | Comparison::NotDistinct, ..) | Expr::IsNull(_) => false,
            Expr::InList { operand, list } => operand.is_nullable(column_is_nullable) || list.iter().any(Scalar::is_null),
            Expr::Case { branches, otherwise, .. } => {
                branches.iter().any(|(_, value)| value.is_nullable(column_is_nullable))
                    || otherwise.as_ref().is_none_or(|value| value.is_nullable(column_is_nullable))
            }
            Expr::Function(function, arguments, _) => match function {
                ScalarFunction::Coalesce | ScalarFunction::Greatest | ScalarFunction::Least => {
                    arguments.iter().all(|argument| argument.is_nullable(column_is_nullable))
                }
                ScalarFunction::NullIf => true,
                ScalarFunction::ConcatSkippingNulls => false,
                ScalarFunction::ConcatWithSeparator => arguments.first().is_none_or(|a| a.is_nullable(column_is_nullable)),
                _ => any_operand(),
            },
            Expr::Subquery(subquery) => !matches!(subquery.kind, SubqueryKind::Exists),
            _ => any_operand(),
        }
    }

    /// Whether the value is certainly NULL when all of `nulls` are.
    pub fn is_null_for(&self, nulls: &BTreeSet<ColumnId>) -> bool {
        value_for_nulls(self, nulls) == Value::Null
    }

    /// Whether, as a condition, it is certainly not true when all of `nulls` are NULL: a filter with it drops
    /// the rows that an outer join has padded.
    pub fn rejects_nulls_of(&self, nulls: &BTreeSet<ColumnId>) -> bool {
        matches!(value_for_nulls(self, nulls), Value::Null | Value::False | Value::NullOrFalse)
    }

    /// If this compares two expressions for equality, one over `left` columns and one over `right` columns:
    /// both, in that order. NULLs do not match.
    pub fn as_equality_of<'a>(&'a self, left: &BTreeSet<ColumnId>, right: &BTreeSet<ColumnId>) -> Option<(&'a Expr, &'a Expr)> {
        let Expr::Compare(Comparison::Equal, a, b) = self else { return None };
        let (of_a, of_b) = (a.columns(), b.columns());
        if of_a.is_empty() || of_b.is_empty() {
            return None;
        }
        if of_a.is_subset(left) && of_b.is_subset(right) {
            Some((a, b))
        } else if of_a.is_subset(right) && of_b.is_subset(left) {
            Some((b, a))
        } else {
            None
        }
    }
}

/// What is known of a value when certain columns are NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Null,
    True,
    False,
    NullOrFalse,
    Anything,
}

fn value_for_nulls(expr: &Expr, nulls: &BTreeSet<ColumnId>) -> Value {
    let of = |e: &Expr| value_for_nulls(e, nulls);
    match expr {
        Expr::Column(id) if nulls.contains(id) => Value::Null,
        Expr::Literal(Scalar::Null(_)) => Value::Null,
        Expr::Literal(Scalar::Boolean(true)) => Value::True,
        Expr::Literal(Scalar::Boolean(false)) => Value::False,
        Expr::Compare(Comparison::NotDistinct | Comparison::Distinct, ..) => Value::Anything,
        Expr::Compare(_, left, right) | Expr::Arithmetic(_, left, right, _) => {
            if of(left) == Value::Null || of(right) == Value::Null {
                Value::Null
            } else {
                Value::Anything
            }
        }
        Expr::And(operands) => {
            let values: Vec<Value> = operands.iter().map(of).collect();
            match () {
                () if values.contains(&Value::False) => Value::False,
                () if values.iter().all(|v| *v == Value::True) => Value::True,
                () if values.iter().all(|v| matches!(v, Value::Null | Value::True)) => Value::Null,
                () if values.iter().any(|v| matches!(v, Value::Null | Value::NullOrFalse)) => Value::NullOrFalse,
                () => Value::Anything,
            }
        }
        Expr::Or(operands) => {
            let values: Vec<Value> = operands.iter().map(of).collect();
            match () {
                () if values.contains(&Value::True) => Value::True,
                () if values.iter().all(|v| *v == Value::False) => Value::False,
                () if values.iter().all(|v| matches!(v, Value::Null | Value::False)) => {
                    if values.contains(&Value::Null) {
                        Value::Null
                    } else {
                        Value::False
                    }
                }
                () if values.iter().all(|v| matches!(v, Value::Null | Value::False | Value::NullOrFalse)) => Value::NullOrFalse,
                () => Value::Anything,
            }
        }
        Expr::Not(operand) => match of(operand) {
            Value::Null => Value::Null,
            Value::True => Value::False,
            Value::False => Value::True,
            _ => Value::Anything,
        },
        Expr::IsNull(operand) => match of(operand) {
            Value::Null => Value::True,
            Value::True | Value::False => Value::False,
            _ => Value::Anything,
        },
        Expr::Negate(operand) | Expr::Cast(operand, _) => if_null(of(operand)),
        Expr::InList { operand, .. } => if_null(of(operand)),
        Expr::Like { operand, pattern, .. } => {
            if of(operand) == Value::Null || of(pattern) == Value::Null {
                Value::Null
            } else {
                Value::Anything
            }
        }
        Expr::Case { branches, otherwise, .. } => case_for_nulls(branches, otherwise.as_deref(), nulls),
        Expr::Function(function, arguments, _) => match function {
            ScalarFunction::Coalesce => match arguments.iter().map(of).find(|v| *v != Value::Null) {
                None => Value::Null,
                Some(value @ (Value::True | Value::False)) => value,
                Some(_) => Value::Anything,
            },
            ScalarFunction::Greatest | ScalarFunction::Least => {
                if arguments.iter().all(|a| of(a) == Value::Null) {
                    Value::Null
                } else {
                    Value::Anything
                }
            }
            ScalarFunction::NullIf => arguments.first().map_or(Value::Anything, |a| if_null(of(a))),
            ScalarFunction::ConcatSkippingNulls | ScalarFunction::ConcatWithSeparator => Value::Anything,
            _ => {
                if arguments.iter().any(|a| of(a) == Value::Null) {
                    Value::Null
                } else {
                    Value::Anything
                }
            }
        },
        _ => Value::Anything,
    }
}

fn if_null(value: Value) -> Value {
    if value == Value::Null { Value::Null } else { Value::Anything }
}

/// Branches whose condition is certainly not true are passed over; the first that is certainly true ends it.
fn case_for_nulls(branches: &[(Expr, Expr)], otherwise: Option<&Expr>, nulls: &BTreeSet<ColumnId>) -> Value {
    let mut reachable = vec![];
    let mut falls_through = true;
    for (condition, value) in branches {
        match value_for_nulls(condition, nulls) {
            Value::Null | Value::False | Value::NullOrFalse => {}
            Value::True => {
                reachable.push(value_for_nulls(value, nulls));
                falls_through = false;
                break;
            }
            Value::Anything => reachable.push(value_for_nulls(value, nulls)),
        }
    }
    if falls_through {
        reachable.push(otherwise.map_or(Value::Null, |value| value_for_nulls(value, nulls)));
    }
    match reachable.split_first() {
        Some((first, rest)) if rest.iter().all(|v| v == first) => *first,
        _ if reachable.iter().all(|v| matches!(v, Value::Null | Value::False | Value::NullOrFalse)) => Value::NullOrFalse,
        _ => Value::Anything,
    }
}

impl LogicalPlan {
    /// The output as a set.
    pub fn output_set(&self) -> BTreeSet<ColumnId> {
        self.output().into_iter().collect()
    }

    /// Which of the output's columns may hold NULL.
    pub fn nullable_columns(&self, columns: &Columns) -> BTreeSet<ColumnId> {
        let introduced = |ids: Vec<ColumnId>| ids.into_iter().filter(|id| columns.get(*id).nullable).collect::<BTreeSet<_>>();
        match self {
            LogicalPlan::TableScan(scan) => {
                let nullable = introduced(self.output());
                without_tested(nullable, &scan.filters)
            }
            LogicalPlan::CteScan(_) => introduced(self.output()),
            LogicalPlan::Values(values) => {
                let may_be_null = |index: usize| values.rows.iter().any(|row| row[index].is_null());
                values.columns.iter().enumerate().filter(|(index, _)| may_be_null(*index)).map(|(_, id)| *id).collect()
            }
            LogicalPlan::Filter { input, predicate } => without_tested(input.nullable_columns(columns), predicate),
            LogicalPlan::Project { input, expressions } => {
                nullable_results(&input.output_set(), &input.nullable_columns(columns), expressions)
            }
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => nullable_of_join(join, columns),
            LogicalPlan::Aggregate(aggregate) => {
                // Asked once: twice at every level would be exponential in the depth of the plan.
                let input_nullable = aggregate.input.nullable_columns(columns);
                let known = aggregate.input.output_set();
                let mut nullable = nullable_results(&known, &input_nullable, &aggregate.keys);
                for (id, call) in &aggregate.aggregates {
                    let argument_nullable =
                        call.arguments.iter().any(|a| a.is_nullable(&|c| !known.contains(&c) || input_nullable.contains(&c)));
                    if aggregate_is_nullable(call, argument_nullable, aggregate.keys.is_empty()) {
                        nullable.insert(*id);
                    }
                }
                nullable
            }
            LogicalPlan::Sort { input, .. } | LogicalPlan::Limit { input, .. } => input.nullable_columns(columns),
            LogicalPlan::UnionAll { inputs, output } => {
                let nullable: Vec<BTreeSet<ColumnId>> = inputs.iter().map(|input| input.nullable_columns(columns)).collect();
                let any = |sources: &[ColumnId]| sources.iter().zip(&nullable).any(|(source, nullable)| nullable.contains(source));
                output.iter().filter(|(_, sources)| any(sources)).map(|(id, _)| *id).collect()
            }
            LogicalPlan::SetOperation { operator, left, right, output } => {
                let (left, right) = (left.nullable_columns(columns), right.nullable_columns(columns));
                let both = matches!(operator, SetOperator::Intersect | SetOperator::IntersectAll);
                output.iter().filter(|(_, l, r)| left.contains(l) && (!both || right.contains(r))).map(|(id, ..)| *id).collect()
            }
        }
    }

    /// Whether `expr`, over this plan's output, may be NULL. Columns of outer queries may.
    pub fn is_nullable(&self, expr: &Expr, columns: &Columns) -> bool {
        let nullable = self.nullable_columns(columns);
        let known = self.output_set();
        expr.is_nullable(&|id| !known.contains(&id) || nullable.contains(&id))
    }

    /// Sets of output columns that are certainly unique. Not all that could be found.
    pub fn unique_keys(&self) -> Vec<UniqueKey> {
        let mut keys = match self {
            LogicalPlan::TableScan(_) | LogicalPlan::CteScan(_) => vec![],
            LogicalPlan::Values(values) if values.rows.len() <= 1 => vec![UniqueKey::new()],
            LogicalPlan::Values(_) => vec![],
            LogicalPlan::Filter { input, predicate } => {
                let constant = constant_columns(predicate);
                input.unique_keys().into_iter().map(|key| key.difference(&constant).copied().collect()).collect()
            }
            LogicalPlan::Project { input, expressions } => keys_through(input.unique_keys(), expressions),
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => keys_of_join(join),
            LogicalPlan::Aggregate(aggregate) => {
                let mut keys = keys_through(aggregate.input.unique_keys(), &aggregate.keys);
                keys.push(aggregate.keys.iter().map(|(id, _)| *id).collect());
                keys
            }
            LogicalPlan::Limit { limit: Some(0 | 1), .. } => vec![UniqueKey::new()],
            LogicalPlan::Sort { input, .. } | LogicalPlan::Limit { input, .. } => input.unique_keys(),
            LogicalPlan::UnionAll { inputs, output } if inputs.len() == 1 => {
                let renamed: Vec<(ColumnId, Expr)> = output.iter().map(|(id, sources)| (*id, Expr::Column(sources[0]))).collect();
                keys_through(inputs[0].unique_keys(), &renamed)
            }
            LogicalPlan::UnionAll { .. } => vec![],
            LogicalPlan::SetOperation { operator, left, output, .. } => {
                let renamed: Vec<(ColumnId, Expr)> = output.iter().map(|(id, source, _)| (*id, Expr::Column(*source))).collect();
                let mut keys = keys_through(left.unique_keys(), &renamed);
                if matches!(operator, SetOperator::Intersect | SetOperator::Except) {
                    keys.push(output.iter().map(|(id, ..)| *id).collect());
                }
                keys
            }
        };
        minimize(&mut keys);
        keys
    }

    /// Whether no two rows agree in `columns`.
    pub fn is_unique_in(&self, columns: &BTreeSet<ColumnId>) -> bool {
        self.unique_keys().iter().any(|key| key.is_subset(columns))
    }

    /// Whether there is certainly at most one row.
    pub fn has_at_most_one_row(&self) -> bool {
        self.is_unique_in(&BTreeSet::new())
    }

    /// Whether there is certainly exactly one row.
    pub fn has_exactly_one_row(&self) -> bool {
        self.has_at_most_one_row() && self.has_a_row()
    }

    /// Whether there is certainly a row.
    fn has_a_row(&self) -> bool {
        match self {
            LogicalPlan::Values(values) => !values.rows.is_empty(),
            LogicalPlan::Aggregate(aggregate) => aggregate.keys.is_empty() || aggregate.input.has_a_row(),
            LogicalPlan::Project { input, .. } | LogicalPlan::Sort { input, .. } => input.has_a_row(),
            LogicalPlan::Limit { input, limit, offset: 0 } => *limit != Some(0) && input.has_a_row(),
            LogicalPlan::UnionAll { inputs, .. } => inputs.iter().any(LogicalPlan::has_a_row),
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => match join.kind {
                JoinKind::Left | JoinKind::Single | JoinKind::Mark(_) => join.left.has_a_row(),
                JoinKind::Right => join.right.has_a_row(),
                JoinKind::Full => join.left.has_a_row() || join.right.has_a_row(),
                JoinKind::Inner => join.condition.is_empty() && join.left.has_a_row() && join.right.has_a_row(),
                JoinKind::Semi | JoinKind::Anti => false,
            },
            _ => false,
        }
    }
}

fn without_tested(mut nullable: BTreeSet<ColumnId>, predicate: &[Expr]) -> BTreeSet<ColumnId> {
    nullable.retain(|id| !predicate.iter().any(|conjunct| conjunct.rejects_nulls_of(&BTreeSet::from([*id]))));
    nullable
}

/// Which of `expressions` may be NULL over an input with the columns `known`, of which `nullable` may be.
fn nullable_results(known: &BTreeSet<ColumnId>, nullable: &BTreeSet<ColumnId>, expressions: &[(ColumnId, Expr)]) -> BTreeSet<ColumnId> {
    let may_be_null = |id: ColumnId| !known.contains(&id) || nullable.contains(&id);
    expressions.iter().filter(|(_, expr)| expr.is_nullable(&may_be_null)).map(|(id, _)| *id).collect()
}

fn nullable_of_join(join: &Join, columns: &Columns) -> BTreeSet<ColumnId> {
    let left = join.left.nullable_columns(columns);
    let right = || join.right.nullable_columns(columns);
    match join.kind {
        JoinKind::Inner => without_tested(left.into_iter().chain(right()).collect(), &join.condition),
        JoinKind::Left | JoinKind::Single => left.into_iter().chain(join.right.output()).collect(),
        JoinKind::Right => join.left.output().into_iter().chain(right()).collect(),
        JoinKind::Full => join.left.output().into_iter().chain(join.right.output()).collect(),
        JoinKind::Semi => without_tested(left, &join.condition),
        JoinKind::Anti => left,
        JoinKind::Mark(mark) => {
            let right = right();
            let known: BTreeSet<ColumnId> = join.left.output().into_iter().chain(join.right.output()).collect();
            let may_be_null = |id: ColumnId| !known.contains(&id) || left.contains(&id) || right.contains(&id);
            let mark_is_nullable = join.condition.iter().any(|conjunct| conjunct.is_nullable(&may_be_null));
            left.iter().copied().chain(mark_is_nullable.then_some(mark)).collect()
        }
    }
}

fn aggregate_is_nullable(call: &AggregateExpr, argument_nullable: bool, may_be_of_no_row: bool) -> bool {
    match call.function {
        AggregateFunction::Count | AggregateFunction::CountStar => false,
        // The sample variants are NULL for a single row.
        AggregateFunction::StddevSamp | AggregateFunction::VarSamp => true,
        _ => may_be_of_no_row || argument_nullable || call.filter.is_some(),
    }
}

/// Columns that a predicate fixes to one constant.
fn constant_columns(predicate: &[Expr]) -> BTreeSet<ColumnId> {
    let fixed = |conjunct: &Expr| match conjunct {
        Expr::Compare(Comparison::Equal | Comparison::NotDistinct, left, right) => match (&**left, &**right) {
            (Expr::Column(id), Expr::Literal(_)) | (Expr::Literal(_), Expr::Column(id)) => Some(*id),
            _ => None,
        },
        Expr::IsNull(operand) => operand.as_column(),
        _ => None,
    };
    predicate.iter().filter_map(fixed).collect()
}

/// Keys of a projection: those whose columns all go on, under whatever name.
fn keys_through(keys: Vec<UniqueKey>, expressions: &[(ColumnId, Expr)]) -> Vec<UniqueKey> {
    let new_name = |old: &ColumnId| {
        let as_itself = expressions.iter().find(|(id, expr)| id == old && expr.as_column() == Some(*old));
        as_itself.or_else(|| expressions.iter().find(|(_, expr)| expr.as_column() == Some(*old))).map(|(id, _)| *id)
    };
    keys.into_iter().filter_map(|key| key.iter().map(new_name).collect()).collect()
}

fn keys_of_join(join: &Join) -> Vec<UniqueKey> {
    let left = join.left.unique_keys();
    if !matches!(join.kind, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full) {
        return left;
    }
    let right = join.right.unique_keys();
    let (left_equated, right_equated) = equated_columns(join);
    let at_most_one_right = right.iter().any(|key| key.is_subset(&right_equated));
    let at_most_one_left = left.iter().any(|key| key.is_subset(&left_equated));
    let mut keys: Vec<UniqueKey> = vec![];
    if at_most_one_right && matches!(join.kind, JoinKind::Inner | JoinKind::Left) {
        keys.extend(left.iter().cloned());
    }
    if at_most_one_left && matches!(join.kind, JoinKind::Inner | JoinKind::Right) {
        keys.extend(right.iter().cloned());
    }
    if join.kind != JoinKind::Full {
        keys.extend(left.iter().flat_map(|l| right.iter().map(|r| l.union(r).copied().collect())));
    }
    keys
}

/// Columns of the two sides that the condition equates with an expression of the other side.
pub fn equated_columns(join: &Join) -> (BTreeSet<ColumnId>, BTreeSet<ColumnId>) {
    let (left, right) = (join.left.output_set(), join.right.output_set());
    let mut equated = (BTreeSet::new(), BTreeSet::new());
    for conjunct in &join.condition {
        let sides = match conjunct {
            Expr::Compare(Comparison::NotDistinct, a, b) => {
                Expr::equal((**a).clone(), (**b).clone()).as_equality_of(&left, &right).map(|(l, r)| (l.as_column(), r.as_column()))
            }
            other => other.as_equality_of(&left, &right).map(|(l, r)| (l.as_column(), r.as_column())),
        };
        if let Some((l, r)) = sides {
            equated.0.extend(l);
            equated.1.extend(r);
        }
    }
    equated
}

/// Drops keys that hold a smaller one.
fn minimize(keys: &mut Vec<UniqueKey>) {
    keys.sort_by_key(BTreeSet::len);
    let mut minimal: Vec<UniqueKey> = vec![];
    for key in keys.drain(..) {
        if minimal.len() < KEYS_MAX && !minimal.iter().any(|smaller| smaller.is_subset(&key)) {
            minimal.push(key);
        }
    }
    *keys = minimal;
}
