//! Where rows come from: the interface every kind of table has, one folder or file per kind.
//!
//! Position: below `catalog` (which finds tables by name), above files. A table turns a [`ScanRequest`] into a
//! pipeline source.

pub mod csv;
pub mod files;
pub mod live;
pub mod memory;
pub mod parquet;
pub mod part;
pub mod tpch;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use operators::{Expression, Scalar, runtime_filter::RuntimeFilterSlot};
use pipelines::Source;

use crate::error::Result;

/// A table.
pub trait Table: Send + Sync {
    /// Its columns: names, physical types (`operators::types`), and whether they may hold NULL.
    fn schema(&self) -> SchemaRef;

    /// What is known of its rows without reading them. Cheap: called for every query.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn statistics(&self) -> Result<Arc<TableStatistics>>;

    /// The share of rows (0 to 1) that pass all `filters` (over the table's columns by position), measured on
    /// a small sample; `None` where that is not worth it or not possible.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn sample_selectivity(&self, _filters: &[Expression]) -> Result<Option<f64>> {
        Ok(None)
    }

    /// A source of the rows that pass.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn scan(&self, request: ScanRequest) -> Result<Arc<dyn Source>>;

    /// The pieces nodes can read independently, in an order that every node finds the same; together every row once.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn splits(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { rows: self.statistics()?.num_rows, bytes: vec![], identity: 0 }])
    }

    /// Smallest and largest value of column `column` (an integer-like type) in each of the splits, by their number; `None` where
    /// that is not known of every split or a split may hold NULLs.
    ///
    /// # Errors
    /// When the files cannot be read.
    fn split_bounds(&self, _column: usize) -> Result<Option<Vec<(i64, i64)>>> {
        Ok(None)
    }

    /// Whether every node finds the same rows under this table's name: files and generated data, not what a node says of itself.
    fn is_shared(&self) -> bool {
        true
    }

    /// Whether `scan` applies `filters` itself, exactly; else the caller puts a filter above it, and passes
    /// all columns the filters need as `columns`.
    fn applies_filters(&self) -> bool {
        false
    }
}

/// What a scan is asked for.
#[derive(Clone, Default)]
pub struct ScanRequest {
    /// Positions in the table's schema: the columns that come out, in order. May be empty (count(*)).
    pub columns: Vec<usize>,
    /// Positions of columns that only filters use.
    pub filter_columns: Vec<usize>,
    /// Conjuncts over `columns` followed by `filter_columns`.
    pub filters: Vec<Expression>,
    /// Filters that joins publish before the scan starts, each on a position in `columns` followed by `filter_columns`.
    pub runtime_filters: Vec<(Arc<RuntimeFilterSlot>, usize)>,
    /// Expected share of rows that pass `filters`; 1 if unknown.
    pub estimated_selectivity: f64,
    /// Which rows; a part that the table does not know how to cut is all or nothing.
    pub part: ScanPart,
}

/// Which rows of a table a scan reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScanPart {
    /// All.
    #[default]
    All,
    /// Those of some of its splits, by their number.
    Splits(Vec<u32>),
    /// Those whose value in a column is in `lower .. upper` (`None`: no bound); NULLs belong where there is no lower bound.
    KeyRange {
        /// Position in the table's schema, of an integer-like type.
        column: usize,
        /// Smallest value.
        lower: Option<i64>,
        /// The value after the largest.
        upper: Option<i64>,
    },
}

/// A piece of a table that a node can read on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Its rows.
    pub rows: u64,
    /// Stored bytes per column of the schema; empty if unknown.
    pub bytes: Vec<u64>,
    /// A number of the data, the same in every process.
    pub identity: u64,
}

/// What is known of a table's rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TableStatistics {
    /// Number of rows; exact for Parquet.
    pub num_rows: u64,
    /// Per column of the schema.
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of a column's values. Unknown is always a legal answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnStatistics {
    /// A lower bound of all values that are not NULL.
    pub min: Option<Scalar>,
    /// An upper bound of all values that are not NULL.
    pub max: Option<Scalar>,
    /// Number of NULLs.
    pub null_count: Option<u64>,
    /// An estimate of the number of distinct values.
    pub distinct_count: Option<f64>,
    /// Whether the rows come clustered by this column: pieces of the table (row groups) hold ranges that do
    /// not overlap but for their ends, in ascending order.
    pub is_clustered: bool,
    /// Average bytes per value, for text.
    pub average_bytes: Option<f64>,
}
