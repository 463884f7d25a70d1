//! What joining two sets of a region costs.
//!
//! Position: asked by the search, over estimates of the region's parts.

use std::{cell::RefCell, collections::HashMap};

use operators::expression::Comparison;

use crate::{
    error::Result,
    optimizer::{
        cost::{self, BuildSide},
        statistics::{
            ColumnEstimate, Estimate, Estimator, Range,
            joins::{self, JoinGraph},
        },
    },
    plan::logical::{ColumnId, Columns, Expr, JoinKind, LogicalPlan},
};

use super::{
    hypergraph::{Hypergraph, Set, vertices},
    region::{Region, Tree, relations_in},
    search::{Model, Solution, Solutions},
};

/// A relation with no more rows may be joined by any predicate, like a constant.
const CONSTANT_ROWS: f64 = 1.0;

/// Estimates of a region.
pub(super) struct RegionModel {
    graph: Hypergraph,
    joins: JoinGraph,
    relations: usize,
    dependents: Vec<DependentModel>,
    /// Conjuncts that use columns of dependents: the vertices, and the share that passes.
    late: Vec<(Set, f64)>,
    /// Vertices of conjuncts that equate expressions (not plain columns): hash keys of which little is known.
    equations: Vec<(Set, Set)>,
    /// Bytes of a row per relation.
    row_bytes: Vec<f64>,
    /// Per relation and column of a class: what a runtime filter on it that lets nothing through would save.
    savings: HashMap<(usize, ColumnId), f64>,
    rows: RefCell<HashMap<Set, f64>>,
}

struct DependentModel {
    required: Set,
    /// Rows that come out for each that goes in.
    factor: f64,
    rows: f64,
    row_bytes: f64,
    /// Pairs of equal columns.
    keys: Vec<Key>,
    has_equality: bool,
}

/// What is known of one equality between two sides.
#[derive(Clone)]
struct Key {
    left: ColumnEstimate,
    right: ColumnEstimate,
    domain: f64,
}

impl RegionModel {
    /// Estimates the parts of a region.
    ///
    /// # Errors
    /// When statistics cannot be read.
    pub(super) fn new(region: &Region, estimator: &mut Estimator<'_>) -> Result<Self> {
        let by_vertex = region.columns_by_vertex();
        let relations = region.relations.len();
        let estimates = region.relations.iter().map(|plan| estimator.estimate(plan)).collect::<Result<Vec<_>>>()?;
        let row_bytes = region.relations.iter().zip(&estimates).map(|(plan, estimate)| row_bytes(plan, estimate)).collect();
        let is_late = |conjunct: &&Expr| Region::used_by(conjunct, &by_vertex) >> relations != 0;
        let (late, early): (Vec<&Expr>, Vec<&Expr>) = region.conjuncts.iter().partition(is_late);
        let early: Vec<Expr> = early.into_iter().cloned().collect();
        // Conjuncts on one relation filter it before it is joined.
        let estimates = filtered(estimates, &early, &by_vertex, estimator);
        let joins = JoinGraph::new(estimates, &early, estimator.columns());
        let all = Estimate {
            rows: joins.relations().iter().map(|relation| relation.rows).fold(1.0, f64::max),
            columns: joins.relations().iter().flat_map(|relation| relation.columns.clone()).collect(),
        };
        let mut dependents = Vec::new();
        for (index, dependent) in region.dependents.iter().enumerate() {
            let right = estimator.estimate(&dependent.right)?;
            let required = region.required_by(index, &by_vertex);
            dependents.push(dependent_model(dependent, required, &joins, &all, &right, relations, estimator));
        }
        let late = late
            .into_iter()
            .map(|conjunct| {
                let share = estimator.filtered(all.clone(), std::slice::from_ref(conjunct)).rows / all.rows;
                (Region::used_by(conjunct, &by_vertex), share)
            })
            .collect();
        let equations = early.iter().filter(|conjunct| !joins.is_in_class(conjunct, estimator.columns())).filter_map(|conjunct| {
            let Expr::Compare(Comparison::Equal | Comparison::NotDistinct, left, right) = conjunct else { return None };
            Some((Region::used_by(left, &by_vertex), Region::used_by(right, &by_vertex)))
        });
        let mut model = RegionModel {
            graph: Hypergraph::new(region.vertex_count()),
            relations,
            dependents,
            late,
            equations: equations.filter(|(left, right)| left & right == 0 && *left != 0 && *right != 0).collect(),
            row_bytes,
            savings: HashMap::new(),
            rows: RefCell::default(),
            joins,
        };
        let members: Vec<(usize, ColumnId)> = model.joins.classes().flatten().copied().collect();
        for (relation, id) in members {
            let saving = saved_by_filter(&region.relations[relation], id, estimator)?;
            model.savings.insert((relation, id), saving);
        }
        model.connect(&early, &by_vertex);
        Ok(model)
    }

