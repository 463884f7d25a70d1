//! A server in this process, and real clients that speak the PostgreSQL protocol with it.

mod cancel;
mod client;
mod errors;
mod extended;
#[path = "../sql/fixture.rs"]
mod fixture;
mod http;
mod limits;
mod policy;
mod psql;
mod queries;
mod simple;
mod tpch;
mod transactions;
mod types;
mod web;
