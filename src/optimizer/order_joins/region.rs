//! A region of a plan: relations that inner joins connect, joins of other kinds that hang on them, and conditions.
//!
//! Position: taken out of a plan by the rule, put back in the order that the search has found. Of the joins of other kinds those belong
//! to a region that commute with inner joins as long as the relations their condition uses are there: semi, anti, mark
//! and left joins. Right and full joins, and single joins (whose error must neither appear nor vanish), are its borders.

use std::collections::BTreeSet;

use operators::expression::Comparison;

use crate::plan::logical::{ColumnId, Columns, Expr, Join, JoinKind, LogicalPlan};

use super::hypergraph::{Set, vertices};

/// Most relations and dependents of a region: sets of them are words of bits.
const VERTICES_MAX: usize = 60;

/// A region. Vertices are numbered: relations first, then dependents.
pub(super) struct Region {
    /// Inputs of the inner joins.
    pub relations: Vec<LogicalPlan>,
    /// Joins of other kinds, in the order they were written from the inside out.
    pub dependents: Vec<Dependent>,
    /// What must be true of the result.
    pub conjuncts: Vec<Expr>,
}

/// A join of another kind than inner, without its left side.
pub(super) struct Dependent {
    /// Which.
    pub kind: JoinKind,
    /// Its right side.
    pub right: LogicalPlan,
    /// Its condition.
    pub condition: Vec<Expr>,
    /// Relations and dependents before it that its left side was made of.
    below: Set,
}

/// In which order to join.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    /// A relation.
    Relation(usize),
    /// An inner join: probe side, build side, and per class of equal columns that both sides have: one of each.
    Inner(Box<Tree>, Box<Tree>, Vec<(ColumnId, ColumnId)>),
    /// A dependent on what it depends on.
    Dependent(Box<Tree>, usize),
}

impl Tree {
    fn vertices(&self, relations: usize) -> Set {
        match self {
            Tree::Relation(relation) => 1 << relation,
            Tree::Inner(left, right, _) => left.vertices(relations) | right.vertices(relations),
            Tree::Dependent(left, dependent) => left.vertices(relations) | 1 << (relations + dependent),
        }
    }
}

/// Whether a region starts here.
pub(super) fn is_region(plan: &LogicalPlan) -> bool {
    let is_join = match plan {
        LogicalPlan::Join(join) => is_movable(join),
        LogicalPlan::Filter { input, .. } => is_filtered_region(input),
        _ => false,
    };
    is_join && count(plan) <= VERTICES_MAX
}

fn is_filtered_region(input: &LogicalPlan) -> bool {
    match input {
        LogicalPlan::Join(join) => is_movable(join),
        LogicalPlan::Filter { input, .. } => is_filtered_region(input),
        _ => false,
    }
}

fn is_movable(join: &Join) -> bool {
    match join.kind {
        JoinKind::Inner | JoinKind::Semi | JoinKind::Anti | JoinKind::Mark(_) | JoinKind::Left => true,
        JoinKind::Single => is_at_most_one(&join.right, &join.condition),
        JoinKind::Right | JoinKind::Full => false,
    }
}

/// Whether no left row has a second match: the columns that the condition equates are a key of the right side.
fn is_at_most_one(right: &LogicalPlan, condition: &[Expr]) -> bool {
    let own = right.output_set();
    let is_foreign = |expr: &Expr| expr.columns().is_disjoint(&own);
    let equated = condition.iter().filter_map(|conjunct| match conjunct {
        Expr::Compare(Comparison::Equal | Comparison::NotDistinct, left, right) => match (left.as_column(), right.as_column()) {
            (Some(column), _) if own.contains(&column) && is_foreign(right) => Some(column),
            (_, Some(column)) if own.contains(&column) && is_foreign(left) => Some(column),
            _ => None,
        },
        _ => None,
    });
    right.is_unique_in(&equated.collect())
}

fn count(plan: &LogicalPlan) -> usize {
    match plan {
        LogicalPlan::Join(join) if join.kind == JoinKind::Inner => count(&join.left) + count(&join.right),
        LogicalPlan::Join(join) if is_movable(join) => count(&join.left) + 1,
        LogicalPlan::Filter { input, .. } if is_filtered_region(input) => count(input),
        _ => 1,
    }
}

