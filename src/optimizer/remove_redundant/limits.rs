//! Limits: one instead of two, below what does not change the number of rows, inside unions.

use crate::plan::logical::*;

/// `limit` rows after `offset` of `input`, whose own limits are done.
pub(super) fn push_down(input: LogicalPlan, limit: Option<u64>, offset: u64) -> LogicalPlan {
    let no_limit = limit.is_none() && offset == 0;
    let enough = limit.is_none_or(|limit| limit >= 1) && offset == 0 && input.has_at_most_one_row();
    if no_limit || enough {
        return input;
    }
    if limit == Some(0) {
        return input.emptied();
    }
    match input {
        // The rows that survive first, then what is computed of them.
        LogicalPlan::Project { input, expressions } => push_down(*input, limit, offset).projected(expressions),
        LogicalPlan::Limit { input, limit: inner_limit, offset: inner_offset } => {
            let remaining = inner_limit.map(|inner| inner.saturating_sub(offset));
            let limit = [limit, remaining].into_iter().flatten().min();
            push_down(*input, limit, inner_offset.saturating_add(offset))
        }
        LogicalPlan::UnionAll { inputs, output } => {
            let enough = limit.map(|limit| limit.saturating_add(offset));
            let inputs = inputs.into_iter().map(|input| if enough.is_some() { push_down(input, enough, 0) } else { input }).collect();
            limited(LogicalPlan::UnionAll { inputs, output }, limit, offset)
        }
        other => limited(other, limit, offset),
    }
}

fn limited(input: LogicalPlan, limit: Option<u64>, offset: u64) -> LogicalPlan {
    LogicalPlan::Limit { input: Box::new(input), limit, offset }
}
