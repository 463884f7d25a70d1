//! Running a plan: pipelines in, rows out.

pub mod profile;
pub mod results;
