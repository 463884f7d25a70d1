//! What must hold of every distributed plan, whatever it computes.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalog::Catalogs,
    plan::{
        fragment::{DistributedPlan, ExchangeId, ExchangeSpec, Fragment, Placement, Routing, UnitPart},
        physical::{NodeId, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
    },
};

/// Panics, with the reason, if `distributed` cannot compute what `plan` does.
pub(super) fn check(plan: &PhysicalPlan, distributed: &DistributedPlan, catalogs: &Catalogs) {
    let root = distributed.root();
    assert_eq!(root.plan.output, plan.output, "columns of the result");
    assert_eq!(root.placement, Placement::Coordinator);
    assert!(root.outputs.is_empty(), "the root sends rows");
    let mut ids = BTreeSet::new();
    for (number, fragment) in distributed.fragments.iter().enumerate() {
        assert_eq!(fragment.id.0 as usize, number);
        fragment.plan.for_each(&mut |node| assert!(ids.insert(node.id), "{:?} comes twice", node.id));
        check_columns(&fragment.plan);
        check_ctes(&fragment.plan, &mut BTreeSet::new());
        check_place(fragment, catalogs);
    }
    check_exchanges(distributed);
    check_filters(distributed);
    assert_eq!(tables(&distributed.fragments.iter().map(|f| &f.plan).collect::<Vec<_>>()), tables(&[plan]), "tables");
}

fn nodes(plan: &PhysicalPlan) -> Vec<&PhysicalPlan> {
    let mut nodes = vec![];
    plan.for_each(&mut |node| nodes.push(node));
    nodes
}

/// How often each table is read.
fn tables(plans: &[&PhysicalPlan]) -> BTreeMap<String, usize> {
    let mut tables = BTreeMap::new();
    for node in plans.iter().flat_map(|plan| nodes(plan)) {
        if let PhysicalOperator::TableScan { table, .. } = &node.operator {
            *tables.entry(table.to_string()).or_default() += 1;
        }
    }
    tables
}

/// Every expression finds its columns, with their types.
fn check_columns(plan: &PhysicalPlan) {
    let check = |expression: &operators::Expression, types: &[arrow::datatypes::DataType]| {
        let mut pending = vec![expression];
        while let Some(expression) = pending.pop() {
            if let operators::Expression::Column { index, data_type } = expression {
                assert_eq!(types.get(*index), Some(data_type), "column {index} below {:?}", plan.id);
            }
            expression.for_each_child(|child| pending.push(child));
        }
    };
    match &plan.operator {
        PhysicalOperator::Filter { input, predicate } => check(predicate, &input.types()),
        PhysicalOperator::Project { input, expressions } => {
            expressions.iter().for_each(|e| check(e, &input.types()));
            assert_eq!(expressions.iter().map(operators::Expression::data_type).collect::<Vec<_>>(), plan.types());
        }
        PhysicalOperator::HashAggregate { input, keys, aggregates, key_bounds } => {
            let arguments = aggregates.iter().flat_map(|call| call.arguments.iter().chain(&call.filter));
            keys.iter().chain(arguments).for_each(|e| check(e, &input.types()));
            let types = keys.iter().map(|key| key.data_type()).chain(aggregates.iter().map(|call| call.data_type.clone()));
            assert_eq!(types.collect::<Vec<_>>(), plan.types());
            assert_eq!(key_bounds.len(), keys.len());
        }
        PhysicalOperator::Sort { input, keys, .. } => {
            keys.iter().for_each(|key| check(&key.expression, &input.types()));
            assert_eq!(input.types(), plan.types());
        }
        PhysicalOperator::Limit { input, .. } | PhysicalOperator::With { input, .. } => assert_eq!(input.types(), plan.types()),
        PhysicalOperator::UnionAll { inputs } => inputs.iter().for_each(|input| assert_eq!(input.types(), plan.types())),
        PhysicalOperator::SetOperation { left, right, .. } => {
            [left, right].into_iter().for_each(|input| assert_eq!(input.types(), plan.types()));
        }
        PhysicalOperator::HashJoin(join) | PhysicalOperator::NestedLoopJoin(join) => {
            let (probe, build) = (join.probe.types(), join.build.types());
            for key in &join.keys {
                check(&key.probe, &probe);
                check(&key.build, &build);
            }
            let both: Vec<_> = probe.iter().chain(&build).cloned().collect();
            join.residual.iter().for_each(|e| check(e, &both));
            let output = join.probe_output.iter().map(|c| probe[*c].clone()).chain(join.build_output.iter().map(|c| build[*c].clone()));
            let output: Vec<_> = output.collect();
            assert_eq!(output[..], plan.types()[..output.len()]);
        }
        _ => {}
    }
    plan.inputs().into_iter().for_each(check_columns);
}

