//! The catalog `tpch`: TPC-H tables that are generated as they are read, without files.
//!
//! Position: one of the connectors; there without any configuration. Schemas are scales: `tiny` (0.01) and `sf1`,
//! `sf10`, … or any `sfN`. Parts of a table are made independently, so every chain generates its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use arrow::datatypes::SchemaRef;
use operators::Scalar;
use pipelines::{Batch, LocalContext, LocalSource, Poll, Source};
use tpch::{Generator, Table as TpchTable};

use super::{
    ColumnStatistics, ScanPart, ScanRequest, Split, Table, TableStatistics,
    part::{KeyRange, chosen_splits, stable_hash},
};
use crate::{
    catalog::Catalog,
    error::{Error, Result},
};

/// Schemas that are listed; others of the form `sfN` exist too.
const LISTED: &[&str] = &["sf1", "sf10", "sf100", "tiny"];

/// Rows of a part: about as many as a row group of a file has.
const PART_ROWS: u64 = 100_000;

/// The catalog.
pub struct TpchCatalog;

impl Catalog for TpchCatalog {
    fn schemas(&self) -> Vec<String> {
        LISTED.iter().map(|s| (*s).to_owned()).collect()
    }

    fn tables(&self, schema: &str) -> Vec<String> {
        if scale(schema).is_none() {
            return vec![];
        }
        TpchTable::ALL.iter().map(|table| table.name().to_owned()).collect()
    }

    fn table(&self, schema: &str, table: &str) -> Result<Option<Arc<dyn Table>>> {
        let (Some(scale), Some(table)) = (scale(schema), TpchTable::from_name(table)) else { return Ok(None) };
        Ok(Some(Arc::new(GeneratedTable { table, scale })))
    }
}

/// The scale a schema stands for.
fn scale(schema: &str) -> Option<f64> {
    if schema == "tiny" {
        return Some(0.01);
    }
    let digits = schema.strip_prefix("sf")?;
    let scale: f64 = if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok()? } else { return None };
    (1.0..=100_000.0).contains(&scale).then_some(scale)
}

struct GeneratedTable {
    table: TpchTable,
    scale: f64,
}

impl GeneratedTable {
    fn num_parts(&self) -> u32 {
        let rows = match self.table {
            TpchTable::Nation | TpchTable::Region => return 1,
            // Lineitem is made order by order.
            TpchTable::Lineitem => TpchTable::Lineitem.row_count(self.scale),
            table => table.row_count(self.scale),
        };
        rows.div_ceil(PART_ROWS).clamp(1, u64::from(u16::MAX)) as u32
    }

    /// First and last key of every part, which all tables have in their first column.
    fn part_bounds(&self) -> Option<Vec<(i64, i64)>> {
        let parts = self.num_parts();
        (0..parts).map(|part| Generator::key_bounds(self.table, self.scale, part, parts)).collect()
    }

    /// The parts that have rows of `part`.
    fn parts_of(&self, part: &ScanPart) -> Result<Arc<[u32]>> {
        let all = 0..self.num_parts();
        Ok(match part {
            ScanPart::Splits(splits) => {
                let chosen = chosen_splits(splits, all.len())?;
                all.zip(chosen).filter(|(_, is_chosen)| *is_chosen).map(|(part, _)| part).collect()
            }
            ScanPart::KeyRange { column: KEY_COLUMN, lower, upper } => {
                let range = KeyRange { lower: *lower, upper: *upper };
                match self.part_bounds() {
                    Some(bounds) => all.zip(bounds).filter(|(_, (min, max))| range.overlaps(*min, *max)).map(|(part, _)| part).collect(),
                    None => all.collect(),
                }
            }
            ScanPart::KeyRange { .. } | ScanPart::All => all.collect(),
        })
    }

    /// The tables whose keys a column holds, for its bounds.
    fn key_rows(&self, column: &str) -> Option<u64> {
        Some(match column.split_once('_')?.1 {
            "custkey" => TpchTable::Customer.row_count(self.scale),
            "partkey" => TpchTable::Part.row_count(self.scale),
            "suppkey" => TpchTable::Supplier.row_count(self.scale),
            _ => return None,
        })
    }
}

impl Table for GeneratedTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        let schema = self.schema();
        let columns = schema.fields().iter().enumerate().map(|(index, field)| {
            let rows = self.key_rows(field.name());
            ColumnStatistics {
                min: rows.map(|_| Scalar::Int64(1)),
                max: rows.map(|rows| Scalar::Int64(rows as i64)),
                null_count: Some(0),
                distinct_count: rows.map(|rows| rows as f64),
                // Tables that are not made in the order of their keys are of one part.
                is_clustered: index == KEY_COLUMN && self.num_parts() > 1,
                ..ColumnStatistics::default()
            }
        });
        Ok(Arc::new(TableStatistics { num_rows: self.table.row_count(self.scale), columns: columns.collect() }))
    }

    fn scan(&self, request: ScanRequest) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(GeneratedSource {
            table: self.table,
            scale: self.scale,
            num_parts: self.num_parts(),
            parts: self.parts_of(&request.part)?,
            range: match request.part {
                ScanPart::KeyRange { column, lower, upper } => Some((column, KeyRange { lower, upper })),
                _ => None,
            },
            columns: request.columns,
            next: Arc::default(),
        }))
    }

    fn splits(&self) -> Result<Vec<Split>> {
        let parts = self.num_parts();
        let rows = self.table.row_count(self.scale);
        let split = |part: u32| {
            let numbers = [part, parts].map(u32::to_le_bytes).concat();
            Split {
                // Close enough: the last part has a few rows more.
                rows: rows * u64::from(part + 1) / u64::from(parts) - rows * u64::from(part) / u64::from(parts),
                bytes: vec![],
                identity: stable_hash([self.table.name().as_bytes(), &self.scale.to_le_bytes(), &numbers]),
            }
        };
        Ok((0..parts).map(split).collect())
    }

    fn split_bounds(&self, column: usize) -> Result<Option<Vec<(i64, i64)>>> {
        Ok(if column == KEY_COLUMN { self.part_bounds() } else { None })
    }
}

