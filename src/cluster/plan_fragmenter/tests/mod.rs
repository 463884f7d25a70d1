//! Tests of the cut: what holds of every distributed plan, each rule by a case of its own, and the queries of TPC-H.

mod invariants;
mod plans;
mod random;
mod rules;
mod simulation;
mod tables;
mod tpch;

use super::{ClusterShape, DistributionMode};

/// Three workers of eight threads.
fn shape(mode: DistributionMode) -> ClusterShape {
    ClusterShape { workers: 3, threads: 24, worker_memory_bytes: 8 << 30, small_query_bytes: 64 << 20, mode }
}
