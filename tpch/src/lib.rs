//! TPC-H: schema, data generator, the 22 queries and their answers.
//!
//! Position: beside the engine, which offers the generator as a catalog, writes it to files, and checks itself
//! against the answers in tests and benchmarks. Knows Arrow and the rules of the benchmark; deliberately not
//! here: SQL, plans, Parquet.
//!
//! [`schema`] names the tables, [`generator`] makes their rows, [`queries`](mod@queries) holds the texts,
//! [`answers`] the results and how to compare with them.

pub mod answers;
pub mod generator;
pub mod queries;
pub mod schema;

pub use answers::{Answer, Difference, answer, compare};
pub use generator::{Generator, GeneratorError};
pub use queries::{QUERY_COUNT, queries, query};
pub use schema::Table;
