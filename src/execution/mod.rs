//! Running a plan: who may run, pipelines in, rows out, what is running, and what happened as a profile.

pub mod admission;
pub mod distributed;
pub mod nodes;
pub mod profile;
pub mod query;
pub mod registry;
pub mod results;
