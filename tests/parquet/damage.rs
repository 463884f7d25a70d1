//! Damaged, truncated, vanished and replaced files: an error that names the file, or the same rows; never a panic.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
};

use arneb::connectors::parquet::ParquetTable;
use parquet::{
    basic::Compression,
    file::properties::{WriterProperties, WriterVersion},
};

use crate::{
    everything, scan,
    writing::{Random, sample, write},
};

#[test]
fn flipped_bytes_never_panic() {
    let mut random = Random(99);
    for (compression, version) in [
        (Compression::SNAPPY, WriterVersion::PARQUET_1_0),
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_2_0),
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0),
        (Compression::LZ4_RAW, WriterVersion::PARQUET_1_0),
    ] {
        for has_nulls in [false, true] {
            let batch = sample(1000, has_nulls);
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_writer_version(version)
                .set_dictionary_page_size_limit(3000)
                .set_data_page_row_count_limit(200)
                .set_write_batch_size(100);
            let file = write(&batch, properties);
            let bytes = fs::read(file.path()).unwrap();
            let directory = tempfile::tempdir().unwrap();
            for round in 0..150 {
                let mut damaged = bytes.clone();
                for _ in 0..1 + random.below(3) {
                    let place = random.below(damaged.len() as u64) as usize;
                    damaged[place] ^= 1 << random.below(8);
                }
                if random.below(10) == 0 {
                    damaged.truncate(random.below(damaged.len() as u64) as usize);
                }
                let path = directory.path().join(format!("{round}.parquet"));
                fs::write(&path, &damaged).unwrap();
                let path = path.to_str().unwrap();
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    let table = ParquetTable::open(path)?;
                    scan(&table, everything(&table)).map(drop)
                }));
                match outcome {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => assert!(error.message.contains(path) || error.sqlstate.0 == "0A000", "{error}"),
                    Err(_) => panic!("{compression:?} {version:?}, round {round} panicked"),
                }
            }
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = ParquetTable::open("/nowhere/at/all.parquet").err().unwrap();
    assert_eq!(error.sqlstate.0, "58P01");
    assert!(error.message.contains("/nowhere/at/all.parquet"));
}

#[test]
fn a_file_that_vanished_or_changed_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.parquet");
    let path = path.to_str().unwrap();
    fs::copy(write(&sample(100, false), WriterProperties::builder()).path(), path).unwrap();
    let table = ParquetTable::open(path).unwrap();
    fs::copy(write(&sample(200, false), WriterProperties::builder()).path(), path).unwrap();
    let error = scan(&table, everything(&table)).err().unwrap();
    assert_eq!(error.sqlstate.0, "55000");
    assert!(error.message.contains(path));
    fs::remove_file(path).unwrap();
    assert_eq!(scan(&table, everything(&table)).err().unwrap().sqlstate.0, "58P01");
}

#[test]
fn what_is_no_parquet_file_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.parquet");
    fs::write(&path, "this is not a file of that kind").unwrap();
    let error = ParquetTable::open(path.to_str().unwrap()).err().unwrap();
    assert_eq!(error.sqlstate.0, "XX001");
}
