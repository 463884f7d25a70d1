//! Plans: plain data, serializable, without behaviour beyond looking at themselves.
//!
//! [`logical`] says what is wanted, in columns that have an identity; [`physical`] says how it is computed,
//! in positions within batches; [`fragment`] where: pieces of a physical plan for several nodes. [`display`] and [`explain`] are their texts. Rules that change plans are in
//! `optimizer`, the step between the two in `planner`.

pub mod display;
pub mod explain;
pub mod fragment;
pub mod logical;
pub mod physical;
pub mod properties;
pub mod rewrite;
