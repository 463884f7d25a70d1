//! Counters of operators, summed over the units of a fragment on this node.
//!
//! Position: filled by [`super::NodeQuery`] when a graph ends; read into `TaskStats`.

use std::collections::BTreeMap;

use pipelines::{GraphMetrics, OperatorMetrics};

use crate::{plan::fragment::FragmentId, planner::pipeline_builder::StageLabel};

/// Counters by fragment, plan node and role.
#[derive(Default)]
pub(super) struct Counters(BTreeMap<(FragmentId, u32, &'static str), OperatorMetrics>);

impl Counters {
    /// Adds what a graph of `fragment` has counted.
    pub fn add(&mut self, fragment: FragmentId, stages: &[StageLabel], metrics: &GraphMetrics) {
        for (label, counted) in stages.iter().zip(&metrics.operators) {
            self.0.entry((fragment, label.node.0, label.role)).or_default().merge(counted);
        }
    }

    /// Those of one fragment: plan node, role, counters.
    pub fn of(&self, fragment: FragmentId) -> Vec<(u32, String, OperatorMetrics)> {
        let own = self.0.iter().filter(|((of, ..), _)| *of == fragment);
        own.map(|((_, node, role), counted)| (*node, (*role).to_owned(), counted.clone())).collect()
    }
}
