//! How an attempt ends early: which faults are worth another try, and what users are told of those that are not.

use super::{Action, Recovery};
use crate::{
    cluster::control::UnitId,
    error::{Error, ErrorKind},
    plan::fragment::FragmentId,
};

/// Codes of errors of the cluster that another attempt does not meet again: the node that reports them is going away.
const RETRYABLE: &[&str] = &["57P01"];

/// A unit that has been lost with this many nodes is taken for the cause.
pub(super) const MAX_LOSSES: u8 = 3;

impl Recovery {
    /// What a fault of the cluster, which nobody can mend within the attempt, ends it with.
    pub(super) fn after_fault(self, reason: String) -> Action {
        match self {
            Recovery::Auto | Recovery::Restart => Action::Restart { reason },
            Recovery::Off => Action::Fail(
                Error::new(ErrorKind::Cluster, "40001", reason)
                    .with_hint("run the query again, or allow recovery so that this is done for you"),
            ),
        }
    }

    /// What an error that a node reports ends the attempt with. Errors of the user or the data are the same in every attempt.
    pub(super) fn after_error(self, node: &str, error: Error) -> Action {
        if error.kind == ErrorKind::Cluster && RETRYABLE.contains(&error.sqlstate.0) && self != Recovery::Off {
            Action::Restart { reason: format!("node {node}: {}", error.message) }
        } else {
            Action::Fail(error)
        }
    }
}

/// A unit has taken too many nodes down; in another attempt it would take the next.
pub(super) fn poison(id: UnitId) -> Action {
    let UnitId { fragment: FragmentId(fragment), unit } = id;
    let message = format!("unit {unit} of fragment {fragment} has taken three nodes down");
    let hint = "the logs of the nodes tell how they ended; a unit that needs more memory than a node has is the usual reason";
    Action::Fail(Error::new(ErrorKind::Cluster, "53000", message).with_hint(hint))
}