/// Where the key is by which a table's rows are in order.
const KEY_COLUMN: usize = 0;

/// Hands out parts.
#[derive(Clone)]
struct GeneratedSource {
    table: TpchTable,
    scale: f64,
    num_parts: u32,
    /// The parts that are read, …
    parts: Arc<[u32]>,
    /// … and which of their rows: a column and its range.
    range: Option<(usize, KeyRange)>,
    columns: Vec<usize>,
    next: Arc<AtomicUsize>,
}

struct LocalGeneratedSource {
    source: GeneratedSource,
    batch_rows: usize,
    current: Option<Generator>,
}

impl Source for GeneratedSource {
    fn max_chains(&self) -> Option<usize> {
        Some(self.parts.len())
    }

    fn local(&self, context: &LocalContext) -> pipelines::Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalGeneratedSource { source: self.clone(), batch_rows: context.batch_rows, current: None }))
    }
}

impl LocalSource for LocalGeneratedSource {
    fn next(&mut self, _waker: &Waker) -> pipelines::Result<Poll> {
        let source = &self.source;
        loop {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                let batch = batch?;
                let columns = source.columns.iter().map(|index| Arc::clone(batch.column(*index))).collect();
                let rows = Batch::new(columns, batch.num_rows());
                let rows = match &source.range {
                    Some((column, range)) => range.keep(&rows, batch.column(*column))?,
                    None => rows,
                };
                if rows.is_empty() {
                    continue;
                }
                return Ok(Poll::Batch(rows));
            }
            // Relaxed: the counter hands out numbers and guards nothing else.
            let Some(part) = source.parts.get(source.next.fetch_add(1, Ordering::Relaxed)) else {
                return Ok(Poll::Finished);
            };
            let generator = Generator::with_batch_rows(source.table, source.scale, *part, source.num_parts, self.batch_rows);
            self.current = Some(generator.map_err(|error| Error::connector(error.to_string()))?);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::{array::AsArray, datatypes::Int64Type};
    use pipelines::testing::run_source;

    use super::*;

    #[test]
    fn schemas_are_scales() {
        for (schema, expected) in
            [("tiny", Some(0.01)), ("sf1", Some(1.0)), ("sf30", Some(30.0)), ("sf", None), ("sf0", None), ("x1", None)]
        {
            assert_eq!(scale(schema), expected, "{schema}");
        }
    }

    #[test]
    fn parts_of_a_table_have_every_row_once() {
        // Six parts of orders.
        let table = GeneratedTable { table: TpchTable::Orders, scale: 0.4 };
        let bounds = table.split_bounds(KEY_COLUMN).unwrap().unwrap();
        assert_eq!((bounds.len(), table.splits().unwrap().len()), (6, 6));
        assert_eq!(table.splits().unwrap().iter().map(|split| split.rows).sum::<u64>(), 600_000);
        assert_eq!(table.split_bounds(1).unwrap(), None);
        assert!(bounds.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let statistics = table.statistics().unwrap();
        let clustered: Vec<usize> = (0..statistics.columns.len()).filter(|index| statistics.columns[*index].is_clustered).collect();
        assert_eq!(clustered, [KEY_COLUMN]);
        let keys = |part| {
            let batches = run_source(table.scan(ScanRequest { columns: vec![0], part, ..ScanRequest::default() }).unwrap()).unwrap();
            batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect::<Vec<_>>()
        };
        let all = keys(ScanPart::All);
        let mut parts =
            [keys(ScanPart::Splits(vec![5, 1])), keys(ScanPart::Splits(vec![])), keys(ScanPart::Splits(vec![0, 2, 3, 4]))].concat();
        parts.sort_unstable();
        assert_eq!(parts, all);
        let (first, second) = (bounds[2].0 + 1000, bounds[4].1);
        let cuts = [None, Some(first), Some(second), None];
        let ranges = cuts.windows(2).map(|cut| keys(ScanPart::KeyRange { column: 0, lower: cut[0], upper: cut[1] }));
        assert_eq!(ranges.collect::<Vec<_>>().concat(), all);
        let by_customer = [None, Some(7000), None]
            .windows(2)
            .map(|cut| keys(ScanPart::KeyRange { column: 1, lower: cut[0], upper: cut[1] }).len())
            .collect::<Vec<_>>();
        assert!(by_customer.iter().all(|rows| *rows > 0) && by_customer.iter().sum::<usize>() == all.len());
    }

    #[test]
    fn every_row_is_generated_once() {
        let table = TpchCatalog.table("tiny", "orders").unwrap().unwrap();
        let batches = run_source(table.scan(ScanRequest { columns: vec![0], ..ScanRequest::default() }).unwrap()).unwrap();
        assert_eq!(batches.iter().map(Batch::num_rows).sum::<usize>(), 15_000);
        assert_eq!(table.statistics().unwrap().num_rows, 15_000);
    }
}
