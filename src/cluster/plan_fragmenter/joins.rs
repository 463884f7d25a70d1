//! Joins: where their two sides meet.
//!
//! | way | what moves | legal |
//! |---|---|---|
//! | co-located | nothing: both sides are clustered by a key, and a unit is a range of it | a key of plain clustered columns; no mark |
//! | build side everywhere | it, to every node | unless build rows come out by themselves |
//! | probe side everywhere | it, to every node | unless a probe row without a match counts, or comes out once |
//! | partitioned | what is not hashed by the keys yet | a key; no mark, whose NULLs need to know the other side's |
//! | whole | both sides, to the coordinator | always |
//!
//! Where a key is NULL nothing is different: NULL has a hash class like any value, and the leaf unit without a lower bound.
//!
//! Position: among the legal ways the one whose estimate of bytes moved and hashed is lowest.

use operators::{Expression, hash_join::JoinKind};

use super::{
    Fragmenter,
    distribution::{Cut, Distribution, Leaf, LeafKey, Positions, column_index, through_build, through_probe},
    drafts::senders,
    sizes::output_bytes,
    take,
    units::expected_units,
};
use crate::{
    error::{Error, Result},
    plan::{
        fragment::Routing,
        physical::{PhysicalJoin, PhysicalOperator, PhysicalPlan},
    },
};

/// Hashing a byte into a table, compared with sending it.
const BUILD: f64 = 0.5;
/// Looking a byte up, compared with sending it.
const PROBE: f64 = 0.5;
/// When a worker is lost, units of leaf fragments run elsewhere; a partition cannot, and the query starts again. So partitions must be worth it.
const PARTITIONS: f64 = 1.5;
/// What the coordinator does alone could have been shared.
const ALONE: f64 = 2.0;

/// Where the sides of a join meet.
#[derive(Debug, Clone)]
enum Way {
    CoLocated(Leaf),
    BuildEverywhere,
    ProbeEverywhere,
    Partitioned(Partitioning),
    Whole,
}

/// The expressions by which both sides are hashed, in order; `None` where a side is already.
#[derive(Debug, Clone)]
struct Partitioning {
    /// Positions among the join's keys.
    keys: Vec<usize>,
    probe_moves: bool,
    build_moves: bool,
}

