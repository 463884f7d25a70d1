//! Plays random faults against the machine, in virtual time: random plans, nodes that are killed, silent, stopped or drained, broken
//! connections. Nodes compute nothing but which row counts; whatever happens, the result has every row once, or the query is tried
//! again, or it fails with a reason that is due; and it ends.
//!
//! Everything follows from a seed. `ARNEB_SEED=7` plays one with its trace, `ARNEB_SEEDS=100000` that many.
//!
//! - `scenario` what is computed, and what must come out;
//! - `task`, `input` a node: exchanges with staged and direct inputs, credits, acknowledgements;
//! - `network`, `faults`, `world` what is between nodes, what goes wrong, and the driver of the query;
//! - `watch` what the machine may never do.

mod faults;
mod input;
mod network;
mod random;
mod scenario;
mod task;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::rule::Rule;
use world::{Statistics, World};

/// Something that is done wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The machine breaks a rule.
    Machine(Rule),
    /// Receivers take the rows of every run of a unit.
    CountEveryRun,
    /// A unit that waits for credit keeps a thread of its node.
    BlockThreads,
}

fn play(seed: u64, sabotage: Option<Sabotage>, is_traced: bool) -> Result<Statistics, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| World::new(seed, sabotage, is_traced).run()));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Plays seeds that must all end well.
fn play_all(seeds: std::ops::Range<u64>) -> Statistics {
    let mut sum = Statistics::default();
    for seed in seeds {
        match play(seed, None, false) {
            Ok(statistics) => sum.add(statistics),
            Err(wrong) => {
                let _ = play(seed, None, true);
                panic!("seed {seed}: {wrong}; the trace is above");
            }
        }
    }
    sum
}

#[test]
fn whatever_happens_every_row_counts_once_or_the_query_is_tried_again_or_fails_with_a_reason() {
    if let Some(seed) = from_environment("ARNEB_SEED") {
        let outcome = play(seed, None, true);
        assert!(outcome.is_ok(), "seed {seed}: {outcome:?}");
        return;
    }
    let met = play_all(0..from_environment("ARNEB_SEEDS").unwrap_or(4000));
    println!("{met:?}");
    let all =
        [met.succeeded, met.failed, met.restarts, met.nodes_gone, met.second_runs, met.forgotten, met.filters, met.probes, met.survived];
    assert!(all.iter().all(|times| *times > 0), "something was never met: {met:?}");
}

/// Some seed shows that something is done wrong, and how.
fn assert_noticed(sabotage: Sabotage, how: &str) {
    let noticed: Vec<String> = (0..2000).filter_map(|seed| play(seed, Some(sabotage), false).err()).collect();
    let as_expected = noticed.iter().filter(|wrong| wrong.contains(how)).count();
    println!("{sabotage:?}: {as_expected} of {}", noticed.len());
    assert!(as_expected > 0, "{sabotage:?} leads to {:?}", noticed.first());
}

#[test]
fn receivers_that_count_every_run_are_noticed() {
    assert_noticed(Sabotage::CountEveryRun, "was due");
}

#[test]
fn units_that_keep_threads_while_they_wait_are_noticed() {
    assert_noticed(Sabotage::BlockThreads, "everybody waits");
}

#[test]
fn lost_units_that_do_not_run_again_are_noticed() {
    assert_noticed(Sabotage::Machine(Rule::RunLostUnitsAgain), "everybody waits");
}

#[test]
fn a_lost_partition_without_a_restart_is_noticed() {
    assert_noticed(Sabotage::Machine(Rule::RestartWithoutPartition), "everybody waits");
}

#[test]
fn a_broken_connection_without_a_restart_is_noticed() {
    assert_noticed(Sabotage::Machine(Rule::RestartAfterBrokenConnection), "everybody waits");
}

#[test]
fn units_that_run_before_their_filters_are_noticed() {
    assert_noticed(Sabotage::Machine(Rule::WaitForFilters), "before its filters are told");
}
