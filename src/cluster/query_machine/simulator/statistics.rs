//! Counts what the simulator has met.

/// What a run has met: to see that the simulator meets everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    pub succeeded: u32,
    pub failed: u32,
    pub poisoned: u32,
    pub restarts: u32,
    pub nodes_gone: u32,
    /// Runs of units that had been run before.
    pub second_runs: u32,
    pub forgotten: u32,
    pub filters: u32,
    pub probes: u32,
    /// Successes of an attempt that had lost a node.
    pub survived: u32,
}

impl Statistics {
    /// Counts another run.
    pub fn add(&mut self, other: Statistics) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.poisoned += other.poisoned;
        self.restarts += other.restarts;
        self.nodes_gone += other.nodes_gone;
        self.second_runs += other.second_runs;
        self.forgotten += other.forgotten;
        self.filters += other.filters;
        self.probes += other.probes;
        self.survived += other.survived;
    }
}