impl Fragmenter<'_> {
    /// Cuts a join and what is below it.
    pub(super) fn join(&mut self, mut plan: PhysicalPlan) -> Result<Cut> {
        let join = sides_of(&mut plan)?;
        let probe = take(&mut join.probe);
        let build = take(&mut join.build);
        let probe = self.cut(probe)?;
        let build = self.cut(build)?;
        let way = self.choose(sides_of(&mut plan)?, &probe, &build)?;
        self.join_by(way, plan, probe, build)
    }

    fn choose(&self, join: &PhysicalJoin, probe: &Cut, build: &Cut) -> Result<Way> {
        let workers = self.shape.workers as f64;
        let (probe_bytes, build_bytes) = (output_bytes(&probe.plan), output_bytes(&build.plan));
        let (probe_spread, build_spread) = (probe.distribution.is_spread(), build.distribution.is_spread());
        let (probe_inlined, build_inlined) = (self.is_inlined(probe), self.is_inlined(build));
        let moved = |stays: bool, bytes: f64| if stays { 0.0 } else { bytes + self.limits.exchange_bytes };
        if !probe_spread && !build_spread {
            return Ok(Way::Whole);
        }
        // What no unit has a part of stays with the other side that neither has.
        if (!probe_spread && build_inlined) || (!build_spread && probe_inlined && join.kind.emits_build_side()) {
            return Ok(Way::Whole);
        }
        let gathered = moved(!probe_spread || probe_inlined, probe_bytes) + moved(!build_spread || build_inlined, build_bytes);
        let mut best = (gathered + ALONE * (probe_bytes + build_bytes), Way::Whole);
        let mut offer = |cost: f64, way: Way| {
            if cost < best.0 {
                best = (cost, way);
            }
        };
        let partitioning = self.partitioning(join, probe, build);
        if let Some(leaf) = co_located(join, &probe.distribution, &build.distribution) {
            offer(BUILD * build_bytes, Way::CoLocated(leaf));
        }
        if probe_spread && !join.kind.emits_build_side() {
            let fits = build_inlined || build_bytes <= self.limits.broadcast_bytes_max;
            if fits || partitioning.is_none() {
                offer(workers * (moved(build_inlined, build_bytes) + BUILD * build_bytes), Way::BuildEverywhere);
            }
        }
        if build_spread && gives_each_build_row_its_probe_rows(join.kind) {
            let fits = probe_inlined || probe_bytes <= self.limits.broadcast_bytes_max;
            if fits || partitioning.is_none() {
                let runs = match &build.distribution {
                    Distribution::Leaf(leaf) => expected_units(leaf, &self.scans, self.shape.threads, &self.limits)? as f64,
                    _ => workers,
                };
                let cost = workers * moved(probe_inlined, probe_bytes) + runs * PROBE * probe_bytes + BUILD * build_bytes;
                offer(cost, Way::ProbeEverywhere);
            }
        }
        if let Some(partitioning) = partitioning {
            let moves = moved(!partitioning.probe_moves, probe_bytes) + moved(!partitioning.build_moves, build_bytes);
            offer(PARTITIONS * moves + BUILD * build_bytes, Way::Partitioned(partitioning));
        }
        Ok(best.1)
    }

    fn join_by(&mut self, way: Way, mut plan: PhysicalPlan, probe: Cut, build: Cut) -> Result<Cut> {
        let (probe_distribution, build_distribution) = (probe.distribution.clone(), build.distribution.clone());
        match way {
            Way::CoLocated(leaf) => {
                attach(&mut plan, probe.plan, build.plan)?;
                Ok(Cut { plan, distribution: Distribution::Leaf(leaf) })
            }
            Way::BuildEverywhere => {
                let build = if self.is_inlined(&build) { build.plan } else { self.drafts.send(build, Routing::Broadcast) };
                let join = attach(&mut plan, probe.plan, build)?;
                let distribution = probe_distribution.map(|positions| through_probe(positions, join));
                Ok(Cut { plan, distribution })
            }
            Way::ProbeEverywhere => {
                let probe = match &build_distribution {
                    _ if self.is_inlined(&probe) => probe.plan,
                    Distribution::Leaf(_) => self.drafts.send_to_be_read_often(probe),
                    _ => self.drafts.send(probe, Routing::Broadcast),
                };
                let join = attach(&mut plan, probe, build.plan)?;
                let distribution = build_distribution.map(|positions| through_build(positions, join));
                Ok(Cut { plan, distribution })
            }
            Way::Partitioned(partitioning) => self.partition(&partitioning, plan, probe, build),
            Way::Whole => {
                let is_replicated = |cut: &Cut| cut.distribution == Distribution::Replicated;
                let anywhere = (is_replicated(&probe) || self.is_inlined(&probe)) && (is_replicated(&build) || self.is_inlined(&build));
                let (probe, build) = (self.whole(probe), self.whole(build));
                attach(&mut plan, probe, build)?;
                Ok(Cut { plan, distribution: if anywhere { Distribution::Replicated } else { Distribution::Single } })
            }
        }
    }

    fn partition(&mut self, partitioning: &Partitioning, mut plan: PhysicalPlan, probe: Cut, build: Cut) -> Result<Cut> {
        let keys = &sides_of(&mut plan)?.keys;
        let probe_keys: Vec<Expression> = partitioning.keys.iter().map(|key| keys[*key].probe.clone()).collect();
        let build_keys: Vec<Expression> = partitioning.keys.iter().map(|key| keys[*key].build.clone()).collect();
        let probe_classes = classes(&probe_keys, &probe.distribution, partitioning.probe_moves);
        let build_classes = classes(&build_keys, &build.distribution, partitioning.build_moves);
        let mut moved = |cut: Cut, moves: bool, keys: Vec<Expression>| {
            if moves { self.drafts.send(cut, Routing::Hash(keys)) } else { cut.plan }
        };
        let probe = moved(probe, partitioning.probe_moves, probe_keys);
        let build = moved(build, partitioning.build_moves, build_keys);
        let join = attach(&mut plan, probe, build)?;
        let both = probe_classes.iter().zip(&build_classes);
        let outputs = both.map(|(probe, build)| &through_probe(probe, join) | &through_build(build, join)).collect();
        Ok(Cut { plan, distribution: Distribution::hash(outputs) })
    }

    /// How both sides could be hashed by the keys, moving as few bytes as possible.
    fn partitioning(&self, join: &PhysicalJoin, probe: &Cut, build: &Cut) -> Option<Partitioning> {
        if join.keys.is_empty() || matches!(join.kind, JoinKind::ProbeMark | JoinKind::BuildMark) {
            return None;
        }
        let all = Partitioning { keys: (0..join.keys.len()).collect(), probe_moves: true, build_moves: true };
        let by_probe = hashed_keys(&probe.distribution, join.keys.iter().map(|key| &key.probe)).map(|keys| Partitioning {
            build_moves: !is_hashed_by(&build.distribution, keys.iter().map(|key| &join.keys[*key].build)),
            probe_moves: false,
            keys,
        });
        let by_build = hashed_keys(&build.distribution, join.keys.iter().map(|key| &key.build)).map(|keys| Partitioning {
            probe_moves: !is_hashed_by(&probe.distribution, keys.iter().map(|key| &join.keys[*key].probe)),
            build_moves: false,
            keys,
        });
        let bytes = |way: &Partitioning| {
            let moved = |moves: bool, cut: &Cut| if moves { output_bytes(&cut.plan) } else { 0.0 };
            moved(way.probe_moves, probe) + moved(way.build_moves, build)
        };
        [by_probe, by_build, Some(all)].into_iter().flatten().min_by(|a, b| bytes(a).total_cmp(&bytes(b)))
    }

    /// Whether every node may compute all of it by itself rather than be sent it: what is there anyway, and small tables.
    fn is_inlined(&self, cut: &Cut) -> bool {
        match &cut.distribution {
            Distribution::Replicated => true,
            Distribution::Leaf(_) => {
                let bytes = self.scans.bytes_below(&cut.plan) as f64;
                bytes <= self.limits.inlined_bytes_max && senders(&cut.plan).is_empty() && gives_the_same_everywhere(&cut.plan)
            }
            Distribution::Hash(_) | Distribution::Single => false,
        }
    }

    /// All rows, on the coordinator.
    fn whole(&mut self, cut: Cut) -> PhysicalPlan {
        if self.is_inlined(&cut) { cut.plan } else { self.drafts.gather(cut) }
    }
}

