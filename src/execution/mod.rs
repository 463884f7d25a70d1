//! Running a plan: pipelines in, rows out, and what happened as a profile.

pub mod profile;
pub mod query;
pub mod results;
