//! arneb: a SQL engine for analytics over Parquet.
//!
//! The life of a query, and the modules in the order it meets them:
//!
//! 1. [`server`] reads bytes of the PostgreSQL protocol and asks a [`session`] to prepare and execute text.
//! 2. [`sql`] parses the text and binds it: names become columns of [`catalog`] tables, types are settled, and
//!    a [`plan::logical`] plan comes out.
//! 3. [`optimizer`] rewrites that plan, rule by rule, with statistics of the [`connectors`]' tables.
//! 4. [`planner`] chooses algorithms ([`plan::physical`]) and builds pipelines of `operators` from them.
//! 5. [`execution`] hands the pipelines to the scheduler of `pipelines` and the rows back to the session.
//!
//! [`cli`] holds the commands, [`config`] reads the TOML file, [`error`] gives every failure its SQLSTATE, [`engine`] holds what all
//! sessions share.
//!
//! Async stops at the door: only [`server`] and the receiving end of [`execution`] await.

pub mod catalog;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod connectors;
pub mod engine;
pub mod error;
pub mod execution;
pub mod optimizer;
pub mod plan;
pub mod planner;
pub mod server;
pub mod session;
pub mod sql;

pub use engine::Engine;
pub use error::{Error, Result};
pub use session::Session;
