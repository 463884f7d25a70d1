//! Parts of tables: together they have every row once, whatever the cuts, filters and columns; and what splits tell.

use std::task::Waker;

use arneb::connectors::{ScanPart, ScanRequest, Table, parquet::ParquetTable, part::integers};
use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::filter,
};
use operators::{
    Expression,
    runtime_filter::{Members, RuntimeFilter, RuntimeFilterSlot},
};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use pipelines::{metrics::Counters, testing};
use tempfile::TempDir;

use crate::{
    columns,
    filters::{DATES, FEW, MANY, MODE, NARROW, SORTED, Test, random_filter, ways_of_writing},
    writing::{Random, sample, write},
};

/// Columns that a table can be cut by.
const KEYS: [usize; 5] = [FEW, MANY, SORTED, DATES, NARROW];

/// Rows of every row group of [`two_files`] but the last.
const GROUP_ROWS: usize = 700;

fn in_groups() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_max_row_group_row_count(Some(GROUP_ROWS))
}

/// The first 2800 rows (four row groups) of a batch in one file, the rest in another.
fn two_files(batch: &RecordBatch, properties: WriterPropertiesBuilder) -> (TempDir, ParquetTable) {
    let directory = tempfile::tempdir().unwrap();
    let cut = 4 * GROUP_ROWS;
    for (name, rows) in [("a.parquet", batch.slice(0, cut)), ("b.parquet", batch.slice(cut, batch.num_rows() - cut))] {
        write(&rows, properties.clone()).persist(directory.path().join(name)).unwrap();
    }
    let table = ParquetTable::open(directory.path().to_str().unwrap()).unwrap();
    (directory, table)
}

/// Rows of a scan, by column, how many there are, and what the scan counted.
fn read(table: &ParquetTable, request: ScanRequest, batch_rows: usize) -> (Vec<ArrayRef>, usize, Counters) {
    let types: Vec<_> = request.columns.iter().map(|i| table.schema().field(*i).data_type().clone()).collect();
    let mut context = testing::context();
    context.batch_rows = batch_rows;
    let mut local = table.scan(request).unwrap().local(&context).unwrap();
    let mut batches = vec![];
    while let pipelines::Poll::Batch(batch) = local.next(Waker::noop()).unwrap() {
        batches.push(batch);
    }
    let mut counters = Counters::default();
    local.report(&mut counters);
    (columns(&batches, &types), batches.iter().map(pipelines::Batch::num_rows).sum(), counters)
}

/// The rows for which `keeps` is true.
fn kept(batch: &RecordBatch, columns: &[usize], keeps: impl Fn(usize) -> bool) -> (Vec<ArrayRef>, usize) {
    let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(keeps(row))).collect();
    (columns.iter().map(|index| filter(batch.column(*index), &mask).unwrap()).collect(), mask.true_count())
}

fn range(column: usize, lower: Option<i64>, upper: Option<i64>) -> ScanPart {
    ScanPart::KeyRange { column, lower, upper }
}

/// A request with random columns (often none) and filters that are pushed down, and what passes these.
fn random_request(batch: &RecordBatch, random: &mut Random) -> (ScanRequest, Vec<Test>) {
    let (mut filters, tests): (Vec<Expression>, Vec<Test>) = (0..random.below(3)).map(|_| random_filter(batch, random)).unzip();
    let columns: Vec<usize> = (0..9).filter(|_| random.below(4) == 0).collect();
    let mut filter_columns: Vec<usize> = filters.iter().flat_map(Expression::columns).collect();
    filter_columns.sort_unstable();
    filter_columns.dedup();
    for filter in &mut filters {
        filter.remap_columns(&|index| columns.len() + filter_columns.iter().position(|column| *column == index).unwrap());
    }
    (ScanRequest { columns, filter_columns, filters, ..ScanRequest::default() }, tests)
}

