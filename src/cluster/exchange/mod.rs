//! Exchanges: rows on their way from the units of one fragment to those of another.
//!
//! Skeleton.

use super::node::NodeIndex;
use crate::plan::fragment::ExchangeSpec;

/// One exchange that a unit's rows go to.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Which, and which row goes where.
    pub spec: ExchangeSpec,
    /// The nodes that receive. One for gather and merge.
    pub receivers: Vec<NodeIndex>,
}
