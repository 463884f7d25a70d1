//! CSV files with a header line, as tables.
//!
//! Position: one of the connectors. Types are inferred from the first rows or given; one file is one morsel,
//! because a line break may stand inside quotes and only a reader from the start can know. Deliberately
//! elsewhere: filters (the planner puts one above), the parsing itself (the `arrow-csv` crate).

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use arrow::{
    compute::cast,
    csv::{Reader, ReaderBuilder, reader::Format},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use operators::types;
use pipelines::{Batch, LocalContext, LocalSource, Poll, Source};

use super::{ColumnStatistics, ScanPart, ScanRequest, Table, TableStatistics, files};
use crate::error::{Error, Result};

/// Rows that are looked at to infer types.
const INFERENCE_ROWS: usize = 10_000;

/// A guess of the bytes of a row, for the estimated number of rows.
const ROW_BYTES_GUESS: u64 = 100;

/// A table of CSV files with the same header.
pub struct CsvTable {
    files: Vec<PathBuf>,
    schema: SchemaRef,
    statistics: Arc<TableStatistics>,
}

impl CsvTable {
    /// Opens a file, directory or glob. `columns` gives names and types; else they are inferred from the first file.
    ///
    /// # Errors
    /// No file, an unknown type, a header that does not fit.
    pub fn open(path: &str, columns: Option<&[(String, String)]>) -> Result<Self> {
        let files = files::resolve(path)?;
        let schema = Arc::new(match columns {
            Some(columns) => declared_schema(columns)?,
            None => inferred_schema(&files[0])?,
        });
        let num_bytes: u64 = files.iter().map(|f| f.metadata().map_or(0, |m| m.len())).sum();
        let statistics = TableStatistics {
            num_rows: num_bytes / ROW_BYTES_GUESS + 1,
            columns: vec![ColumnStatistics::default(); schema.fields().len()],
        };
        Ok(CsvTable { files, schema, statistics: Arc::new(statistics) })
    }
}

impl Table for CsvTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn statistics(&self) -> Result<Arc<TableStatistics>> {
        Ok(Arc::clone(&self.statistics))
    }

    fn scan(&self, request: ScanRequest) -> Result<Arc<dyn Source>> {
        // A table of text is one split: where a line begins, only a reader from the start can know.
        let files = match &request.part {
            ScanPart::All => self.files.clone(),
            ScanPart::Splits(splits) if splits.contains(&0) => self.files.clone(),
            ScanPart::Splits(_) => vec![],
            ScanPart::KeyRange { .. } => return Err(Error::internal("a CSV table is cut by a key whose bounds it does not know")),
        };
        Ok(Arc::new(CsvSource { files, schema: Arc::clone(&self.schema), columns: request.columns, next: Arc::default() }))
    }
}

fn declared_schema(columns: &[(String, String)]) -> Result<Schema> {
    let fields = columns.iter().map(|(name, type_name)| Ok(Field::new(name, declared_type(name, type_name)?, true)));
    Ok(Schema::new(fields.collect::<Result<Vec<_>>>()?))
}

fn declared_type(column: &str, name: &str) -> Result<DataType> {
    let lower = name.to_ascii_lowercase();
    let decimal = lower.strip_prefix("numeric(").or_else(|| lower.strip_prefix("decimal(")).and_then(|rest| rest.strip_suffix(')'));
    if let Some(digits) = decimal {
        let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
        if let (Ok(precision @ 1..=38), Ok(scale @ 0..=38)) = (precision.trim().parse::<u8>(), scale.trim().parse::<i8>())
            && scale as u8 <= precision
        {
            return Ok(types::decimal(precision, scale));
        }
    }
    Ok(match lower.as_str() {
        "boolean" | "bool" => DataType::Boolean,
        "int8" | "int16" | "smallint" => DataType::Int16,
        "int32" | "int" | "integer" => DataType::Int32,
        "int64" | "bigint" => DataType::Int64,
        "float32" | "real" => DataType::Float32,
        "float64" | "double" | "double precision" => DataType::Float64,
        "utf8" | "text" | "varchar" => DataType::Utf8View,
        "date32" | "date" => DataType::Date32,
        "timestamp" => types::timestamp(),
        _ => {
            return Err(Error::connector(format!("column \"{column}\" has the unknown type \"{name}\""))
                .with_hint("the types are boolean, int8, int16, int32, int64, float32, float64, numeric(p,s), utf8, date32, timestamp"));
        }
    })
}

