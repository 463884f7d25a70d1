//! Sort, and top-k where there is a limit.

use std::sync::Arc;

use arrow::datatypes::DataType;
use pipelines::{Sink, Source};
use serde::{Deserialize, Serialize};

use crate::Expression;

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    /// Over the input's columns.
    pub expression: Expression,
    /// Largest first.
    pub descending: bool,
    /// NULLs before everything else.
    pub nulls_first: bool,
}

/// A sort as plain data. All input columns come out, rows `offset .. offset + limit` of the order.
#[derive(Debug, Clone)]
pub struct SortSpec {
    /// Most significant first; at least one.
    pub keys: Vec<SortKey>,
    /// Types of the input's columns.
    pub input_types: Vec<DataType>,
    /// At most this many rows come out.
    pub limit: Option<usize>,
    /// Rows to leave out first.
    pub offset: usize,
}

/// A sort.
pub struct Sort {}

impl Sort {
    /// A sort that is about to be placed into a graph.
    pub fn new(_spec: SortSpec) -> Arc<Self> {
        Arc::new(Sort {})
    }

    /// Where the rows go.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        panic!("not here yet")
    }

    /// The rows in order, after the sink has finished; one chain.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        panic!("not here yet")
    }
}
