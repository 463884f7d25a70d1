//! Leaves only what is needed: scans read no column that nothing uses, projections and aggregations compute
//! none.
//!
//! Position: after all rules that move expressions, since these decide what is used where. A column that only
//! a scan's own filters use is read but does not come out. Which columns a join passes on is not the logical
//! plan's to say (a join gives all columns of its sides): `planner::physical` drops those nothing above uses.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{OptimizerContext, rule::Rule};
use crate::{
    error::Result,
    plan::{logical::*, properties::equated_columns},
};

/// The rule.
pub struct PruneColumns;

impl Rule for PruneColumns {
    fn name(&self) -> &'static str {
        "prune_columns"
    }

    fn apply(&self, mut query: Query, _context: &OptimizerContext<'_>) -> Result<Query> {
        let mut read = CteColumns::default();
        let needed = query.output.iter().map(|output| output.column).collect();
        query.root = prune(query.root, &needed, &mut read);
        // A CTE is read only by those after it.
        for cte in query.ctes.iter_mut().rev() {
            let positions = read.entry(cte.id).or_default();
            let output: Vec<ColumnId> = positions.iter().map(|position| cte.output[*position]).collect();
            let needed = output.iter().copied().collect();
            cte.plan = prune(std::mem::take(&mut cte.plan), &needed, &mut read);
            cte.output = output;
        }
        renumber(&mut query.root, &read);
        query.ctes.iter_mut().for_each(|cte| renumber(&mut cte.plan, &read));
        Ok(query)
    }
}

/// Which positions of each CTE's output are read.
type CteColumns = BTreeMap<CteId, BTreeSet<usize>>;

/// `plan`, of whose output only `needed` is used.
fn prune(plan: LogicalPlan, needed: &BTreeSet<ColumnId>, read: &mut CteColumns) -> LogicalPlan {
    match plan {
        LogicalPlan::TableScan(scan) => prune_scan(scan, needed),
        LogicalPlan::CteScan(mut scan) => {
            scan.columns.retain(|(id, _)| needed.contains(id));
            read.entry(scan.cte).or_default().extend(scan.columns.iter().map(|(_, position)| *position));
            LogicalPlan::CteScan(scan)
        }
        LogicalPlan::Values(values) => prune_values(values, needed),
        LogicalPlan::Project { input, mut expressions } => {
            expressions.retain(|(id, _)| needed.contains(id));
            let input = prune(*input, &used(expressions.iter().map(|(_, e)| e)), read);
            let only_passes_on = expressions.iter().all(|(id, expr)| expr.as_column() == Some(*id));
            if only_passes_on { input } else { input.projected(expressions) }
        }
        LogicalPlan::Join(join) if is_useless_padding(&join, needed) => prune(*join.left, needed, read),
        LogicalPlan::Join(Join { left, kind: JoinKind::Mark(mark), .. }) if !needed.contains(&mark) => prune(*left, needed, read),
        LogicalPlan::Aggregate(mut aggregate) => {
            aggregate.aggregates.retain(|(id, _)| needed.contains(id));
            if aggregate.keys.is_empty() && aggregate.aggregates.is_empty() {
                // One group over everything is one row, whatever is in it.
                return LogicalPlan::Values(Values { columns: vec![], rows: vec![vec![]] });
            }
            let mut below = BTreeSet::new();
            let plan = LogicalPlan::Aggregate(aggregate);
            plan.for_each_expr(|expr| expr.collect_columns(&mut below));
            prune_inputs(plan, &below, read)
        }
        LogicalPlan::UnionAll { inputs, mut output } => {
            output.retain(|(id, _)| needed.contains(id));
            let below = |index: usize| output.iter().map(|(_, sources)| sources[index]).collect();
            let inputs = inputs.into_iter().enumerate().map(|(index, input)| prune(input, &below(index), read)).collect();
            LogicalPlan::UnionAll { inputs, output }
        }
        LogicalPlan::SetOperation { operator, left, right, output } => {
            // Rows are compared as wholes: every column counts.
            let left = Box::new(prune(*left, &output.iter().map(|(_, left, _)| *left).collect(), read));
            let right = Box::new(prune(*right, &output.iter().map(|(_, _, right)| *right).collect(), read));
            LogicalPlan::SetOperation { operator, left, right, output }
        }
        other => {
            let mut below = needed.clone();
            other.for_each_expr(|expr| expr.collect_columns(&mut below));
            prune_inputs(other, &below, read)
        }
    }
}

/// Whether a left join gives every left row once, and nothing of its right side is used.
fn is_useless_padding(join: &Join, needed: &BTreeSet<ColumnId>) -> bool {
    join.kind == JoinKind::Left && join.right.output_set().is_disjoint(needed) && join.right.is_unique_in(&equated_columns(join).1)
}

fn prune_inputs(mut plan: LogicalPlan, needed: &BTreeSet<ColumnId>, read: &mut CteColumns) -> LogicalPlan {
    for input in plan.inputs_mut() {
        *input = prune(std::mem::take(input), needed, read);
    }
    plan
}

fn used<'a>(exprs: impl Iterator<Item = &'a Expr>) -> BTreeSet<ColumnId> {
    let mut used = BTreeSet::new();
    exprs.for_each(|expr| expr.collect_columns(&mut used));
    used
}

fn prune_scan(mut scan: TableScan, needed: &BTreeSet<ColumnId>) -> LogicalPlan {
    let in_filters = used(scan.filters.iter());
    let came_out: Vec<ColumnId> = scan.output.take().unwrap_or_else(|| scan.columns.iter().map(|(id, _)| *id).collect());
    let output: Vec<ColumnId> = came_out.into_iter().filter(|id| needed.contains(id)).collect();
    scan.columns.retain(|(id, _)| output.contains(id) || in_filters.contains(id));
    scan.output = (!scan.columns.iter().map(|(id, _)| *id).eq(output.iter().copied())).then_some(output);
    LogicalPlan::TableScan(scan)
}

fn prune_values(values: Values, needed: &BTreeSet<ColumnId>) -> LogicalPlan {
    let kept: Vec<usize> = (0..values.columns.len()).filter(|index| needed.contains(&values.columns[*index])).collect();
    LogicalPlan::Values(Values {
        columns: kept.iter().map(|index| values.columns[*index]).collect(),
        rows: values.rows.into_iter().map(|row| kept.iter().map(|index| row[*index].clone()).collect()).collect(),
    })
}

/// Positions in a CTE's output, after the columns that nothing reads have gone.
fn renumber(plan: &mut LogicalPlan, read: &CteColumns) {
    if let LogicalPlan::CteScan(scan) = plan {
        let new: HashMap<usize, usize> = read[&scan.cte].iter().enumerate().map(|(new, old)| (*old, new)).collect();
        scan.columns.iter_mut().for_each(|(_, position)| *position = new[position]);
    }
    plan.inputs_mut().into_iter().for_each(|input| renumber(input, read));
}
