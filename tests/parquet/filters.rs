//! Filters, runtime filters and projections give the rows that a naive evaluation gives.

use std::sync::Arc;

use arneb::connectors::{ScanRequest, Table, parquet::ParquetTable};
use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    compute::filter,
    datatypes::{Date32Type, Decimal64Type, Int32Type, Int64Type},
};
use operators::{
    Expression, Scalar,
    expression::Comparison,
    runtime_filter::{BlockedBloom, Members, RuntimeFilter, RuntimeFilterSlot},
};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use crate::{
    scan, scan_in_batches,
    writing::{Random, sample, write},
};

pub const FEW: usize = 0;
pub const MANY: usize = 1;
pub const SORTED: usize = 2;
pub const DATES: usize = 3;
pub const NARROW: usize = 4;
pub const MODE: usize = 7;
pub const COMMENT: usize = 8;

/// How files are written: with dictionaries, without, with ones that are given up midway, in small row groups.
pub fn ways_of_writing() -> Vec<WriterPropertiesBuilder> {
    let builder = || WriterProperties::builder().set_data_page_row_count_limit(300).set_write_batch_size(100);
    vec![
        builder(),
        builder().set_dictionary_enabled(false),
        builder().set_dictionary_page_size_limit(3000),
        builder().set_max_row_group_row_count(Some(700)),
    ]
}

/// Whether a row passes.
pub type Test = Box<dyn Fn(&RecordBatch, usize) -> bool>;

fn column(batch: &RecordBatch, index: usize) -> Expression {
    Expression::Column { index, data_type: batch.column(index).data_type().clone() }
}

fn compare(operator: Comparison, left: Expression, right: Expression) -> Expression {
    Expression::Compare { operator, left: Box::new(left), right: Box::new(right) }
}

fn int64(batch: &RecordBatch, index: usize, row: usize) -> Option<i64> {
    let column = batch.column(index);
    column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
}

fn text(batch: &RecordBatch, index: usize, row: usize) -> Option<String> {
    let column = batch.column(index);
    column.is_valid(row).then(|| column.as_string_view().value(row).to_owned())
}

/// A filter on the sample's columns (by position in the table) and the same in Rust.
pub fn random_filter(batch: &RecordBatch, random: &mut Random) -> (Expression, Test) {
    match random.below(8) {
        0 => {
            let limit = random.below(9) as i64 - 4;
            let expression = compare(Comparison::LessOrEqual, column(batch, FEW), Expression::Literal(Scalar::Int64(limit)));
            (expression, Box::new(move |b, row| int64(b, FEW, row).is_some_and(|v| v <= limit)))
        }
        1 => {
            let limit = random.below(10_500_000) as i64;
            let literal = Expression::Literal(Scalar::Decimal(limit.into(), 15, 2));
            let expression = compare(Comparison::Greater, column(batch, MANY), literal);
            (
                expression,
                Box::new(move |b, row| {
                    let column = b.column(MANY);
                    column.is_valid(row) && column.as_primitive::<Decimal64Type>().value(row) > limit
                }),
            )
        }
        2 => {
            let wanted = random.below(1300) as i64;
            let expression = compare(Comparison::GreaterOrEqual, column(batch, SORTED), Expression::Literal(Scalar::Int64(wanted)));
            (expression, Box::new(move |b, row| int64(b, SORTED, row).is_some_and(|v| v >= wanted)))
        }
        3 => {
            let list = vec![Scalar::Utf8("AIR".to_owned()), Scalar::Utf8("Größe".to_owned())];
            let expression = Expression::InList { operand: Box::new(column(batch, MODE)), list };
            (expression, Box::new(|b, row| text(b, MODE, row).is_some_and(|v| v == "AIR" || v == "Größe")))
        }
        4 => {
            let like = Expression::Like {
                operand: Box::new(column(batch, COMMENT)),
                pattern: Box::new(Expression::Literal(Scalar::Utf8("%9 pending%".to_owned()))),
                escape: Some('\\'),
                case_insensitive: false,
            };
            (Expression::Not(Box::new(like)), Box::new(|b, row| text(b, COMMENT, row).is_some_and(|v| !v.contains("9 pending"))))
        }
        5 => (Expression::IsNull(Box::new(column(batch, DATES))), Box::new(|b, row| b.column(DATES).is_null(row))),
        6 => {
            let expression = compare(Comparison::Less, column(batch, FEW), column(batch, SORTED));
            (expression, Box::new(|b, row| int64(b, FEW, row).zip(int64(b, SORTED, row)).is_some_and(|(l, r)| l < r)))
        }
        _ => {
            let day = 8000 + random.below(2500) as i32;
            let expression = compare(Comparison::NotEqual, column(batch, DATES), Expression::Literal(Scalar::Date32(day)));
            (
                expression,
                Box::new(move |b, row| {
                    let column = b.column(DATES);
                    column.is_valid(row) && column.as_primitive::<Date32Type>().value(row) != day
                }),
            )
        }
    }
}