    /// Whether a conjunct holds when the columns that [`Tree::Inner`] names are equal.
    pub(super) fn is_implied(&self, conjunct: &Expr, columns: &Columns) -> bool {
        self.joins.is_in_class(conjunct, columns)
    }

    /// Which vertices can be joined.
    pub(super) fn hypergraph(&self) -> &Hypergraph {
        &self.graph
    }

    /// Rows of every vertex.
    pub(super) fn leaf_rows(&self) -> Vec<f64> {
        let dependents = self.dependents.iter().map(|dependent| dependent.rows);
        self.joins.relations().iter().map(|relation| relation.rows).chain(dependents).collect()
    }

    /// The tree of the solution over all vertices.
    pub(super) fn tree(&self, solutions: &Solutions) -> Tree {
        self.subtree(self.graph.all(), solutions)
    }

    fn subtree(&self, set: Set, solutions: &Solutions) -> Tree {
        let Some((left, right)) = solutions[&set].split else { return Tree::Relation(set.trailing_zeros() as usize) };
        if let Some(dependent) = self.dependent(right) {
            return Tree::Dependent(Box::new(self.subtree(left, solutions)), dependent);
        }
        let equal =
            self.joins.classes().filter_map(|members| Some((self.probe_member(members, left)?, self.build_member(members, right)?)));
        let equal = equal.collect();
        Tree::Inner(Box::new(self.subtree(left, solutions)), Box::new(self.subtree(right, solutions)), equal)
    }

    /// Of several equal columns the one of the largest table: there a runtime filter saves most.
    fn probe_member(&self, members: &[(usize, ColumnId)], set: Set) -> Option<ColumnId> {
        let present = members.iter().filter(|(relation, _)| set >> relation & 1 == 1);
        present.max_by(|a, b| self.joins.base_rows(a.0).total_cmp(&self.joins.base_rows(b.0))).map(|(_, id)| *id)
    }

    fn build_member(&self, members: &[(usize, ColumnId)], set: Set) -> Option<ColumnId> {
        let present = members.iter().filter(|(relation, _)| set >> relation & 1 == 1);
        present.min_by(|a, b| self.joins.base_rows(a.0).total_cmp(&self.joins.base_rows(b.0))).map(|(_, id)| *id)
    }

    fn connect(&mut self, conjuncts: &[Expr], by_vertex: &[std::collections::BTreeSet<ColumnId>]) {
        for members in self.joins.classes() {
            for (i, (left, _)) in members.iter().enumerate() {
                members[i + 1..].iter().for_each(|(right, _)| self.graph.connect(1 << left, 1 << right));
            }
        }
        self.equations.iter().for_each(|(left, right)| self.graph.connect(*left, *right));
        for (index, dependent) in self.dependents.iter().enumerate() {
            self.graph.connect(dependent.required, 1 << (self.relations + index));
        }
        for (relation, estimate) in self.joins.relations().iter().enumerate().filter(|(_, estimate)| estimate.rows <= CONSTANT_ROWS) {
            let bit = 1 << relation;
            debug_assert!(estimate.rows >= 0.0);
            for conjunct in conjuncts {
                let used = Region::used_by(conjunct, by_vertex);
                if used & bit != 0 {
                    self.graph.connect(bit, used & !bit);
                }
            }
        }
        self.connect_components(conjuncts, by_vertex);
    }

