//! Runs a distributed plan without a cluster: unit by unit on one engine, rows carried from exchange to exchange by hand.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use operators::{Expression, Scalar};
use pipelines::CancelToken;

use super::tables::{Row, splits};
use crate::{
    engine::Engine,
    error::Result,
    execution::{
        profile::Phases,
        query::{PlannedQuery, start_within},
    },
    plan::{
        fragment::{DistributedPlan, ExchangeId, Fragment, Placement, Routing, UnitPart},
        logical::TableName,
        physical::{NodeId, PhysicalOperator, PhysicalPlan},
    },
};

/// The rows of a plan that is not cut.
pub(super) fn run_whole(engine: &Arc<Engine>, plan: &PhysicalPlan) -> Result<Vec<Row>> {
    let mut plan = plan.clone();
    plan.for_each_mut(&mut |node| inline(node, &HashMap::new(), &|_| vec![]));
    run(engine, plan)
}

/// The rows of a plan on a number of workers.
pub(super) fn run_distributed(engine: &Arc<Engine>, plan: &DistributedPlan, workers: usize) -> Result<Vec<Row>> {
    let mut received: BTreeMap<(ExchangeId, usize), Vec<Row>> = BTreeMap::new();
    let mut result = vec![];
    for fragment in &plan.fragments {
        for (node, part) in units(fragment, workers) {
            let parts: HashMap<NodeId, Vec<Row>> = drivers_rows(fragment, part);
            let mut unit = fragment.plan.clone();
            let at_node = |exchange| received.get(&(exchange, node)).cloned().unwrap_or_default();
            unit.for_each_mut(&mut |node| inline(node, &parts, &at_node));
            let rows = run(engine, unit)?;
            for exchange in &fragment.outputs {
                for row in &rows {
                    for receiver in receivers(&exchange.routing, row, workers) {
                        received.entry((exchange.id, receiver)).or_default().push(row.clone());
                    }
                }
            }
            if fragment.outputs.is_empty() {
                result = rows;
            }
        }
    }
    Ok(result)
}

/// On which node what runs.
fn units(fragment: &Fragment, workers: usize) -> Vec<(usize, Option<&UnitPart>)> {
    match &fragment.placement {
        Placement::Leaf { units, .. } => units.iter().enumerate().map(|(number, unit)| (1 + number % workers, Some(&unit.part))).collect(),
        Placement::Partitioned => (1..=workers).map(|node| (node, None)).collect(),
        Placement::Coordinator => vec![(0, None)],
    }
}

fn receivers(routing: &Routing, row: &Row, workers: usize) -> Vec<usize> {
    match routing {
        Routing::Gather | Routing::Merge(_) => vec![0],
        Routing::Broadcast => (1..=workers).collect(),
        Routing::Hash(keys) => {
            let mut hasher = DefaultHasher::new();
            for key in keys {
                let Expression::Column { index, .. } = key else { panic!("{key:?} is no column") };
                format!("{:?}", row[*index]).hash(&mut hasher);
            }
            vec![1 + hasher.finish() as usize % workers]
        }
    }
}

/// What a unit reads of each driving scan.
fn drivers_rows(fragment: &Fragment, part: Option<&UnitPart>) -> HashMap<NodeId, Vec<Row>> {
    let (Placement::Leaf { drivers, .. }, Some(part)) = (&fragment.placement, part) else { return HashMap::new() };
    let tables = scanned_tables(&fragment.plan);
    let rows = |table: &TableName, key: Option<usize>| -> Vec<Row> {
        let splits = splits(table);
        match (part, key) {
            (UnitPart::Splits(read), None) => read.iter().flat_map(|split| splits[*split as usize].clone()).collect(),
            (UnitPart::KeyRange { lower, upper }, Some(key)) => {
                let is_in = |row: &Row| match &row[key] {
                    Scalar::Int64(value) => lower.is_none_or(|lower| lower <= *value) && upper.is_none_or(|upper| *value < upper),
                    _ => lower.is_none(),
                };
                splits.concat().into_iter().filter(is_in).collect()
            }
            _ => panic!("{part:?} of {key:?}"),
        }
    };
    drivers.iter().map(|driver| (driver.scan, rows(&tables[&driver.scan], driver.key_column))).collect()
}

fn scanned_tables(plan: &PhysicalPlan) -> BTreeMap<NodeId, TableName> {
    let mut tables = BTreeMap::new();
    plan.for_each(&mut |node| {
        if let PhysicalOperator::TableScan { table, .. } = &node.operator {
            tables.insert(node.id, table.clone());
        }
    });
    tables
}

/// Replaces what reads tables and exchanges by the rows that they give. Runtime filters only save work: they are left out.
fn inline(node: &mut PhysicalPlan, parts: &HashMap<NodeId, Vec<Row>>, received: &dyn Fn(ExchangeId) -> Vec<Row>) {
    match &mut node.operator {
        PhysicalOperator::TableScan { table, .. } => {
            let rows = parts.get(&node.id).cloned().unwrap_or_else(|| splits(table).concat());
            node.operator = PhysicalOperator::Values { rows };
        }
        PhysicalOperator::Exchange(exchange) => {
            let values = PhysicalOperator::Values { rows: received(exchange.id) };
            node.operator = match exchange.routing.clone() {
                Routing::Merge(keys) => {
                    let input = Box::new(PhysicalPlan { operator: values, ..node.clone() });
                    PhysicalOperator::Sort { input, keys, limit: None, offset: 0 }
                }
                _ => values,
            };
        }
        PhysicalOperator::HashJoin(join) => join.runtime_filters.fill(None),
        _ => {}
    }
}

fn run(engine: &Arc<Engine>, plan: PhysicalPlan) -> Result<Vec<Row>> {
    let mut running = start_within(engine, PlannedQuery { plan, phases: Phases::default() }, CancelToken::new())?;
    let mut rows = vec![];
    while let Some(batch) = running.rows.next_blocking()? {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().map(|column| Scalar::from_array(column, row)).collect::<Result<Row, _>>()?);
        }
    }
    Ok(rows)
}

/// Rows without their order.
pub(super) fn as_set(rows: &[Row]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(format!("{row:?}")).or_default() += 1);
    counts
}
