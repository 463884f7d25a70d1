//! How many rows a plan gives and what values its columns hold, from statistics of tables.
//!
//! Position: asked by the rules that order joins, narrow types and share subplans, and by `planner::physical` when it chooses
//! algorithms. Estimates steer plans only, with one exception: `min` and `max` are proven, and rules may rely on them.
//!
//! | file | what it estimates |
//! |---|---|
//! | [`tables`] | scans, with samples where footers say too little |
//! | [`selectivity`] | filters |
//! | [`expressions`], [`ranges`] | values of expressions |
//! | [`joins`] | joins of any number of relations |
//! | [`groups`] | aggregations |

mod expressions;
mod groups;
pub(super) mod joins;
mod ranges;
mod selectivity;
mod tables;

use std::collections::HashMap;

use operators::Scalar;

use crate::{
    catalog::Catalogs,
    error::Result,
    plan::logical::{ColumnId, Columns, Cte, CteId, Expr, Join, JoinKind, LogicalPlan, Query},
};

pub(super) use ranges::Range;

/// What is expected of a plan's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Number of rows, at least 0.
    pub rows: f64,
    /// What is known of columns; absent where nothing is.
    pub columns: HashMap<ColumnId, ColumnEstimate>,
}

/// What is expected of a column's values.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnEstimate {
    /// Proven lower bound.
    pub min: Option<Scalar>,
    /// Proven upper bound.
    pub max: Option<Scalar>,
    /// Distinct values.
    pub distinct: f64,
    /// Share of NULLs.
    pub null_fraction: f64,
    /// Whether it is believed to have no duplicates (a hint for plans, never for correctness).
    pub is_unique: bool,
    /// Whether rows come clustered by it.
    pub is_clustered: bool,
    /// Distinct values that the column could have had but for filters on *other* columns: what a join divides by.
    pub domain: f64,
    /// Average bytes of a value of text.
    pub average_bytes: Option<f64>,
    /// The table scan it comes from.
    pub relation: Option<Relation>,
    /// How the values of an aggregate lie around their mean.
    pub distribution: Option<Normal>,
}

/// A table scan as the origin of columns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relation {
    /// Its first column, which names it.
    pub id: ColumnId,
    /// Its rows before filters.
    pub rows: f64,
}

/// A normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, above 0.
    pub deviation: f64,
}

impl Estimate {
    /// What is expected of a column; all unknown where nothing is known.
    pub fn column(&self, id: ColumnId) -> ColumnEstimate {
        self.columns.get(&id).cloned().unwrap_or_else(|| ColumnEstimate::unknown(self.rows))
    }

    /// Of a table of which nothing is known.
    fn unknown() -> Self {
        Estimate { rows: 1000.0, columns: HashMap::new() }
    }

    /// The same columns when only `rows` of the rows are left, taken blindly.
    fn thinned(mut self, rows: f64) -> Self {
        let before = self.rows;
        for column in self.columns.values_mut() {
            column.thin(before, rows);
        }
        self.rows = rows;
        self
    }
}

impl ColumnEstimate {
    /// A column of `rows` rows of which nothing is known.
    fn unknown(rows: f64) -> Self {
        let distinct = default_distinct(rows);
        ColumnEstimate {
            min: None,
            max: None,
            distinct,
            null_fraction: 0.0,
            is_unique: false,
            is_clustered: false,
            domain: distinct,
            average_bytes: None,
            relation: None,
            distribution: None,
        }
    }

    /// Fewer rows, taken blindly, or more, by duplication.
    fn thin(&mut self, before: f64, after: f64) {
        if after < before {
            self.distinct = expected_distinct(self.distinct, before, after);
        } else if after > before * 1.000_001 {
            self.is_unique = false;
        }
        self.distinct = self.distinct.min(after.max(1.0));
    }
}

/// Distinct values of a column of which nothing is known.
fn default_distinct(rows: f64) -> f64 {
    (rows / 10.0).max(rows.min(100.0)).max(1.0)
}

/// Of `distinct` values evenly spread over `before` rows, how many are expected among `after` of the rows (Yao's formula).
fn expected_distinct(distinct: f64, before: f64, after: f64) -> f64 {
    if before <= 0.0 || after >= before || distinct <= 0.0 {
        return distinct.max(0.0).min(after.max(1.0));
    }
    let copies = (before / distinct).max(1.0);
    let kept = 1.0 - (1.0 - after / before).powf(copies);
    (distinct * kept).clamp(after.min(1.0), after.max(1.0))
}

/// Estimates plans of one query; remembers what it asked tables. A rule that adds columns to the query makes a new one before
/// it estimates plans with them.
pub struct Estimator<'a> {
    catalogs: &'a Catalogs,
    columns: Columns,
    cte_plans: Vec<Cte>,
    ctes: HashMap<CteId, Estimate>,
    tables: tables::Tables,
}

impl<'a> Estimator<'a> {
    /// An estimator for plans of `query`.
    pub fn new(catalogs: &'a Catalogs, query: &Query) -> Self {
        Estimator {
            catalogs,
            columns: query.columns.clone(),
            cte_plans: query.ctes.clone(),
            ctes: HashMap::new(),
            tables: tables::Tables::default(),
        }
    }