fn kept(batch: &RecordBatch, tests: &[Test], columns: &[usize]) -> Vec<ArrayRef> {
    let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(tests.iter().all(|test| test(batch, row)))).collect();
    columns.iter().map(|index| filter(batch.column(*index), &mask).unwrap()).collect()
}

#[test]
pub fn random_filters_and_projections_agree_with_a_naive_evaluation() {
    let mut random = Random(123);
    for has_nulls in [false, true] {
        let batch = sample(5000, has_nulls);
        for properties in ways_of_writing() {
            let file = write(&batch, properties);
            let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
            for _ in 0..25 {
                let (filters, tests): (Vec<Expression>, Vec<Test>) =
                    (0..random.below(4)).map(|_| random_filter(&batch, &mut random)).unzip();
                let columns: Vec<usize> = (0..9).filter(|_| random.below(3) == 0).collect();
                let filter_columns: Vec<usize> = (0..9).collect();
                let offset = columns.len();
                let filters: Vec<Expression> = filters
                    .into_iter()
                    .map(|mut filter| {
                        filter.remap_columns(&|index| offset + index);
                        filter
                    })
                    .collect();
                let expected = kept(&batch, &tests, &columns);
                for batch_rows in [3, 100, 8192] {
                    let request = ScanRequest {
                        columns: columns.clone(),
                        filter_columns: filter_columns.clone(),
                        filters: filters.clone(),
                        ..ScanRequest::default()
                    };
                    let found = scan_in_batches(&table, request, batch_rows).unwrap();
                    assert_eq!(found, expected, "{filters:?}, batches of {batch_rows}");
                }
            }
        }
    }
}

#[test]
fn runtime_filters_drop_what_cannot_match() {
    for has_nulls in [false, true] {
        let batch = sample(5000, has_nulls);
        for properties in ways_of_writing() {
            let file = write(&batch, properties);
            let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
            let bitmap = RuntimeFilter { min: 10, max: 900, members: Members::Bitmap(vec![0x5555_5555_0000_ffff; 14].into()) };
            let passes = |v: i64| (10..=900).contains(&v) && 0x5555_5555_0000_ffff_u64 >> ((v - 10) & 63) & 1 == 1;
            let expected = kept(&batch, &[Box::new(move |b, row| int64(b, SORTED, row).is_some_and(passes))], &[SORTED, COMMENT]);
            let slot = RuntimeFilterSlot::new();
            slot.publish(Some(bitmap));
            let request = ScanRequest { columns: vec![SORTED, COMMENT], runtime_filters: vec![(slot, 0)], ..ScanRequest::default() };
            assert_eq!(scan(&table, request).unwrap(), expected);

            let mut bloom = BlockedBloom::with_capacity(10);
            [5, 77, 4711].into_iter().for_each(|key| bloom.insert(key));
            let slot = RuntimeFilterSlot::new();
            slot.publish(Some(RuntimeFilter { min: 5, max: 1 << 19, members: Members::Bloom(bloom) }));
            let request = ScanRequest { columns: vec![NARROW], runtime_filters: vec![(slot, 0)], ..ScanRequest::default() };
            let found = scan(&table, request).unwrap();
            let found: Vec<i32> = found[0].as_primitive::<Int32Type>().iter().flatten().collect();
            let stored: Vec<i32> = batch.column(NARROW).as_primitive::<Int32Type>().iter().flatten().collect();
            assert!(found.len() < stored.len() / 10, "a bloom filter drops most keys");
            let expected_hits = stored.iter().filter(|v| [5, 77, 4711].contains(*v)).count();
            assert_eq!(found.iter().filter(|v| [5, 77, 4711].contains(*v)).count(), expected_hits);
        }
    }
}

