//! Binding over TPC-H's tables: plan shapes, types, names, every error code with its place.

mod catalog;
mod errors;
mod parameters;
mod plans;
mod tpch;
mod types;
