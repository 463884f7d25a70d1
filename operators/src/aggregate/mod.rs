//! Aggregation: groups by keys, or one group of everything.

use std::sync::Arc;

use arrow::datatypes::DataType;
use pipelines::{Sink, Source};
use serde::{Deserialize, Serialize};

use crate::Expression;

/// An aggregate function. NULL arguments are skipped unless said otherwise; over no row all but the counts are NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AggregateFunction {
    /// `count(*)` → Int64
    CountStar,
    /// `count(x)` → Int64
    Count,
    /// `sum(x)`: Int16/Int32 → Int64; Int64 → Decimal128(38, 0); decimals → Decimal128(38, s); floats → same type
    Sum,
    /// `min(x)` → type of the argument
    Min,
    /// `max(x)` → type of the argument
    Max,
    /// `avg(x)`: integers and decimals → Decimal128(38, 16); floats → Float64
    Average,
    /// Any value of the group (first seen, NULL included): for columns that the keys determine
    First,
    /// `bool_and(x)` → Boolean
    BoolAnd,
    /// `bool_or(x)` → Boolean
    BoolOr,
    /// `stddev_samp(Float64)`
    StddevSamp,
    /// `stddev_pop(Float64)`
    StddevPop,
    /// `var_samp(Float64)`
    VarSamp,
    /// `var_pop(Float64)`
    VarPop,
    /// `string_agg(text, delimiter)` → text, in the order of arrival
    StringAgg,
}

impl AggregateFunction {
    /// Its name in SQL.
    pub fn sql_name(self) -> &'static str {
        match self {
            AggregateFunction::CountStar | AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
            AggregateFunction::Average => "avg",
            AggregateFunction::First => "first",
            AggregateFunction::BoolAnd => "bool_and",
            AggregateFunction::BoolOr => "bool_or",
            AggregateFunction::StddevSamp => "stddev_samp",
            AggregateFunction::StddevPop => "stddev_pop",
            AggregateFunction::VarSamp => "var_samp",
            AggregateFunction::VarPop => "var_pop",
            AggregateFunction::StringAgg => "string_agg",
        }
    }
}

/// One aggregate of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// Over the input's columns.
    pub arguments: Vec<Expression>,
    /// Only distinct arguments count.
    pub distinct: bool,
    /// Only rows for which this is true count.
    pub filter: Option<Expression>,
    /// Type of the result.
    pub data_type: DataType,
}

/// An aggregation as plain data. Rows come out as the keys, then the aggregates. Without keys exactly one
/// row comes out, even over no input.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// Over the input's columns; NULL is a key like any other.
    pub keys: Vec<Expression>,
    /// In order.
    pub aggregates: Vec<AggregateCall>,
    /// Types of the input's columns.
    pub input_types: Vec<DataType>,
    /// Per key: bounds of an integer-like key as statistics know them. They choose the layout only; keys
    /// outside are handled all the same.
    pub key_bounds: Vec<Option<(i64, i64)>>,
    /// Expected number of groups; a guess is fine.
    pub estimated_groups: usize,
}

/// An aggregation.
pub struct Aggregate {}

impl Aggregate {
    /// An aggregation that is about to be placed into a graph.
    pub fn new(_spec: AggregateSpec) -> Arc<Self> {
        Arc::new(Aggregate {})
    }

    /// Where the rows go.
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        panic!("not here yet")
    }

    /// The groups, after the sink has finished.
    pub fn source(self: &Arc<Self>) -> Arc<dyn Source> {
        panic!("not here yet")
    }
}
