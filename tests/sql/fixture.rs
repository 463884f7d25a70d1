//! The tables that SQL tests read, and the engine's shapes they are read in.
//!
//! There is no CREATE TABLE: small tables with NULLs, duplicates and extreme values are made here, in schema
//! `memory.default`; TPC-H at scale 0.01 is `tpch.tiny`.

use std::sync::Arc;

use arneb::{
    Engine,
    catalog::memory::MemoryCatalog,
    connectors::{memory::MemoryTable, tpch::TpchCatalog},
    engine::EngineOptions,
};
use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal64Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
        TimestampMicrosecondArray,
    },
    datatypes::{Field, Schema},
};

/// A way to run the engine.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Threads of the pool.
    pub num_threads: usize,
    /// Rows of a batch.
    pub batch_rows: usize,
}

/// Tiny and normal batches, one thread and several.
pub const SHAPES: &[Shape] = &[
    Shape { num_threads: 1, batch_rows: 2 },
    Shape { num_threads: 1, batch_rows: 8192 },
    Shape { num_threads: 3, batch_rows: 3 },
    Shape { num_threads: 3, batch_rows: 8192 },
];

/// An engine with the tables.
pub fn engine(shape: Shape) -> Arc<Engine> {
    let engine = Engine::new(EngineOptions {
        num_threads: shape.num_threads,
        batch_rows: shape.batch_rows,
        default_catalog: "memory".to_owned(),
        ..EngineOptions::default()
    });
    let catalog = MemoryCatalog::new();
    for (name, batch) in tables() {
        // Several batches, so that several chains find work.
        let pieces: Vec<RecordBatch> = (0..batch.num_rows())
            .step_by(shape.batch_rows)
            .map(|at| batch.slice(at, shape.batch_rows.min(batch.num_rows() - at)))
            .collect();
        catalog.add("default", name, Arc::new(MemoryTable::from_record_batches(batch.schema(), &pieces).unwrap()));
    }
    engine.catalogs.add("memory", catalog);
    engine.catalogs.add("tpch", Arc::new(TpchCatalog));
    engine
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

/// Names and rows of all tables. The same rows are in `tests/sql/fixture.sql` for PostgreSQL.
fn tables() -> Vec<(&'static str, RecordBatch)> {
    let decimals = |values: Vec<Option<i64>>, precision, scale| -> ArrayRef {
        Arc::new(Decimal64Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    };
    vec![
        (
            // Every type, NULLs in every column.
            "types",
            table(vec![
                ("id", Arc::new(Int32Array::from(vec![1, 2, 3, 4, 5, 6]))),
                ("i", Arc::new(Int32Array::from(vec![Some(10), Some(-7), None, Some(0), Some(i32::MAX), Some(i32::MIN)]))),
                ("b", Arc::new(Int64Array::from(vec![Some(10_000_000_000), None, Some(-1), Some(0), Some(i64::MAX), Some(i64::MIN)]))),
                ("d", decimals(vec![Some(1050), Some(-999), None, Some(0), Some(9_999_999_999), Some(1)], 10, 2)),
                ("f", Arc::new(Float64Array::from(vec![Some(1.5), Some(-2.25), Some(0.0), None, Some(1e300), Some(f64::NAN)]))),
                (
                    "s",
                    Arc::new(StringViewArray::from(vec![Some("apple"), Some("Banana"), Some(""), None, Some("äöü %_"), Some("apple pie")])),
                ),
                ("day", Arc::new(Date32Array::from(vec![Some(9131), Some(0), None, Some(10_956), Some(11_016), Some(19_782)]))),
                (
                    "at",
                    Arc::new(TimestampMicrosecondArray::from(vec![
                        Some(788_961_600_000_000),
                        None,
                        Some(0),
                        Some(946_684_799_999_999),
                        Some(1_709_210_096_123_456),
                        Some(-1),
                    ])),
                ),
                ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), None]))),
            ]),
        ),
        (
            // Duplicates and NULL keys.
            "l",
            table(vec![
                ("k", Arc::new(Int32Array::from(vec![Some(1), Some(2), Some(2), Some(3), None, Some(5), None]))),
                ("v", Arc::new(StringViewArray::from(vec![Some("a"), Some("b"), Some("c"), Some("d"), Some("e"), None, Some("g")]))),
            ]),
        ),
        (
            "r",
            table(vec![
                ("k", Arc::new(Int32Array::from(vec![Some(2), Some(2), Some(3), Some(4), None]))),
                ("w", Arc::new(Int64Array::from(vec![Some(20), Some(21), Some(30), Some(40), Some(50)]))),
            ]),
        ),
        (
            // No NULL anywhere; groups of one, two and three rows.
            "sales",
            table(vec![
                ("region", Arc::new(StringViewArray::from(vec!["north", "north", "south", "east", "south", "south"]))),
                ("product", Arc::new(StringViewArray::from(vec!["pen", "ink", "pen", "pen", "ink", "pen"]))),
                ("quantity", Arc::new(Int32Array::from(vec![3, 5, 2, 7, 1, 4]))),
                ("price", decimals(vec![Some(150), Some(1999), Some(150), Some(175), Some(2099), Some(125)], 8, 2)),
            ]),
        ),
        (
            "empty",
            table(vec![("k", Arc::new(Int32Array::from(Vec::<i32>::new()))), ("v", Arc::new(StringViewArray::from(Vec::<&str>::new())))]),
        ),
    ]
}
