//! `arneb tpch gen`: the eight tables as Parquet files, and an `arneb.toml` that serves them.
//!
//! Position: a command; also called by `tpch run` when the files are not there. The files are laid out as tpchgen-cli
//! lays them out (row groups of about 7 MB, Snappy, the writer's defaults), so that engines compared on them are
//! compared on what they are used to. Every thread makes whole row groups; they are appended in order.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, IsTerminal},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use arrow::datatypes::SchemaRef;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parquet::{
    arrow::{
        ArrowSchemaConverter,
        arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves},
    },
    basic::Compression,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
};
use tpch::{Generator, Table};

use crate::error::{Error, Result};

/// What to generate.
#[derive(Debug, Clone, Args)]
pub struct GenArguments {
    /// Scale factor: 1 is about 1 GB of CSV, 360 MB of Parquet.
    #[arg(long, short, default_value_t = 1.0, value_name = "N")]
    pub scale: f64,
    /// Directory to write into; made if it is not there.
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// Files per table: with more than one, a table is a directory of part files.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub parts: u32,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Generates, with a progress bar on a terminal.
///
/// # Errors
/// Files that cannot be written.
pub fn run(arguments: &GenArguments) -> Result<()> {
    let directory = &arguments.output;
    std::fs::create_dir_all(directory).map_err(|error| cannot_write(directory, error))?;
    let threads = arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    let total: u64 = Table::ALL.iter().map(|table| u64::from(num_row_groups(*table, arguments))).sum();
    let progress = progress_bar(total);
    for table in Table::ALL {
        progress.set_message(table.name());
        write_table(table, arguments, threads, &progress)?;
    }
    progress.finish_and_clear();
    write_config(arguments)
}

/// The directory with the data of a scale: `directory`, or else `tpch-data/sfN`; generated into it if it is not there.
///
/// # Errors
/// Data that cannot be generated.
pub fn ensure(directory: Option<&Path>, scale: f64, threads: Option<usize>) -> Result<PathBuf> {
    let directory = directory.map_or_else(|| PathBuf::from(format!("tpch-data/sf{scale}")), Path::to_owned);
    if !is_complete(&directory) {
        eprintln!("generating TPC-H at scale {scale} into {}", directory.display());
        run(&GenArguments { scale, output: directory.clone(), parts: 1, threads })?;
    }
    Ok(directory)
}

/// Whether a directory holds the eight tables.
pub fn is_complete(directory: &Path) -> bool {
    Table::ALL.iter().all(|table| table_path(directory, *table).is_some())
}

/// The file or directory of a table; `None` if there is none.
pub fn table_path(directory: &Path, table: Table) -> Option<PathBuf> {
    let file = directory.join(format!("{}.parquet", table.name()));
    let parts = directory.join(table.name());
    if file.is_file() { Some(file) } else { parts.is_dir().then_some(parts) }
}

fn progress_bar(total: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("generating {msg:9} {bar:40} {percent:>3} %  {elapsed} (about {eta} left)")
        .expect("the template is well-formed");
    ProgressBar::with_draw_target(Some(total), target).with_style(style)
}

/// Rows of a row group, so that it holds about 7 MB before compression.
fn row_group_rows(table: Table) -> u64 {
    match table {
        Table::Lineitem => 114_500,
        Table::Orders => 97_000,
        Table::Customer => 42_500,
        Table::Part => 100_000,
        Table::Partsupp => 52_000,
        Table::Supplier => 33_500,
        Table::Nation | Table::Region => 25,
    }
}

/// Row groups of all files of a table together. Every file has one at least, at small scales too: several files are for reading
/// them at several places.
fn num_row_groups(table: Table, arguments: &GenArguments) -> u32 {
    let by_size = table.row_count(arguments.scale).div_ceil(row_group_rows(table));
    by_size.clamp(u64::from(num_files(table, arguments)), u64::from(u32::MAX)) as u32
}

fn num_files(table: Table, arguments: &GenArguments) -> u32 {
    if matches!(table, Table::Nation | Table::Region) { 1 } else { arguments.parts }
}

/// A table's files, one after the other; the row groups of each in parallel.
fn write_table(table: Table, arguments: &GenArguments, threads: usize, progress: &ProgressBar) -> Result<()> {
    let (parts, total) = (num_files(table, arguments), num_row_groups(table, arguments));
    for part in 0..parts {
        let path = if arguments.parts == 1 {
            arguments.output.join(format!("{}.parquet", table.name()))
        } else {
            let directory = arguments.output.join(table.name());
            std::fs::create_dir_all(&directory).map_err(|error| cannot_write(&directory, error))?;
            directory.join(format!("part-{part:04}.parquet"))
        };
        // Row groups are spread evenly over the files.
        let of_part = |part: u32| (u64::from(total) * u64::from(part) / u64::from(parts)) as u32;
        let groups = of_part(part)..of_part(part + 1);
        let writer = TableWriter { table, scale: arguments.scale, total, schema: table.schema() };
        // Written aside and renamed, so that a file with its final name is a whole one.
        let unfinished = path.with_extension("unfinished");
        writer.write(&unfinished, groups, threads, progress)?;
        std::fs::rename(&unfinished, &path).map_err(|error| cannot_write(&path, error))?;
    }
    Ok(())
}

struct TableWriter {
    table: Table,
    scale: f64,
    total: u32,
    schema: SchemaRef,
}

impl TableWriter {
    fn write(&self, path: &Path, groups: std::ops::Range<u32>, threads: usize, progress: &ProgressBar) -> Result<()> {
        let cannot = |error: parquet::errors::ParquetError| cannot_write(path, error);
        let file = File::create(path).map_err(|error| cannot_write(path, error))?;
        let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        let parquet_schema = ArrowSchemaConverter::new().convert(&self.schema).map_err(cannot)?;
        let root = parquet_schema.root_schema_ptr();
        let mut writer = SerializedFileWriter::new(BufWriter::new(file), root, properties).map_err(cannot)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, Arc::clone(&self.schema));
        let next = AtomicU32::new(groups.start);
        std::thread::scope(|scope| {
            // Room for one finished row group per thread keeps the threads from running far ahead of the disk.
            let (sender, receiver) = mpsc::sync_channel(threads);
            for _ in 0..threads.max(1) {
                let (sender, factory, next, groups) = (sender.clone(), &factory, &next, groups.clone());
                scope.spawn(move || {
                    loop {
                        let group = next.fetch_add(1, Ordering::Relaxed);
                        let made = if group < groups.end { self.encode(factory, group) } else { break };
                        // The receiver is gone only after an error, which has been reported.
                        if sender.send((group, made)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            let mut expected = groups.start;
            for (group, chunks) in receiver {
                waiting.insert(group, chunks?);
                while let Some(chunks) = waiting.remove(&expected) {
                    let mut row_group = writer.next_row_group().map_err(cannot)?;
                    for chunk in chunks {
                        chunk.append_to_row_group(&mut row_group).map_err(cannot)?;
                    }
                    row_group.close().map_err(cannot)?;
                    progress.inc(1);
                    expected += 1;
                }
            }
            Ok::<(), Error>(())
        })?;
        writer.close().map_err(cannot)?;
        Ok(())
    }

    /// Makes and encodes one row group.
    fn encode(&self, factory: &ArrowRowGroupWriterFactory, group: u32) -> Result<Vec<ArrowColumnChunk>> {
        let failed = |error: parquet::errors::ParquetError| Error::internal(error.to_string());
        let mut columns = factory.create_column_writers(group as usize).map_err(failed)?;
        let generator = Generator::new(self.table, self.scale, group, self.total).map_err(|error| Error::connector(error.to_string()))?;
        for batch in generator {
            let batch = batch.map_err(|error| Error::internal(error.to_string()))?;
            for ((writer, field), column) in columns.iter_mut().zip(self.schema.fields()).zip(batch.columns()) {
                for leaf in compute_leaves(field, column).map_err(failed)? {
                    writer.write(&leaf).map_err(failed)?;
                }
            }
        }
        columns.into_iter().map(|writer| writer.close().map_err(failed)).collect()
    }
}

fn write_config(arguments: &GenArguments) -> Result<()> {
    let directory = std::path::absolute(&arguments.output).map_err(|error| cannot_write(&arguments.output, error))?;
    let mut text = format!("# TPC-H at scale {}\nbind_address = \"127.0.0.1\"\nport = 5432\n", arguments.scale);
    for table in Table::ALL {
        let Some(path) = table_path(&directory, table) else { continue };
        let path = toml::Value::String(path.display().to_string());
        text.push_str(&format!("\n[[tables]]\nname = \"{}\"\npath = {path}\nformat = \"parquet\"\n", table.name()));
    }
    let path = directory.join("arneb.toml");
    std::fs::write(&path, text).map_err(|error| cannot_write(&path, error))
}

fn cannot_write(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::connector(format!("cannot write \"{}\": {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_are_tables_with_a_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("data");
        run(&GenArguments { scale: 0.001, output: output.clone(), parts: 2, threads: Some(2) }).unwrap();
        assert!(is_complete(&output));
        let config = crate::config::Config::read(&output.join("arneb.toml")).unwrap();
        assert_eq!(config.tables.len(), 8);
        let orders = &config.tables.iter().find(|t| t.name == "orders").unwrap().path;
        let files = crate::connectors::files::resolve(orders).unwrap();
        let rows = files.iter().map(|file| {
            use parquet::file::reader::{FileReader, SerializedFileReader};
            SerializedFileReader::new(File::open(file).unwrap()).unwrap().metadata().file_metadata().num_rows()
        });
        assert_eq!(rows.collect::<Vec<_>>(), [750, 750], "every file has its share");
    }
}
