//! A fragment on this node: units that wait, units that run, and what they share.
//!
//! Position: part of [`super::NodeQuery`]'s state. Slots are per fragment, never per node: a unit whose rows nobody takes yet must
//! not keep a unit of another fragment from starting, because that one may be what everybody waits for.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use pipelines::CancelToken;

use crate::{
    cluster::control::{UnitRun, units_at_once},
    connectors::ScanPart,
    plan::{
        fragment::{Fragment, Placement, UnitPart},
        physical::NodeId,
    },
    planner::pipeline_builder::SharedParts,
};

/// What a unit reads of each driving scan.
pub type Parts = HashMap<NodeId, ScanPart>;

/// What the units of a fragment have in common.
pub(super) enum SharedState {
    /// Its graph runs, or has not started yet.
    Pending,
    /// It is there.
    Ready(Arc<SharedParts>),
}

/// A fragment on this node.
pub(super) struct FragmentState {
    pub shared: SharedState,
    /// Units that were asked for and have not started.
    pub waiting: VecDeque<(UnitRun, Parts)>,
    /// Units whose graph runs or is being made.
    pub running: HashMap<UnitRun, CancelToken>,
    /// Units that have ended and whose rows have arrived.
    pub units_done: u32,
    slots: usize,
}

/// A unit that may start.
pub(super) struct NextStep {
    pub run: UnitRun,
    pub parts: Parts,
    pub shared: Arc<SharedParts>,
    /// Set when it is forgotten.
    pub token: CancelToken,
}

impl FragmentState {
    /// Of a fragment on a node with so many threads.
    pub fn new(num_threads: usize) -> Self {
        FragmentState {
            shared: SharedState::Pending,
            waiting: VecDeque::new(),
            running: HashMap::new(),
            units_done: 0,
            slots: units_at_once(num_threads),
        }
    }

    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// The next unit, if there is one, a slot for it, and what it needs; it is among those that run from now on.
    pub fn next(&mut self) -> Option<NextStep> {
        let SharedState::Ready(shared) = &self.shared else { return None };
        if self.running.len() >= self.slots {
            return None;
        }
        let (run, parts) = self.waiting.pop_front()?;
        let token = CancelToken::new();
        self.running.insert(run, token.clone());
        Some(NextStep { run, parts, shared: Arc::clone(shared), token })
    }

    /// Forgets a run; answers the token of its graph if it runs.
    pub fn forget(&mut self, run: UnitRun) -> Option<CancelToken> {
        self.waiting.retain(|(other, _)| *other != run);
        self.running.remove(&run)
    }

    /// Forgets everything; answers the tokens of what runs.
    pub fn clear(&mut self) -> Vec<CancelToken> {
        self.waiting.clear();
        self.shared = SharedState::Pending;
        self.running.drain().map(|(_, token)| token).collect()
    }
}

/// The driving scans of a leaf fragment; none of others.
pub(super) fn drivers(fragment: &Fragment) -> HashSet<NodeId> {
    match &fragment.placement {
        Placement::Leaf { drivers, .. } => drivers.iter().map(|driver| driver.scan).collect(),
        _ => HashSet::new(),
    }
}

/// What `part` means for each driving scan of `fragment`.
pub(super) fn scan_parts(fragment: &Fragment, part: UnitPart) -> Parts {
    let Placement::Leaf { drivers, .. } = &fragment.placement else { return Parts::new() };
    let parts = drivers.iter().map(|driver| {
        let scan_part = match (&part, driver.key_column) {
            (UnitPart::KeyRange { lower, upper }, Some(column)) => ScanPart::KeyRange { column, lower: *lower, upper: *upper },
            (UnitPart::Splits(splits), _) => ScanPart::Splits(splits.clone()),
            // A plan that asks for a range of a scan without a key: nothing is read twice, and the fragmenter's tests hold it.
            (UnitPart::KeyRange { .. }, None) => ScanPart::Splits(vec![]),
        };
        (driver.scan, scan_part)
    });
    parts.collect()
}
