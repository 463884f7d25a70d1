//! One case per rule of the cut: who computes what, and what goes where.

use operators::{
    aggregate::{AggregateCall, AggregateFunction::*},
    hash_join::JoinKind::{self, *},
    set_operation::SetOperator,
};

use super::{
    super::{ClusterShape, DistributionMode, fragment},
    invariants,
    plans::*,
    shape,
    tables::catalogs,
};
use crate::plan::{
    explain,
    fragment::{DistributedPlan, Fragment, Placement, Routing, UnitPart},
    physical::{PhysicalOperator, PhysicalPlan, RuntimeFilterId},
};

/// Rows of a table that is not copied to every node.
const MANY: f64 = 1e7;
/// Rows that make a join by hashing both sides cheaper than copying one.
const HALF: f64 = 5e6;
/// Rows that are copied.
const FEW: f64 = 1e3;

/// The cut for three workers of eight threads.
fn cut(plan: PhysicalPlan) -> DistributedPlan {
    let (plan, catalogs) = (numbered(plan), catalogs());
    let shape = ClusterShape { small_query_bytes: 0, ..shape(DistributionMode::Auto) };
    let distributed = fragment(&plan, &catalogs, &shape).unwrap().expect("is distributed");
    invariants::check(&plan, &distributed, &catalogs);
    distributed
}

/// A line per fragment: where, what (from the root down; `<n`: rows of fragment n), and where the rows go.
fn outline(plan: PhysicalPlan) -> Vec<String> {
    cut(plan).fragments.iter().map(fragment_outline).collect()
}

fn fragment_outline(fragment: &Fragment) -> String {
    let place = match &fragment.placement {
        Placement::Leaf { units, .. } if matches!(units[0].part, UnitPart::Splits(_)) => "splits",
        Placement::Leaf { .. } => "ranges",
        Placement::Partitioned => "classes",
        Placement::Coordinator => "coordinator",
    };
    let mut words = vec![format!("{place}:")];
    fragment.plan.for_each(&mut |node| {
        words.push(match &node.operator {
            PhysicalOperator::TableScan { table, .. } => table.table.clone(),
            PhysicalOperator::Exchange(exchange) => format!("<{}", exchange.from.0),
            PhysicalOperator::HashJoin(_) | PhysicalOperator::NestedLoopJoin(_) => "join".into(),
            PhysicalOperator::HashAggregate { .. } => "aggregate".into(),
            _ => explain::describe(node).0.to_lowercase(),
        });
    });
    let names: Vec<String> = ["k", "v", "f", "t"].map(str::to_owned).to_vec();
    let outputs = fragment.outputs.iter().map(|exchange| {
        let routing = match &exchange.routing {
            Routing::Merge(_) => "merge".to_owned(),
            other => explain::routing(other, &names),
        };
        format!("{routing} to {}", exchange.to.0)
    });
    let outputs: Vec<String> = outputs.collect();
    if outputs.is_empty() { words.join(" ") } else { format!("{} => {}", words.join(" "), outputs.join(", ")) }
}

fn sums() -> Vec<AggregateCall> {
    vec![call(CountStar, None), call(Sum, Some(F)), call(Max, Some(T))]
}

/// One row of the usual columns.
fn totals(input: PhysicalPlan) -> PhysicalPlan {
    aggregate(input, &[], [vec![call(Min, Some(K))], sums()].concat(), 1.0)
}

fn distinct_count() -> Vec<AggregateCall> {
    vec![AggregateCall { distinct: true, ..call(Count, Some(K)) }, call(Sum, Some(F)), call(Max, Some(T))]
}

#[test]
fn rows_of_a_table_are_gathered() {
    assert_eq!(outline(filter(scan("facts", MANY), 1)), ["splits: filter facts => gather to 1", "coordinator: <0"]);
}

#[test]
fn tables_clustered_by_the_key_are_joined_unit_by_unit() {
    for kind in [Inner, ProbeOuter, BuildOuter, FullOuter, ProbeSemi, ProbeAnti, ProbeSingle, BuildSemi, BuildAnti] {
        let plan = join(kind, scan("facts", MANY), scan("heads", HALF), &[(V, V), (K, K)]);
        assert_eq!(outline(plan), ["ranges: join facts heads => gather to 1", "coordinator: <0"], "{kind:?}");
    }
    let three = join(Inner, join(Inner, scan("facts", MANY), scan("heads", HALF), &[(K, K)]), scan("facts", MANY), &[(K, K)]);
    assert_eq!(outline(three)[0], "ranges: join join facts heads facts => gather to 1");
    // Which unit a padded row is in says nothing about its key.
    let padded = join(FullOuter, scan("facts", MANY), scan("heads", HALF), &[(K, K)]);
    let grouped = aggregate(padded, &[K], sums(), HALF);
    assert_eq!(outline(grouped)[0], "ranges: join facts heads => hash(k) to 1");
}

