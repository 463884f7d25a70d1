//! Tests of exchanges as wholes: nodes in one process, connected by wires that can be looked at, cut and held.

mod credits;
mod deadlock;
mod nodes;
mod routing;
mod streams;
mod units;

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal64Array, Decimal128Array, Float32Array, Float64Array,
        Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    },
    datatypes::IntervalMonthDayNano,
};
use pipelines::Batch;

/// A column of each physical type; about every fifth value is NULL.
pub(super) fn every_type(num_rows: usize) -> Batch {
    let rows = || (0..num_rows as i64).map(|row| (row % 5 != 3).then_some(row));
    let texts: Vec<Option<String>> = rows().map(|row| row.map(|row| "text ".repeat(row as usize % 7))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from_iter(rows().map(|row| row.map(|row| row % 3 == 0)))),
        Arc::new(Int16Array::from_iter(rows().map(|row| row.map(|row| row as i16)))),
        Arc::new(Int32Array::from_iter(rows().map(|row| row.map(|row| row as i32)))),
        Arc::new(Int64Array::from_iter(rows())),
        Arc::new(Float32Array::from_iter(rows().map(|row| row.map(|row| row as f32 / 3.0)))),
        Arc::new(Float64Array::from_iter(rows().map(|row| row.map(|row| row as f64 / 3.0)))),
        Arc::new(Decimal64Array::from_iter(rows()).with_precision_and_scale(15, 2).unwrap()),
        Arc::new(
            Decimal128Array::from_iter(rows().map(|row| row.map(|row| i128::from(row) << 70))).with_precision_and_scale(38, 4).unwrap(),
        ),
        Arc::new(Date32Array::from_iter(rows().map(|row| row.map(|row| row as i32)))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows()).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from_iter(rows())),
        Arc::new(Time64MicrosecondArray::from_iter(rows())),
        Arc::new(IntervalMonthDayNanoArray::from_iter(rows().map(|row| row.map(|row| IntervalMonthDayNano::new(row as i32, 1, row))))),
        Arc::new(StringViewArray::from_iter(texts.iter().map(|text| text.as_deref()))),
        Arc::new(BinaryViewArray::from_iter(texts.iter().map(|text| text.as_deref().map(str::as_bytes)))),
    ];
    assert!(columns.iter().all(|column| column.len() == num_rows));
    Batch::new(columns, num_rows)
}
