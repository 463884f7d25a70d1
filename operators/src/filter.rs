//! Keeps the rows for which a predicate is true.

use std::sync::Arc;

use pipelines::Operator;

use crate::Expression;

/// An operator that keeps the rows for which `predicate` is true (neither false nor NULL).
pub fn filter(_predicate: Expression) -> Arc<dyn Operator> {
    panic!("not here yet")
}
