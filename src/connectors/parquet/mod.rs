//! Tables over Parquet files: one file, a directory or a glob.
//!
//! ```text
//!  ParquetTable ──footer──► ScanPlan ──morsel──► RowGroupScan ──window──► batches
//!                                                    │  filters first, each narrowing a mask
//!                                                    ▼
//!                           ColumnReader × columns: page headers ─► decompression ─► codes, values
//! ```
//!
//! The decoding is our own, because the stock reader evaluates predicates on decoded rows, decompresses pages nobody needs, and
//! forgets dictionaries at the first chance. Here a predicate on a dictionary-encoded column is tested once per dictionary
//! entry, rows are tested by their codes, and only what survives all filters is decoded. Encodings that are rare go through
//! the stock crate's decoders page by page ([`stock`]); footers are parsed by the stock crate.
//!
//! | file | what |
//! |---|---|
//! | [`footer`] | footers, cached per process |
//! | [`schema`] | stored types and the engine's |
//! | [`bounds`], [`prune`] | what footers say of row groups; which of them can be left out |
//! | [`statistics`], [`sample`] | what the optimizer gets to know |
//! | [`part`] | row groups as splits; those of a part of the table |
//! | [`plan`], [`source`] | a scan's plan and its pipeline source |
//! | [`row_group`], [`filter`] | one morsel: windows, filters, outputs |
//! | [`mod@column`], [`output`] | reading a column under a selection; building Arrow arrays |
//! | [`chunk_bytes`], [`page`], [`codec`], [`snappy`], [`rle`], [`stock`] | from bytes in a file to codes and values |
//! | [`mask`], [`fault`] | selections; what can be wrong, and where |
//!
//! Files are untrusted: every length is checked, codes are checked against dictionaries before they index, and what is wrong is
//! reported with file, row group and column.

pub mod bounds;
pub mod chunk_bytes;
pub mod codec;
pub mod column;
pub mod fault;
pub mod filter;
pub mod footer;
pub mod listing;
pub mod mask;
pub mod output;
pub mod page;
pub mod part;
pub mod plan;
pub mod prune;
pub mod rle;
pub mod row_group;
pub mod sample;
pub mod schema;
pub mod snappy;
pub mod source;
pub mod statistics;
pub mod stock;

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use operators::Expression;
use pipelines::Source;

use self::{footer::Footer, plan::ScanPlan, schema::Column, source::ParquetSource};
use super::{ScanRequest, Split, Table, TableStatistics};
use crate::error::{Error, ErrorKind, Result};

/// A table over one or more Parquet files of the same columns.
pub struct ParquetTable {
    footers: Vec<Arc<Footer>>,
    columns: Vec<Column>,
    schema: SchemaRef,
    statistics: OnceLock<Arc<TableStatistics>>,
}

impl ParquetTable {
    /// The table over the files that `path` names: a file, all files of a directory, or a glob (`*`, `?`, `[a-z]`, `**`).
    ///
    /// The first file, in the order of paths, gives the columns; the others must have the same ones.
    ///
    /// # Errors
    /// 58P01 when there is no file, XX001 when one is damaged, 42804 when files have different columns.
    pub fn open(path: &str) -> Result<Self> {
        let paths = listing::files(path)?;
        let footers: Vec<Arc<Footer>> = paths.iter().map(|path| footer::load(path)).collect::<Result<_>>()?;
        let Some(first) = footers.first() else {
            return Err(Error::new(ErrorKind::Connector, "58P01", format!("there is no Parquet file at \"{path}\"")));
        };
        let columns = schema::columns(first.metadata.file_metadata().schema_descr());
        for other in &footers[1..] {
            check_same_columns(&columns, first, other)?;
        }
        let schema = schema::table_schema(&columns);
        Ok(ParquetTable { footers, columns, schema, statistics: OnceLock::new() })
    }
}

fn check_same_columns(columns: &[Column], first: &Footer, other: &Footer) -> Result<()> {
    let others = schema::columns(other.metadata.file_metadata().schema_descr());
    let differs = |what: String| {
        Error::new(ErrorKind::Connector, "42804", format!("file \"{}\" has other columns than \"{}\": {what}", other.path, first.path))
    };
    if others.len() != columns.len() {
        return Err(differs(format!("{} instead of {}", others.len(), columns.len())));
    }
    for (expected, found) in columns.iter().zip(&others) {
        let is_same = match (&expected.reading, &found.reading) {
            (None, None) => true,
            (Some(l), Some(r)) => {
                l.leaf == r.leaf && l.data_type == r.data_type && l.conversion == r.conversion && l.is_optional == r.is_optional
            }
            _ => false,
        };
        if expected.name != found.name {
            return Err(differs(format!("column \"{}\" is in the place of \"{}\"", found.name, expected.name)));
        }
        if !is_same {
            return Err(differs(format!("column \"{}\" has another type", found.name)));
        }
    }
    Ok(())
}

impl Table for ParquetTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        let statistics = self.statistics.get_or_init(|| Arc::new(statistics::table_statistics(&self.footers, &self.columns)));
        Ok(Arc::clone(statistics))
    }

    fn sample_selectivity(&self, filters: &[Expression]) -> Result<Option<f64>> {
        sample::sample_selectivity(&self.footers, &self.columns, filters)
    }

    fn scan(&self, request: ScanRequest) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(ParquetSource::new(ScanPlan::new(&self.footers, &self.columns, &request)?)))
    }

    fn splits(&self) -> Result<Vec<Split>> {
        Ok(part::splits(&self.footers, &self.columns))
    }

    fn split_bounds(&self, column: usize) -> Result<Option<Vec<(i64, i64)>>> {
        Ok(self.columns.get(column).and_then(|column| part::split_bounds(&self.footers, column)))
    }

    fn applies_filters(&self) -> bool {
        true
    }
}