    /// What is expected of `plan`.
    ///
    /// # Errors
    /// When statistics cannot be read.
    pub fn estimate(&mut self, plan: &LogicalPlan) -> Result<Estimate> {
        match plan {
            LogicalPlan::TableScan(scan) => self.tables.scan(self.catalogs, &self.columns, scan),
            LogicalPlan::CteScan(scan) => {
                let cte = self.cte(scan.cte)?;
                let (output, estimate) = cte.unwrap_or_else(|| (vec![], Estimate::unknown()));
                let columns = scan.columns.iter().map(|(id, position)| {
                    let known = output.get(*position).and_then(|source| estimate.columns.get(source));
                    (*id, known.cloned().unwrap_or_else(|| ColumnEstimate::unknown(estimate.rows)))
                });
                Ok(Estimate { rows: estimate.rows, columns: columns.collect() })
            }
            LogicalPlan::Values(values) => Ok(expressions::of_values(values)),
            LogicalPlan::Filter { input, predicate } => {
                if matches!(**input, LogicalPlan::Join(Join { kind: JoinKind::Inner, .. })) {
                    return self.inner_joins(plan);
                }
                let input = self.estimate(input)?;
                Ok(selectivity::filter(input, predicate, &self.columns))
            }
            LogicalPlan::Project { input, expressions } => {
                let input = self.estimate(input)?;
                let columns = expressions.iter().map(|(id, e)| (*id, expressions::of_expression(e, &input, &self.columns)));
                Ok(Estimate { rows: input.rows, columns: columns.collect() })
            }
            LogicalPlan::Join(Join { kind: JoinKind::Inner, .. }) | LogicalPlan::Apply(Join { kind: JoinKind::Inner, .. }) => {
                self.inner_joins(plan)
            }
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => {
                let left = self.estimate(&join.left)?;
                let right = self.estimate(&join.right)?;
                Ok(joins::of_outer_kinds(join.kind, left, right, &join.condition, &self.columns))
            }
            LogicalPlan::Aggregate(aggregate) => {
                let input = self.estimate(&aggregate.input)?;
                Ok(groups::of_aggregate(aggregate, &input, &self.columns))
            }
            LogicalPlan::Sort { input, .. } => {
                let mut estimate = self.estimate(input)?;
                estimate.columns.values_mut().for_each(|column| column.is_clustered = false);
                Ok(estimate)
            }
            LogicalPlan::Limit { input, limit, offset } => {
                let input = self.estimate(input)?;
                let left = (input.rows - *offset as f64).max(0.0);
                let rows = limit.map_or(left, |limit| left.min(limit as f64));
                Ok(input.thinned(rows))
            }
            LogicalPlan::UnionAll { inputs, output } => {
                let inputs = inputs.iter().map(|input| self.estimate(input)).collect::<Result<Vec<_>>>()?;
                Ok(groups::of_union(&inputs, output))
            }
            LogicalPlan::SetOperation { operator, left, right, output } => {
                let left = self.estimate(left)?;
                let right = self.estimate(right)?;
                Ok(groups::of_set_operation(*operator, &left, &right, output))
            }
        }
    }

    /// What is expected of `input`'s rows that pass `conjuncts`.
    pub fn filtered(&self, input: Estimate, conjuncts: &[Expr]) -> Estimate {
        selectivity::filter(input, conjuncts, &self.columns)
    }

    /// What is expected of an expression's values over rows of `input`.
    pub fn expression(&self, expr: &Expr, input: &Estimate) -> ColumnEstimate {
        expressions::of_expression(expr, input, &self.columns)
    }

    /// Proven bounds of an expression's values that are not NULL, if it is an exact number or a date.
    pub(super) fn range(&self, expr: &Expr, input: &Estimate) -> Option<Range> {
        ranges::range_of(expr, input, &self.columns)
    }

    /// Columns of the query this estimator was made for.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The number of groups that `keys` make of rows of `input`.
    pub fn group_count(&self, keys: &[ColumnId], input: &Estimate) -> f64 {
        let keys: Vec<_> = keys.iter().map(|id| input.column(*id)).collect();
        groups::count(&keys, input.rows)
    }

    fn cte(&mut self, id: CteId) -> Result<Option<(Vec<ColumnId>, Estimate)>> {
        let Some(cte) = self.cte_plans.iter().find(|cte| cte.id == id).cloned() else { return Ok(None) };
        if !self.ctes.contains_key(&id) {
            let estimate = self.estimate(&cte.plan)?;
            self.ctes.insert(id, estimate);
        }
        Ok(Some((cte.output, self.ctes[&id].clone())))
    }

    /// A tree of inner joins (and filters between them) is estimated as a whole, so that every order of the same
    /// joins has the same estimate.
    fn inner_joins(&mut self, plan: &LogicalPlan) -> Result<Estimate> {
        let mut leaves = Vec::new();
        let mut conjuncts = Vec::new();
        joins::flatten(plan, &mut leaves, &mut conjuncts);
        if leaves.len() > joins::RELATIONS_MAX {
            return self.two_at_a_time(plan);
        }
        let relations = leaves.into_iter().map(|leaf| self.estimate(leaf)).collect::<Result<Vec<_>>>()?;
        let conjuncts: Vec<_> = conjuncts.into_iter().cloned().collect();
        Ok(joins::JoinGraph::new(relations, &conjuncts, &self.columns).estimate())
    }

    fn two_at_a_time(&mut self, plan: &LogicalPlan) -> Result<Estimate> {
        match plan {
            LogicalPlan::Filter { input, predicate } => {
                let input = self.estimate(input)?;
                Ok(selectivity::filter(input, predicate, &self.columns))
            }
            LogicalPlan::Join(join) | LogicalPlan::Apply(join) => {
                let relations = vec![self.estimate(&join.left)?, self.estimate(&join.right)?];
                Ok(joins::JoinGraph::new(relations, &join.condition, &self.columns).estimate())
            }
            _ => self.estimate(plan),
        }
    }
}

#[cfg(test)]
mod tests;