#[test]
fn small_build_sides_are_copied_and_large_ones_hashed() {
    let sides = |kind, build| join(kind, scan("heap", MANY), scan("heap", build), &[(V, V)]);
    let copied = ["splits: heap => broadcast to 1", "splits: join heap <0 => gather to 2", "coordinator: <1"];
    let hashed = ["splits: heap => hash(v) to 2", "splits: heap => hash(v) to 2", "classes: join <0 <1 => gather to 3", "coordinator: <2"];
    for kind in [Inner, ProbeOuter, ProbeSemi, ProbeAnti, ProbeSingle] {
        assert_eq!(outline(sides(kind, FEW)), copied, "{kind:?}");
        assert_eq!(outline(sides(kind, MANY)), hashed, "{kind:?}");
    }
    // Build rows that come out by themselves must do so once.
    for kind in [BuildOuter, FullOuter, BuildSemi, BuildAnti] {
        assert_eq!(outline(sides(kind, FEW)), hashed, "{kind:?}");
    }
}

#[test]
fn a_small_probe_side_is_copied_where_every_build_row_sees_it_once() {
    let sides = |kind: JoinKind| outline(join(kind, scan("heap", FEW), scan("facts", MANY), &[(V, V)]));
    for kind in [Inner, BuildOuter, BuildSemi, BuildAnti] {
        let read_often = "splits: with <0 join ctescan facts => gather to 2";
        assert_eq!(sides(kind), ["splits: heap => broadcast to 1", read_often, "coordinator: <1"], "{kind:?}");
    }
    assert_eq!(sides(ProbeOuter)[0], "splits: heap => hash(v) to 2");
}

#[test]
fn tiny_tables_are_read_by_every_node() {
    let inlined = join(Inner, scan("heap", MANY), join(Inner, scan("small", 5.0), scan("small", 5.0), &[(V, V)]), &[(V, V)]);
    assert_eq!(outline(inlined), ["splits: join heap join small small => gather to 1", "coordinator: <0"]);
    let nested = join(Inner, scan("heap", MANY), values(), &[]);
    assert_eq!(outline(nested), ["splits: join heap values => gather to 1", "coordinator: <0"]);
    // On the coordinator, beside what is there alone.
    let beside = join(Inner, totals(scan("heap", MANY)), scan("small", 5.0), &[(V, V)]);
    assert_eq!(outline(beside), ["splits: aggregate heap => gather to 1", "coordinator: join aggregate <0 small"]);
}

#[test]
fn marks_know_the_whole_other_side() {
    let mark = |kind, probe, build| outline(join(kind, scan("facts", probe), scan("heads", build), &[(K, K)]));
    let copied = ["splits: heads => broadcast to 1", "splits: project join facts <0 => gather to 2", "coordinator: <1"];
    assert_eq!(mark(ProbeMark, MANY, HALF), copied);
    let copied = ["splits: facts => broadcast to 1", "splits: with <0 project join ctescan heads => gather to 2", "coordinator: <1"];
    assert_eq!(mark(BuildMark, FEW, MANY), copied);
    let whole = ["splits: facts => gather to 2", "splits: heads => gather to 2", "coordinator: project join <0 <1"];
    assert_eq!(mark(BuildMark, MANY, HALF), whole);
}

#[test]
fn joins_without_keys_have_one_side_everywhere_or_both_in_one_place() {
    let nested = |kind| outline(join(kind, scan("heap", MANY), scan("heap", FEW), &[]));
    assert_eq!(nested(ProbeOuter)[..2], ["splits: heap => broadcast to 1", "splits: join heap <0 => gather to 2"]);
    assert_eq!(nested(FullOuter), ["splits: heap => gather to 2", "splits: heap => gather to 2", "coordinator: join <0 <1"]);
}

