//! Rules that a test can break, to see that the simulator notices: a test that cannot fail shows nothing.

use super::QueryMachine;

/// A rule without which results are wrong or never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Units of a lost node run again elsewhere.
    RunLostUnitsAgain,
    /// An unfinished partition that is lost ends the attempt.
    RestartWithoutPartition,
    /// A connection that broke between two nodes that live ends the attempt.
    RestartAfterBrokenConnection,
    /// No unit runs before the filters of its fragment are known.
    WaitForFilters,
}

impl QueryMachine {
    /// Whether a rule is broken on purpose: never outside of tests.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests look")]
    pub(super) fn breaks(&self, _: Rule) -> bool {
        false
    }

    /// Whether a rule is broken on purpose.
    #[cfg(test)]
    pub(super) fn breaks(&self, rule: Rule) -> bool {
        self.broken == Some(rule)
    }
}