impl Region {
    /// Takes a plan apart for which [`is_region`] holds.
    pub(super) fn take_apart(plan: LogicalPlan) -> Self {
        let mut region = Region { relations: vec![], dependents: vec![], conjuncts: vec![] };
        let mut joins = Vec::new();
        let members = region.collect(plan, &mut joins);
        debug_assert_eq!(members.relations.len(), region.relations.len());
        // Dependents are numbered after all relations, which are counted only now.
        let relations = region.relations.len();
        region.dependents = joins
            .into_iter()
            .map(|(kind, right, condition, below)| {
                let below = below.relations.iter().fold(0, |set, relation| set | 1 << relation)
                    | below.dependents.iter().fold(0, |set, dependent| set | 1 << (relations + dependent));
                Dependent { kind, right, condition, below }
            })
            .collect();
        region
    }

    fn collect(&mut self, plan: LogicalPlan, dependents: &mut Vec<(JoinKind, LogicalPlan, Vec<Expr>, Members)>) -> Members {
        match plan {
            LogicalPlan::Join(join) if acts_as_inner(&join) => {
                let mut members = self.collect(*join.left, dependents);
                members.extend(self.collect(*join.right, dependents));
                self.conjuncts.extend(join.condition);
                members
            }
            LogicalPlan::Join(join) if is_movable(&join) => {
                let mut members = self.collect(*join.left, dependents);
                dependents.push((join.kind, *join.right, join.condition, members.clone()));
                members.dependents.push(dependents.len() - 1);
                members
            }
            LogicalPlan::Filter { input, predicate } if is_filtered_region(&input) => {
                let members = self.collect(*input, dependents);
                self.conjuncts.extend(predicate);
                members
            }
            relation => {
                self.relations.push(relation);
                Members { relations: vec![self.relations.len() - 1], dependents: vec![] }
            }
        }
    }

    /// All plans it is made of.
    pub(super) fn parts_mut(&mut self) -> impl Iterator<Item = &mut LogicalPlan> {
        self.relations.iter_mut().chain(self.dependents.iter_mut().map(|dependent| &mut dependent.right))
    }

    /// Number of relations and dependents.
    pub(super) fn vertex_count(&self) -> usize {
        self.relations.len() + self.dependents.len()
    }

    /// Per vertex: the columns it brings.
    pub(super) fn columns_by_vertex(&self) -> Vec<BTreeSet<ColumnId>> {
        let relations = self.relations.iter().map(|relation| relation.output().into_iter().collect());
        let dependents = self.dependents.iter().map(|dependent| match dependent.kind {
            JoinKind::Semi | JoinKind::Anti => BTreeSet::new(),
            JoinKind::Mark(mark) => BTreeSet::from([mark]),
            _ => dependent.right.output().into_iter().collect(),
        });
        relations.chain(dependents).collect()
    }

    /// The vertices whose columns an expression uses.
    pub(super) fn used_by(expr: &Expr, columns: &[BTreeSet<ColumnId>]) -> Set {
        let vertex_of = |id: &ColumnId| columns.iter().position(|of_vertex| of_vertex.contains(id));
        expr.columns().iter().filter_map(vertex_of).fold(0, |set, vertex| set | 1 << vertex)
    }

    /// The vertices that must be there before a dependent: those its condition uses, or all that it was written above.
    pub(super) fn required_by(&self, dependent: usize, columns: &[BTreeSet<ColumnId>]) -> Set {
        let Dependent { condition, below, .. } = &self.dependents[dependent];
        let used = condition.iter().fold(0, |set, conjunct| set | Region::used_by(conjunct, columns)) & below;
        if used == 0 { *below } else { used }
    }

    /// The order it was written in.
    pub(super) fn in_written_order(self, columns: &Columns) -> LogicalPlan {
        let tree = (1..self.relations.len())
            .fold(Tree::Relation(0), |tree, relation| Tree::Inner(Box::new(tree), Box::new(Tree::Relation(relation)), vec![]));
        let tree = (0..self.dependents.len()).fold(tree, |tree, dependent| Tree::Dependent(Box::new(tree), dependent));
        self.build(&tree, columns)
    }

