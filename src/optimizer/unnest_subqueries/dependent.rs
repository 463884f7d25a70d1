//! Step 3 of unnesting: a plan that uses outer columns is computed for all their values at once.
//!
//! [`Unnesting::rewrite`] gives, for a plan `R(o)` and the domain `D` of the outer columns `o`, a plan `R'` with
//! columns that stand for `o`, such that for every `d` in `D` the rows of `R'` in which they equal `d` are the
//! rows of `R(d)`. For values outside of `D`, `R'` may hold anything: whoever joins with it does not find them.
//! This freedom is what lets a column of `R` itself stand for `o` where a filter equates the two: then there is
//! no domain at all, and an aggregation groups by that column.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::datatypes::DataType;
use operators::expression::{Comparison, ScalarFunction};

use super::{Unnesting, applies::Counts};
use crate::{
    error::{Error, Result},
    plan::{logical::*, rewrite::Substitution},
};

/// What stands for an outer column in a rewritten plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inner {
    /// A column of the rewritten plan's output.
    pub(super) column: ColumnId,
    /// Whether rows with NULL in it belong to the outer value NULL; if not, no outer row may find them.
    pub(super) nulls_match: bool,
}

/// What stands for each outer column that a rewritten plan uses.
pub(super) type Mapping = BTreeMap<ColumnId, Inner>;

/// The values for which a plan is computed.
pub(super) struct Domain<'a> {
    /// The plan whose columns `outer` are.
    left: &'a LogicalPlan,
    /// The columns that are outer ones for the plan that is rewritten.
    outer: BTreeSet<ColumnId>,
    /// Whether values outside of the domain must not be computed: a scalar subquery that is evaluated for them
    /// might find a second row and fail.
    is_exact: bool,
}

impl<'a> Domain<'a> {
    /// The domain of `left`'s columns `outer` for `right`.
    pub(super) fn new(left: &'a LogicalPlan, right: &LogicalPlan, outer: BTreeSet<ColumnId>) -> Self {
        let is_exact = may_find_a_second_row(right);
        Domain { left: source_of(left, &outer, is_exact), outer, is_exact }
    }

    fn used_by(&self, plan: &LogicalPlan) -> BTreeSet<ColumnId> {
        plan.free_columns().intersection(&self.outer).copied().collect()
    }

    fn used_in<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> BTreeSet<ColumnId> {
        let mut used = BTreeSet::new();
        exprs.into_iter().for_each(|expr| expr.collect_columns(&mut used));
        used.intersection(&self.outer).copied().collect()
    }
}

/// The smallest part of `plan` that has the same values of `outer`, or where that will do at least these values.
/// A domain is a copy of it: without this, the plan would double with every subquery of the same node.
fn source_of<'a>(plan: &'a LogicalPlan, outer: &BTreeSet<ColumnId>, is_exact: bool) -> &'a LogicalPlan {
    let below = match plan {
        LogicalPlan::Project { input, expressions } => {
            let passes_on = |id: &ColumnId| expressions.iter().any(|(known, expr)| known == id && expr.as_column() == Some(*id));
            outer.iter().all(passes_on).then_some(&**input)
        }
        LogicalPlan::Sort { input, .. } => Some(&**input),
        LogicalPlan::Join(join) => match join.kind {
            JoinKind::Left | JoinKind::Single | JoinKind::Mark(_) => Some(&*join.left),
            JoinKind::Semi | JoinKind::Anti if !is_exact => Some(&*join.left),
            JoinKind::Inner if join.condition.is_empty() && join.right.has_exactly_one_row() => Some(&*join.left),
            _ => None,
        },
        _ => None,
    };
    match below {
        Some(below) if outer.is_subset(&below.output_set()) => source_of(below, outer, is_exact),
        _ => plan,
    }
}

fn may_find_a_second_row(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(Join { kind: JoinKind::Single, .. })) || plan.inputs().into_iter().any(may_find_a_second_row)
}

fn substitution(mapping: &Mapping) -> Substitution {
    mapping.iter().map(|(outer, inner)| (*outer, Expr::Column(inner.column))).collect()
}

