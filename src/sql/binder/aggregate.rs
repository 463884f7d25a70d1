//! Grouping: aggregates are collected while the clauses are bound, then what is left of the input's columns
//! in them must be keys.

use std::collections::HashSet;

use operators::aggregate::AggregateFunction;
use sqlparser::tokenizer::Span;

use super::Binder;
use crate::{
    error::{Error, Result},
    plan::logical::{Aggregate, AggregateExpr, ColumnId, Expr, LogicalPlan, Subquery},
};

/// The aggregates of a SELECT, and the columns it uses outside of them.
#[derive(Debug, Default)]
pub struct Collector {
    aggregates: Vec<(ColumnId, AggregateExpr)>,
    /// Where each column was mentioned first, and how.
    references: Vec<(ColumnId, String, Span)>,
}

impl Collector {
    /// Remembers where a column is mentioned.
    pub fn note_reference(&mut self, id: ColumnId, written: &str, span: Span) {
        if !self.references.iter().any(|(known, ..)| *known == id) {
            self.references.push((id, written.to_owned(), span));
        }
    }

    /// The column of an aggregate that is there already.
    pub fn find(&self, aggregate: &AggregateExpr) -> Option<ColumnId> {
        self.aggregates.iter().find(|(_, known)| known == aggregate).map(|(id, _)| *id)
    }

    /// Adds an aggregate.
    pub fn add(&mut self, id: ColumnId, aggregate: AggregateExpr) {
        self.aggregates.push((id, aggregate));
    }

    /// Whether there is no aggregate.
    pub fn is_empty(&self) -> bool {
        self.aggregates.is_empty()
    }

    /// Whether `expr` uses an aggregate.
    pub fn is_used_in(&self, expr: &Expr) -> bool {
        !self.aggregates.is_empty() && {
            let columns = expr.columns();
            self.aggregates.iter().any(|(id, _)| columns.contains(id))
        }
    }
}

/// A grouped SELECT.
pub struct Grouping {
    input: LogicalPlan,
    /// The input's columns.
    local: HashSet<ColumnId>,
    keys: Vec<(ColumnId, Expr)>,
    collector: Collector,
}

impl Grouping {
    /// Groups `input` by `keys`. A key that is a plain column keeps its id.
    pub fn new(binder: &mut Binder<'_>, input: LogicalPlan, expressions: Vec<Expr>, mut collector: Collector) -> Grouping {
        let local: HashSet<ColumnId> = input.output().into_iter().collect();
        let mut keys: Vec<(ColumnId, Expr)> = vec![];
        for expr in expressions {
            if keys.iter().any(|(_, known)| *known == expr) {
                continue;
            }
            let id = match &expr {
                Expr::Column(id) if local.contains(id) => *id,
                _ => {
                    let (data_type, nullable) = (expr.data_type(&binder.columns), binder.is_nullable(&expr));
                    binder.columns.add("key", data_type, nullable)
                }
            };
            keys.push((id, expr));
        }
        if keys.is_empty() {
            // Over an empty input these are NULL where there is no group.
            for (id, aggregate) in &collector.aggregates {
                let is_count = matches!(aggregate.function, AggregateFunction::Count | AggregateFunction::CountStar);
                binder.columns.get_mut(*id).nullable = !is_count;
            }
            if collector.aggregates.is_empty() {
                // HAVING alone: one group of everything.
                let count = AggregateExpr { function: AggregateFunction::CountStar, arguments: vec![], distinct: false, filter: None };
                let id = binder.columns.add("count", arrow::datatypes::DataType::Int64, false);
                collector.add(id, count);
            }
        }
        Grouping { input, local, keys, collector }
    }

    /// Puts the keys' columns in the place of the keys' expressions.
    ///
    /// # Errors
    /// 42803 for a column of the input that is left.
    pub fn rewrite(&self, binder: &Binder<'_>, expr: &mut Expr) -> Result<()> {
        if !matches!(expr, Expr::Literal(_))
            && let Some((id, _)) = self.keys.iter().find(|(_, key)| key == expr)
        {
            *expr = Expr::Column(*id);
            return Ok(());
        }
        if let Expr::Column(id) = expr {
            return if self.local.contains(id) { Err(self.ungrouped(binder, *id)) } else { Ok(()) };
        }
        let mut result = Ok(());
        if let Expr::Subquery(subquery) = expr {
            let Subquery { plan, .. } = &mut **subquery;
            result = self.rewrite_plan(binder, plan);
        }
        expr.for_each_child_mut(|child| {
            if result.is_ok() {
                result = self.rewrite(binder, child);
            }
        });
        result
    }

    /// The same inside a subquery, which may use the group's columns.
    fn rewrite_plan(&self, binder: &Binder<'_>, plan: &mut LogicalPlan) -> Result<()> {
        let mut result = Ok(());
        plan.for_each_expr_mut(|expr| {
            if result.is_ok() {
                result = self.rewrite(binder, expr);
            }
        });
        plan.inputs_mut().into_iter().try_fold(result?, |(), input| self.rewrite_plan(binder, input))
    }

    fn ungrouped(&self, binder: &Binder<'_>, id: ColumnId) -> Error {
        let reference = self.collector.references.iter().find(|(known, ..)| *known == id);
        let name = reference.map_or(binder.columns.get(id).name.as_str(), |(_, written, _)| written);
        Error::binding("42803", format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"))
            .at(reference.and_then(|(_, _, span)| binder.position(*span)))
    }

    /// The aggregation.
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Aggregate(Aggregate { input: Box::new(self.input), keys: self.keys, aggregates: self.collector.aggregates })
    }
}
