//! Runtime filters on their way from the build sides of one fragment, over the coordinator, to the scans of another.
//!
//! A filter is known when every part of it is there: one of every worker if the maker is partitioned, because each has seen other
//! keys; one of every worker that lives if the maker is a leaf, because all have built the same; one if the coordinator makes it. A
//! part that says "everything passes", or that its maker has ended without sending, makes the whole say so.
//!
//! Position: decides nothing but what is known; [`super::QueryMachine`] holds units back that wait for it.

use std::collections::{BTreeMap, BTreeSet};

use operators::runtime_filter::RuntimeFilter;

use crate::{
    cluster::node::NodeIndex,
    plan::{
        fragment::{DistributedPlan, FilteredKeys, FragmentId, Placement},
        physical::RuntimeFilterId,
    },
};

/// The filters of an attempt.
#[derive(Debug)]
pub(super) struct Filters {
    filters: BTreeMap<RuntimeFilterId, Filter>,
}

#[derive(Debug)]
enum Filter {
    Coming {
        maker: Maker,
        /// The maker has ended: what is missing will not come.
        is_maker_done: bool,
        parts: BTreeMap<NodeIndex, Option<RuntimeFilter>>,
    },
    Known {
        value: Option<RuntimeFilter>,
        told: BTreeSet<NodeIndex>,
    },
}

#[derive(Debug)]
enum Maker {
    Partitioned(FragmentId),
    Leaf(FragmentId),
    Coordinator(FragmentId),
}

impl Filters {
    /// All filters of the plan. One that is used but not made is known from the start: everything passes.
    pub(super) fn new(plan: &DistributedPlan) -> Self {
        let mut filters = BTreeMap::new();
        for fragment in &plan.fragments {
            let maker = match fragment.placement {
                Placement::Leaf { .. } => Maker::Leaf,
                Placement::Partitioned => Maker::Partitioned,
                Placement::Coordinator => Maker::Coordinator,
            };
            for filter in &fragment.filters_out {
                filters.insert(*filter, Filter::Coming { maker: maker(fragment.id), is_maker_done: false, parts: BTreeMap::new() });
            }
        }
        for filter in plan.fragments.iter().flat_map(|fragment| &fragment.filters_in) {
            filters.entry(*filter).or_insert_with(|| Filter::known(None));
        }
        Filters { filters }
    }

    /// Takes a part. A node's first counts; what a leaf fragment says of a single unit does not, because others would be missing.
    pub(super) fn add(&mut self, node: NodeIndex, filter: RuntimeFilterId, is_of_unit: bool, value: Option<RuntimeFilter>) {
        if let Some(Filter::Coming { maker, parts, .. }) = self.filters.get_mut(&filter)
            && !(is_of_unit && matches!(maker, Maker::Leaf(_)))
        {
            parts.entry(node).or_insert(value);
        }
    }

    /// The unit of a fragment that is not a leaf has ended on a node: its part has come before or will not.
    pub(super) fn unit_done(&mut self, node: NodeIndex, fragment: FragmentId) {
        for filter in self.filters.values_mut() {
            if let Filter::Coming { maker: Maker::Partitioned(maker) | Maker::Coordinator(maker), parts, .. } = filter
                && *maker == fragment
            {
                parts.entry(node).or_insert(None);
            }
        }
    }

    /// All units of a fragment have ended.
    pub(super) fn fragment_done(&mut self, fragment: FragmentId) {
        for filter in self.filters.values_mut() {
            if let Filter::Coming { maker: Maker::Leaf(maker), is_maker_done, .. } = filter {
                *is_maker_done |= *maker == fragment;
            }
        }
    }

    /// Unites the parts of every filter of which all are there.
    pub(super) fn settle(&mut self, num_workers: usize, is_alive: impl Fn(NodeIndex) -> bool) {
        let workers = || (1..=num_workers).map(|node| NodeIndex(node as u16));
        for filter in self.filters.values_mut() {
            let Filter::Coming { maker, is_maker_done, parts } = filter else { continue };
            let has_part = |node: NodeIndex| parts.contains_key(&node);
            // A lost node whose partitioned unit was done has left its part; were it not done, the attempt would be over.
            let is_complete = match maker {
                Maker::Partitioned(_) => workers().all(has_part),
                Maker::Leaf(_) => workers().filter(|node| is_alive(*node)).all(has_part),
                Maker::Coordinator(_) => has_part(NodeIndex::COORDINATOR),
            };
            if is_complete {
                *filter = Filter::known(unite(std::mem::take(parts).into_values().collect()));
            } else if *is_maker_done {
                *filter = Filter::known(None);
            }
        }
    }

    /// Whether one of the filters lets none of the keys pass that a unit has for it.
    pub(super) fn exclude(&self, keys: &[FilteredKeys]) -> bool {
        keys.iter().any(|keys| match self.filters.get(&keys.filter) {
            Some(Filter::Known { value: Some(filter), .. }) => !filter.overlaps(keys.min, keys.max),
            _ => false,
        })
    }

    /// Whether a filter is known.
    pub(super) fn is_known(&self, filter: RuntimeFilterId) -> bool {
        matches!(self.filters.get(&filter), Some(Filter::Known { .. }))
    }

    /// The filter, if it is known and the node has not been told it yet; from now on it has.
    pub(super) fn tell(&mut self, node: NodeIndex, filter: RuntimeFilterId) -> Option<Option<RuntimeFilter>> {
        match self.filters.get_mut(&filter)? {
            Filter::Known { value, told } => told.insert(node).then(|| value.clone()),
            Filter::Coming { .. } => None,
        }
    }
}

impl Filter {
    fn known(value: Option<RuntimeFilter>) -> Self {
        Filter::Known { value, told: BTreeSet::new() }
    }
}

/// What passes any of the parts. Without parts nothing is known, so everything passes.
fn unite(parts: Vec<Option<RuntimeFilter>>) -> Option<RuntimeFilter> {
    let parts: Vec<RuntimeFilter> = parts.into_iter().collect::<Option<_>>()?;
    (!parts.is_empty()).then(|| RuntimeFilter::union(parts))
}