/// Every CTE that is read is computed around its reader, before it.
fn check_ctes(plan: &PhysicalPlan, known: &mut BTreeSet<u32>) {
    match &plan.operator {
        PhysicalOperator::With { ctes, input } => {
            for (cte, plan) in ctes {
                check_ctes(plan, known);
                assert!(known.insert(cte.0), "CTE {} is computed twice", cte.0);
            }
            check_ctes(input, known);
        }
        PhysicalOperator::CteScan { cte, .. } => assert!(known.contains(&cte.0), "CTE {} is not there", cte.0),
        _ => plan.inputs().into_iter().for_each(|input| check_ctes(input, known)),
    }
}

fn check_exchanges(plan: &DistributedPlan) {
    let mut sent: BTreeMap<ExchangeId, &ExchangeSpec> = BTreeMap::new();
    for fragment in &plan.fragments {
        for exchange in &fragment.outputs {
            assert_eq!(exchange.from, fragment.id);
            assert!(exchange.from < exchange.to, "{:?} is received before it is sent", exchange.id);
            assert!(sent.insert(exchange.id, exchange).is_none(), "{:?} is sent twice", exchange.id);
            let at_coordinator = plan.fragment(exchange.to).placement == Placement::Coordinator;
            let placed = match &exchange.routing {
                Routing::Gather | Routing::Merge(_) => at_coordinator,
                Routing::Hash(_) => plan.fragment(exchange.to).placement == Placement::Partitioned,
                Routing::Broadcast => !at_coordinator,
            };
            assert!(placed, "{exchange:?} to {:?}", plan.fragment(exchange.to).placement);
            if let Routing::Hash(keys) = &exchange.routing {
                let types = fragment.plan.types();
                keys.iter().flat_map(|key| key.columns()).for_each(|column| assert!(column < types.len()));
            }
        }
        assert!(fragment.id == plan.root().id || !fragment.outputs.is_empty(), "fragment {} is for nothing", fragment.id.0);
    }
    for fragment in &plan.fragments {
        for node in nodes(&fragment.plan) {
            if let PhysicalOperator::Exchange(exchange) = &node.operator {
                assert_eq!(exchange.to, fragment.id);
                assert_eq!(sent.remove(&exchange.id), Some(exchange), "{:?} is received once, as it is sent", exchange.id);
                assert_eq!(node.output, plan.fragment(exchange.from).plan.output, "columns of {:?}", exchange.id);
            }
        }
    }
    assert!(sent.is_empty(), "nobody receives {sent:?}");
}

/// What a fragment reads, and how often, suits where it runs.
fn check_place(fragment: &Fragment, catalogs: &Catalogs) {
    let drivers: BTreeSet<NodeId> = match &fragment.placement {
        Placement::Leaf { drivers, units } => {
            check_units(fragment, units.iter().map(|unit| &unit.part).collect(), catalogs);
            drivers.iter().map(|driver| driver.scan).collect()
        }
        Placement::Partitioned | Placement::Coordinator => BTreeSet::new(),
    };
    let rows = rows_of(&fragment.plan, &drivers);
    let wanted = match fragment.placement {
        Placement::Leaf { .. } => Rows::Part,
        Placement::Partitioned => Rows::Class,
        Placement::Coordinator => Rows::All,
    };
    let is_coordinator = fragment.placement == Placement::Coordinator;
    assert!(rows == wanted || (is_coordinator && rows != Rows::Part), "fragment {} gives {rows:?}", fragment.id.0);
}

/// Which rows of its result a unit computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// Those of its part of the driving scans.
    Part,
    /// Those that hash exchanges bring to the node.
    Class,
    /// All there are.
    All,
}

/// Follows rows up a fragment, and panics where a unit would compute with part of what it needs all of.
fn rows_of(plan: &PhysicalPlan, drivers: &BTreeSet<NodeId>) -> Rows {
    match &plan.operator {
        PhysicalOperator::TableScan { .. } if drivers.contains(&plan.id) => Rows::Part,
        PhysicalOperator::TableScan { .. } | PhysicalOperator::Values { .. } | PhysicalOperator::CteScan { .. } => Rows::All,
        PhysicalOperator::Exchange(exchange) => {
            if matches!(exchange.routing, Routing::Hash(_)) {
                Rows::Class
            } else {
                Rows::All
            }
        }
        PhysicalOperator::HashJoin(join) | PhysicalOperator::NestedLoopJoin(join) => {
            use operators::hash_join::JoinKind::*;
            match (rows_of(&join.probe, drivers), rows_of(&join.build, drivers)) {
                (probe, Rows::All) => {
                    assert!(probe == Rows::All || !join.kind.emits_build_side(), "{:?} of a build side that is everywhere", join.kind);
                    probe
                }
                (Rows::All, build) => {
                    assert!(matches!(join.kind, Inner | BuildOuter | BuildSemi | BuildAnti | BuildMark), "{:?} of a part", join.kind);
                    build
                }
                (probe, build) => {
                    assert_eq!(probe, build);
                    assert!(!join.keys.is_empty() && !matches!(join.kind, ProbeMark | BuildMark), "{:?} of parts", join.kind);
                    probe
                }
            }
        }
        PhysicalOperator::SetOperation { left, right, .. } => {
            let (left, right) = (rows_of(left, drivers), rows_of(right, drivers));
            assert!(left == right && left != Rows::Part);
            left
        }
        PhysicalOperator::With { ctes, input } => {
            ctes.iter().for_each(|(_, plan)| assert_eq!(rows_of(plan, drivers), Rows::All));
            rows_of(input, drivers)
        }
        _ => {
            let mut inputs = plan.inputs().into_iter().map(|input| rows_of(input, drivers));
            let first = inputs.next().expect("an input");
            assert!(inputs.all(|input| input == first), "{:?} unites what lies differently", plan.id);
            first
        }
    }
}