impl Unnesting<'_> {
    /// `plan` for all values of the outer columns it uses, and what stands for these.
    pub(super) fn rewrite(&mut self, plan: LogicalPlan, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        if domain.used_by(&plan).is_empty() {
            return Ok((plan, Mapping::new()));
        }
        match plan {
            LogicalPlan::Filter { input, predicate } => self.rewrite_filter(*input, predicate, domain),
            LogicalPlan::Project { input, expressions } => {
                let (input, mapping) = self.rewrite_with(*input, expressions.iter().map(|(_, e)| e), domain)?;
                let substitution = substitution(&mapping);
                let mut expressions: Vec<(ColumnId, Expr)> =
                    expressions.into_iter().map(|(id, expr)| (id, expr.substituted(&substitution))).collect();
                pass_on(&mapping, &mut expressions);
                Ok((input.projected(expressions), mapping))
            }
            LogicalPlan::Join(join) => self.rewrite_join(join, domain),
            LogicalPlan::Aggregate(aggregate) if aggregate.keys.is_empty() => self.rewrite_one_group(aggregate, domain),
            LogicalPlan::Aggregate(Aggregate { input, keys, mut aggregates }) => {
                let used = domain.used_in(keys.iter().map(|(_, e)| e));
                let (input, mut mapping) = self.rewrite_with_arguments(*input, &mut aggregates, domain)?;
                let input = self.require(input, &mut mapping, &used, domain);
                let substitution = substitution(&mapping);
                let mut keys: Vec<(ColumnId, Expr)> = keys.into_iter().map(|(id, expr)| (id, expr.substituted(&substitution))).collect();
                pass_on(&mapping, &mut keys);
                Ok((LogicalPlan::Aggregate(Aggregate { input: Box::new(input), keys, aggregates }), mapping))
            }
            LogicalPlan::Sort { input, .. } => self.rewrite(*input, domain),
            LogicalPlan::Limit { input, limit, offset } => self.rewrite_limit(*input, limit, offset, domain),
            LogicalPlan::UnionAll { inputs, output } => self.rewrite_union(inputs, output, domain),
            LogicalPlan::SetOperation { operator, left, right, output } => {
                let used = domain.used_by(&left).union(&domain.used_by(&right)).copied().collect();
                let (left, left_mapping) = self.rewrite_covering(*left, &used, domain)?;
                let (right, right_mapping) = self.rewrite_covering(*right, &used, domain)?;
                let mut output = output;
                let mut mapping = Mapping::new();
                for outer in used {
                    let column = self.columns.duplicate(outer);
                    output.push((column, left_mapping[&outer].column, right_mapping[&outer].column));
                    mapping.insert(outer, Inner { column, nulls_match: true });
                }
                Ok((LogicalPlan::SetOperation { operator, left: Box::new(left), right: Box::new(right), output }, mapping))
            }
            LogicalPlan::TableScan(_) | LogicalPlan::CteScan(_) | LogicalPlan::Values(_) | LogicalPlan::Apply(_) => {
                Err(Error::internal("an outer column where none can be used"))
            }
        }
    }

    /// [`Unnesting::rewrite`] of `input`, with all outer columns that `exprs` above it use.
    fn rewrite_with<'e>(
        &mut self,
        input: LogicalPlan,
        exprs: impl IntoIterator<Item = &'e Expr>,
        domain: &Domain<'_>,
    ) -> Result<(LogicalPlan, Mapping)> {
        let used = domain.used_in(exprs);
        let (input, mut mapping) = self.rewrite(input, domain)?;
        Ok((self.require(input, &mut mapping, &used, domain), mapping))
    }

    /// The same for the arguments of aggregates, which are rewritten too.
    pub(super) fn rewrite_with_arguments(
        &mut self,
        input: LogicalPlan,
        aggregates: &mut [(ColumnId, AggregateExpr)],
        domain: &Domain<'_>,
    ) -> Result<(LogicalPlan, Mapping)> {
        let arguments: Vec<&Expr> = aggregates.iter().flat_map(|(_, call)| call.arguments.iter().chain(call.filter.as_deref())).collect();
        let (input, mapping) = self.rewrite_with(input, arguments, domain)?;
        let substitution = substitution(&mapping);
        for (_, call) in aggregates {
            call.arguments.iter_mut().chain(call.filter.as_deref_mut()).for_each(|e| e.substitute(&substitution));
        }
        Ok((input, mapping))
    }

    /// Rewrites to a plan in which something stands for each of `used`, and in which NULL means NULL.
    fn rewrite_covering(&mut self, plan: LogicalPlan, used: &BTreeSet<ColumnId>, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        let (plan, mut mapping) = self.rewrite(plan, domain)?;
        let plan = self.require(plan, &mut mapping, used, domain);
        let mut not_null = vec![];
        for inner in mapping.values_mut() {
            if !inner.nulls_match && plan.is_nullable(&Expr::Column(inner.column), self.columns) {
                not_null.push(Expr::is_not_null(Expr::Column(inner.column)));
            }
            inner.nulls_match = true;
        }
        Ok((plan.filtered(not_null), mapping))
    }

    /// `plan` joined with the domain of those `outer` columns that nothing stands for yet.
    fn require(&mut self, plan: LogicalPlan, mapping: &mut Mapping, outer: &BTreeSet<ColumnId>, domain: &Domain<'_>) -> LogicalPlan {
        let missing: Vec<ColumnId> = outer.iter().copied().filter(|id| !mapping.contains_key(id)).collect();
        if missing.is_empty() {
            return plan;
        }
        let (values, new) = self.domain_of(&missing, domain);
        mapping.extend(new);
        plan.joined(JoinKind::Inner, values, vec![])
    }

    /// The distinct values of `outer` columns, under new ids.
    fn domain_of(&mut self, outer: &[ColumnId], domain: &Domain<'_>) -> (LogicalPlan, Mapping) {
        let (copy, renaming) = domain.left.with_fresh_columns(self.columns);
        let keys: Vec<(ColumnId, Expr)> =
            outer.iter().map(|id| renaming.get(id).copied().unwrap_or(*id)).map(|id| (id, Expr::Column(id))).collect();
        let mapping = outer.iter().zip(&keys).map(|(id, (column, _))| (*id, Inner { column: *column, nulls_match: true })).collect();
        let values = match copy.is_unique_in(&keys.iter().map(|(id, _)| *id).collect()) {
            true => copy.projected(keys),
            false => LogicalPlan::Aggregate(Aggregate { input: Box::new(copy), keys, aggregates: vec![] }),
        };
        (values, mapping)
    }

    /// The heart of it: where every outer column is equated with something of the input, that stands for it.
    fn rewrite_filter(&mut self, input: LogicalPlan, predicate: Vec<Expr>, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        let predicate: Vec<Expr> = predicate.into_iter().flat_map(Expr::into_conjuncts).collect();
        let used = domain.used_in(&predicate);
        if !domain.is_exact && domain.used_by(&input).is_empty() {
            let equal = equated(&predicate, &input.output_set(), &used);
            if equal.len() == used.len() {
                return Ok(self.filter_by_own_columns(input, predicate, equal));
            }
        }
        let (input, mut mapping) = self.rewrite(input, domain)?;
        let input = self.require(input, &mut mapping, &used, domain);
        let substitution = substitution(&mapping);
        Ok((input.filtered(predicate.into_iter().map(|e| e.substituted(&substitution)).collect()), mapping))
    }

    fn filter_by_own_columns(
        &mut self,
        input: LogicalPlan,
        predicate: Vec<Expr>,
        equal: BTreeMap<ColumnId, Equated>,
    ) -> (LogicalPlan, Mapping) {
        let mut mapping = Mapping::new();
        let mut computed: Vec<(ColumnId, Expr)> = vec![];
        let mut covered = BTreeSet::new();
        for (outer, equated) in equal {
            let column = equated.expr.as_column().unwrap_or_else(|| {
                let id = self.columns.duplicate(outer);
                self.columns.get_mut(id).nullable = true;
                computed.push((id, equated.expr));
                id
            });
            covered.insert(equated.conjunct);
            mapping.insert(outer, Inner { column, nulls_match: equated.nulls_match });
        }
        let substitution = substitution(&mapping);
        let remaining = predicate
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !covered.contains(index))
            .map(|(_, conjunct)| conjunct.substituted(&substitution))
            .collect();
        (input.extended(computed).filtered(remaining), mapping)
    }

    fn rewrite_join(&mut self, mut join: Join, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        match join.kind {
            JoinKind::Inner => self.rewrite_inner_join(join, domain),
            JoinKind::Right => {
                std::mem::swap(&mut join.left, &mut join.right);
                join.kind = JoinKind::Left;
                self.rewrite_join(join, domain)
            }
            JoinKind::Full => self.rewrite_full_join(join, domain),
            JoinKind::Left | JoinKind::Semi | JoinKind::Anti | JoinKind::Mark(_) | JoinKind::Single => {
                let used = domain.used_by(&join.right).union(&domain.used_in(&join.condition)).copied().collect();
                let (left, mut mapping) = self.rewrite(*join.left, domain)?;
                let left = self.require(left, &mut mapping, &used, domain);
                let (right, right_mapping) = self.rewrite(*join.right, domain)?;
                let substitution = substitution(&mapping);
                let mut condition: Vec<Expr> = join.condition.into_iter().map(|e| e.substituted(&substitution)).collect();
                condition.extend(match_mappings(&mapping, &right_mapping));
                Ok((left.joined(join.kind, right, condition), mapping))
            }
        }
    }

    fn rewrite_inner_join(&mut self, join: Join, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        let (dependent, own): (Vec<Expr>, Vec<Expr>) =
            join.condition.into_iter().flat_map(Expr::into_conjuncts).partition(|e| !domain.used_in([e]).is_empty());
        if !dependent.is_empty() {
            let join = join.left.joined(JoinKind::Inner, *join.right, own);
            return self.rewrite_filter(join, dependent, domain);
        }
        let (left, mut mapping) = self.rewrite(*join.left, domain)?;
        let (right, right_mapping) = self.rewrite(*join.right, domain)?;
        let condition = own.into_iter().chain(match_mappings(&mapping, &right_mapping)).collect();
        for (outer, inner) in right_mapping {
            let known = mapping.entry(outer).or_insert(inner);
            known.nulls_match &= inner.nulls_match;
        }
        Ok((left.joined(JoinKind::Inner, right, condition), mapping))
    }

    /// Both sides for all values; a row that is padded has its outer values from the other side.
    fn rewrite_full_join(&mut self, join: Join, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        let mut used = domain.used_in(&join.condition);
        used.extend(domain.used_by(&join.left));
        used.extend(domain.used_by(&join.right));
        let (left, left_mapping) = self.rewrite_covering(*join.left, &used, domain)?;
        let (right, right_mapping) = self.rewrite_covering(*join.right, &used, domain)?;
        let substitution = substitution(&left_mapping);
        let mut condition: Vec<Expr> = join.condition.into_iter().map(|e| e.substituted(&substitution)).collect();
        condition.extend(match_mappings(&left_mapping, &right_mapping));
        let mut mapping = Mapping::new();
        let mut either = vec![];
        for outer in used {
            let column = self.columns.duplicate(outer);
            let data_type: DataType = self.columns.get(outer).data_type.clone();
            let sides = vec![Expr::Column(left_mapping[&outer].column), Expr::Column(right_mapping[&outer].column)];
            either.push((column, Expr::Function(ScalarFunction::Coalesce, sides, data_type)));
            mapping.insert(outer, Inner { column, nulls_match: true });
        }
        Ok((left.joined(JoinKind::Full, right, condition).extended(either), mapping))
    }

    /// One group for every value of the domain, also where no row belongs to it.
    fn rewrite_one_group(&mut self, aggregate: Aggregate, domain: &Domain<'_>) -> Result<(LogicalPlan, Mapping)> {
        let Counts { aggregate: Aggregate { input, mut aggregates, .. }, zeros } = Counts::rename(aggregate, self.columns);
        let (input, inner) = self.rewrite_with_arguments(*input, &mut aggregates, domain)?;
        let mut keys = vec![];
        pass_on(&inner, &mut keys);
        let groups = LogicalPlan::Aggregate(Aggregate { input: Box::new(input), keys, aggregates });
        let outer: Vec<ColumnId> = inner.keys().copied().collect();
        let (values, mapping) = self.domain_of(&outer, domain);
        let condition = match_mappings(&mapping, &inner).collect();
        Ok((values.joined(JoinKind::Left, groups, condition).extended(zeros), mapping))
    }

    fn rewrite_limit(
        &mut self,
        input: LogicalPlan,
        limit: Option<u64>,
        offset: u64,
        domain: &Domain<'_>,
    ) -> Result<(LogicalPlan, Mapping)> {
        let (input, keys) = match input {
            LogicalPlan::Sort { input, keys } => (*input, keys),
            other => (other, vec![]),
        };
        let (input, mapping) = self.rewrite_with(input, keys.iter().map(|key| &key.expr), domain)?;
        let substitution = substitution(&mapping);
        let keys = keys.into_iter().map(|key| SortKey { expr: key.expr.substituted(&substitution), ..key }).collect();
        let groups = mapping.values().map(|inner| inner.column).collect();
        match (limit, offset) {
            (Some(0), _) => Ok((input.emptied(), mapping)),
            (None, 0) => Ok((input, mapping)),
            (Some(1), 0) => Ok((self.first_row_of_each(input, &groups, keys)?, mapping)),
            _ => Err(Error::unsupported("LIMIT other than 1, or OFFSET, in a correlated subquery")),
        }
    }

    fn rewrite_union(
        &mut self,
        inputs: Vec<LogicalPlan>,
        mut output: Vec<(ColumnId, Vec<ColumnId>)>,
        domain: &Domain<'_>,
    ) -> Result<(LogicalPlan, Mapping)> {
        let used: BTreeSet<ColumnId> = inputs.iter().flat_map(|input| domain.used_by(input)).collect();
        let mut rewritten = vec![];
        let mut mappings = vec![];
        for input in inputs {
            let (input, mapping) = self.rewrite_covering(input, &used, domain)?;
            rewritten.push(input);
            mappings.push(mapping);
        }
        let mut mapping = Mapping::new();
        for outer in used {
            let column = self.columns.duplicate(outer);
            output.push((column, mappings.iter().map(|mapping| mapping[&outer].column).collect()));
            mapping.insert(outer, Inner { column, nulls_match: true });
        }
        Ok((LogicalPlan::UnionAll { inputs: rewritten, output }, mapping))
    }
}