#[test]
fn a_runtime_filter_without_keys_lets_nothing_pass_and_one_never_published_everything() {
    let batch = sample(1000, true);
    let file = write(&batch, WriterProperties::builder());
    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let slot = RuntimeFilterSlot::new();
    slot.publish(Some(RuntimeFilter { min: 1, max: 0, members: Members::Unknown }));
    let request = ScanRequest { columns: vec![FEW], runtime_filters: vec![(slot, 0)], ..ScanRequest::default() };
    assert_eq!(scan(&table, request).unwrap()[0].len(), 0);
    let request = ScanRequest { columns: vec![FEW], runtime_filters: vec![(RuntimeFilterSlot::new(), 0)], ..ScanRequest::default() };
    assert_eq!(scan(&table, request).unwrap()[0].len(), 1000);
}

#[test]
fn rows_are_counted_without_columns() {
    let batch = sample(1234, false);
    let file = write(&batch, WriterProperties::builder().set_max_row_group_row_count(Some(500)));
    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let rows = |request| -> usize {
        let batches = pipelines::testing::run_source(table.scan(request).unwrap()).unwrap();
        batches.iter().map(pipelines::Batch::num_rows).sum()
    };
    assert_eq!(rows(ScanRequest::default()), 1234);
    let filter = compare(Comparison::Less, column(&batch, SORTED), Expression::Literal(Scalar::Int64(100)));
    let mut remapped = filter;
    remapped.remap_columns(&|_| 0);
    assert_eq!(rows(ScanRequest { filter_columns: vec![SORTED], filters: vec![remapped], ..ScanRequest::default() }), 400);
    let never = Expression::Literal(Scalar::Boolean(false));
    assert_eq!(rows(ScanRequest { columns: vec![FEW], filters: vec![never], ..ScanRequest::default() }), 0);
}

#[test]
fn a_division_by_zero_counts_only_for_rows_that_pass_the_other_filters() {
    let batch = sample(2000, false);
    let file = write(&batch, WriterProperties::builder());
    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let quotient = Expression::Arithmetic {
        operator: operators::expression::Arithmetic::Divide,
        left: Box::new(Expression::Literal(Scalar::Int64(6))),
        right: Box::new(column(&batch, FEW)),
        data_type: arrow::datatypes::DataType::Int64,
    };
    let divides = compare(Comparison::Equal, quotient, Expression::Literal(Scalar::Int64(2)));
    let mut is_positive = compare(Comparison::Greater, column(&batch, SORTED), Expression::Literal(Scalar::Int64(-1)));
    is_positive.remap_columns(&|_| 1);
    let request = |filters| ScanRequest { columns: vec![FEW, SORTED], filters, ..ScanRequest::default() };
    let error = scan(&table, request(vec![divides.clone(), is_positive])).err().unwrap();
    assert_eq!(error.sqlstate.0, "22012");
    let mut never = compare(Comparison::Less, column(&batch, SORTED), Expression::Literal(Scalar::Int64(0)));
    never.remap_columns(&|_| 1);
    assert_eq!(scan(&table, request(vec![divides, never])).unwrap()[0].len(), 0);
}

#[test]
fn small_dictionaries_of_text_travel_with_the_batch() {
    let batch = sample(5000, true);
    let file = write(&batch, WriterProperties::builder());
    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let request = ScanRequest { columns: vec![MODE, COMMENT], ..ScanRequest::default() };
    let batches = pipelines::testing::run_source(table.scan(request).unwrap()).unwrap();
    for batch in &batches {
        assert_eq!(*batch.column(0).data_type(), operators::types::string_dictionary());
        assert_eq!(batch.column(0).as_any_dictionary().values().len(), 5);
    }
    let _: &Arc<dyn Array> = batches[0].column(1);
}
