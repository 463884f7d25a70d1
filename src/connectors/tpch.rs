//! The catalog `tpch`: TPC-H tables that are generated as they are read, without files.
//!
//! Position: one of the connectors; there without any configuration. Schemas are scales: `tiny` (0.01) and `sf1`,
//! `sf10`, … or any `sfN`. Parts of a table are made independently, so every chain generates its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Waker,
};

use arrow::datatypes::SchemaRef;
use operators::Scalar;
use pipelines::{Batch, LocalContext, LocalSource, Poll, Source};
use tpch::{Generator, Table as TpchTable};

use super::{ColumnStatistics, ScanRequest, Table, TableStatistics};
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
        let columns = schema.fields().iter().map(|field| {
            let rows = self.key_rows(field.name());
            ColumnStatistics {
                min: rows.map(|_| Scalar::Int64(1)),
                max: rows.map(|rows| Scalar::Int64(rows as i64)),
                null_count: Some(0),
                distinct_count: rows.map(|rows| rows as f64),
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
            columns: request.columns,
            next: Arc::default(),
        }))
    }
}

/// Hands out parts.
#[derive(Clone)]
struct GeneratedSource {
    table: TpchTable,
    scale: f64,
    num_parts: u32,
    columns: Vec<usize>,
    next: Arc<AtomicU32>,
}

struct LocalGeneratedSource {
    source: GeneratedSource,
    batch_rows: usize,
    current: Option<Generator>,
}

impl Source for GeneratedSource {
    fn max_chains(&self) -> Option<usize> {
        Some(self.num_parts as usize)
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
                return Ok(Poll::Batch(Batch::new(columns, batch.num_rows())));
            }
            // Relaxed: the counter hands out numbers and guards nothing else.
            let part = source.next.fetch_add(1, Ordering::Relaxed);
            if part >= source.num_parts {
                return Ok(Poll::Finished);
            }
            let generator = Generator::with_batch_rows(source.table, source.scale, part, source.num_parts, self.batch_rows);
            self.current = Some(generator.map_err(|error| Error::connector(error.to_string()))?);
        }
    }
}

#[cfg(test)]
mod tests {
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
    fn every_row_is_generated_once() {
        let table = TpchCatalog.table("tiny", "orders").unwrap().unwrap();
        let batches = run_source(table.scan(ScanRequest { columns: vec![0], ..ScanRequest::default() }).unwrap()).unwrap();
        assert_eq!(batches.iter().map(Batch::num_rows).sum::<usize>(), 15_000);
        assert_eq!(table.statistics().unwrap().num_rows, 15_000);
    }
}