/// Something of a plan's own that a predicate equates with an outer column.
struct Equated {
    expr: Expr,
    nulls_match: bool,
    /// Which conjunct says so.
    conjunct: usize,
}

/// What the `own` columns say about `outer` ones.
fn equated(predicate: &[Expr], own: &BTreeSet<ColumnId>, outer: &BTreeSet<ColumnId>) -> BTreeMap<ColumnId, Equated> {
    let mut equal = BTreeMap::<ColumnId, Equated>::new();
    for (conjunct, expr) in predicate.iter().enumerate() {
        let Expr::Compare(comparison @ (Comparison::Equal | Comparison::NotDistinct), a, b) = expr else { continue };
        for (side, other) in [(a, b), (b, a)] {
            let Some(id) = side.as_column().filter(|id| outer.contains(id)) else { continue };
            let used = other.columns();
            if !used.is_empty() && used.is_subset(own) {
                let equated = Equated { expr: (**other).clone(), nulls_match: *comparison == Comparison::NotDistinct, conjunct };
                equal.entry(id).or_insert(equated);
            }
        }
    }
    equal
}

/// Comparisons of what stands for the same outer column in two plans.
fn match_mappings<'m>(left: &'m Mapping, right: &'m Mapping) -> impl Iterator<Item = Expr> + 'm {
    right.iter().filter_map(|(outer, inner)| {
        let known = left.get(outer)?;
        Some(Unnesting::match_columns(known.column, inner.column, known.nulls_match && inner.nulls_match))
    })
}

/// Lets the mapping's columns go on through a projection or as keys of groups.
fn pass_on(mapping: &Mapping, expressions: &mut Vec<(ColumnId, Expr)>) {
    let known: HashMap<ColumnId, Expr> = expressions.iter().cloned().collect();
    let new: BTreeSet<ColumnId> = mapping.values().map(|inner| inner.column).filter(|id| !known.contains_key(id)).collect();
    expressions.extend(new.into_iter().map(|id| (id, Expr::Column(id))));
}
