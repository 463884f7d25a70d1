//! Computes a part of the query that occurs twice once: equal subtrees become a shared CTE that is read several times.
//!
//! Position: after pushdown, so that filters stand where they work, and before columns are pruned, since two uses may need
//! different columns. Two subtrees are equal when they differ in the identities of their columns only.
//!
//! A shared result is stored, and no runtime filter of one reader can reach into it. So a subtree is shared only where computing
//! it costs much more than storing its rows, and no join above one of its uses is expected to filter it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use operators::expression::Comparison;

use crate::{
    error::Result,
    plan::logical::{ColumnId, Cte, CteId, CteScan, Expr, Join, JoinKind, LogicalPlan, Query},
};

use super::{OptimizerContext, rule::Rule, statistics::Estimator};

/// Rows that must be touched to compute a subtree before sharing is thought of.
const WORK_MIN: f64 = 100_000.0;
/// How many times the rows it gives must be touched to compute it.
const WORK_PER_ROW: f64 = 4.0;
/// A join that lets through less of a column's values than this filters it.
const FILTERING: f64 = 0.3;
/// Most subtrees that are shared in one query.
const SHARED_MAX: usize = 16;

/// The rule.
pub struct ShareSubplans;

impl Rule for ShareSubplans {
    fn name(&self) -> &'static str {
        "share_subplans"
    }

    fn apply(&self, mut query: Query, context: &OptimizerContext<'_>) -> Result<Query> {
        for _ in 0..SHARED_MAX {
            let mut estimator = Estimator::new(context.catalogs, &query);
            let mut uses = Uses { estimator: &mut estimator, found: vec![] };
            for cte in &query.ctes {
                uses.visit(&cte.plan, &BTreeSet::new())?;
            }
            uses.visit(&query.root, &BTreeSet::new())?;
            let Some(shared) = most_expensive(uses.found) else { break };
            share(&mut query, shared);
        }
        Ok(query)
    }
}

/// A subtree that could be shared.
struct Use {
    /// With columns numbered in the order they come into being, and without names.
    canonical: LogicalPlan,
    plan: LogicalPlan,
    work: f64,
}

struct Uses<'e, 'a> {
    estimator: &'e mut Estimator<'a>,
    found: Vec<Use>,
}

impl Uses<'_, '_> {
    /// Collects the subtrees that are worth sharing. `filtered` are columns that joins above filter.
    fn visit(&mut self, plan: &LogicalPlan, filtered: &BTreeSet<ColumnId>) -> Result<()> {
        let is_filtered = plan.output().iter().any(|id| filtered.contains(id));
        if !is_filtered && is_candidate(plan) {
            let rows = self.estimator.estimate(plan)?.rows;
            let work = self.work(plan)?;
            if work >= WORK_MIN && work >= WORK_PER_ROW * rows {
                self.found.push(Use { canonical: canonical(plan), plan: plan.clone(), work });
            }
        }
        match plan {
            LogicalPlan::Join(join) => {
                let (left, right) = self.filtered_by(join)?;
                self.visit(&join.left, &filtered.union(&left).copied().collect())?;
                self.visit(&join.right, &filtered.union(&right).copied().collect())
            }
            _ => {
                let below = passed_down(plan, filtered);
                plan.inputs().into_iter().try_for_each(|input| self.visit(input, &below))
            }
        }
    }

    /// Columns of the left and of the right side that the other side filters.
    fn filtered_by(&mut self, join: &Join) -> Result<(BTreeSet<ColumnId>, BTreeSet<ColumnId>)> {
        let (mut left, mut right) = (BTreeSet::new(), BTreeSet::new());
        if !matches!(join.kind, JoinKind::Inner | JoinKind::Semi) {
            return Ok((left, right));
        }
        let estimates = (self.estimator.estimate(&join.left)?, self.estimator.estimate(&join.right)?);
        for conjunct in &join.condition {
            let Expr::Compare(Comparison::Equal, a, b) = conjunct else { continue };
            let (Some(a), Some(b)) = (a.as_column(), b.as_column()) else { continue };
            let (l, r) = if estimates.0.columns.contains_key(&a) { (a, b) } else { (b, a) };
            let (of_left, of_right) = (estimates.0.column(l), estimates.1.column(r));
            let domain = of_left.domain.max(of_right.domain).max(1.0);
            if of_right.distinct / domain < FILTERING {
                left.insert(l);
            }
            if of_left.distinct / domain < FILTERING {
                right.insert(r);
            }
        }
        Ok((left, right))
    }

    /// Rows of all nodes of a plan, those that scans filter out included.
    fn work(&mut self, plan: &LogicalPlan) -> Result<f64> {
        let own = match plan {
            LogicalPlan::TableScan(scan) => {
                let all = crate::plan::logical::TableScan { filters: vec![], ..scan.clone() };
                self.estimator.estimate(&LogicalPlan::TableScan(all))?.rows
            }
            _ => self.estimator.estimate(plan)?.rows,
        };
        plan.inputs().into_iter().try_fold(own, |sum, input| Ok(sum + self.work(input)?))
    }
}