    /// What equalities leave apart is connected by other predicates, and what they leave apart by cross products.
    fn connect_components(&mut self, conjuncts: &[Expr], by_vertex: &[std::collections::BTreeSet<ColumnId>]) {
        let has_relation = |component: &Set| relations_in(*component, self.relations).next().is_some();
        let components: Vec<Set> = self.graph.components().into_iter().filter(has_relation).collect();
        for conjunct in conjuncts {
            let used = Region::used_by(conjunct, by_vertex);
            let touched: Vec<Set> = components.iter().map(|component| component & used).filter(|part| *part != 0).collect();
            if let [left, right] = touched.as_slice() {
                self.graph.connect(*left, *right);
            }
        }
        let components: Vec<Set> = self.graph.components().into_iter().filter(has_relation).collect();
        for (i, left) in components.iter().enumerate() {
            components[i + 1..].iter().for_each(|right| self.graph.connect(*left, *right));
        }
    }

    fn dependent(&self, set: Set) -> Option<usize> {
        let vertex = set.trailing_zeros() as usize;
        (set.count_ones() == 1 && vertex >= self.relations).then(|| vertex - self.relations)
    }

    /// Rows of the join of a set.
    fn rows(&self, set: Set) -> f64 {
        if let Some(rows) = self.rows.borrow().get(&set) {
            return *rows;
        }
        let relations = set & ((1 << self.relations) - 1);
        let dependents = vertices(set).filter(|vertex| *vertex >= self.relations);
        let factor: f64 = dependents.map(|vertex| self.dependents[vertex - self.relations].factor).product();
        let late = self.late.iter().filter(|(used, _)| used & !set == 0);
        let rows = self.joins.rows(relations) * factor * late.map(|(_, share)| share).product::<f64>();
        self.rows.borrow_mut().insert(set, rows.max(1.0));
        rows.max(1.0)
    }

    fn row_bytes(&self, set: Set) -> f64 {
        let relations: f64 = relations_in(set, self.relations).map(|relation| self.row_bytes[relation]).sum();
        relations.max(8.0)
    }

    fn inner(&self, probe: (Set, &Solution), build: (Set, &Solution), rows: f64) -> Solution {
        let keys = self.keys(probe.0, build.0);
        let has_equality = !keys.is_empty()
            || self.equations.iter().any(|(l, r)| is_between(*l, *r, probe.0, build.0) || is_between(*r, *l, probe.0, build.0));
        let side = build_side(build.1.rows, self.row_bytes(build.0), &keys);
        let cost =
            if has_equality { cost::hash_join(probe.1.rows, &side, rows) } else { cost::nested_loop_join(probe.1.rows, &side, rows) };
        // Reading is not counted, so what is saved of it may make a cost negative.
        let saved = self.saved(probe.0, build);
        Solution { cost: probe.1.cost + build.1.cost + cost - saved, rows, split: Some((probe.0, build.0)) }
    }

    /// What the runtime filters of the build side save below a single relation on the probe side. (On a probe side of several
    /// relations they save as much in every order, as long as the relation is on its spine.)
    fn saved(&self, probe: Set, build: (Set, &Solution)) -> f64 {
        if probe.count_ones() != 1 {
            return 0.0;
        }
        let relation = probe.trailing_zeros() as usize;
        let classes = self.joins.classes().zip(self.joins.domains());
        let saved = classes.filter_map(|(members, domain)| {
            let (_, id) = members.iter().find(|(of, _)| *of == relation)?;
            let inside = members.iter().filter(|(of, _)| build.0 >> of & 1 == 1);
            let distinct = inside.map(|(of, id)| self.joins.relations()[*of].column(*id).distinct).min_by(f64::total_cmp)?;
            let dropped = 1.0 - distinct.min(build.1.rows) / domain.max(1.0);
            Some(self.savings.get(&(relation, *id))? * dropped.clamp(0.0, 1.0))
        });
        saved.fold(0.0, f64::max)
    }