#[test]
fn groups_are_complete_where_equal_keys_are_together() {
    let by_key = aggregate(scan("facts", MANY), &[V, K], sums()[1..].to_vec(), HALF);
    assert_eq!(outline(by_key), ["ranges: aggregate facts => gather to 1", "coordinator: <0"]);
    let joined = |join| outline(aggregate(join, &[V], distinct_count(), HALF));
    let in_place = "classes: aggregate join <0 <1 => gather to 3";
    assert_eq!(joined(join(Inner, scan("heap", MANY), scan("heap", MANY), &[(V, V)]))[2], in_place);
    let other_side = join_with_build_key(scan("heap", MANY), scan("heap", MANY), &[(V, V)]);
    assert_eq!(joined(other_side)[2], "classes: aggregate project join <0 <1 => gather to 3");
    let padded = joined(join(FullOuter, scan("heap", MANY), scan("heap", MANY), &[(V, V)]));
    assert_eq!(padded[2..4], ["classes: join <0 <1 => hash(v) to 3", "classes: aggregate <2 => gather to 4"]);
    // Joined again by the same key, nothing moves twice.
    let again = join(Inner, join(Inner, scan("heap", MANY), scan("heap", MANY), &[(V, V)]), scan("heap", MANY), &[(V, V)]);
    assert_eq!(outline(again)[3], "classes: join join <0 <1 <2 => gather to 4");
}

#[test]
fn other_groups_are_united_in_a_second_step() {
    let by_value = |groups| outline(aggregate(scan("facts", MANY), &[V], sums(), groups));
    assert_eq!(by_value(5.0), ["splits: aggregate facts => gather to 1", "coordinator: aggregate <0"]);
    let hashed = ["splits: aggregate facts => hash(k) to 1", "classes: aggregate <0 => gather to 2", "coordinator: <1"];
    assert_eq!(by_value(2e5), hashed);
    // A first step would leave about as many rows as there are.
    assert_eq!(by_value(HALF)[0], "splits: facts => hash(v) to 1");
    let distinct = |keys: &[usize]| outline(aggregate(scan("facts", MANY), keys, distinct_count(), 5.0));
    assert_eq!(distinct(&[V])[..2], ["splits: facts => hash(v) to 1", "classes: aggregate <0 => gather to 2"]);
    assert_eq!(distinct_of_all(), ["splits: facts => gather to 1", "coordinator: aggregate <0"]);
}

fn distinct_of_all() -> Vec<String> {
    let calls = [call(Min, Some(K)), distinct_count().remove(0), call(Sum, Some(F)), call(Max, Some(T))];
    outline(aggregate(scan("facts", MANY), &[], calls.to_vec(), 1.0))
}

#[test]
fn counts_are_united_by_sums_of_the_same_type() {
    let distributed = cut(aggregate(scan("facts", MANY), &[V], sums(), 5.0));
    let PhysicalOperator::HashAggregate { aggregates, keys, .. } = &distributed.root().plan.operator else { panic!("an aggregation") };
    assert_eq!(keys, &[column(K)]);
    assert_eq!(aggregates[0], AggregateCall { function: Sum, ..call(Count, Some(V)) });
    assert_eq!((aggregates[1].function, &aggregates[1].data_type), (Sum, &column(F).data_type()));
    assert_eq!((aggregates[2].function, &aggregates[2].arguments), (Max, &vec![column(T)]));
}

#[test]
fn every_input_of_a_union_has_its_first_step() {
    let plan = aggregate(union(vec![scan("facts", MANY), values(), scan("heap", MANY)]), &[V], sums(), 5.0);
    let expected = [
        "splits: aggregate facts => gather to 2",
        "splits: aggregate heap => gather to 2",
        "coordinator: aggregate unionall <0 aggregate values <1",
    ];
    assert_eq!(outline(plan), expected);
    let gathered = ["splits: facts => gather to 2", "splits: heap => gather to 2", "coordinator: unionall <0 <1"];
    assert_eq!(outline(union(vec![scan("facts", MANY), scan("heap", MANY)])), gathered);
}

#[test]
fn sorted_rows_are_merged_and_the_best_sorted_again() {
    let all = |offset| outline(sort(scan("facts", MANY), None, offset));
    assert_eq!(all(0), ["splits: sort facts => merge to 1", "coordinator: <0"]);
    assert_eq!(all(2), ["splits: sort facts => merge to 1", "coordinator: limit <0"]);
    let best = cut(sort(scan("facts", MANY), Some(3), 2));
    let limits = |plan: &PhysicalPlan| match plan.operator {
        PhysicalOperator::Sort { limit, offset, .. } | PhysicalOperator::Limit { limit, offset, .. } => (limit, offset),
        _ => panic!("{plan:?}"),
    };
    assert_eq!(limits(&best.fragments[0].plan), (Some(5), 0));
    assert_eq!(limits(&best.root().plan), (Some(3), 2));
    let some = cut(limit(scan("facts", MANY), Some(3), 2));
    assert_eq!(limits(&some.fragments[0].plan), (Some(5), 0));
    assert_eq!(limits(&some.root().plan), (Some(3), 2));
    assert_eq!(outline(limit(scan("facts", MANY), None, 2)), ["splits: facts => gather to 1", "coordinator: limit <0"]);
}