/// Whether a subtree joins or groups rows of tables, and of nothing else.
fn is_candidate(plan: &LogicalPlan) -> bool {
    fn reads_tables_only(plan: &LogicalPlan) -> bool {
        let inputs = plan.inputs();
        !matches!(plan, LogicalPlan::CteScan(_) | LogicalPlan::Values(_) | LogicalPlan::Apply(_))
            && inputs.into_iter().all(reads_tables_only)
    }
    matches!(plan, LogicalPlan::Join(_) | LogicalPlan::Aggregate(_)) && reads_tables_only(plan) && plan.free_columns().is_empty()
}

/// The filtered columns as the inputs of a node that is not a join know them.
fn passed_down(plan: &LogicalPlan, filtered: &BTreeSet<ColumnId>) -> BTreeSet<ColumnId> {
    let sources = |pairs: &[(ColumnId, Expr)]| {
        let filtered = pairs.iter().filter(|(id, _)| filtered.contains(id));
        filtered.filter_map(|(_, expr)| expr.as_column()).collect()
    };
    match plan {
        LogicalPlan::Filter { .. } | LogicalPlan::Sort { .. } => filtered.clone(),
        LogicalPlan::Project { expressions, .. } => sources(expressions),
        LogicalPlan::Aggregate(aggregate) => sources(&aggregate.keys),
        LogicalPlan::UnionAll { output, .. } => {
            output.iter().filter(|(id, _)| filtered.contains(id)).flat_map(|(_, inputs)| inputs.clone()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// The plan with columns numbered in the order of a walk, and without aliases.
fn canonical(plan: &LogicalPlan) -> LogicalPlan {
    fn number(plan: &LogicalPlan, renaming: &mut HashMap<ColumnId, ColumnId>) {
        plan.inputs().into_iter().for_each(|input| number(input, renaming));
        let mut own = Vec::new();
        match plan {
            LogicalPlan::TableScan(scan) => own.extend(scan.columns.iter().map(|(id, _)| *id)),
            LogicalPlan::Join(Join { kind: JoinKind::Mark(mark), .. }) => own.push(*mark),
            LogicalPlan::Join(_) => {}
            _ => own = plan.output(),
        }
        for id in own {
            let next = ColumnId(renaming.len() as u32);
            renaming.entry(id).or_insert(next);
        }
    }
    fn forget_aliases(plan: &mut LogicalPlan) {
        if let LogicalPlan::TableScan(scan) = plan {
            scan.alias.clear();
        }
        plan.inputs_mut().into_iter().for_each(forget_aliases);
    }
    let mut renaming = HashMap::new();
    number(plan, &mut renaming);
    let mut canonical = plan.clone();
    canonical.rename(&renaming);
    forget_aliases(&mut canonical);
    canonical
}

/// All uses of the subtree whose sharing saves most.
fn most_expensive(found: Vec<Use>) -> Option<Vec<LogicalPlan>> {
    let mut groups: Vec<Vec<Use>> = Vec::new();
    for found in found {
        match groups.iter_mut().find(|group| group[0].canonical == found.canonical) {
            Some(group) => group.push(found),
            None => groups.push(vec![found]),
        }
    }
    let best = groups.into_iter().filter(|group| group.len() > 1).max_by(|a, b| a[0].work.total_cmp(&b[0].work))?;
    Some(best.into_iter().map(|found| found.plan).collect())
}

/// Makes a CTE of the first use and readers of all of them.
fn share(query: &mut Query, uses: Vec<LogicalPlan>) {
    let id = CteId(query.ctes.iter().map(|cte| cte.id.0 + 1).max().unwrap_or(0));
    let (plan, renaming) = uses[0].with_fresh_columns(&mut query.columns);
    let output = uses[0].output().iter().map(|column| renaming.get(column).copied().unwrap_or(*column)).collect();
    // By its first column, since those of two uses differ.
    let readers: BTreeMap<ColumnId, &LogicalPlan> = uses.iter().filter_map(|plan| Some((*plan.output().first()?, plan))).collect();
    query.ctes.iter_mut().for_each(|cte| read(&mut cte.plan, id, &readers));
    read(&mut query.root, id, &readers);
    // It reads tables only, so it can come before all others.
    query.ctes.insert(0, Cte { id, name: format!("shared {}", id.0), plan, output });
}

fn read(plan: &mut LogicalPlan, cte: CteId, readers: &BTreeMap<ColumnId, &LogicalPlan>) {
    let output = plan.output();
    let is_use = output.first().and_then(|first| readers.get(first)).is_some_and(|used| *used == plan);
    if is_use {
        *plan = LogicalPlan::CteScan(CteScan { cte, columns: output.into_iter().enumerate().map(|(i, id)| (id, i)).collect() });
        return;
    }
    plan.inputs_mut().into_iter().for_each(|input| read(input, cte, readers));
}

#[cfg(test)]
mod tests {
    use operators::{Scalar, aggregate::AggregateFunction};

    use super::{
        super::testing::{Plans, shape, tpch_sf10},
        *,
    };

    fn shared(plans: &Plans, root: LogicalPlan) -> (Vec<String>, String) {
        let query = ShareSubplans.apply(plans.query(root), &OptimizerContext { catalogs: &tpch_sf10() }).unwrap();
        (query.ctes.iter().map(|cte| shape(&cte.plan)).collect(), shape(&query.root))
    }

    fn german_stock(p: &mut Plans, suffix: &str) -> LogicalPlan {
        let alias = |table: &str| if suffix.is_empty() { table.to_owned() } else { format!("{table}{suffix}") };
        let name = |table: &str, column: &str| if suffix.is_empty() { column.to_owned() } else { format!("{table}{suffix}.{column}") };
        let partsupp = p.scan("partsupp", &alias("partsupp"));
        let supplier = p.scan("supplier", &alias("supplier"));
        let nation = p.scan_where("nation", &alias("nation"), |p| vec![p.is_text(&name("nation", "n_name"), "GERMANY")]);
        let on_supplier = p.equal(&name("partsupp", "ps_suppkey"), &name("supplier", "s_suppkey"));
        let on_nation = p.equal(&name("supplier", "s_nationkey"), &name("nation", "n_nationkey"));
        partsupp.joined(JoinKind::Inner, supplier, vec![on_supplier]).joined(JoinKind::Inner, nation, vec![on_nation])
    }

    #[test]
    fn query_11_joins_suppliers_once() {
        let mut p = Plans::default();
        let (first, second) = (german_stock(&mut p, ""), german_stock(&mut p, "2"));
        let sum = arrow::datatypes::DataType::Decimal128(38, 2);
        let cost = p.column("ps_supplycost");
        let parts = p.aggregate(first, &["ps_partkey"], "value", AggregateFunction::Sum, cost, sum.clone());
        let cost = p.column("partsupp2.ps_supplycost");
        let total = p.aggregate(second, &[], "total", AggregateFunction::Sum, cost, sum);
        let above = Expr::compare(Comparison::Greater, p.column("value"), p.column("total"));
        let (ctes, root) = shared(&p, parts.joined(JoinKind::Inner, total, vec![above]));
        assert_eq!(ctes, ["((partsupp supplier) nation)"]);
        assert_eq!(root, "(g[cte] g[cte])");
    }

    #[test]
    fn different_constants_are_different_plans() {
        let mut p = Plans::default();
        let first = german_stock(&mut p, "");
        let mut second = german_stock(&mut p, "2");
        replace_constants(&mut second);
        let (ctes, _) = shared(&p, first.joined(JoinKind::Inner, second, vec![]));
        assert_eq!(ctes, [""; 0]);
    }

    fn replace_constants(plan: &mut LogicalPlan) {
        plan.for_each_expr_mut(|expr| {
            if let Expr::Compare(_, _, right) = expr
                && let Expr::Literal(scalar) = &mut **right
            {
                *scalar = Scalar::Utf8("FRANCE".into());
            }
        });
        plan.inputs_mut().into_iter().for_each(replace_constants);
    }

    #[test]
    fn what_a_join_filters_is_not_shared() {
        let mut p = Plans::default();
        let (first, second) = (german_stock(&mut p, ""), german_stock(&mut p, "2"));
        let part = p.scan_where("part", "part", |p| vec![p.is_text("p_brand", "Brand#23"), p.is_text("p_container", "MED BOX")]);
        let filtered = first.joined(JoinKind::Inner, part, vec![p.equal("ps_partkey", "p_partkey")]);
        let on = vec![p.equal("ps_suppkey", "partsupp2.ps_suppkey")];
        let (ctes, _) = shared(&p, filtered.joined(JoinKind::Inner, second, on));
        assert_eq!(ctes, [""; 0]);
    }

    #[test]
    fn what_is_cheap_or_large_is_not_shared() {
        let mut p = Plans::default();
        let small = |p: &mut Plans, n: &str, r: &str| {
            let (nation, region) = (p.scan("nation", n), p.scan("region", r));
            nation.joined(JoinKind::Inner, region, vec![p.equal(&format!("{n}.n_regionkey"), &format!("{r}.r_regionkey"))])
        };
        let pair = small(&mut p, "n1", "r1").joined(JoinKind::Inner, small(&mut p, "n2", "r2"), vec![]);
        assert_eq!(shared(&p, pair).0, [""; 0]);
        let large = |p: &mut Plans, l: &str, o: &str| {
            let (lineitem, orders) = (p.scan("lineitem", l), p.scan("orders", o));
            lineitem.joined(JoinKind::Inner, orders, vec![p.equal(&format!("{l}.l_orderkey"), &format!("{o}.o_orderkey"))])
        };
        let pair = large(&mut p, "l1", "o1").joined(JoinKind::Inner, large(&mut p, "l2", "o2"), vec![]);
        assert_eq!(shared(&p, pair).0, [""; 0]);
    }
}
