//! Expressions and relational operators, as sources, operators and sinks of `pipelines`.
//!
//! | what | roles | breaks the pipeline | memory |
//! |---|---|---|---|
//! | [`filter`] | operator | no | a batch |
//! | [`project`] | operator | no | a batch |
//! | [`limit`] | operator | no | none |
//! | [`values`] | source | – | its rows |
//! | [`buffer`] | sink, source | yes | its input |
//! | [`hash_join`] | sink (build side), operator (probe side), source (unmatched build rows) | build side | build side |
//! | [`nested_loop_join`] | the same three | build side | build side |
//! | [`aggregate`] | sink, source | yes | its groups |
//! | [`sort`] | sink, source; with a limit only the first rows are kept | yes | its input, or the limit |
//! | [`set_operation`] | two sinks, source | yes | distinct rows |
//!
//! Every relational operator is one shared object (`HashJoin`, `Aggregate`, `Sort`, …) made from a plain-data
//! specification; its methods hand out the roles that the pipeline builder places into the graph.
//!
//! **Physical types.** The type of every column is fixed when the operator is made, see [`types`]; only
//! string columns may arrive as `Utf8View` or as `Dictionary(UInt32, Utf8View)`, batch by batch.
//!
//! Deliberately elsewhere: SQL text, names, coercion and plans (`arneb`); threads and scheduling (`pipelines`).

pub mod aggregate;
pub mod buffer;
pub mod error;
pub mod expression;
pub mod filter;
pub mod hash_join;
mod input;
pub mod limit;
pub mod nested_loop_join;
pub mod project;
pub mod runtime_filter;
pub mod scalar;
pub mod set_operation;
pub mod sort;
pub mod types;
pub mod values;

pub use error::{Error, Result};
pub use expression::Expression;
pub use scalar::Scalar;
