//! Clusters of real processes: they are started as the documentation says, asked through SQL and HTTP, and disturbed.
//!
//! One cluster runs at a time, so that the tests of one machine do not disturb each other more than they mean to. Longer tests are
//! ignored by default: `cargo test --test cluster -- --ignored`.

mod cancel;
mod chaos;
mod command;
mod documented;
mod fault_proxy;
mod http;
mod lost_nodes;
mod membership;
mod processes;
mod proxied;
mod refused;
mod tpch_queries;
