//! Small plans and clusters for tests of the machine, the scheduler and the simulator.

use crate::{
    cluster::node_scheduler::NodeShape,
    plan::{
        fragment::{DistributedPlan, ExchangeId, ExchangeSpec, Fragment, FragmentId, LeafUnit, Placement, Routing, UnitPart},
        physical::{NodeId, PhysicalOperator, PhysicalPlan},
    },
};

/// A coordinator and workers with this many threads each.
pub fn shapes(num_workers: usize, threads: u16) -> Vec<NodeShape> {
    let name = |node| if node == 0 { "coordinator".to_owned() } else { format!("worker-{node}") };
    (0..=num_workers).map(|node| NodeShape { threads, name: name(node) }).collect()
}

/// A leaf fragment of this many units. Its number and outputs come with [`plan_of`].
pub fn leaf(num_units: usize) -> Fragment {
    let unit = |unit: usize| LeafUnit {
        part: UnitPart::Splits(vec![unit as u32]),
        bytes: 1000 + unit as u64,
        affinity: unit as u64,
        keys: vec![],
    };
    fragment(Placement::Leaf { drivers: vec![], units: (0..num_units).map(unit).collect() })
}

/// A partitioned fragment.
pub fn partitioned() -> Fragment {
    fragment(Placement::Partitioned)
}

/// A fragment on the coordinator.
pub fn coordinator() -> Fragment {
    fragment(Placement::Coordinator)
}

/// These fragments and a root, each fragment sending to the next.
pub fn plan_of(fragments: Vec<Fragment>) -> DistributedPlan {
    let mut fragments = fragments;
    fragments.push(coordinator());
    for (number, fragment) in fragments.iter_mut().enumerate() {
        fragment.id = FragmentId(number as u32);
    }
    for number in 1..fragments.len() {
        connect(&mut fragments, number - 1, number);
    }
    DistributedPlan { fragments }
}

/// One fragment sends its rows to a later one.
pub fn connect(fragments: &mut [Fragment], from: usize, to: usize) {
    let routing = match fragments[to].placement {
        Placement::Leaf { .. } => Routing::Broadcast,
        Placement::Partitioned => Routing::Hash(vec![]),
        Placement::Coordinator => Routing::Gather,
    };
    let id = ExchangeId(fragments.iter().map(|fragment| fragment.outputs.len() as u32).sum());
    let spec = ExchangeSpec { id, from: fragments[from].id, to: fragments[to].id, routing };
    fragments[from].outputs.push(spec);
}

fn fragment(placement: Placement) -> Fragment {
    let plan = PhysicalPlan { id: NodeId(0), operator: PhysicalOperator::Values { rows: vec![] }, output: vec![], estimated_rows: 0.0 };
    Fragment { id: FragmentId(0), plan, outputs: vec![], placement, filters_in: vec![], filters_out: vec![] }
}