    /// Equal columns, the left ones in `probe` and the right ones in `build`.
    fn keys(&self, probe: Set, build: Set) -> Vec<Key> {
        let member = |members: &[(usize, ColumnId)], set: Set| {
            let present = members.iter().filter(|(relation, _)| set >> relation & 1 == 1);
            let columns = present.map(|(relation, id)| self.joins.relations()[*relation].column(*id));
            columns.min_by(|a, b| a.distinct.total_cmp(&b.distinct))
        };
        let classes = self.joins.classes().zip(self.joins.domains());
        let keys =
            classes.filter_map(|(members, domain)| Some(Key { left: member(members, probe)?, right: member(members, build)?, domain }));
        keys.collect()
    }

    fn apply(&self, left: (Set, &Solution), index: usize, rows: f64) -> Option<Solution> {
        let dependent = &self.dependents[index];
        if dependent.required & !left.0 != 0 {
            return None;
        }
        let right = build_side(dependent.rows, dependent.row_bytes, &dependent.keys);
        let cost = if dependent.has_equality {
            let mirrored: Vec<Key> =
                dependent.keys.iter().map(|key| Key { left: key.right.clone(), right: key.left.clone(), ..key.clone() }).collect();
            let left_built = build_side(left.1.rows, self.row_bytes(left.0), &mirrored);
            cost::hash_join(left.1.rows, &right, rows).min(cost::hash_join(dependent.rows, &left_built, rows))
        } else {
            cost::nested_loop_join(left.1.rows, &right, rows)
        };
        Some(Solution { cost: left.1.cost + cost, rows, split: Some((left.0, 1 << (self.relations + index))) })
    }
}

impl Model for RegionModel {
    fn join(&self, left: (Set, &Solution), right: (Set, &Solution)) -> Option<Solution> {
        match (self.dependent(left.0), self.dependent(right.0)) {
            (Some(_), Some(_)) => None,
            (Some(dependent), None) => self.apply(right, dependent, self.rows(left.0 | right.0)),
            (None, Some(dependent)) => self.apply(left, dependent, self.rows(left.0 | right.0)),
            (None, None) => {
                let rows = self.rows(left.0 | right.0);
                let (one, other) = (self.inner(left, right, rows), self.inner(right, left, rows));
                Some(if one.cost < other.cost || one.cost == other.cost && left.1.rows >= right.1.rows { one } else { other })
            }
        }
    }
}

fn is_between(left: Set, right: Set, probe: Set, build: Set) -> bool {
    left & !probe == 0 && right & !build == 0
}

fn build_side(rows: f64, row_bytes: f64, keys: &[Key]) -> BuildSide {
    let span = |column: &ColumnEstimate| {
        let range = Range::between(column.min.as_ref()?, column.max.as_ref()?)?;
        Some((range.max - range.min) as f64 + 1.0)
    };
    let key_span = match keys {
        [only] => span(&only.right),
        _ => None,
    };
    let passing =
        keys.iter().filter(|key| span(&key.right).is_some()).map(|key| (key.right.distinct.min(rows) / key.domain.max(1.0)).min(1.0));
    BuildSide { rows, row_bytes, key_span, passing: passing.fold(1.0, f64::min) }
}

