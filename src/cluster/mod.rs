//! Queries on several nodes.
//!
//! Skeleton.
pub mod control;
pub mod error;
pub mod exchange;
pub mod flight;
pub mod membership;
pub mod node;
pub mod security;

/// Number of the language nodes speak: raised with every change of plans, messages, frames or hashes.
pub const PROTOCOL: u64 = 1;
