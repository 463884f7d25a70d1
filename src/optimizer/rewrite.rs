//! Moving plans out of their places and back, for rules that rebuild trees.

use crate::{
    error::Result,
    plan::logical::{LogicalPlan, Values},
};

/// Takes a plan out of its place; what stays behind is empty and to be replaced.
pub(super) fn take(place: &mut LogicalPlan) -> LogicalPlan {
    std::mem::replace(place, LogicalPlan::Values(Values { columns: vec![], rows: vec![] }))
}

/// Rewrites every direct input.
///
/// # Errors
/// What `rewrite` fails with.
pub(super) fn replace_inputs(mut plan: LogicalPlan, rewrite: &mut dyn FnMut(LogicalPlan) -> Result<LogicalPlan>) -> Result<LogicalPlan> {
    for input in plan.inputs_mut() {
        *input = rewrite(take(input))?;
    }
    Ok(plan)
}