/// What a filter on an output column that drops every row would save of computing a plan, beyond reading the column itself.
fn saved_by_filter(plan: &LogicalPlan, id: ColumnId, estimator: &mut Estimator<'_>) -> Result<f64> {
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            let rows = estimator.estimate(plan)?.rows;
            rows * cost::READ_VALUE * scan.columns.len().saturating_sub(1) as f64
        }
        LogicalPlan::Filter { input, .. } => saved_by_filter(input, id, estimator)?,
        LogicalPlan::Project { input, expressions } => match expressions.iter().find(|(column, _)| *column == id) {
            Some((_, Expr::Column(source))) => saved_by_filter(input, *source, estimator)?,
            _ => 0.0,
        },
        LogicalPlan::Aggregate(aggregate) => match aggregate.keys.iter().find(|(column, _)| *column == id) {
            Some((_, Expr::Column(source))) => {
                let rows = estimator.estimate(&aggregate.input)?.rows;
                saved_by_filter(&aggregate.input, *source, estimator)? + rows * cost::AGGREGATE_ROW
            }
            _ => 0.0,
        },
        LogicalPlan::Join(join) if join.kind == JoinKind::Inner => {
            let side = if join.left.output().contains(&id) { &join.left } else { &join.right };
            saved_by_filter(side, id, estimator)? + estimator.estimate(plan)?.rows * cost::OUTPUT_ROW
        }
        _ => 0.0,
    })
}

fn row_bytes(plan: &LogicalPlan, estimate: &Estimate) -> f64 {
    plan.output().iter().map(|id| estimate.columns.get(id).and_then(|column| column.average_bytes).map_or(8.0, |bytes| bytes + 8.0)).sum()
}

fn filtered(
    estimates: Vec<Estimate>,
    conjuncts: &[Expr],
    by_vertex: &[std::collections::BTreeSet<ColumnId>],
    estimator: &Estimator<'_>,
) -> Vec<Estimate> {
    let of_relation = |relation: usize| {
        let own = conjuncts.iter().filter(|conjunct| Region::used_by(conjunct, by_vertex) == 1 << relation);
        own.cloned().collect::<Vec<_>>()
    };
    estimates
        .into_iter()
        .enumerate()
        .map(|(relation, estimate)| match of_relation(relation) {
            own if own.is_empty() => estimate,
            own => estimator.filtered(estimate, &own),
        })
        .collect()
}

fn dependent_model(
    dependent: &super::region::Dependent,
    required: Set,
    joins: &JoinGraph,
    all: &Estimate,
    right: &Estimate,
    relations: usize,
    estimator: &Estimator<'_>,
) -> DependentModel {
    let columns = estimator.columns();
    // The relation that the condition uses, where it is one; it says how many rows of it have a match.
    let left = match relations_in(required, relations).collect::<Vec<_>>().as_slice() {
        [only] => joins.relations()[*only].clone(),
        _ => all.clone(),
    };
    let matching = joins::matching_share(&left, right, &dependent.condition, columns);
    let factor = match dependent.kind {
        JoinKind::Semi => matching,
        JoinKind::Anti => (1.0 - matching).max(0.05),
        JoinKind::Left => {
            let graph = JoinGraph::new(vec![left.clone(), right.clone()], &dependent.condition, columns);
            (graph.rows(0b11) / left.rows.max(1.0)).max(1.0)
        }
        _ => 1.0,
    };
    let pairs = joins::equal_pairs(&dependent.condition, &left, right, columns);
    let keys = pairs.iter().map(|(l, r)| {
        let (l, r) = (left.column(*l), right.column(*r));
        Key { domain: l.domain.max(r.domain), left: l, right: r }
    });
    let is_equality = |conjunct: &Expr| matches!(conjunct, Expr::Compare(Comparison::Equal | Comparison::NotDistinct, ..));
    DependentModel {
        required,
        factor,
        rows: right.rows,
        row_bytes: row_bytes(&dependent.right, right),
        keys: keys.collect(),
        has_equality: dependent.condition.iter().any(is_equality),
    }
}
