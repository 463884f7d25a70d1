//! INTERSECT and EXCEPT, distinct and ALL, by counting rows of both sides in a hash table.

use std::sync::Arc;

use arrow::datatypes::DataType;
use pipelines::{Sink, Source};
use serde::{Deserialize, Serialize};

/// Which rows come out. With `l` and `r` copies of a row on the two sides:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SetOperator {
    /// One if `l > 0` and `r > 0`.
    Intersect,
    /// `min(l, r)`.
    IntersectAll,
    /// One if `l > 0` and `r = 0`.
    Except,
    /// `max(l - r, 0)`.
    ExceptAll,
}

/// A set operation of two inputs with the same column types; NULLs are equal to each other.
pub struct SetOperation {}

impl SetOperation {
    /// A set operation that is about to be placed into a graph.
    pub fn new(_operator: SetOperator, _types: Vec<DataType>) -> Arc<Self> {
        Arc::new(SetOperation {})
    }

    /// Where the left input's rows go.
    pub fn left_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        panic!("not here yet")
    }

    /// Where the right input's rows go, after the left sink has finished.
    pub fn right_sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        panic!("not here yet")
    }

    /// The result, after the right sink has finished.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        panic!("not here yet")
    }
}