#[test]
fn sets_meet_by_all_columns() {
    let sets = |rows| outline(set_operation(SetOperator::Except, scan("facts", rows), scan("heap", rows)));
    assert_eq!(sets(MANY)[0], "splits: facts => hash(k, v, f, t) to 2");
    assert_eq!(sets(MANY)[2], "classes: setoperation <0 <1 => gather to 3");
    assert_eq!(sets(FEW)[2], "coordinator: setoperation <0 <1");
}

#[test]
fn a_shared_cte_is_sent_once_to_every_fragment_that_reads_it() {
    let groups = || aggregate(scan("facts", MANY), &[V], sums(), 2e5);
    let twice = join(Inner, join(Inner, scan("heap", MANY), cte_scan(0, FEW), &[(V, V)]), cte_scan(0, FEW), &[(V, V)]);
    let expected = [
        "splits: aggregate facts => hash(k) to 1",
        "classes: aggregate <0 => broadcast to 2",
        "splits: with <1 join join heap ctescan ctescan => gather to 3",
        "coordinator: <2",
    ];
    assert_eq!(outline(with(vec![groups()], twice)), expected);

    let read_twice = union(vec![join(Inner, scan("heap", MANY), cte_scan(0, 1.0), &[(V, V)]), cte_scan(0, 1.0)]);
    let expected = [
        "splits: aggregate facts => gather to 1",
        "coordinator: aggregate <0 => broadcast to 2, gather to 3",
        "splits: with <1 join heap ctescan => gather to 3",
        "coordinator: with <1 unionall <2 ctescan",
    ];
    assert_eq!(outline(with(vec![totals(scan("facts", MANY))], read_twice)), expected);
    // What is computed on the coordinator for itself stays in its fragment.
    let chain = with(vec![totals(scan("facts", MANY)), filter(cte_scan(0, 1.0), 0)], union(vec![cte_scan(1, 1.0), cte_scan(0, 1.0)]));
    let expected = ["splits: aggregate facts => gather to 1", "coordinator: with aggregate <0 filter ctescan unionall ctescan ctescan"];
    assert_eq!(outline(chain), expected);
}

/// Filters that each fragment waits for and sends.
fn crossing(plan: &DistributedPlan) -> Vec<(Vec<u32>, Vec<u32>)> {
    let numbers = |filters: &[RuntimeFilterId]| filters.iter().map(|filter| filter.0).collect();
    plan.fragments.iter().map(|fragment| (numbers(&fragment.filters_in), numbers(&fragment.filters_out))).collect()
}

/// The filters at the scans of a table.
fn filters_of(plan: &DistributedPlan, name: &str) -> Vec<u32> {
    let mut found = vec![];
    for fragment in &plan.fragments {
        fragment.plan.for_each(&mut |node| match &node.operator {
            PhysicalOperator::TableScan { table, runtime_filters, .. } if table.table == name => {
                found.extend(runtime_filters.iter().map(|(filter, _)| filter.0));
            }
            _ => {}
        });
    }
    found
}

#[test]
fn filters_cross_fragments_if_their_parts_make_up_the_whole() {
    let hashed = cut(with_runtime_filter(join(Inner, scan("heap", MANY), scan("facts", MANY), &[(V, V)]), 7));
    assert_eq!(crossing(&hashed), [(vec![7], vec![]), (vec![], vec![]), (vec![], vec![7]), (vec![], vec![])]);
    let copied = cut(with_runtime_filter(join(Inner, scan("heap", MANY), scan("facts", FEW), &[(V, V)]), 7));
    assert!(crossing(&copied).iter().all(|(waits, sends)| waits.is_empty() && sends.is_empty()));
    assert_eq!(filters_of(&copied, "heap"), [7]);
}

#[test]
fn filters_of_a_unit_are_for_its_own_part() {
    let inner = join(Inner, scan("facts", MANY), scan("small", 5.0), &[(V, V)]);
    let plan = cut(with_runtime_filter(join(Inner, inner, scan("heads", HALF), &[(V, V), (K, K)]), 7));
    assert_eq!(fragment_outline(&plan.fragments[0]), "ranges: join join facts small heads => gather to 1");
    assert_eq!(filters_of(&plan, "facts"), [7]);
    // Every node reads it once, for all its units.
    assert!(filters_of(&plan, "small").is_empty());

    // Rows that come from elsewhere meet every unit.
    let copied = join(Inner, scan("facts", MANY), scan("heap", FEW), &[(V, V)]);
    let plan = cut(with_runtime_filter(join(Inner, copied, scan("heads", HALF), &[(V, V), (K, K)]), 7));
    assert_eq!(fragment_outline(&plan.fragments[1]), "ranges: join join facts <0 heads => gather to 2");
    assert!(filters_of(&plan, "heap").is_empty());
    assert_eq!(filters_of(&plan, "facts"), [7]);
}