/// Every row of every driving scan is in one unit.
fn check_units(fragment: &Fragment, parts: Vec<&UnitPart>, catalogs: &Catalogs) {
    let Placement::Leaf { drivers, .. } = &fragment.placement else { return };
    assert!(!parts.is_empty(), "a fragment without units");
    let is_by_key = matches!(parts[0], UnitPart::KeyRange { .. });
    let mut next_bound = None;
    let mut read = vec![];
    for (number, part) in parts.iter().enumerate() {
        match part {
            UnitPart::Splits(splits) => {
                assert!(!is_by_key);
                read.extend(splits.iter().copied());
            }
            UnitPart::KeyRange { lower, upper } => {
                assert!(is_by_key);
                assert_eq!(*lower, next_bound, "ranges touch");
                assert_eq!(upper.is_none(), number + 1 == parts.len(), "the last has no upper bound");
                assert!(lower.zip(*upper).is_none_or(|(lower, upper)| lower < upper), "an empty range");
                next_bound = *upper;
            }
        }
    }
    for driver in drivers {
        let scans = nodes(&fragment.plan);
        let scan = scans.iter().find(|node| node.id == driver.scan).expect("the driver is in the plan");
        let PhysicalOperator::TableScan { table, columns, .. } = &scan.operator else { panic!("a driver is a scan") };
        assert_eq!(driver.key_column.is_some(), is_by_key);
        let table = catalogs.table(table).unwrap().unwrap();
        match driver.key_column {
            Some(column) => {
                assert!(columns.contains(&column) && table.split_bounds(column).unwrap().is_some());
            }
            None => {
                assert_eq!(drivers.len(), 1, "splits are of one table");
                assert_eq!(read, (0..table.splits().unwrap().len() as u32).collect::<Vec<_>>(), "every split once");
            }
        }
    }
}

fn check_filters(plan: &DistributedPlan) {
    let mut makers: BTreeMap<RuntimeFilterId, (&Fragment, &PhysicalPlan)> = BTreeMap::new();
    for fragment in &plan.fragments {
        for node in nodes(&fragment.plan) {
            if let PhysicalOperator::HashJoin(join) = &node.operator {
                for filter in join.runtime_filters.iter().flatten() {
                    assert!(makers.insert(*filter, (fragment, &join.build)).is_none(), "{filter:?} is made twice");
                }
            }
        }
    }
    let mut read = BTreeSet::new();
    for fragment in &plan.fragments {
        let drivers: BTreeSet<NodeId> = match &fragment.placement {
            Placement::Leaf { drivers, .. } => drivers.iter().map(|driver| driver.scan).collect(),
            _ => BTreeSet::new(),
        };
        let mut crossing = BTreeSet::new();
        for node in nodes(&fragment.plan) {
            let PhysicalOperator::TableScan { runtime_filters, .. } = &node.operator else { continue };
            for (filter, _) in runtime_filters {
                let (maker, build) = makers.get(filter).expect("a filter has a maker");
                read.insert(*filter);
                let is_per_unit = matches!(&maker.placement, Placement::Leaf { drivers, .. }
                    if nodes(build).iter().any(|node| drivers.iter().any(|driver| driver.scan == node.id)));
                assert!(drivers.contains(&node.id) || (maker.id == fragment.id && !is_per_unit), "{filter:?} at {:?}", node.id);
                if maker.id != fragment.id {
                    assert!(!is_per_unit, "{filter:?} of a unit leaves it");
                    assert!(maker.filters_out.contains(filter));
                    crossing.insert(*filter);
                }
            }
        }
        assert_eq!(fragment.filters_in, crossing.into_iter().collect::<Vec<_>>(), "what fragment {} waits for", fragment.id.0);
    }
    assert_eq!(makers.keys().copied().collect::<BTreeSet<_>>(), read, "no filter is made for nobody");
    let sent: Vec<_> = plan.fragments.iter().flat_map(|fragment| &fragment.filters_out).collect();
    let waited: BTreeSet<_> = plan.fragments.iter().flat_map(|fragment| &fragment.filters_in).collect();
    assert_eq!(sent.iter().copied().collect::<BTreeSet<_>>(), waited);
    assert_eq!(sent.len(), waited.len(), "every filter is sent by one fragment");
}
