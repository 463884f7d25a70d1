//! Step 2 of unnesting: a dependent join becomes a join.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::DataType;
use operators::{
    Scalar,
    aggregate::AggregateFunction,
    expression::{Comparison, ScalarFunction},
};

use super::{Unnesting, dependent::Domain, outer_columns};
use crate::{
    error::Result,
    plan::{logical::*, properties::equated_columns},
};

impl Unnesting<'_> {
    /// The dependent join `join` (marks of it are two-valued: what its condition does not find true, it finds
    /// false) as joins. Its sides hold no dependent joins and no subqueries.
    pub(super) fn eliminate(&mut self, mut join: Join) -> Result<LogicalPlan> {
        let outer = outer_columns(&join);
        if outer.is_empty() {
            return Ok(finish(join));
        }
        self.name_outer_columns(&mut join.right, &outer);
        let only_existence_counts = matches!(join.kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark(_));
        if only_existence_counts {
            let right = std::mem::take(&mut *join.right);
            *join.right = without_order_and_duplicates(right, join.condition.is_empty());
        } else if join.condition.is_empty()
            && let Some(plan) = self.eliminate_over_one_group(&mut join, &outer)?
        {
            return Ok(plan);
        }
        let mut pulled = vec![];
        *join.right = pull_up(std::mem::take(&mut *join.right), &outer, &mut pulled);
        join.condition.extend(pulled);
        if outer_columns(&join).is_empty() {
            return Ok(finish(join));
        }
        self.name_outer_expressions(&mut join);
        let outer = outer_columns(&join);
        let domain = Domain::new(&join.left, &join.right, outer);
        let (right, mapping) = self.rewrite(std::mem::take(&mut *join.right), &domain)?;
        for (outer, inner) in &mapping {
            let nulls_match = inner.nulls_match && join.left.is_nullable(&Expr::Column(*outer), self.columns);
            join.condition.push(Self::match_columns(*outer, inner.column, nulls_match));
        }
        *join.right = right;
        Ok(finish(join))
    }

    /// `Apply` over an aggregation into one group, below any projections: there is exactly one row for every
    /// left row, so that the projections can be computed above the join, and the aggregation can leave out the
    /// empty groups: what they would give is known.
    fn eliminate_over_one_group(&mut self, join: &mut Join, outer: &BTreeSet<ColumnId>) -> Result<Option<LogicalPlan>> {
        let mut node = &*join.right;
        while let LogicalPlan::Project { input, .. } = node {
            node = input;
        }
        if !matches!(node, LogicalPlan::Aggregate(aggregate) if aggregate.keys.is_empty()) {
            return Ok(None);
        }
        let mut projections = vec![];
        let mut node = std::mem::take(&mut *join.right);
        while let LogicalPlan::Project { input, expressions } = node {
            projections.push(expressions);
            node = *input;
        }
        let left = std::mem::take(&mut *join.left);
        let is_correlated = !node.free_columns().is_disjoint(outer);
        let mut plan = match node {
            LogicalPlan::Aggregate(aggregate) if is_correlated => self.join_groups(left, aggregate)?,
            other => left.joined(JoinKind::Inner, other, vec![]),
        };
        for expressions in projections.into_iter().rev() {
            let new = expressions.into_iter().filter(|(id, expr)| *expr != Expr::Column(*id)).collect();
            plan = plan.extended(new);
        }
        Ok(Some(plan))
    }

    /// `left` with the aggregates of its group, or of an empty one.
    fn join_groups(&mut self, left: LogicalPlan, aggregate: Aggregate) -> Result<LogicalPlan> {
        let counts = Counts::rename(aggregate, self.columns);
        let mut inner = Join { left: Box::new(left), right: counts.aggregate.input, kind: JoinKind::Left, condition: vec![] };
        self.name_outer_expressions(&mut inner);
        let mut aggregates = counts.aggregate.aggregates;
        let mut in_arguments = BTreeSet::new();
        let left_columns = inner.left.output_set();
        for (_, call) in &aggregates {
            call.arguments.iter().chain(call.filter.as_deref()).for_each(|e| e.collect_columns(&mut in_arguments));
        }
        let mut outer = outer_columns(&inner);
        outer.extend(in_arguments.intersection(&left_columns));
        let domain = Domain::new(&inner.left, &inner.right, outer);
        let (input, mapping) = self.rewrite_with_arguments(*inner.right, &mut aggregates, &domain)?;
        let keys = mapping.values().map(|inner| (inner.column, Expr::Column(inner.column))).collect::<HashMap<_, _>>();
        let mut keys: Vec<(ColumnId, Expr)> = keys.into_iter().collect();
        keys.sort_by_key(|(id, _)| *id);
        let groups = LogicalPlan::Aggregate(Aggregate { input: Box::new(input), keys, aggregates });
        let condition = mapping
            .iter()
            .map(|(outer, key)| {
                let nulls_match = key.nulls_match && inner.left.is_nullable(&Expr::Column(*outer), self.columns);
                Self::match_columns(*outer, key.column, nulls_match)
            })
            .collect();
        Ok(inner.left.joined(JoinKind::Left, groups, condition).extended(counts.zeros))
    }

    /// A node of the right side that passes an outer column on under its own id would stand in two sides of
    /// one join: it gets another id. Says what `plan`'s output columns are called now.
    fn name_outer_columns(&mut self, plan: &mut LogicalPlan, outer: &BTreeSet<ColumnId>) -> HashMap<ColumnId, ColumnId> {
        let mut below: Vec<HashMap<ColumnId, ColumnId>> = vec![];
        for input in plan.inputs_mut() {
            below.push(self.name_outer_columns(input, outer));
        }
        let rename = |id: &mut ColumnId, names: &HashMap<ColumnId, ColumnId>| *id = names.get(id).copied().unwrap_or(*id);
        let mut rename_passed_on = |expressions: &mut Vec<(ColumnId, Expr)>| {
            let mut renamed = HashMap::new();
            for (id, expr) in expressions {
                if outer.contains(id) && expr.as_column() == Some(*id) {
                    let own = self.columns.duplicate(*id);
                    renamed.insert(*id, own);
                    *id = own;
                }
            }
            renamed
        };
        match plan {
            LogicalPlan::Project { expressions, .. } => rename_passed_on(expressions),
            LogicalPlan::Aggregate(aggregate) => rename_passed_on(&mut aggregate.keys),
            LogicalPlan::UnionAll { output, .. } => {
                for (_, sources) in output {
                    sources.iter_mut().zip(&below).for_each(|(source, names)| rename(source, names));
                }
                HashMap::new()
            }
            LogicalPlan::SetOperation { output, .. } => {
                for (_, left, right) in output {
                    rename(left, &below[0]);
                    rename(right, &below[1]);
                }
                HashMap::new()
            }
            _ => below.into_iter().flatten().collect(),
        }
    }

    /// An equality `f(outer columns) = inner` is as good as one with a column, once the left side computes `f`.
    fn name_outer_expressions(&mut self, join: &mut Join) {
        let left = join.left.output_set();
        let mut computed: Vec<(ColumnId, Expr)> = vec![];
        name_expressions_in(&mut join.right, &left, self.columns, &mut computed);
        if !computed.is_empty() {
            *join.left = std::mem::take(&mut *join.left).extended(computed);
        }
    }
}

