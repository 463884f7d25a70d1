//! Queries on several nodes.
//!
//! ```text
//!   coordinator                                            workers
//!   session ─► plan_fragmenter ─► coordinator ──control──► worker ─► task ─► pipelines
//!                                  │  query_machine                    │
//!              membership ◄────────┼──────────heartbeats───────────────┤
//!              task (root) ◄───────┴─────────── exchange ──────────────┴──► task on other workers
//! ```
//!
//! | to read | in |
//! |---|---|
//! | stages, units, failures, step by step | `README.md` in this folder |
//! | how a plan is cut | [`plan_fragmenter`] |
//! | what nodes say to each other | [`control`], [`flight`], [`security`] |
//! | who decides | [`query_machine`], [`node_scheduler`] (no I/O, no clock) |
//! | who is alive | [`membership`] |
//! | what a node does | [`worker`], [`task`], [`exchange`] |
//! | a query's life | [`coordinator`] |
//!
//! A node on its own never comes here. Only this folder knows Flight and tonic.

pub mod attempts;
pub mod control;
pub mod coordinator;
pub mod error;
pub mod exchange;
pub mod flight;
pub mod launch;
pub mod membership;
pub mod node;
pub mod node_scheduler;
pub mod plan_fragmenter;
pub mod query_machine;
pub mod security;
pub mod task;
pub mod transport;
pub mod worker;
pub mod worker_directory;

/// Number of the language nodes speak: raised with every change of plans, messages, frames or hashes.
pub const PROTOCOL: u64 = 1;
