//! How many rows a plan gives and what values its columns hold, from statistics of tables.

use std::collections::HashMap;

use operators::Scalar;

use crate::{
    catalog::Catalogs,
    error::Result,
    plan::logical::{ColumnId, CteId, LogicalPlan, Query},
};

/// What is expected of a plan's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Number of rows, at least 0.
    pub rows: f64,
    /// What is known of columns; absent where nothing is.
    pub columns: HashMap<ColumnId, ColumnEstimate>,
}

/// What is expected of a column's values.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnEstimate {
    /// Proven lower bound.
    pub min: Option<Scalar>,
    /// Proven upper bound.
    pub max: Option<Scalar>,
    /// Distinct values.
    pub distinct: f64,
    /// Share of NULLs.
    pub null_fraction: f64,
    /// Whether it is believed to have no duplicates (a hint for plans, never for correctness).
    pub is_unique: bool,
    /// Whether rows come clustered by it.
    pub is_clustered: bool,
}

/// Estimates plans of one query; remembers what it asked tables.
pub struct Estimator<'a> {
    catalogs: &'a Catalogs,
    ctes: HashMap<CteId, Estimate>,
}

impl<'a> Estimator<'a> {
    /// An estimator for plans of `query`.
    pub fn new(catalogs: &'a Catalogs, _query: &Query) -> Self {
        Estimator { catalogs, ctes: HashMap::new() }
    }

    /// What is expected of `plan`.
    ///
    /// # Errors
    /// When statistics cannot be read.
    pub fn estimate(&mut self, _plan: &LogicalPlan) -> Result<Estimate> {
        let _ = (&self.catalogs, &self.ctes);
        Ok(Estimate { rows: 1.0, columns: HashMap::new() })
    }
}
