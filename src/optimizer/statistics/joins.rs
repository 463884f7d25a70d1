//! How many rows joins give: any number of relations at once, the same for every order of joining them.
//!
//! Position: below the estimator and `order_joins`, which asks for subsets of a region.
//!
//! Columns that equalities connect form a class, and all of a class draw their values from one domain: that of its largest member
//! before filters. Joining `k` relations of a class divides the product of their rows by the domain `k - 1` times, so a foreign key
//! join keeps the rows of the referencing side times the share of the referenced rows that filters left. Two relations
//! that share several classes are joined by a composite key, which has no more values than the smaller of the two has rows; never
//! are its parts multiplied as if they were independent.

use operators::expression::Comparison;

use crate::plan::logical::{ColumnId, Columns, Expr, Join, JoinKind, LogicalPlan};

use super::{Estimate, expected_distinct, groups, selectivity};

/// Most relations of a [`JoinGraph`]: a set of them is a word of 64 bits.
pub(in crate::optimizer) const RELATIONS_MAX: usize = 64;

/// A set of relations, as bits.
pub(in crate::optimizer) type RelationSet = u64;

/// Relations to be joined, with what connects them.
pub(in crate::optimizer) struct JoinGraph {
    relations: Vec<Estimate>,
    /// Per relation: rows before filters, as far as one table is behind it.
    base_rows: Vec<f64>,
    classes: Vec<Class>,
    predicates: Vec<Predicate>,
}

/// Columns that are equal in the result.
struct Class {
    members: Vec<(usize, ColumnId)>,
    relations: RelationSet,
    domain: f64,
}

/// A conjunct that is not part of a class.
struct Predicate {
    relations: RelationSet,
    selectivity: f64,
}

/// Collects the inputs of a tree of inner joins and the conjuncts within it.
pub(in crate::optimizer) fn flatten<'p>(plan: &'p LogicalPlan, leaves: &mut Vec<&'p LogicalPlan>, conjuncts: &mut Vec<&'p Expr>) {
    match plan {
        LogicalPlan::Join(join) | LogicalPlan::Apply(join) if join.kind == JoinKind::Inner => {
            flatten(&join.left, leaves, conjuncts);
            flatten(&join.right, leaves, conjuncts);
            conjuncts.extend(&join.condition);
        }
        LogicalPlan::Filter { input, predicate } if matches!(**input, LogicalPlan::Join(Join { kind: JoinKind::Inner, .. })) => {
            flatten(input, leaves, conjuncts);
            conjuncts.extend(predicate);
        }
        _ => leaves.push(plan),
    }
}

impl JoinGraph {
    /// A graph of at most [`RELATIONS_MAX`] relations.
    pub(in crate::optimizer) fn new(relations: Vec<Estimate>, conjuncts: &[Expr], columns: &Columns) -> Self {
        let base_rows = relations.iter().map(base_rows).collect();
        let mut graph = JoinGraph { relations, base_rows, classes: Vec::new(), predicates: Vec::new() };
        let all = graph.all_columns();
        for conjunct in conjuncts {
            match graph.equality(conjunct, columns) {
                Some((left, right)) => graph.connect(left, right),
                None => {
                    let relations = graph.relations_of(conjunct);
                    let selectivity = selectivity::conjunction(std::slice::from_ref(conjunct), &all, columns);
                    graph.predicates.push(Predicate { relations, selectivity });
                }
            }
        }
        for class in &mut graph.classes {
            let domains = class.members.iter().map(|(relation, id)| graph.relations[*relation].column(*id).domain);
            class.domain = domains.fold(1.0, f64::max);
        }
        graph
    }

    /// Which relations a conjunct uses.
    pub(in crate::optimizer) fn relations_of(&self, conjunct: &Expr) -> RelationSet {
        conjunct.columns().iter().filter_map(|id| self.relation_of(*id)).fold(0, |set, relation| set | 1 << relation)
    }

    /// The relations themselves.
    pub(in crate::optimizer) fn relations(&self) -> &[Estimate] {
        &self.relations
    }

