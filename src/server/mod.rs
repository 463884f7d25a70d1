//! The doors: the PostgreSQL protocol, and the web beside it.

pub mod pgwire;
pub mod policy;
pub mod web;