#[test]
fn ranges_of_keys_have_every_row_once() {
    let mut random = Random(99);
    for has_nulls in [false, true] {
        let batch = sample(5000, has_nulls);
        let mut ways = ways_of_writing();
        ways.push(in_groups().set_statistics_enabled(EnabledStatistics::None));
        for properties in ways {
            let (_directory, table) = two_files(&batch, properties);
            for _ in 0..25 {
                let key = KEYS[random.below(5) as usize];
                let keys = integers(batch.column(key)).unwrap();
                let mut cuts: Vec<i64> =
                    (0..random.below(4)).map(|_| keys[random.below(5000) as usize].unwrap_or(0) + random.below(3) as i64 - 1).collect();
                cuts.sort_unstable();
                let cuts = [vec![None], cuts.into_iter().map(Some).collect(), vec![None]].concat();
                let (request, tests) = random_request(&batch, &mut random);
                let mut rows = 0;
                for cut in cuts.windows(2) {
                    let (lower, upper) = (cut[0], cut[1]);
                    let is_in = |row: usize| match keys[row] {
                        Some(key) => lower.is_none_or(|lower| lower <= key) && upper.is_none_or(|upper| key < upper),
                        None => lower.is_none(),
                    };
                    let expected = kept(&batch, &request.columns, |row| is_in(row) && tests.iter().all(|test| test(&batch, row)));
                    let request = ScanRequest { part: range(key, lower, upper), ..request.clone() };
                    let (found, count, _) = read(&table, request, [3, 100, 8192][random.below(3) as usize]);
                    assert_eq!((found, count), expected, "key {key}: {lower:?} to {upper:?}, nulls {has_nulls}");
                    rows += count;
                }
                assert_eq!(rows, kept(&batch, &[], |row| tests.iter().all(|test| test(&batch, row))).1);
            }
        }
    }
}

#[test]
fn splits_have_every_row_once() {
    let mut random = Random(31);
    for has_nulls in [false, true] {
        let batch = sample(5000, has_nulls);
        let (_directory, table) = two_files(&batch, in_groups());
        let splits = table.splits().unwrap();
        assert_eq!(splits.iter().map(|split| split.rows).collect::<Vec<_>>(), [700, 700, 700, 700, 700, 700, 700, 100]);
        for _ in 0..25 {
            let (request, tests) = random_request(&batch, &mut random);
            let owner: Vec<u64> = splits.iter().map(|_| random.below(3)).collect();
            for node in 0..3 {
                let mine: Vec<u32> = (0..8).filter(|split| owner[*split as usize] == node).rev().collect();
                let is_in = |row: usize| owner[row / GROUP_ROWS] == node;
                let expected = kept(&batch, &request.columns, |row| is_in(row) && tests.iter().all(|test| test(&batch, row)));
                let request = ScanRequest { part: ScanPart::Splits(mine), ..request.clone() };
                let (found, count, _) = read(&table, request, 1000);
                assert_eq!((found, count), expected);
            }
        }
    }
}

#[test]
fn a_split_that_is_not_there_is_an_error() {
    let (_directory, table) = two_files(&sample(5000, false), in_groups());
    let error = table.scan(ScanRequest { part: ScanPart::Splits(vec![8]), ..ScanRequest::default() }).err().unwrap();
    assert_eq!(error.sqlstate.0, "55000");
    let error = table.scan(ScanRequest { part: range(MODE, None, Some(1)), ..ScanRequest::default() }).err().unwrap();
    assert_eq!(error.sqlstate.0, "XX000");
}

#[test]
fn row_groups_inside_a_range_are_read_without_a_test() {
    let batch = sample(5000, false);
    let (_directory, table) = two_files(&batch, in_groups());
    // Four rows have the same key: every row group begins with a new one, and has 175 of them.
    let count = |lower, upper| read(&table, ScanRequest { part: range(SORTED, lower, upper), ..ScanRequest::default() }, 8192);
    let (_, rows, counters) = count(Some(175), Some(875));
    assert_eq!(rows, 2800);
    // Nothing but the footer tells how many rows there are.
    assert_eq!((counters.get("pages_read").unwrap_or(0), counters.get("row_groups_skipped").unwrap_or(0)), (0, 0));
    let (_, rows, counters) = count(Some(170), Some(875));
    assert_eq!(rows, 2820);
    // Of the five row groups with rows of the part, one is tested.
    assert_eq!((counters.get("row_groups_read"), counters.get("pages_skipped").unwrap_or(0)), (Some(5), 0));
    assert!(counters.get("pages_read").is_some_and(|pages| (1..=2).contains(&pages)), "{counters:?}");
}

