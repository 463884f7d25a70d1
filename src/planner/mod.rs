//! From a logical plan to pipelines: first the algorithms ([`physical`]), then the graph ([`pipeline_builder`]).

pub mod expression;
pub mod physical;
pub mod pipeline_builder;
pub mod runtime_filters;
