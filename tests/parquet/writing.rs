//! Writing files with the stock writer, and that all its ways of writing are read.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BooleanArray, Date32Array, Decimal64Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
    },
    datatypes::{DataType, Field, Schema},
};
use parquet::{
    arrow::ArrowWriter,
    basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel},
    file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
    schema::types::ColumnPath,
};
use tempfile::NamedTempFile;

use crate::assert_reads;

/// A small generator of numbers that look random.
pub struct Random(pub u64);

impl Random {
    /// Below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Writes a file of one batch.
pub fn write(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), Some(properties.build())).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    file
}

/// Columns of many kinds: few and many distinct values, sorted, text short and long, with and without NULLs.
pub fn sample(rows: usize, has_nulls: bool) -> RecordBatch {
    let mut random = Random(17);
    let mut null = move || has_nulls && random.below(5) == 0;
    let mut random = Random(4711);
    let mut optional = |value: i64| (!null()).then_some(value);
    let few: Int64Array = (0..rows).map(|_| optional(random.below(7) as i64 - 3)).collect();
    let many: Decimal64Array = (0..rows).map(|_| optional(random.below(10_000_000) as i64)).collect();
    let many = many.with_precision_and_scale(15, 2).unwrap();
    let sorted: Int64Array = (0..rows).map(|i| optional(i as i64 / 4)).collect();
    let dates: Date32Array = (0..rows).map(|_| optional(random.below(2500) as i64).map(|v| v as i32 + 8000)).collect();
    let narrow: Int32Array = (0..rows).map(|_| optional(random.below(1 << 20) as i64).map(|v| v as i32)).collect();
    let doubles: Float64Array = (0..rows).map(|_| optional(random.below(1000) as i64).map(|v| v as f64 / 8.0 - 20.0)).collect();
    let bools: BooleanArray = (0..rows).map(|_| optional(random.below(2) as i64).map(|v| v == 1)).collect();
    let modes = ["AIR", "RAIL", "a mode with a rather long name", "", "Größe"];
    let mode: StringViewArray = (0..rows).map(|_| optional(random.below(5) as i64).map(|v| modes[v as usize])).collect();
    let comment: StringViewArray = (0..rows)
        .map(|i| optional(random.below(1000) as i64).map(|v| format!("{i} carefully {v} pending requests {}", "x".repeat(v as usize % 50))))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("few", Arc::new(few)),
        ("many", Arc::new(many)),
        ("sorted", Arc::new(sorted)),
        ("dates", Arc::new(dates)),
        ("narrow", Arc::new(narrow)),
        ("doubles", Arc::new(doubles)),
        ("bools", Arc::new(bools)),
        ("mode", Arc::new(mode)),
        ("comment", Arc::new(comment)),
    ];
    let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), has_nulls)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

fn check(rows: usize, has_nulls: bool, properties: WriterPropertiesBuilder) {
    let batch = sample(rows, has_nulls);
    let file = write(&batch, properties);
    assert_reads(file.path().to_str().unwrap(), &batch);
}

#[test]
fn all_codecs_and_both_page_versions_are_read() {
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            for has_nulls in [false, true] {
                check(3000, has_nulls, WriterProperties::builder().set_compression(compression).set_writer_version(version));
            }
        }
    }
}

#[test]
fn pages_and_row_groups_of_odd_sizes_are_read() {
    for has_nulls in [false, true] {
        for (page_rows, group_rows) in [(1, 10), (7, 1000), (64, 65), (1000, 999), (100_000, 100_000)] {
            let properties = WriterProperties::builder()
                .set_data_page_row_count_limit(page_rows)
                .set_write_batch_size(page_rows.min(100))
                .set_max_row_group_row_count(Some(group_rows));
            check(2000, has_nulls, properties);
        }
    }
}

#[test]
fn chunks_that_change_from_codes_to_values_are_read() {
    for has_nulls in [false, true] {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_dictionary_page_size_limit(2000)
            .set_data_page_row_count_limit(500)
            .set_write_batch_size(100);
        check(20_000, has_nulls, properties);
    }
}

#[test]
fn plain_and_rare_encodings_are_read() {
    let column = |name: &str| ColumnPath::from(name);
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for has_nulls in [false, true] {
            let plain = WriterProperties::builder().set_writer_version(version).set_dictionary_enabled(false);
            check(5000, has_nulls, plain.set_encoding(Encoding::PLAIN));
            let rare = WriterProperties::builder()
                .set_writer_version(version)
                .set_dictionary_enabled(false)
                .set_column_encoding(column("few"), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding(column("many"), Encoding::BYTE_STREAM_SPLIT)
                .set_column_encoding(column("narrow"), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding(column("doubles"), Encoding::BYTE_STREAM_SPLIT)
                .set_column_encoding(column("bools"), Encoding::RLE)
                .set_column_encoding(column("mode"), Encoding::DELTA_BYTE_ARRAY)
                .set_column_encoding(column("comment"), Encoding::DELTA_LENGTH_BYTE_ARRAY);
            check(5000, has_nulls, rare);
        }
    }
}

#[test]
fn a_file_without_rows_is_an_empty_table() {
    let batch = sample(0, true);
    let file = write(&batch, WriterProperties::builder());
    assert_reads(file.path().to_str().unwrap(), &batch);
}

#[test]
fn columns_of_nulls_only_are_read() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![None; 1000])),
        Arc::new(StringViewArray::from(vec![None::<&str>; 1000])),
        Arc::new(BooleanArray::from(vec![None; 1000])),
    ];
    let fields =
        vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8View, true), Field::new("c", DataType::Boolean, true)];
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).set_writer_version(version);
        assert_reads(write(&batch, properties).path().to_str().unwrap(), &batch);
    }
}
