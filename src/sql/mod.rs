//! The SQL front end: text → statements ([`parser`]) → logical plans ([`binder`]).
//!
//! PostgreSQL's dialect, PostgreSQL's coercions. What is not supported is refused with 0A000 and its place.

pub mod binder;
pub mod coercion;
pub mod functions;
pub mod literal;
pub mod parser;
pub mod position;
pub mod statement;
