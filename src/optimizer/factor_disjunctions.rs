//! Takes out of ORs what can be tested on its own.
//!
//! `(a = b and x) or (a = b and y)` is `a = b and (x or y)`: joins find their keys (TPC-H Q19). And where every
//! alternative tests a relation, `(n1 = 'F' and n2 = 'G') or (n1 = 'G' and n2 = 'F')`, that relation's rows must
//! pass one of these tests: `n1 in ('F', 'G')` is added as a conjunct of its own, which can be pushed down
//! (TPC-H Q7). The OR itself stays.
//!
//! Position: after unnesting has made the joins, before filters are pushed down.

use std::collections::BTreeSet;

use super::{OptimizerContext, rule::Rule};
use crate::{error::Result, plan::logical::*};

/// ORs of more alternatives are left alone.
const ALTERNATIVES_MAX: usize = 64;

/// The rule.
pub struct FactorDisjunctions;

impl Rule for FactorDisjunctions {
    fn name(&self) -> &'static str {
        "factor_disjunctions"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        for cte in &mut query.ctes {
            cte.plan = std::mem::take(&mut cte.plan).transform(&mut |node| Ok(factor_node(node)))?;
        }
        query.root = query.root.transform(&mut |node| Ok(factor_node(node)))?;
        Ok(query)
    }
}

fn factor_node(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            let mut relations = vec![];
            collect_relations(&input, &mut relations);
            input.filtered(factor(predicate, &relations))
        }
        LogicalPlan::Join(mut join) if matches!(join.kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti) => {
            let mut relations = vec![];
            collect_relations(&join.left, &mut relations);
            collect_relations(&join.right, &mut relations);
            join.condition = factor(join.condition, &relations);
            LogicalPlan::Join(join)
        }
        other => other,
    }
}

/// The sets of columns that come from one leaf of a tree of joins.
fn collect_relations(plan: &LogicalPlan, into: &mut Vec<BTreeSet<ColumnId>>) {
    match plan {
        LogicalPlan::Filter { input, .. } => collect_relations(input, into),
        LogicalPlan::Join(join) => {
            collect_relations(&join.left, into);
            match join.kind {
                JoinKind::Semi | JoinKind::Anti => {}
                JoinKind::Mark(mark) => into.push(BTreeSet::from([mark])),
                _ => collect_relations(&join.right, into),
            }
        }
        other => into.push(other.output_set()),
    }
}

fn factor(conjuncts: Vec<Expr>, relations: &[BTreeSet<ColumnId>]) -> Vec<Expr> {
    let mut factored: Vec<Expr> = vec![];
    for conjunct in conjuncts.into_iter().flat_map(Expr::into_conjuncts) {
        match conjunct {
            Expr::Or(alternatives) if alternatives.len() <= ALTERNATIVES_MAX => {
                let alternatives: Vec<Vec<Expr>> = alternatives.into_iter().map(Expr::into_conjuncts).collect();
                let (common, rest) = take_common(alternatives);
                factored.extend(common);
                if let Some(alternatives) = rest {
                    factored.extend(implied(&alternatives, relations));
                    factored.push(Expr::or(alternatives.into_iter().map(Expr::and).collect()));
                }
            }
            other => factored.push(other),
        }
    }
    factored
}

/// Conjuncts that all alternatives have, and what is left of these; nothing if one of them is empty then.
fn take_common(mut alternatives: Vec<Vec<Expr>>) -> (Vec<Expr>, Option<Vec<Vec<Expr>>>) {
    let Some((first, others)) = alternatives.split_first() else { return (vec![], None) };
    let common: Vec<Expr> = first.iter().filter(|conjunct| others.iter().all(|other| other.contains(conjunct))).cloned().collect();
    for alternative in &mut alternatives {
        alternative.retain(|conjunct| !common.contains(conjunct));
    }
    let is_implied = alternatives.iter().any(Vec::is_empty);
    (common, (!is_implied).then_some(alternatives))
}

/// Per relation that every alternative tests: that one of these tests holds.
fn implied(alternatives: &[Vec<Expr>], relations: &[BTreeSet<ColumnId>]) -> Vec<Expr> {
    let used: BTreeSet<ColumnId> = alternatives.iter().flatten().flat_map(Expr::columns).collect();
    let touched: Vec<&BTreeSet<ColumnId>> = relations.iter().filter(|relation| !relation.is_disjoint(&used)).collect();
    if touched.len() < 2 {
        return vec![];
    }
    let tests_of = |relation: &BTreeSet<ColumnId>| {
        let of_alternative = |alternative: &Vec<Expr>| {
            let tests: Vec<Expr> =
                alternative.iter().filter(|conjunct| !conjunct.is_constant() && conjunct.columns().is_subset(relation)).cloned().collect();
            (!tests.is_empty()).then(|| Expr::and(tests))
        };
        alternatives.iter().map(of_alternative).collect::<Option<Vec<Expr>>>()
    };
    touched.into_iter().filter_map(tests_of).map(Expr::or).collect()
}
