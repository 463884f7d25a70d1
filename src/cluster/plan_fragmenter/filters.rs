//! Runtime filters between fragments: which are kept, and who waits for whom.
//!
//! A filter is what one build side holds. It is kept
//! - within a fragment; if every unit builds its own part of the build side, only for driving scans, which read the same part;
//! - for driving scans of a leaf fragment, made in another fragment, if there the build sides of all units and nodes together are
//!   the whole one: the coordinator unites them.
//!
//! It is dropped where a unit could wait for rows that come only after it has run, and where no scan is left that reads it.
//!
//! Position: when fragments have their numbers, before nodes are numbered.

use std::collections::{BTreeSet, HashMap};

use super::drafts::{Draft, Place, senders};
use crate::plan::{
    logical::CteId,
    physical::{NodeId, PhysicalJoin, PhysicalOperator, PhysicalPlan, RuntimeFilterId},
};

/// The filters that cross fragments, per fragment.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Crossing {
    pub filters_in: BTreeSet<RuntimeFilterId>,
    pub filters_out: BTreeSet<RuntimeFilterId>,
}

/// Where a filter is made.
struct Maker {
    fragment: usize,
    /// Every unit makes one of its own part.
    is_per_unit: bool,
    needs: BuildNeeds,
}

/// What has to be there before a build side is complete.
#[derive(Default)]
struct BuildNeeds {
    fragments: Vec<usize>,
    filters: Vec<RuntimeFilterId>,
}

/// Decides about every filter of every scan.
pub(super) fn settle(fragments: &mut [Draft]) -> Vec<Crossing> {
    let makers = makers(fragments);
    let mut waits = Waits {
        makers: &makers,
        senders: fragments.iter().map(|fragment| senders(&fragment.plan)).collect(),
        crossing: vec![Crossing::default(); fragments.len()],
    };
    let mut read = BTreeSet::new();
    for (number, fragment) in fragments.iter_mut().enumerate() {
        let drivers = drivers(fragment);
        fragment.plan.for_each_mut(&mut |node| {
            let is_driver = drivers.contains(&node.id);
            if let PhysicalOperator::TableScan { runtime_filters, .. } = &mut node.operator {
                runtime_filters.retain(|(filter, _)| waits.keeps(*filter, number, is_driver));
                read.extend(runtime_filters.iter().map(|(filter, _)| *filter));
            }
        });
    }
    let crossing = waits.crossing;
    for fragment in fragments {
        fragment.plan.for_each_mut(&mut |node| {
            if let PhysicalOperator::HashJoin(join) = &mut node.operator {
                join.runtime_filters.iter_mut().for_each(|filter| *filter = filter.filter(|filter| read.contains(filter)));
            }
        });
    }
    crossing
}

struct Waits<'a> {
    makers: &'a HashMap<RuntimeFilterId, Maker>,
    /// Per fragment, whose rows it reads.
    senders: Vec<Vec<usize>>,
    crossing: Vec<Crossing>,
}

impl Waits<'_> {
    /// Whether a scan of a fragment keeps a filter; if it comes from elsewhere, the fragment waits for it from now on.
    fn keeps(&mut self, filter: RuntimeFilterId, reader: usize, is_driver: bool) -> bool {
        let Some(maker) = self.makers.get(&filter) else { return false };
        if maker.fragment == reader {
            return is_driver || !maker.is_per_unit;
        }
        if !is_driver || maker.is_per_unit || self.filter_needs(filter, reader, &mut Seen::default()) {
            return false;
        }
        self.crossing[reader].filters_in.insert(filter);
        self.crossing[maker.fragment].filters_out.insert(filter);
        true
    }

    /// Whether rows of `fragment` are needed before the filter is known.
    fn filter_needs(&self, filter: RuntimeFilterId, fragment: usize, seen: &mut Seen) -> bool {
        let Some(maker) = self.makers.get(&filter) else { return false };
        if !seen.filters.insert(filter) {
            return false;
        }
        self.start_needs(maker.fragment, fragment, seen)
            || maker.needs.filters.iter().any(|below| self.filter_needs(*below, fragment, seen))
            || maker.needs.fragments.iter().any(|sender| self.end_needs(*sender, fragment, seen))
    }

    /// Whether rows of `fragment` are needed before units of `started` run.
    fn start_needs(&self, started: usize, fragment: usize, seen: &mut Seen) -> bool {
        self.crossing[started].filters_in.iter().any(|filter| self.filter_needs(*filter, fragment, seen))
    }

    /// Whether rows of `fragment` are needed before `ended` has given all of its own.
    fn end_needs(&self, ended: usize, fragment: usize, seen: &mut Seen) -> bool {
        if ended == fragment {
            return true;
        }
        seen.fragments.insert(ended)
            && (self.start_needs(ended, fragment, seen) || self.senders[ended].iter().any(|sender| self.end_needs(*sender, fragment, seen)))
    }
}

#[derive(Default)]
struct Seen {
    filters: BTreeSet<RuntimeFilterId>,
    fragments: BTreeSet<usize>,
}

fn makers(fragments: &[Draft]) -> HashMap<RuntimeFilterId, Maker> {
    let mut makers = HashMap::new();
    for (number, fragment) in fragments.iter().enumerate() {
        let drivers = drivers(fragment);
        let ctes = cte_senders(&fragment.plan);
        fragment.plan.for_each(&mut |node| {
            if let PhysicalOperator::HashJoin(join) = &node.operator {
                for filter in join.runtime_filters.iter().flatten() {
                    let is_per_unit = contains(&join.build, &drivers);
                    makers.insert(*filter, Maker { fragment: number, is_per_unit, needs: build_needs(join, &ctes) });
                }
            }
        });
    }
    makers
}

fn build_needs(join: &PhysicalJoin, ctes: &HashMap<CteId, Vec<usize>>) -> BuildNeeds {
    let mut needs = BuildNeeds { fragments: senders(&join.build), filters: vec![] };
    join.build.for_each(&mut |node| match &node.operator {
        PhysicalOperator::TableScan { runtime_filters, .. } => needs.filters.extend(runtime_filters.iter().map(|(filter, _)| *filter)),
        PhysicalOperator::CteScan { cte, .. } => needs.fragments.extend(ctes.get(cte).into_iter().flatten()),
        _ => {}
    });
    needs
}

/// The fragments that each CTE of a plan is made of. One that reads another is made of what all before it are.
fn cte_senders(plan: &PhysicalPlan) -> HashMap<CteId, Vec<usize>> {
    let mut found = HashMap::new();
    plan.for_each(&mut |node| {
        if let PhysicalOperator::With { ctes, .. } = &node.operator {
            let mut so_far = vec![];
            for (cte, plan) in ctes {
                so_far.extend(senders(plan));
                found.insert(*cte, so_far.clone());
            }
        }
    });
    found
}

fn drivers(draft: &Draft) -> BTreeSet<NodeId> {
    match &draft.place {
        Place::Leaf(leaf) => leaf.scans.iter().copied().collect(),
        Place::Partitioned | Place::Coordinator => BTreeSet::new(),
    }
}

fn contains(plan: &PhysicalPlan, wanted: &BTreeSet<NodeId>) -> bool {
    let mut found = false;
    plan.for_each(&mut |node| found |= wanted.contains(&node.id));
    found
}
