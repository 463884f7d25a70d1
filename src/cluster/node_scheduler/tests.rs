//! The scheduler keeps units at home, balances by stealing, and keeps fragments out of each other's way.

use super::*;
use crate::cluster::query_machine::testing::{leaf, plan_of, shapes};

fn scheduler(num_workers: usize, units: &[usize]) -> NodeScheduler {
    let fragments = units.iter().map(|units| leaf(*units)).collect();
    let mut scheduler = NodeScheduler::new(&shapes(num_workers, 2), &plan_of(fragments));
    (0..units.len() as u32).for_each(|fragment| scheduler.open(FragmentId(fragment)));
    scheduler
}

fn of_fragment(assigned: &[(NodeIndex, UnitId)], fragment: u32) -> Vec<NodeIndex> {
    assigned.iter().filter(|(_, unit)| unit.fragment.0 == fragment).map(|(node, _)| *node).collect()
}

#[test]
fn a_home_moves_only_when_its_node_goes_and_comes_back_with_it() {
    let mut homes = Homes::new(&shapes(5, 2));
    let before: Vec<NodeIndex> = (0..1000).map(|affinity| homes.of(affinity)).collect();
    homes.set_usable(NodeIndex(3), false);
    for (affinity, home) in before.iter().enumerate() {
        let now = homes.of(affinity as u64);
        assert!(now == *home || *home == NodeIndex(3));
        assert_ne!(now, NodeIndex(3));
    }
    homes.set_usable(NodeIndex(3), true);
    assert!(before.iter().enumerate().all(|(affinity, home)| homes.of(affinity as u64) == *home));
    for node in 1..=5 {
        let share = before.iter().filter(|home| home.0 == node).count();
        assert!((120..280).contains(&share), "node {node} is home of {share} of 1000");
    }
}

#[test]
fn more_threads_draw_more_units() {
    let mut nodes = shapes(2, 2);
    nodes[2].threads = 6;
    let homes = Homes::new(&nodes);
    let share = (0..4000).filter(|affinity| homes.of(*affinity) == NodeIndex(2)).count();
    assert!((2800..3200).contains(&share), "{share} of 4000 where 3000 are due");
}

#[test]
fn every_node_gets_a_unit_before_any_gets_a_second() {
    let mut scheduler = scheduler(4, &[4]);
    let mut nodes: Vec<u16> = scheduler.assign().iter().map(|(node, _)| node.0).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2, 3, 4]);
}

#[test]
fn a_unit_is_handed_out_once_and_slots_are_bounded() {
    let mut scheduler = scheduler(3, &[20]);
    let mut seen = std::collections::BTreeSet::new();
    let mut running = scheduler.assign();
    assert_eq!(running.len(), 6, "two slots on each of three nodes");
    assert!(scheduler.assign().is_empty(), "no slot is free");
    while let Some((node, unit)) = running.pop() {
        assert!(seen.insert(unit), "{unit:?} twice");
        scheduler.release(node, unit.fragment);
        running.extend(scheduler.assign());
    }
    assert_eq!(seen.len(), 20);
}

#[test]
fn units_that_do_not_go_on_leave_other_fragments_their_slots() {
    let mut scheduler = scheduler(2, &[10, 10]);
    let first = scheduler.assign();
    assert_eq!(of_fragment(&first, 0).len(), 4);
    assert_eq!(of_fragment(&first, 1).len(), 2, "a later fragment gets a slot on every node, no more while an earlier one waits");
    for (node, unit) in first.iter().filter(|(_, unit)| unit.fragment.0 == 1) {
        scheduler.release(*node, unit.fragment);
    }
    assert_eq!(of_fragment(&scheduler.assign(), 1).len(), 2, "the later fragment goes on while the earlier one's units stand still");
}

#[test]
fn an_idle_node_takes_over_what_others_have_not_begun() {
    let mut scheduler = scheduler(2, &[12]);
    scheduler.set_usable(NodeIndex(2), false);
    assert!(scheduler.assign().iter().all(|(node, _)| node.0 == 1));
    scheduler.set_usable(NodeIndex(2), true);
    let stolen = scheduler.assign();
    assert_eq!(stolen.iter().map(|(node, _)| node.0).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn a_closed_fragment_waits_and_a_unit_put_back_is_next() {
    let mut scheduler = NodeScheduler::new(&shapes(1, 2), &plan_of(vec![leaf(5)]));
    assert!(scheduler.assign().is_empty());
    scheduler.open(FragmentId(0));
    let (node, unit) = scheduler.assign()[0];
    scheduler.put_back(unit);
    scheduler.release(node, unit.fragment);
    assert_eq!(scheduler.assign(), [(node, unit)]);
}