/// Whether a plan gives the same rows on every node whatever order they come in.
pub(super) fn gives_the_same_everywhere(plan: &PhysicalPlan) -> bool {
    let mut same = true;
    plan.for_each(&mut |node| match &node.operator {
        PhysicalOperator::HashAggregate { aggregates, .. } => {
            same &= aggregates.iter().all(super::aggregations::ignores_order);
        }
        PhysicalOperator::Sort { limit, offset, .. } => same &= limit.is_none() && *offset == 0,
        PhysicalOperator::Limit { .. } => same = false,
        _ => {}
    });
    same
}

/// Whether the join's result for a build row needs all probe rows but no other build row, and no probe row comes out for lack of
/// a match.
fn gives_each_build_row_its_probe_rows(kind: JoinKind) -> bool {
    use JoinKind::*;
    matches!(kind, Inner | BuildOuter | BuildSemi | BuildAnti | BuildMark)
}

/// The leaf that both sides together are, if they are clustered by a key of the join.
fn co_located(join: &PhysicalJoin, probe: &Distribution, build: &Distribution) -> Option<Leaf> {
    let (Distribution::Leaf(probe), Distribution::Leaf(build)) = (probe, build) else { return None };
    if matches!(join.kind, JoinKind::ProbeMark | JoinKind::BuildMark) {
        return None;
    }
    let (probe_key, build_key) = join.keys.iter().find_map(|key| {
        let (p, b) = (column_index(&key.probe)?, column_index(&key.build)?);
        let of = |leaf: &Leaf, position: usize| leaf.keys.iter().find(|key| key.positions.contains(&position)).cloned();
        (key.probe.data_type() == key.build.data_type()).then_some(())?;
        Some((of(probe, p)?, of(build, b)?))
    })?;
    let positions = &through_probe(&probe_key.positions, join) | &through_build(&build_key.positions, join);
    Some(Leaf {
        scans: probe.scans.iter().chain(&build.scans).copied().collect(),
        keys: vec![LeafKey { columns: [probe_key.columns, build_key.columns].concat(), positions }],
        by_key: true,
        units_per_thread: probe.units_per_thread.min(build.units_per_thread),
    })
}

/// Per class by which rows are hashed, the join's key that is in it; `None` unless every class has one.
fn hashed_keys<'a>(distribution: &Distribution, keys: impl Iterator<Item = &'a Expression> + Clone) -> Option<Vec<usize>> {
    let Distribution::Hash(classes) = distribution else { return None };
    let key_of = |class: &Positions| keys.clone().position(|key| column_index(key).is_some_and(|index| class.contains(&index)));
    let found: Vec<usize> = classes.iter().map(key_of).collect::<Option<_>>()?;
    (!found.is_empty()).then_some(found)
}

/// Whether rows are hashed by exactly these expressions in this order.
fn is_hashed_by<'a>(distribution: &Distribution, keys: impl ExactSizeIterator<Item = &'a Expression>) -> bool {
    let Distribution::Hash(classes) = distribution else { return false };
    let is_in = |(class, key): (&Positions, &Expression)| column_index(key).is_some_and(|index| class.contains(&index));
    classes.len() == keys.len() && classes.iter().zip(keys).all(is_in)
}

/// The columns that hold each key of a side's hash: those known so far, or the key itself.
fn classes(keys: &[Expression], distribution: &Distribution, moves: bool) -> Vec<Positions> {
    match distribution {
        Distribution::Hash(classes) if !moves => classes.clone(),
        _ => keys.iter().map(|key| column_index(key).into_iter().collect()).collect(),
    }
}

fn sides_of(plan: &mut PhysicalPlan) -> Result<&mut PhysicalJoin> {
    match &mut plan.operator {
        PhysicalOperator::HashJoin(join) | PhysicalOperator::NestedLoopJoin(join) => Ok(join),
        _ => Err(Error::internal("a join was expected")),
    }
}

/// Gives a join its sides.
fn attach(plan: &mut PhysicalPlan, probe: PhysicalPlan, build: PhysicalPlan) -> Result<&PhysicalJoin> {
    let join = sides_of(plan)?;
    *join.probe = probe;
    *join.build = build;
    Ok(join)
}
