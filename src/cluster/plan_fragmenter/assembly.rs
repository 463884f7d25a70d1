//! Finished drafts become the plan: numbers of fragments and nodes, outputs, filters that cross, units.
//!
//! Position: last.

use std::collections::{BTreeSet, HashMap};

use super::{
    ClusterShape,
    drafts::{Draft, Drafts, Place},
    filters,
    scans::Scans,
    sizes::Limits,
    units::units,
};
use crate::{
    error::{Error, Result},
    plan::{
        fragment::{DistributedPlan, Driver, ExchangeSpec, Fragment, FragmentId, Placement},
        physical::{NodeId, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
    },
};

/// Makes the plan of the drafts.
pub(super) fn assemble(drafts: Drafts, scans: &Scans, shape: &ClusterShape, limits: &Limits) -> Result<DistributedPlan> {
    let mut drafts = numbered(drafts);
    let outputs = outputs(&mut drafts);
    let crossing = filters::settle(&mut drafts);
    let mut next_node = 0;
    let mut fragments = vec![];
    for (number, ((mut draft, outputs), crossing)) in drafts.into_iter().zip(outputs).zip(crossing).enumerate() {
        let mut numbers = HashMap::new();
        number_nodes(&mut draft.plan, &mut next_node, &mut numbers);
        let awaited = awaited_filters(&draft, &numbers, &crossing.filters_in);
        fragments.push(Fragment {
            id: FragmentId(number as u32),
            placement: placement(&draft.place, &numbers, scans, shape, limits, &awaited)?,
            plan: draft.plan,
            outputs,
            filters_in: crossing.filters_in.into_iter().collect(),
            filters_out: crossing.filters_out.into_iter().collect(),
        });
    }
    Ok(DistributedPlan { fragments })
}

/// The drafts that are left; exchanges name their senders by place among these.
fn numbered(drafts: Drafts) -> Vec<Draft> {
    let mut numbers = HashMap::new();
    let mut left = vec![];
    for (old, draft) in drafts.drafts.into_iter().enumerate() {
        if let Some(draft) = draft {
            numbers.insert(FragmentId(old as u32), FragmentId(left.len() as u32));
            left.push(draft);
        }
    }
    for draft in &mut left {
        for_each_exchange(&mut draft.plan, |exchange| exchange.from = numbers.get(&exchange.from).copied().unwrap_or(exchange.from));
    }
    left
}

/// Tells every exchange who receives, and every draft where its rows go.
fn outputs(drafts: &mut [Draft]) -> Vec<Vec<ExchangeSpec>> {
    let mut outputs = vec![vec![]; drafts.len()];
    for (number, draft) in drafts.iter_mut().enumerate() {
        for_each_exchange(&mut draft.plan, |exchange| {
            exchange.to = FragmentId(number as u32);
            if let Some(sent) = outputs.get_mut(exchange.from.0 as usize) {
                sent.push(exchange.clone());
            }
        });
    }
    outputs
}

fn for_each_exchange(plan: &mut PhysicalPlan, mut visit: impl FnMut(&mut ExchangeSpec)) {
    plan.for_each_mut(&mut |node| {
        if let PhysicalOperator::Exchange(exchange) = &mut node.operator {
            visit(exchange);
        }
    });
}

fn number_nodes(plan: &mut PhysicalPlan, next: &mut u32, numbers: &mut HashMap<NodeId, NodeId>) {
    plan.for_each_mut(&mut |node| {
        let number = NodeId(*next);
        *next += 1;
        numbers.insert(node.id, number);
        node.id = number;
    });
}

/// Filters of other fragments on the one driving scan of a leaf fragment: which, and on which column of the table.
fn awaited_filters(
    draft: &Draft,
    numbers: &HashMap<NodeId, NodeId>,
    filters_in: &BTreeSet<RuntimeFilterId>,
) -> Vec<(RuntimeFilterId, usize)> {
    let Place::Leaf(leaf) = &draft.place else { return vec![] };
    let [driver] = leaf.scans.as_slice() else { return vec![] };
    let driver = numbers.get(driver);
    let mut awaited = vec![];
    draft.plan.for_each(&mut |node| {
        if let PhysicalOperator::TableScan { columns, filter_columns, runtime_filters, .. } = &node.operator
            && Some(&node.id) == driver
        {
            let read: Vec<usize> = columns.iter().chain(filter_columns).copied().collect();
            let own = runtime_filters.iter().filter(|(filter, _)| filters_in.contains(filter));
            awaited.extend(own.filter_map(|(filter, position)| Some((*filter, *read.get(*position)?))));
        }
    });
    awaited
}

fn placement(
    place: &Place,
    numbers: &HashMap<NodeId, NodeId>,
    scans: &Scans,
    shape: &ClusterShape,
    limits: &Limits,
    awaited: &[(RuntimeFilterId, usize)],
) -> Result<Placement> {
    let Place::Leaf(leaf) = place else {
        return Ok(if *place == Place::Partitioned { Placement::Partitioned } else { Placement::Coordinator });
    };
    let key_of = |scan: usize| leaf.keys.first().filter(|_| leaf.by_key).and_then(|key| key.columns.get(scan).copied());
    let driver = |(place, scan): (usize, &NodeId)| {
        let scan = numbers.get(scan).copied().ok_or_else(|| Error::internal("a driving scan is not in its fragment"))?;
        Ok(Driver { scan, key_column: key_of(place) })
    };
    let drivers = leaf.scans.iter().enumerate().map(driver).collect::<Result<_>>()?;
    Ok(Placement::Leaf { drivers, units: units(leaf, scans, shape.threads, limits, awaited)? })
}
