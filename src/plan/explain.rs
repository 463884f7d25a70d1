//! What a node of a physical plan is called and what it does exactly, as EXPLAIN shows it.
//!
//! Position: read by `execution::profile`, which adds numbers and draws the tree.

use operators::{Expression, aggregate::AggregateCall, hash_join::JoinKind, sort::SortKey};

use super::{
    fragment::Routing,
    physical::{PhysicalJoin, PhysicalOperator, PhysicalPlan},
};

/// The operator's name, and its arguments: name and value; the one without a name stands beside the operator's.
pub fn describe(plan: &PhysicalPlan) -> (&'static str, Vec<(String, String)>) {
    let mut arguments = vec![];
    let mut add = |name: &str, value: String| arguments.push((name.to_owned(), value));
    let operator = match &plan.operator {
        PhysicalOperator::TableScan { table, filters, runtime_filters, filter_column_names, .. } => {
            add("", table.to_string());
            add("Columns", plan.output.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "));
            let mut names = names(plan);
            names.extend(filter_column_names.iter().cloned());
            if !filters.is_empty() {
                add("Filter", filters.iter().map(|f| show(f, &names)).collect::<Vec<_>>().join(" AND "));
            }
            if !runtime_filters.is_empty() {
                let on = runtime_filters.iter().map(|(id, column)| format!("{} (from join filter {})", names[*column], id.0));
                add("Runtime filter", on.collect::<Vec<_>>().join(", "));
            }
            "TableScan"
        }
        PhysicalOperator::Values { rows } => {
            add("", format!("{} rows", rows.len()));
            "Values"
        }
        PhysicalOperator::Filter { input, predicate } => {
            add("", show(predicate, &names(input)));
            "Filter"
        }
        PhysicalOperator::Project { input, expressions } => {
            add("", list(expressions, &names(input)));
            "Project"
        }
        PhysicalOperator::HashJoin(join) => {
            join_arguments(join, &mut add);
            "HashJoin"
        }
        PhysicalOperator::NestedLoopJoin(join) => {
            join_arguments(join, &mut add);
            "NestedLoopJoin"
        }
        PhysicalOperator::HashAggregate { input, keys, aggregates, .. } => {
            let names = names(input);
            if !keys.is_empty() {
                add("Group by", list(keys, &names));
            }
            if !aggregates.is_empty() {
                add("Aggregates", aggregates.iter().map(|call| show_call(call, &names)).collect::<Vec<_>>().join(", "));
            }
            "HashAggregate"
        }
        PhysicalOperator::Sort { input, keys, limit, offset } => {
            let names = names(input);
            add("By", keys.iter().map(|key| show_key(key, &names)).collect::<Vec<_>>().join(", "));
            add_limit(*limit, *offset, &mut add);
            if limit.is_some() { "TopK" } else { "Sort" }
        }
        PhysicalOperator::Limit { limit, offset, .. } => {
            add_limit(*limit, *offset, &mut add);
            "Limit"
        }
        PhysicalOperator::UnionAll { .. } => "UnionAll",
        PhysicalOperator::SetOperation { operator, .. } => {
            add("", format!("{operator:?}"));
            "SetOperation"
        }
        PhysicalOperator::With { ctes, .. } => {
            add("", format!("{} shared", ctes.len()));
            "With"
        }
        PhysicalOperator::CteScan { cte, .. } => {
            add("", format!("{}", cte.0));
            "CteScan"
        }
        PhysicalOperator::Exchange(exchange) => {
            add("", routing(&exchange.routing, &names(plan)));
            add("From", format!("fragment {}", exchange.from.0));
            "Exchange"
        }
    };
    (operator, arguments)
}

/// How rows go through an exchange whose columns are `names`.
pub fn routing(routing: &Routing, names: &[String]) -> String {
    match routing {
        Routing::Gather => "gather".to_owned(),
        Routing::Merge(keys) => format!("merge by {}", keys.iter().map(|key| show_key(key, names)).collect::<Vec<_>>().join(", ")),
        Routing::Hash(keys) => format!("hash({})", list(keys, names)),
        Routing::Broadcast => "broadcast".to_owned(),
    }
}

fn join_arguments(join: &PhysicalJoin, add: &mut impl FnMut(&str, String)) {
    let (probe, build) = (names(&join.probe), names(&join.build));
    add("", kind(join.kind).to_owned());
    if !join.keys.is_empty() {
        let keys = join.keys.iter().map(|key| {
            let equals = if key.nulls_match { "IS NOT DISTINCT FROM" } else { "=" };
            format!("{} {equals} {}", show(&key.probe, &probe), show(&key.build, &build))
        });
        add("On", keys.collect::<Vec<_>>().join(" AND "));
    }
    if let Some(residual) = &join.residual {
        let both: Vec<String> = probe.iter().chain(&build).cloned().collect();
        add("Join filter", show(residual, &both));
    }
    let filters: Vec<String> = join.runtime_filters.iter().flatten().map(|id| id.0.to_string()).collect();
    if !filters.is_empty() {
        add("Makes join filter", filters.join(", "));
    }
}

fn kind(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::ProbeOuter => "outer, keeping the probe side",
        JoinKind::BuildOuter => "outer, keeping the build side",
        JoinKind::FullOuter => "outer, keeping both sides",
        JoinKind::ProbeSemi => "semi, keeping the probe side",
        JoinKind::ProbeAnti => "anti, keeping the probe side",
        JoinKind::ProbeMark => "mark, keeping the probe side",
        JoinKind::ProbeSingle => "single, keeping the probe side",
        JoinKind::BuildSemi => "semi, keeping the build side",
        JoinKind::BuildAnti => "anti, keeping the build side",
        JoinKind::BuildMark => "mark, keeping the build side",
    }
}

fn names(plan: &PhysicalPlan) -> Vec<String> {
    plan.output.iter().map(|column| column.name.clone()).collect()
}

fn show(expression: &Expression, names: &[String]) -> String {
    expression.display(names).to_string()
}

fn list(expressions: &[Expression], names: &[String]) -> String {
    expressions.iter().map(|e| show(e, names)).collect::<Vec<_>>().join(", ")
}

fn show_key(key: &SortKey, names: &[String]) -> String {
    let direction = if key.descending { " DESC" } else { "" };
    // PostgreSQL's default is NULLS LAST ascending, NULLS FIRST descending.
    let nulls = match (key.descending, key.nulls_first) {
        (false, true) => " NULLS FIRST",
        (true, false) => " NULLS LAST",
        _ => "",
    };
    format!("{}{direction}{nulls}", show(&key.expression, names))
}

fn show_call(call: &AggregateCall, names: &[String]) -> String {
    let distinct = if call.distinct { "DISTINCT " } else { "" };
    let filter = call.filter.as_ref().map(|f| format!(" FILTER (WHERE {})", show(f, names))).unwrap_or_default();
    let arguments = if call.arguments.is_empty() { "*".to_owned() } else { list(&call.arguments, names) };
    format!("{}({distinct}{arguments}){filter}", call.function.sql_name())
}

fn add_limit(limit: Option<usize>, offset: usize, add: &mut impl FnMut(&str, String)) {
    if let Some(limit) = limit {
        add("Limit", limit.to_string());
    }
    if offset > 0 {
        add("Offset", offset.to_string());
    }
}