    /// Whether a conjunct is one of those that classes stand for: true where one column per relation of its class is
    /// equal to those of the others. (Where a relation has two columns in a class, no.)
    pub(in crate::optimizer) fn is_in_class(&self, conjunct: &Expr, columns: &Columns) -> bool {
        let Some((left, _)) = self.equality(conjunct, columns) else { return false };
        let class = self.classes.iter().find(|class| class.members.contains(&left));
        class.is_some_and(|class| class.members.len() == class.relations.count_ones() as usize)
    }

    /// Distinct values that a class draws from.
    pub(in crate::optimizer) fn domains(&self) -> impl Iterator<Item = f64> {
        self.classes.iter().map(|class| class.domain)
    }

    /// Rows of a relation's table before filters.
    pub(in crate::optimizer) fn base_rows(&self, relation: usize) -> f64 {
        self.base_rows[relation]
    }

    /// Sets of relations with a column each that are equal to each other: any two of them can be joined.
    pub(in crate::optimizer) fn classes(&self) -> impl Iterator<Item = &[(usize, ColumnId)]> {
        self.classes.iter().map(|class| class.members.as_slice())
    }

    /// Rows of the join of all relations of `set`.
    pub(in crate::optimizer) fn rows(&self, set: RelationSet) -> f64 {
        let mut rows = 1.0;
        let mut joined: RelationSet = 0;
        for relation in members(set) {
            rows *= self.relations[relation].rows / self.divisor(relation, joined);
            joined |= 1 << relation;
        }
        for predicate in self.predicates.iter().filter(|predicate| predicate.relations & !set == 0 && predicate.relations.count_ones() > 1)
        {
            rows *= predicate.selectivity;
        }
        rows.max(1.0)
    }

    /// What joining `relation` to the relations of `joined` divides the product of rows by.
    fn divisor(&self, relation: usize, joined: RelationSet) -> f64 {
        let bit = 1 << relation;
        let mut open: Vec<&Class> =
            self.classes.iter().filter(|class| class.relations & bit != 0 && class.relations & joined != 0).collect();
        let mut divisor = 1.0;
        while let Some(class) = open.pop() {
            // The partner that shares most of the open classes, this one among them.
            let shared = |partner: usize| open.iter().filter(|other| other.relations >> partner & 1 == 1).count();
            let partner = members(class.relations & joined).max_by_key(|partner| shared(*partner));
            let Some(partner) = partner else { continue };
            let mut product = class.domain;
            open.retain(|other| {
                let is_shared = other.relations >> partner & 1 == 1;
                if is_shared {
                    product *= other.domain;
                }
                !is_shared
            });
            divisor *= product.min(self.base_rows[relation].min(self.base_rows[partner]).max(class.domain));
        }
        divisor
    }

    /// What is expected of the join of all relations.
    pub(in crate::optimizer) fn estimate(&self) -> Estimate {
        let all = if self.relations.len() == RELATIONS_MAX { RelationSet::MAX } else { (1 << self.relations.len()) - 1 };
        let single: f64 = self.predicates.iter().filter(|predicate| predicate.relations.count_ones() <= 1).map(|p| p.selectivity).product();
        let any_empty = self.relations.iter().any(|relation| relation.rows == 0.0);
        let rows = if any_empty { 0.0 } else { (self.rows(all) * single).max(1.0) };
        let mut estimate = Estimate { rows, columns: Default::default() };
        for (index, relation) in self.relations.iter().enumerate() {
            let keeps_unique = self.is_never_repeated(index);
            for (id, column) in &relation.columns {
                let mut column = column.clone();
                if rows < relation.rows {
                    column.distinct = expected_distinct(column.distinct, relation.rows, rows);
                }
                column.is_unique &= keeps_unique;
                // Probe rows come in the order of the first relation; see `order_joins`.
                column.is_clustered &= index == 0;
                estimate.columns.insert(*id, column);
            }
        }
        for class in &self.classes {
            for pair in class.members.windows(2) {
                selectivity::intersect(&mut estimate, pair[0].1, pair[1].1);
            }
        }
        estimate
    }

