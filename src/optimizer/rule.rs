//! What a rule is.

use super::OptimizerContext;
use crate::{error::Result, plan::logical::Query};

/// A rewrite of a whole query. It never changes what the query computes; applied to a plan that it has nothing
/// to do with, it returns it as it was.
pub trait Rule {
    /// A verb: `push_down_filters`.
    fn name(&self) -> &'static str;

    /// Rewrites.
    ///
    /// # Errors
    /// Statistics that cannot be read; an internal error where the plan is not what earlier rules promise.
    fn apply(&self, query: Query, context: &OptimizerContext<'_>) -> Result<Query>;
}