    /// Puts the plan together in the order of `tree`. Every conjunct is applied as soon as its columns are there.
    pub(super) fn build(self, tree: &Tree, columns: &Columns) -> LogicalPlan {
        let by_vertex = self.columns_by_vertex();
        let relations = self.relations.len();
        let (free, bound): (Vec<_>, Vec<_>) =
            self.conjuncts.into_iter().map(|conjunct| (Region::used_by(&conjunct, &by_vertex), conjunct)).partition(|(set, _)| *set == 0);
        let mut builder = Builder {
            relations: self.relations.into_iter().map(Some).collect(),
            dependents: self.dependents.into_iter().map(Some).collect(),
            waiting: bound,
            columns,
        };
        let plan = builder.build(tree, relations);
        let rest = free.into_iter().map(|(_, conjunct)| conjunct).chain(builder.waiting.into_iter().map(|(_, conjunct)| conjunct));
        plan.filtered(rest.collect())
    }
}

fn acts_as_inner(join: &Join) -> bool {
    match join.kind {
        JoinKind::Inner => true,
        // Exactly one match: nothing is lost, padded or refused.
        JoinKind::Left | JoinKind::Single => join.condition.is_empty() && join.right.has_exactly_one_row(),
        _ => false,
    }
}

#[derive(Clone)]
struct Members {
    relations: Vec<usize>,
    dependents: Vec<usize>,
}

impl Members {
    fn extend(&mut self, other: Members) {
        self.relations.extend(other.relations);
        self.dependents.extend(other.dependents);
    }
}

struct Builder<'c> {
    relations: Vec<Option<LogicalPlan>>,
    dependents: Vec<Option<Dependent>>,
    /// Conjuncts not applied yet, with the vertices they use.
    waiting: Vec<(Set, Expr)>,
    columns: &'c Columns,
}

impl Builder<'_> {
    fn build(&mut self, tree: &Tree, relations: usize) -> LogicalPlan {
        match tree {
            Tree::Relation(relation) => {
                let plan = self.relations[*relation].take().expect("a tree has every relation once");
                let conjuncts = self.ready(1 << relation);
                plan.filtered(conjuncts)
            }
            Tree::Inner(left, right, equal) => {
                let plans = (self.build(left, relations), self.build(right, relations));
                let mut condition: Vec<Expr> = equal.iter().map(|(a, b)| equality(*a, *b, self.columns)).collect();
                for conjunct in self.ready(tree.vertices(relations)) {
                    if !condition.contains(&conjunct) {
                        condition.push(conjunct);
                    }
                }
                LogicalPlan::Join(Join { left: Box::new(plans.0), right: Box::new(plans.1), kind: JoinKind::Inner, condition })
            }
            Tree::Dependent(left, dependent) => {
                let plan = self.build(left, relations);
                let Dependent { kind, right, condition, .. } = self.dependents[*dependent].take().expect("a tree has every dependent once");
                let join = LogicalPlan::Join(Join { left: Box::new(plan), right: Box::new(right), kind, condition });
                join.filtered(self.ready(tree.vertices(relations)))
            }
        }
    }

    /// Takes out the conjuncts that use nothing beyond `present`.
    fn ready(&mut self, present: Set) -> Vec<Expr> {
        let (ready, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(set, _)| set & !present == 0);
        self.waiting = waiting;
        let ready: Vec<(Set, Expr)> = ready;
        ready.into_iter().map(|(_, conjunct)| conjunct).collect()
    }
}

/// `a = b`, with the narrower integer widened.
fn equality(a: ColumnId, b: ColumnId, columns: &Columns) -> Expr {
    let (a_type, b_type) = (&columns.get(a).data_type, &columns.get(b).data_type);
    let width = |data_type: &arrow::datatypes::DataType| data_type.primitive_width().unwrap_or(0);
    let (mut left, mut right) = (Expr::Column(a), Expr::Column(b));
    if a_type.is_integer() && b_type.is_integer() && a_type != b_type {
        if width(a_type) < width(b_type) {
            left = Expr::Cast(Box::new(left), b_type.clone());
        } else {
            right = Expr::Cast(Box::new(right), a_type.clone());
        }
    }
    Expr::equal(left, right)
}

/// The vertices of a set that are relations.
pub(super) fn relations_in(set: Set, relations: usize) -> impl Iterator<Item = usize> {
    vertices(set).filter(move |vertex| *vertex < relations)
}