    /// Whether every row of `relation` has at most one partner in all others: they are reached over unique columns.
    fn is_never_repeated(&self, relation: usize) -> bool {
        let mut reached: RelationSet = 1 << relation;
        loop {
            let next = self.classes.iter().filter(|class| class.relations & reached != 0).flat_map(|class| &class.members);
            let next = next
                .filter(|(other, id)| reached >> *other & 1 == 0 && self.relations[*other].columns.get(id).is_some_and(|c| c.is_unique))
                .fold(0, |set, (other, _)| set | 1 << *other);
            if next == 0 {
                return reached.count_ones() as usize == self.relations.len();
            }
            reached |= next;
        }
    }

    fn all_columns(&self) -> Estimate {
        let columns = self.relations.iter().flat_map(|relation| relation.columns.clone()).collect();
        Estimate { rows: self.relations.iter().map(|relation| relation.rows).fold(1.0, f64::max), columns }
    }

    fn relation_of(&self, id: ColumnId) -> Option<usize> {
        self.relations.iter().position(|relation| relation.columns.contains_key(&id))
    }

    /// `column = column` of two relations, seen through casts between integers.
    fn equality(&self, conjunct: &Expr, columns: &Columns) -> Option<((usize, ColumnId), (usize, ColumnId))> {
        let Expr::Compare(Comparison::Equal, left, right) = conjunct else { return None };
        let (left, right) = (plain_column(left, columns)?, plain_column(right, columns)?);
        let (left_relation, right_relation) = (self.relation_of(left)?, self.relation_of(right)?);
        (left_relation != right_relation).then_some(((left_relation, left), (right_relation, right)))
    }

    fn connect(&mut self, left: (usize, ColumnId), right: (usize, ColumnId)) {
        let find = |classes: &[Class], column| classes.iter().position(|class| class.members.contains(&column));
        let merged = match (find(&self.classes, left), find(&self.classes, right)) {
            (Some(a), Some(b)) if a == b => return,
            (Some(a), Some(b)) => {
                let other = self.classes.remove(a.max(b));
                let class = &mut self.classes[a.min(b)];
                class.members.extend(other.members);
                class
            }
            (Some(a), None) => {
                self.classes[a].members.push(right);
                &mut self.classes[a]
            }
            (None, Some(b)) => {
                self.classes[b].members.push(left);
                &mut self.classes[b]
            }
            (None, None) => {
                self.classes.push(Class { members: vec![left, right], relations: 0, domain: 1.0 });
                let last = self.classes.len() - 1;
                &mut self.classes[last]
            }
        };
        merged.relations = merged.members.iter().fold(0, |set, (relation, _)| set | 1 << *relation);
    }
}

/// The members of a set, ascending.
pub(in crate::optimizer) fn members(set: RelationSet) -> impl Iterator<Item = usize> {
    let mut rest = set;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let lowest = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            lowest
        })
    })
}

fn plain_column(expr: &Expr, columns: &Columns) -> Option<ColumnId> {
    match expr {
        Expr::Column(id) => Some(*id),
        Expr::Cast(operand, to) if to.is_integer() && operand.data_type(columns).is_integer() => plain_column(operand, columns),
        _ => None,
    }
}

fn base_rows(relation: &Estimate) -> f64 {
    let mut tables: Vec<_> = relation.columns.values().filter_map(|column| column.relation).collect();
    tables.dedup_by_key(|table| table.id);
    match tables.as_slice() {
        [table] if relation.columns.values().all(|column| column.relation.is_some()) => table.rows.max(relation.rows),
        _ => relation.rows,
    }
}