#[test]
fn what_one_node_does_as_well_is_left_to_it() {
    let catalogs = catalogs();
    let auto = ClusterShape { small_query_bytes: 1 << 40, ..shape(DistributionMode::Auto) };
    let is_distributed = |plan: &PhysicalPlan, shape: &ClusterShape| fragment(&numbered(plan.clone()), &catalogs, shape).unwrap().is_some();
    let facts = scan("facts", MANY);
    assert!(!is_distributed(&facts, &auto), "a small query");
    assert!(is_distributed(&facts, &ClusterShape { mode: DistributionMode::Always, ..auto.clone() }));
    let eager = ClusterShape { small_query_bytes: 0, ..auto };
    assert!(is_distributed(&facts, &eager));
    assert!(!is_distributed(&facts, &ClusterShape { mode: DistributionMode::Never, ..eager.clone() }));
    assert!(!is_distributed(&facts, &ClusterShape { workers: 0, ..eager.clone() }));
    let always = ClusterShape { mode: DistributionMode::Always, ..eager };
    assert!(!is_distributed(&values(), &always), "no table");
    assert!(!is_distributed(&union(vec![facts, scan("local", MANY)]), &always), "a table that only this node has");
}

/// The parts of the first fragment, with `threads` threads.
fn parts(plan: PhysicalPlan, threads: usize) -> Vec<(UnitPart, u64, u64)> {
    let shape = ClusterShape { small_query_bytes: 0, threads, ..shape(DistributionMode::Auto) };
    let distributed = fragment(&numbered(plan), &catalogs(), &shape).unwrap().expect("is distributed");
    let Placement::Leaf { units, .. } = &distributed.fragments[0].placement else { panic!("a leaf") };
    units.iter().map(|unit| (unit.part.clone(), unit.bytes, unit.affinity)).collect()
}

#[test]
fn units_are_runs_of_splits_of_the_same_size() {
    let units = parts(scan("facts", MANY), 1);
    let splits = |first: u32| UnitPart::Splits(vec![first, first + 1]);
    assert_eq!(units.iter().map(|(part, ..)| part.clone()).collect::<Vec<_>>(), [splits(0), splits(2), splits(4), splits(6)]);
    assert!(units.iter().all(|(_, bytes, _)| *bytes == 128 << 20));
    // The data has its number whatever is read with it.
    let finer = parts(filter(scan("facts", MANY), 1), 24);
    assert_eq!(finer.len(), 8);
    assert_eq!(units.iter().map(|(.., affinity)| *affinity).collect::<Vec<_>>(), [0, 2, 4, 6].map(|unit| finer[unit].2));
    assert_ne!(finer[0].2, parts(scan("heap", MANY), 24)[0].2, "another table");
    assert_eq!(parts(scan("small", 5.0), 24).len(), 1);
    assert_eq!(parts(scan("empty", 5.0), 24), [(UnitPart::Splits(vec![]), 0, parts(scan("empty", 5.0), 24)[0].2)]);
}

#[test]
fn ranges_begin_where_splits_of_the_largest_table_do() {
    let units = parts(join(Inner, scan("heads", MANY), scan("facts", MANY), &[(K, K)]), 1);
    let range = |lower, upper| UnitPart::KeyRange { lower, upper };
    let expected = [range(None, Some(3)), range(Some(3), Some(6)), range(Some(6), Some(9)), range(Some(9), None)];
    assert_eq!(units.iter().map(|(part, ..)| part.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(units.iter().map(|(_, bytes, _)| bytes).sum::<u64>(), (8 * 64 + 3 * 32) << 20);
}

#[test]
fn fewer_units_where_each_finds_all_groups() {
    let units = |groups| parts(aggregate(scan("facts", MANY), &[V], sums(), groups), 2).len();
    assert_eq!((units(5.0), units(2e5)), (8, 2));
}

#[test]
fn fewer_ranges_where_they_cut_large_splits_of_other_tables() {
    let units = |plan| parts(plan, 2).len();
    assert_eq!(units(aggregate(scan("facts", MANY), &[K], sums(), HALF)), 8);
    assert_eq!(units(join(Inner, scan("facts", MANY), scan("heads", MANY), &[(K, K)])), 4);
}
