//! Units that take unusually long get a second run on an idle node; the first run that ends counts.
//!
//! Position: a part of [`QueryMachine`]. Harmless to the result, because receivers hold a leaf unit's rows back until it has ended, and
//! take the first complete run.

use std::time::Duration;

use super::{QueryMachine, is_leaf, units::LiveRun};
use crate::{cluster::node::NodeIndex, plan::fragment::FragmentId};

/// Nobody is a straggler before: a second run would not have begun when the first ends.
const SHORTEST: Duration = Duration::from_millis(200);

impl QueryMachine {
    /// Runs what is due a second time, as far as there are idle nodes.
    pub(super) fn duplicate_stragglers(&mut self, now: Duration) {
        for fragment in self.ending_fragments() {
            for (run, due) in self.candidates(fragment) {
                if due <= now
                    && let Some(node) = self.idle_node(&run)
                {
                    self.scheduler.take_slot(node, fragment);
                    self.run(node, run.run.id, now);
                }
            }
        }
    }

    /// When the next second run is due, if there is somebody to run it.
    pub(super) fn next_straggler(&self) -> Option<Duration> {
        let candidates = self.ending_fragments().into_iter().flat_map(|fragment| self.candidates(fragment));
        candidates.filter(|(run, _)| self.idle_node(run).is_some()).map(|(_, due)| due).min()
    }

    /// Leaf fragments of which nothing waits and something runs.
    fn ending_fragments(&self) -> Vec<FragmentId> {
        let leaves = self.plan.fragments.iter().filter(|fragment| self.speculation && is_leaf(fragment)).map(|fragment| fragment.id);
        leaves.filter(|fragment| !self.units.is_done(*fragment) && !self.scheduler.is_waiting(*fragment)).collect()
    }

    /// The only runs of their units, and when they have taken twice as long as others.
    fn candidates(&self, fragment: FragmentId) -> Vec<(LiveRun, Duration)> {
        let Some(median) = self.units.median_duration(fragment) else { return vec![] };
        let patience = SHORTEST.max(2 * median);
        self.units.lone_runs(fragment).into_iter().map(|run| (run, run.since + patience)).collect()
    }

    fn idle_node(&self, run: &LiveRun) -> Option<NodeIndex> {
        self.scheduler.idle_node(run.run.id.fragment, run.node)
    }
}
