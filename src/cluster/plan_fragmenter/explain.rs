//! The text of a distributed plan, as EXPLAIN (DISTRIBUTED) shows it.
//!
//! Position: names and arguments of nodes are those of [`crate::plan::explain`], drawn by `execution::profile`.

use crate::{
    execution::profile::plan_text,
    plan::{
        explain::routing,
        fragment::{DistributedPlan, Driver, Fragment, Placement, UnitPart},
        physical::{PhysicalOperator, RuntimeFilterId},
    },
};

/// Lines: per fragment where it runs, where its rows go, and its plan.
pub fn explain_distributed(plan: &DistributedPlan) -> Vec<String> {
    plan.fragments.iter().flat_map(fragment_lines).collect()
}

fn fragment_lines(fragment: &Fragment) -> Vec<String> {
    let names: Vec<String> = fragment.plan.output.iter().map(|column| column.name.clone()).collect();
    let mut lines = vec![format!("Fragment {} [{}]", fragment.id.0, placement(fragment))];
    for exchange in &fragment.outputs {
        lines.push(format!("  Output: {} to fragment {}", routing(&exchange.routing, &names), exchange.to.0));
    }
    let mut add_filters = |title: &str, filters: &[RuntimeFilterId]| {
        if !filters.is_empty() {
            let numbers: Vec<String> = filters.iter().map(|filter| filter.0.to_string()).collect();
            lines.push(format!("  {title}: {}", numbers.join(", ")));
        }
    };
    add_filters("Waits for join filter", &fragment.filters_in);
    add_filters("Sends join filter", &fragment.filters_out);
    lines.extend(plan_text(&fragment.plan).into_iter().map(|line| format!("  {line}")));
    lines
}

fn placement(fragment: &Fragment) -> String {
    match &fragment.placement {
        Placement::Leaf { drivers, units } => {
            let by_key = units.iter().any(|unit| matches!(unit.part, UnitPart::KeyRange { .. }));
            let names: Vec<(String, String)> = drivers.iter().map(|driver| driver_names(fragment, driver)).collect();
            let list = |pick: fn(&(String, String)) -> &String| names.iter().map(|name| pick(name).as_str()).collect::<Vec<_>>().join(", ");
            let parts = if by_key { format!("ranges of {}", list(|(_, column)| column)) } else { "splits".to_owned() };
            let count = if units.len() == 1 { "1 unit".to_owned() } else { format!("{} units", units.len()) };
            format!("leaf, {count} of {} by {parts}", list(|(table, _)| table))
        }
        Placement::Partitioned => "partitioned, one unit per worker".to_owned(),
        Placement::Coordinator => "coordinator".to_owned(),
    }
}

/// Names of the table that a driver reads, and of its key column.
fn driver_names(fragment: &Fragment, driver: &Driver) -> (String, String) {
    let mut names = (String::new(), String::new());
    fragment.plan.for_each(&mut |node| {
        if let PhysicalOperator::TableScan { table, columns, .. } = &node.operator
            && node.id == driver.scan
        {
            let key = columns.iter().position(|column| Some(*column) == driver.key_column);
            names = (table.table.clone(), key.map(|key| node.output[key].name.clone()).unwrap_or_default());
        }
    });
    names
}