fn name_expressions_in(plan: &mut LogicalPlan, left: &BTreeSet<ColumnId>, columns: &mut Columns, computed: &mut Vec<(ColumnId, Expr)>) {
    if let LogicalPlan::Filter { predicate: conjuncts, .. } | LogicalPlan::Join(Join { kind: JoinKind::Inner, condition: conjuncts, .. }) =
        plan
    {
        for conjunct in conjuncts {
            let Expr::Compare(Comparison::Equal | Comparison::NotDistinct, a, b) = conjunct else { continue };
            let is_outer = |side: &Expr, other: &Expr| {
                let used = side.columns();
                !used.is_empty() && used.is_subset(left) && side.as_column().is_none() && other.columns().is_disjoint(left)
            };
            let side = match () {
                () if is_outer(a, b) => a,
                () if is_outer(b, a) => b,
                () => continue,
            };
            if cannot_fail(side, columns) {
                let known = computed.iter().find(|(_, expr)| *expr == **side).map(|(id, _)| *id);
                let id = known.unwrap_or_else(|| {
                    let id = columns.add("key", side.data_type(columns), true);
                    computed.push((id, (**side).clone()));
                    id
                });
                **side = Expr::Column(id);
            }
        }
    }
    for input in plan.inputs_mut() {
        name_expressions_in(input, left, columns, computed);
    }
}

/// Computed for rows of the left side that may never be compared.
fn cannot_fail(expr: &Expr, columns: &Columns) -> bool {
    match expr {
        Expr::Cast(operand, to) => {
            let from = operand.data_type(columns);
            let widens = matches!(
                (&from, to),
                (DataType::Int16, DataType::Int32 | DataType::Int64)
                    | (DataType::Int32, DataType::Int64)
                    | (DataType::Int16 | DataType::Int32 | DataType::Int64, DataType::Float64)
                    | (DataType::Float32, DataType::Float64)
            );
            (widens || operators::types::decimal_digits(to).is_some_and(|digits| holds_all(&from, digits))) && cannot_fail(operand, columns)
        }
        other => !other.can_fail(),
    }
}