/// Joins other than inner ones.
pub(super) fn of_outer_kinds(kind: JoinKind, left: Estimate, right: Estimate, condition: &[Expr], columns: &Columns) -> Estimate {
    match kind {
        JoinKind::Semi | JoinKind::Anti => {
            let matching = matching_share(&left, &right, condition, columns);
            let share = if kind == JoinKind::Semi { matching } else { (1.0 - matching).max(0.05) };
            let rows = (left.rows * share).max(left.rows.min(1.0));
            let mut estimate = left.thinned(rows);
            if kind == JoinKind::Semi {
                for (id, other) in equal_pairs(condition, &estimate, &right, columns) {
                    let (column, other) = (estimate.column(id), right.column(other));
                    let distinct = column.distinct.min(other.distinct);
                    estimate.columns.insert(id, super::ColumnEstimate { distinct, null_fraction: 0.0, ..column });
                }
            }
            estimate
        }
        JoinKind::Mark(mark) => {
            let mut estimate = left;
            let flag = super::ColumnEstimate { distinct: 2.0, domain: 2.0, ..super::ColumnEstimate::unknown(estimate.rows) };
            estimate.columns.insert(mark, flag);
            estimate
        }
        JoinKind::Single => {
            let rows = left.rows;
            outer(left, right, condition, columns, |_| rows)
        }
        JoinKind::Left => {
            let rows = left.rows;
            outer(left, right, condition, columns, |inner| inner.max(rows))
        }
        JoinKind::Right => {
            let rows = right.rows;
            outer(left, right, condition, columns, |inner| inner.max(rows))
        }
        JoinKind::Full => {
            let rows = left.rows.max(right.rows);
            outer(left, right, condition, columns, |inner| inner.max(rows))
        }
        JoinKind::Inner => JoinGraph::new(vec![left, right], condition, columns).estimate(),
    }
}

/// A join that pads: the columns of the inner join, but with the bounds they have without it.
fn outer(left: Estimate, right: Estimate, condition: &[Expr], columns: &Columns, rows: impl Fn(f64) -> f64) -> Estimate {
    let graph = JoinGraph::new(vec![left, right], condition, columns);
    let inner = graph.estimate();
    let rows = rows(inner.rows);
    let mut estimate = Estimate { rows, columns: Default::default() };
    for relation in graph.relations() {
        for (id, column) in &relation.columns {
            let is_unique = inner.columns.get(id).is_some_and(|column| column.is_unique);
            let is_clustered = inner.columns.get(id).is_some_and(|column| column.is_clustered);
            estimate.columns.insert(*id, super::ColumnEstimate { is_unique, is_clustered, ..column.clone() });
        }
    }
    let unmatched = (1.0 - inner.rows / rows.max(1.0)).max(0.0);
    for id in graph.relations()[1].columns.keys() {
        if let Some(column) = estimate.columns.get_mut(id) {
            column.null_fraction = column.null_fraction.max(unmatched);
        }
    }
    estimate
}

/// The share of left rows that have a match.
pub(in crate::optimizer) fn matching_share(left: &Estimate, right: &Estimate, condition: &[Expr], columns: &Columns) -> f64 {
    if right.rows == 0.0 {
        return 0.0;
    }
    let pairs = equal_pairs(condition, left, right, columns);
    if pairs.is_empty() {
        return if condition.is_empty() { 1.0 } else { 0.5 };
    }
    let domain: f64 = pairs.iter().map(|(l, r)| left.column(*l).domain.max(right.column(*r).domain).max(1.0)).product();
    let domain = if pairs.len() > 1 { domain.min(base_rows(left).max(base_rows(right))) } else { domain };
    let keys: Vec<_> = pairs.iter().map(|(_, r)| right.column(*r)).collect();
    (groups::count(&keys, right.rows) / domain).min(1.0)
}

/// Columns of left and right that the condition equates.
pub(in crate::optimizer) fn equal_pairs(
    condition: &[Expr],
    left: &Estimate,
    right: &Estimate,
    columns: &Columns,
) -> Vec<(ColumnId, ColumnId)> {
    let pair = |conjunct: &Expr| {
        let Expr::Compare(Comparison::Equal, a, b) = conjunct else { return None };
        let (a, b) = (plain_column(a, columns)?, plain_column(b, columns)?);
        let is_pair = |l: ColumnId, r: ColumnId| left.columns.contains_key(&l) && right.columns.contains_key(&r);
        if is_pair(a, b) {
            Some((a, b))
        } else if is_pair(b, a) {
            Some((b, a))
        } else {
            None
        }
    };
    condition.iter().filter_map(pair).collect()
}