#[test]
fn only_row_groups_of_the_part_count_as_skipped() {
    let batch = sample(5000, false);
    let (_directory, table) = two_files(&batch, in_groups());
    let never = Expression::Compare {
        operator: operators::expression::Comparison::Greater,
        left: Box::new(Expression::column(0, batch.column(SORTED).data_type().clone())),
        right: Box::new(operators::Scalar::Int64(1000).into()),
    };
    let skipped = |part| {
        let request = ScanRequest { filter_columns: vec![SORTED], filters: vec![never.clone()], part, ..ScanRequest::default() };
        let (_, rows, counters) = read(&table, request, 8192);
        (rows, counters.get("row_groups_skipped").unwrap_or(0))
    };
    assert_eq!(skipped(ScanPart::All), (4999 - 4003, 5));
    assert_eq!(skipped(ScanPart::Splits(vec![0, 1, 7])), (100, 2));
    assert_eq!(skipped(range(SORTED, Some(0), Some(175))), (0, 1));
}

#[test]
fn a_range_and_a_runtime_filter_on_the_same_column_both_apply() {
    for has_nulls in [false, true] {
        let batch = sample(5000, has_nulls);
        let keys = integers(batch.column(SORTED)).unwrap();
        for properties in ways_of_writing() {
            let (_directory, table) = two_files(&batch, properties);
            for (lower, upper) in [(None, Some(300)), (Some(100), Some(900)), (Some(101), None)] {
                let slot = RuntimeFilterSlot::new();
                slot.publish(Some(RuntimeFilter { min: 10, max: 320, members: Members::Bitmap(vec![u64::MAX; 5].into()) }));
                let request = ScanRequest {
                    columns: vec![SORTED],
                    runtime_filters: vec![(slot, 0)],
                    part: range(SORTED, lower, upper),
                    ..ScanRequest::default()
                };
                let (found, ..) = read(&table, request, 8192);
                let is_in = |row: usize| {
                    keys[row]
                        .is_some_and(|key| (10..=320).contains(&key) && lower.is_none_or(|l| l <= key) && upper.is_none_or(|u| key < u))
                };
                // Where bounds say that all values pass, NULLs may pass too.
                let found: Vec<Option<i64>> = integers(&found[0]).unwrap().into_iter().filter(Option::is_some).collect();
                assert_eq!(found, integers(&kept(&batch, &[SORTED], is_in).0[0]).unwrap());
            }
        }
    }
}

#[test]
fn splits_are_the_same_wherever_the_files_lie() {
    let batch = sample(5000, false);
    let ((directory, table), (_other, copy)) = (two_files(&batch, in_groups()), two_files(&batch, in_groups()));
    let splits = table.splits().unwrap();
    assert_eq!(splits, copy.splits().unwrap());
    let mut identities: Vec<u64> = splits.iter().map(|split| split.identity).collect();
    identities.sort_unstable();
    identities.dedup();
    assert_eq!(identities.len(), 8);
    assert!(splits.iter().all(|split| split.bytes.len() == 9 && split.bytes.iter().all(|bytes| *bytes > 0)));
    let stored: u64 = splits.iter().flat_map(|split| &split.bytes).sum();
    let files = ["a.parquet", "b.parquet"].map(|name| directory.path().join(name).metadata().unwrap().len());
    assert!(stored < files.iter().sum(), "chunks are parts of their files");
}

#[test]
fn bounds_of_splits_are_known_of_columns_without_nulls_and_with_statistics() {
    let batch = sample(5000, false);
    let (_directory, table) = two_files(&batch, in_groups());
    for key in KEYS {
        let keys: Vec<i64> = integers(batch.column(key)).unwrap().into_iter().flatten().collect();
        let expected: Vec<(i64, i64)> =
            keys.chunks(GROUP_ROWS).map(|keys| (*keys.iter().min().unwrap(), *keys.iter().max().unwrap())).collect();
        assert_eq!(table.split_bounds(key).unwrap(), Some(expected), "column {key}");
    }
    assert_eq!(table.split_bounds(MODE).unwrap(), None);
    let (_directory, table) = two_files(&batch, in_groups().set_statistics_enabled(EnabledStatistics::None));
    assert_eq!(table.split_bounds(SORTED).unwrap(), None);
    let (_directory, table) = two_files(&sample(5000, true), in_groups());
    assert_eq!(table.split_bounds(SORTED).unwrap(), None);
}
