//! Makes expressions smaller: constants are computed, logic is reduced, comparisons take the form that scans and
//! statistics understand (`column comparison constant`).
//!
//! Position: first, since every other rule looks for simple conjuncts; and again after the rules that make new
//! ones. What fails to be computed (`1 / 0`) stays as it is: it is an error only if a row reaches it.
//!
//! | file | what |
//! |---|---|
//! | [`constants`] | constants are computed |
//! | [`logic`] | AND, OR, NOT, IS NULL, CASE, COALESCE |
//! | [`comparisons`] | comparisons, IN, LIKE; casts around columns go to the constant |
//! | [`conjuncts`] | conditions, where NULL is as good as FALSE: ranges of one column, contradictions |

mod comparisons;
mod conjuncts;
mod constants;
mod logic;

use std::collections::BTreeSet;

use super::{OptimizerContext, rule::Rule};
use crate::{error::Result, plan::logical::*};

/// The rule.
pub struct SimplifyExpressions;

impl Rule for SimplifyExpressions {
    fn name(&self) -> &'static str {
        "simplify_expressions"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        for cte in &mut query.ctes {
            cte.plan = simplify_plan(std::mem::take(&mut cte.plan), &query.columns)?;
        }
        query.root = simplify_plan(query.root, &query.columns)?;
        Ok(query)
    }
}

/// What may be assumed of columns while an expression is simplified.
#[derive(Clone, Copy)]
struct Facts<'a> {
    columns: &'a Columns,
    /// Which columns are known, and which of these may be NULL.
    known: &'a BTreeSet<ColumnId>,
    nullable: &'a BTreeSet<ColumnId>,
}

impl Facts<'_> {
    fn may_be_null(&self, expr: &Expr) -> bool {
        expr.is_nullable(&|id| !self.known.contains(&id) || self.nullable.contains(&id))
    }
}

fn simplify_plan(plan: LogicalPlan, columns: &Columns) -> Result<LogicalPlan> {
    plan.transform(&mut |node| simplify_node(node, columns))
}

fn simplify_node(mut plan: LogicalPlan, columns: &Columns) -> Result<LogicalPlan> {
    let mut has_expressions = false;
    plan.for_each_expr(|_| has_expressions = true);
    if !has_expressions {
        return Ok(plan);
    }
    let (mut known, mut nullable) = (BTreeSet::new(), BTreeSet::new());
    if let LogicalPlan::TableScan(scan) = &plan {
        known.extend(scan.columns.iter().map(|(id, _)| *id));
        nullable.extend(known.iter().copied().filter(|id| columns.get(*id).nullable));
    }
    for input in plan.inputs() {
        known.extend(input.output());
        nullable.extend(input.nullable_columns(columns));
    }
    let facts = Facts { columns, known: &known, nullable: &nullable };
    let mut failed = None;
    plan.for_each_expr_mut(|expr| {
        let taken = std::mem::replace(expr, Expr::boolean(false));
        match simplify(taken, facts) {
            Ok(simplified) => *expr = simplified,
            Err(error) => failed = Some(error),
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(simplify_conditions(plan, facts))
}

/// An expression for the same value.
fn simplify(expr: Expr, facts: Facts<'_>) -> Result<Expr> {
    let mut failed = None;
    let simplified = expr.transform(&mut |mut expr| {
        if let Expr::Subquery(subquery) = &mut expr {
            match simplify_plan(std::mem::take(&mut subquery.plan), facts.columns) {
                Ok(plan) => subquery.plan = plan,
                Err(error) => failed = Some(error),
            }
        }
        simplify_one(expr, facts)
    });
    failed.map_or(Ok(simplified), Err)
}

/// One node whose operands are simplified already.
fn simplify_one(expr: Expr, facts: Facts<'_>) -> Expr {
    let expr = constants::fold(expr, facts);
    let expr = match expr {
        Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::IsNull(_) | Expr::Case { .. } | Expr::Function(..) => {
            logic::simplify(expr, facts)
        }
        Expr::Compare(..) | Expr::InList { .. } | Expr::Like { .. } => comparisons::simplify(expr, facts),
        other => other,
    };
    match expr {
        Expr::Cast(operand, to) if operand.data_type(facts.columns) == to => *operand,
        other => other,
    }
}

/// Conditions are reduced as such; a node whose condition is never true has no row.
fn simplify_conditions(plan: LogicalPlan, facts: Facts<'_>) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { input, predicate } => match conjuncts::simplify(predicate, facts) {
            Some(predicate) => input.filtered(predicate),
            None => input.emptied(),
        },
        LogicalPlan::TableScan(mut scan) => match conjuncts::simplify(std::mem::take(&mut scan.filters), facts) {
            Some(filters) => LogicalPlan::TableScan(TableScan { filters, ..scan }),
            None => LogicalPlan::TableScan(scan).emptied(),
        },
        LogicalPlan::Join(join) if !matches!(join.kind, JoinKind::Mark(_)) => {
            let Join { left, right, kind, condition } = join;
            let never = vec![Expr::boolean(false)];
            let condition = conjuncts::simplify(condition, facts).unwrap_or(never);
            left.joined(kind, *right, condition)
        }
        other => other,
    }
}
