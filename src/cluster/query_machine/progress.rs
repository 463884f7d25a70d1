//! How far an attempt has come, for those who watch.

use crate::plan::fragment::FragmentId;

/// How far an attempt has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Units that are done, of all fragments.
    pub units_done: u32,
    /// Units there are.
    pub units_total: u32,
    /// By fragment, in the plan's order.
    pub fragments: Vec<FragmentProgress>,
}

/// How far a fragment has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentProgress {
    /// Which.
    pub fragment: FragmentId,
    /// Units that are done.
    pub units_done: u32,
    /// Units that a node has.
    pub units_running: u32,
    /// Units there are.
    pub units_total: u32,
}

impl Progress {
    pub(super) fn of(fragments: Vec<FragmentProgress>) -> Self {
        Progress {
            units_done: fragments.iter().map(|fragment| fragment.units_done).sum(),
            units_total: fragments.iter().map(|fragment| fragment.units_total).sum(),
            fragments,
        }
    }
}
