//! Puts a CTE that is read once where it is read, and drops one that is not read at all.
//!
//! Position: first. A plan in its place can be reduced by filters from around it; computing it apart would only
//! cost memory. CTEs with several readers stay shared.

use std::collections::HashMap;

use super::{OptimizerContext, rule::Rule};
use crate::{error::Result, plan::logical::*};

/// The rule.
pub struct InlineCtes;

impl Rule for InlineCtes {
    fn name(&self) -> &'static str {
        "inline_ctes"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        // Later CTEs read earlier ones: from the back, every reader is final when its count is taken.
        for index in (0..query.ctes.len()).rev() {
            let id = query.ctes[index].id;
            let mut readers = count_readers(&query.root, id);
            readers += query.ctes[index + 1..].iter().map(|cte| count_readers(&cte.plan, id)).sum::<usize>();
            if readers > 1 {
                continue;
            }
            let cte = query.ctes.remove(index);
            let mut plans = HashMap::from([(cte.id, (cte.plan, cte.output))]);
            inline(&mut query.root, &mut plans);
            query.ctes[index..].iter_mut().for_each(|later| inline(&mut later.plan, &mut plans));
        }
        Ok(query)
    }
}

fn count_readers(plan: &LogicalPlan, cte: CteId) -> usize {
    let own = matches!(plan, LogicalPlan::CteScan(scan) if scan.cte == cte) as usize;
    let mut in_subqueries = 0;
    plan.for_each_expr(|expr| in_subqueries += count_in_expression(expr, cte));
    own + in_subqueries + plan.inputs().into_iter().map(|input| count_readers(input, cte)).sum::<usize>()
}

fn count_in_expression(expr: &Expr, cte: CteId) -> usize {
    let mut readers = match expr {
        Expr::Subquery(subquery) => count_readers(&subquery.plan, cte),
        _ => 0,
    };
    expr.for_each_child(|child| readers += count_in_expression(child, cte));
    readers
}

type Plans = HashMap<CteId, (LogicalPlan, Vec<ColumnId>)>;

fn inline(plan: &mut LogicalPlan, plans: &mut Plans) {
    if let LogicalPlan::CteScan(scan) = plan
        && let Some((cte, output)) = plans.remove(&scan.cte)
    {
        let expressions = scan.columns.iter().map(|(id, position)| (*id, Expr::Column(output[*position]))).collect();
        *plan = cte.projected(expressions);
        return;
    }
    plan.for_each_expr_mut(|expr| inline_in_expression(expr, plans));
    plan.inputs_mut().into_iter().for_each(|input| inline(input, plans));
}

fn inline_in_expression(expr: &mut Expr, plans: &mut Plans) {
    if let Expr::Subquery(subquery) = expr {
        inline(&mut subquery.plan, plans);
    }
    expr.for_each_child_mut(|child| inline_in_expression(child, plans));
}