/// Whether every value of `from` fits into a decimal of these digits.
fn holds_all(from: &DataType, (precision, scale): (u8, i8)) -> bool {
    let whole = i16::from(precision) - i16::from(scale);
    match from {
        DataType::Int16 => whole >= 5 && scale >= 0,
        DataType::Int32 => whole >= 10 && scale >= 0,
        DataType::Int64 => whole >= 19 && scale >= 0,
        other => operators::types::decimal_digits(other).is_some_and(|(p, s)| whole >= i16::from(p) - i16::from(s) && scale >= s),
    }
}

/// An aggregation into one group, without its counts being 0 for an empty one, and how to make them so.
pub(super) struct Counts {
    pub(super) aggregate: Aggregate,
    /// The original columns: zero where the new one is NULL.
    pub(super) zeros: Vec<(ColumnId, Expr)>,
}

impl Counts {
    pub(super) fn rename(mut aggregate: Aggregate, columns: &mut Columns) -> Self {
        let mut zeros = vec![];
        for (id, call) in &mut aggregate.aggregates {
            if matches!(call.function, AggregateFunction::Count | AggregateFunction::CountStar) {
                let counted = columns.duplicate(*id);
                let or_zero = vec![Expr::Column(counted), Expr::Literal(Scalar::Int64(0))];
                zeros.push((*id, Expr::Function(ScalarFunction::Coalesce, or_zero, DataType::Int64)));
                *id = counted;
            }
        }
        Counts { aggregate, zeros }
    }
}

/// Neither order nor duplicates matter to a test for existence, nor does a limit if any row will do.
fn without_order_and_duplicates(plan: LogicalPlan, any_row_will_do: bool) -> LogicalPlan {
    match plan {
        LogicalPlan::Sort { input, .. } => without_order_and_duplicates(*input, any_row_will_do),
        LogicalPlan::Limit { input, limit, offset: 0 } if any_row_will_do && limit != Some(0) => {
            without_order_and_duplicates(*input, any_row_will_do)
        }
        LogicalPlan::Project { input, expressions } => without_order_and_duplicates(*input, any_row_will_do).projected(expressions),
        LogicalPlan::Aggregate(Aggregate { input, keys, aggregates }) if aggregates.is_empty() && !keys.is_empty() => {
            without_order_and_duplicates(*input, any_row_will_do).projected(keys)
        }
        other => other,
    }
}

/// Moves conjuncts that use outer columns up and out of `plan`, as long as that changes nothing for a fixed
/// outer row. What they need of the inner columns is passed on by projections.
fn pull_up(plan: LogicalPlan, outer: &BTreeSet<ColumnId>, pulled: &mut Vec<Expr>) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            let input = pull_up(*input, outer, pulled);
            let (dependent, own): (Vec<Expr>, Vec<Expr>) = predicate.into_iter().partition(|e| !e.columns().is_disjoint(outer));
            pulled.extend(dependent);
            input.filtered(own)
        }
        LogicalPlan::Project { input, mut expressions } => {
            let mut from_below = vec![];
            let input = pull_up(*input, outer, &mut from_below);
            let available = input.output_set();
            let needed: BTreeSet<ColumnId> = from_below.iter().flat_map(Expr::columns).filter(|id| available.contains(id)).collect();
            for id in needed {
                if !expressions.iter().any(|(known, _)| *known == id) {
                    expressions.push((id, Expr::Column(id)));
                }
            }
            pulled.extend(from_below);
            input.projected(expressions)
        }
        LogicalPlan::Join(mut join) => {
            *join.left = match join.kind {
                JoinKind::Right | JoinKind::Full => *join.left,
                _ => pull_up(*join.left, outer, pulled),
            };
            if join.kind == JoinKind::Inner {
                *join.right = pull_up(*join.right, outer, pulled);
                let (dependent, own) = join.condition.into_iter().partition(|e| !e.columns().is_disjoint(outer));
                join.condition = own;
                pulled.extend::<Vec<Expr>>(dependent);
            }
            LogicalPlan::Join(join)
        }
        LogicalPlan::Sort { input, .. } => pull_up(*input, outer, pulled),
        other => other,
    }
}

/// The join, of a kind that asks for no more than is needed.
fn finish(mut join: Join) -> LogicalPlan {
    if join.kind == JoinKind::Single {
        let (_, equated) = equated_columns(&join);
        if join.right.is_unique_in(&equated) {
            join.kind = JoinKind::Left;
        }
    }
    if join.kind == JoinKind::Left && join.condition.is_empty() && join.right.has_exactly_one_row() {
        join.kind = JoinKind::Inner;
    }
    LogicalPlan::Join(join)
}