fn inferred_schema(file: &Path) -> Result<Schema> {
    let (schema, _) =
        Format::default().with_header(true).infer_schema(open(file)?, Some(INFERENCE_ROWS)).map_err(|error| failed(file, &error))?;
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), physical(field.data_type()), true));
    Ok(Schema::new(fields.collect::<Vec<_>>()))
}

/// The physical type for one that was inferred.
fn physical(inferred: &DataType) -> DataType {
    match inferred {
        DataType::Boolean | DataType::Int64 | DataType::Float64 | DataType::Date32 => inferred.clone(),
        DataType::Timestamp(_, None) | DataType::Date64 => types::timestamp(),
        DataType::Timestamp(_, Some(_)) => types::timestamptz(),
        _ => DataType::Utf8View,
    }
}

/// The type the reader parses into; the batch is cast from it where it differs from the physical one.
fn parsed(physical: &DataType) -> DataType {
    match physical {
        DataType::Decimal64(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Utf8View => DataType::Utf8,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

fn open(file: &Path) -> Result<File> {
    File::open(file).map_err(|error| Error::connector(format!("cannot open \"{}\": {error}", file.display())))
}

fn failed(file: &Path, error: &arrow::error::ArrowError) -> Error {
    Error::connector(format!("cannot read \"{}\": {error}", file.display()))
}

/// Hands out files.
struct CsvSource {
    files: Vec<PathBuf>,
    schema: SchemaRef,
    columns: Vec<usize>,
    next: Arc<AtomicUsize>,
}

struct LocalCsvSource {
    files: Vec<PathBuf>,
    schema: SchemaRef,
    columns: Vec<usize>,
    next: Arc<AtomicUsize>,
    batch_rows: usize,
    current: Option<(PathBuf, Reader<File>)>,
}

impl Source for CsvSource {
    fn max_chains(&self) -> Option<usize> {
        Some(self.files.len())
    }

    fn local(&self, context: &LocalContext) -> pipelines::Result<Box<dyn LocalSource>> {
        Ok(Box::new(LocalCsvSource {
            files: self.files.clone(),
            schema: Arc::clone(&self.schema),
            columns: self.columns.clone(),
            next: Arc::clone(&self.next),
            batch_rows: context.batch_rows,
            current: None,
        }))
    }
}

impl LocalCsvSource {
    /// The next file's reader.
    fn advance(&mut self) -> Result<bool> {
        // Relaxed: the counter hands out numbers and guards nothing else.
        let Some(file) = self.files.get(self.next.fetch_add(1, Ordering::Relaxed)).cloned() else { return Ok(false) };
        let fields = self.schema.fields().iter().map(|f| Field::new(f.name(), parsed(f.data_type()), true));
        let reader = ReaderBuilder::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
            .with_header(true)
            .with_batch_size(self.batch_rows)
            .with_projection(self.columns.clone())
            .build(open(&file)?)
            .map_err(|error| failed(&file, &error))?;
        self.current = Some((file, reader));
        Ok(true)
    }
}

impl LocalSource for LocalCsvSource {
    fn next(&mut self, _waker: &Waker) -> pipelines::Result<Poll> {
        loop {
            let Some((file, reader)) = &mut self.current else {
                if self.advance()? {
                    continue;
                }
                return Ok(Poll::Finished);
            };
            let Some(batch) = reader.next() else {
                self.current = None;
                continue;
            };
            let batch = batch.map_err(|error| failed(file, &error))?;
            if batch.num_rows() == 0 {
                continue;
            }
            let columns = batch.columns().iter().zip(&self.columns).map(|(column, index)| {
                let wanted = self.schema.field(*index).data_type();
                if column.data_type() == wanted { Ok(Arc::clone(column)) } else { cast(column, wanted) }
            });
            let columns = columns.collect::<std::result::Result<Vec<_>, _>>().map_err(|error| failed(file, &error))?;
            return Ok(Poll::Batch(Batch::new(columns, batch.num_rows())));
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use pipelines::testing::run_source;

    use super::*;

    fn table(text: &str, columns: Option<&[(String, String)]>) -> (tempfile::TempDir, CsvTable) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let table = CsvTable::open(path.to_str().unwrap(), columns).unwrap();
        (directory, table)
    }

    fn read(table: &CsvTable, columns: Vec<usize>) -> Vec<Batch> {
        run_source(table.scan(ScanRequest { columns, ..ScanRequest::default() }).unwrap()).unwrap()
    }

    #[test]
    fn types_are_inferred_from_the_values() {
        let (_directory, table) = table("a,b,c,d\n1,x,1.5,2020-02-29\n2,,2.5,2020-03-01\n", None);
        let schema = table.schema();
        let found: Vec<&DataType> = schema.fields().iter().map(|f| f.data_type()).collect();
        assert_eq!(found, [&DataType::Int64, &DataType::Utf8View, &DataType::Float64, &DataType::Date32]);
        let batches = read(&table, vec![3, 1]);
        assert_eq!(batches.len(), 1);
        // 2020-02-29 is day 18321.
        assert_eq!(batches[0].column(0).as_primitive::<arrow::datatypes::Date32Type>().values(), &[18_321, 18_322]);
        assert_eq!(batches[0].column(1).as_string_view().value(0), "x");
        assert!(batches[0].column(1).is_null(1));
    }

    #[test]
    fn a_table_is_read_whole_or_not_at_all() {
        let (_directory, table) = table("a\n1\n2\n", None);
        assert_eq!(table.splits().unwrap().len(), 1);
        assert_eq!(table.split_bounds(0).unwrap(), None);
        let source = |part| table.scan(ScanRequest { columns: vec![0], part, ..ScanRequest::default() });
        let rows = |splits| run_source(source(ScanPart::Splits(splits)).unwrap()).unwrap().iter().map(Batch::num_rows).sum::<usize>();
        assert_eq!((rows(vec![]), rows(vec![1]), rows(vec![0])), (0, 0, 2));
        assert_eq!(source(ScanPart::KeyRange { column: 0, lower: None, upper: None }).err().unwrap().sqlstate.0, "XX000");
    }

    #[test]
    fn a_given_schema_decides() {
        let columns = [("a".to_owned(), "utf8".to_owned()), ("b".to_owned(), "numeric(10,2)".to_owned())];
        let (_directory, table) = table("a,b\n01,3.14\n", Some(&columns));
        let batches = read(&table, vec![0, 1]);
        assert_eq!(batches[0].column(0).as_string_view().value(0), "01");
        assert_eq!(batches[0].column(1).as_primitive::<arrow::datatypes::Decimal64Type>().value(0), 314);
    }

    #[test]
    fn a_value_that_does_not_fit_names_the_file() {
        let columns = [("a".to_owned(), "int32".to_owned())];
        let (_directory, table) = table("a\n1\nx\n", Some(&columns));
        let source = table.scan(ScanRequest { columns: vec![0], ..ScanRequest::default() }).unwrap();
        let message = run_source(source).unwrap_err().to_string();
        assert!(message.contains("t.csv"), "{message}");
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let columns = [("a".to_owned(), "strnig".to_owned())];
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv");
        std::fs::write(&path, "a\n1\n").unwrap();
        let error = CsvTable::open(path.to_str().unwrap(), Some(&columns)).err().unwrap();
        assert_eq!(error.message, "column \"a\" has the unknown type \"strnig\"");
    }
}
