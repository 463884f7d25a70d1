//! The 22 queries of TPC-H at scale 10, cut for three workers.

use super::{super::*, invariants, shape};
use crate::{
    optimizer::{testing::tpch_sf10, tpch_plans::optimized},
    planner::physical,
};

/// The plan of a query over the catalog.
fn planned(catalogs: &Catalogs, text: &str) -> PhysicalPlan {
    physical::plan(&optimized(catalogs, text), catalogs).expect("plans")
}

#[test]
fn the_queries_are_cut_as_they_should() {
    let catalogs = tpch_sf10();
    for (number, text) in tpch::queries() {
        let plan = planned(&catalogs, text);
        let distributed = fragment(&plan, &catalogs, &shape(DistributionMode::Auto)).unwrap().expect("is distributed");
        let lines = explain::explain_distributed(&distributed);
        insta::assert_snapshot!(format!("query_{number:02}"), lines.join("\n"));
        invariants::check(&plan, &distributed, &catalogs);
    }
}

#[test]
fn in_pieces_as_small_as_there_are_they_stay_whole() {
    let catalogs = tpch_sf10();
    for workers in [1, 2, 7] {
        let shape = ClusterShape { workers, threads: 3 * workers, ..shape(DistributionMode::Always) };
        for (_, text) in tpch::queries() {
            let plan = planned(&catalogs, text);
            let distributed = fragment(&plan, &catalogs, &shape).unwrap().expect("is distributed");
            invariants::check(&plan, &distributed, &catalogs);
        }
    }
}
