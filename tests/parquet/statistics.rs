//! What the optimizer is told of a table.

use arneb::connectors::{Table, parquet::ParquetTable};
use operators::{Expression, Scalar, expression::Comparison};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::writing::{sample, write};

#[test]
fn bounds_and_counts_come_from_footers() {
    let batch = sample(10_000, false);
    let file = write(&batch, WriterProperties::builder().set_max_row_group_row_count(Some(2500)));
    let statistics = ParquetTable::open(file.path().to_str().unwrap()).unwrap().statistics().unwrap();
    assert_eq!(statistics.num_rows, 10_000);
    let few = &statistics.columns[0];
    assert_eq!((few.min.clone(), few.max.clone()), (Some(Scalar::Int64(-3)), Some(Scalar::Int64(3))));
    assert_eq!((few.null_count, few.distinct_count, few.is_clustered), (Some(0), Some(7.0), false));
    let many = &statistics.columns[1];
    // 10,000 draws from 10 million values: all but about 5 are distinct.
    assert!(many.distinct_count.is_some_and(|d| d > 9_000.0), "{many:?}");
    let sorted = &statistics.columns[2];
    assert!(sorted.is_clustered);
    assert_eq!(sorted.max, Some(Scalar::Int64(2499)));
    assert!(sorted.distinct_count.is_some_and(|d| (d - 2500.0).abs() < 50.0), "{sorted:?}");
    let mode = &statistics.columns[7];
    assert_eq!((mode.min.clone(), mode.distinct_count), (Some(Scalar::Utf8(String::new())), Some(5.0)));
    assert!(statistics.columns[8].average_bytes.is_some_and(|b| (30.0..70.0).contains(&b)));
}

#[test]
fn nulls_are_counted_and_missing_statistics_are_unknown() {
    let batch = sample(4000, true);
    let file = write(&batch, WriterProperties::builder());
    let statistics = ParquetTable::open(file.path().to_str().unwrap()).unwrap().statistics().unwrap();
    assert_eq!(statistics.columns[0].null_count, Some(batch.column(0).null_count() as u64));
    let file = write(&batch, WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None));
    let statistics = ParquetTable::open(file.path().to_str().unwrap()).unwrap().statistics().unwrap();
    assert_eq!((statistics.columns[0].min.clone(), statistics.columns[0].null_count), (None, None));
}

#[test]
fn a_sample_tells_the_selectivity_of_any_filter() {
    let batch = sample(120_000, false);
    let file = write(&batch, WriterProperties::builder().set_max_row_group_row_count(Some(30_000)));
    let table = ParquetTable::open(file.path().to_str().unwrap()).unwrap();
    let filter = |limit| Expression::Compare {
        operator: Comparison::Less,
        left: Box::new(Expression::Column { index: 4, data_type: batch.column(4).data_type().clone() }),
        right: Box::new(Expression::Literal(Scalar::Int32(limit))),
    };
    let share = table.sample_selectivity(&[filter(1 << 18)]).unwrap().unwrap();
    assert!((share - 0.25).abs() < 0.03, "{share}");
    let small = write(&sample(1000, false), WriterProperties::builder());
    let small = ParquetTable::open(small.path().to_str().unwrap()).unwrap();
    assert_eq!(small.sample_selectivity(&[filter(5)]).unwrap(), None);
}
