//! Makes the rows of a table, or of one part of it, as record batches.
//!
//! Position: over the crate `tpchgen`, whose rows are those of the official dbgen. Parts are independent: several threads
//! each make their own, and all parts in order are the table.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal64Array, RecordBatch},
    datatypes::{DataType, Decimal128Type, SchemaRef},
    error::ArrowError,
};
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};
use tpchgen_arrow::{CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow};

use crate::schema::Table;

/// Rows of a batch unless told otherwise.
const BATCH_ROWS: usize = 8192;

/// Largest scale whose keys are known to be right.
const SCALE_MAX: f64 = 100_000.0;

/// Rows of one part of a table, batch by batch. The first generator of a process fills a text pool of 300 MB, which takes
/// a second or so.
pub struct Generator {
    batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
    schema: SchemaRef,
}

/// Why there is no such generator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GeneratorError {
    /// Zero, negative, not finite or too large.
    #[error("scale factor {0} is not above 0 and at most {SCALE_MAX}")]
    Scale(f64),
    /// Parts are counted from 0.
    #[error("part {part} of {parts} does not exist")]
    Part {
        /// Asked for.
        part: u32,
        /// How many there are.
        parts: u32,
    },
}

impl Generator {
    /// Rows of part `part` (from 0) of `parts` of `table` at `scale`, in batches of 8192 rows.
    ///
    /// # Errors
    /// When there is no such scale or part.
    pub fn new(table: Table, scale: f64, part: u32, parts: u32) -> Result<Self, GeneratorError> {
        Self::with_batch_rows(table, scale, part, parts, BATCH_ROWS)
    }

    /// The same, in batches of `batch_rows` rows (at least one).
    ///
    /// # Errors
    /// When there is no such scale or part.
    pub fn with_batch_rows(table: Table, scale: f64, part: u32, parts: u32, batch_rows: usize) -> Result<Self, GeneratorError> {
        if !(scale > 0.0 && scale <= SCALE_MAX) {
            return Err(GeneratorError::Scale(scale));
        }
        if part >= parts || parts > i32::MAX as u32 {
            return Err(GeneratorError::Part { part, parts });
        }
        let rows = batch_rows.max(1);
        // The crate counts parts from 1.
        let (k, n) = (part as i32 + 1, parts as i32);
        let batches: Box<dyn Iterator<Item = _> + Send> = match table {
            // Their generators know no parts: the first part has all rows.
            Table::Nation | Table::Region if part > 0 => Box::new(std::iter::empty()),
            Table::Nation => Box::new(NationArrow::new(NationGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Region => Box::new(RegionArrow::new(RegionGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Customer => Box::new(CustomerArrow::new(CustomerGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Lineitem => Box::new(LineItemArrow::new(LineItemGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Orders => Box::new(OrderArrow::new(OrderGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Part => Box::new(PartArrow::new(PartGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Partsupp => Box::new(PartSuppArrow::new(PartSuppGenerator::new(scale, k, n)).with_batch_size(rows)),
            Table::Supplier => Box::new(SupplierArrow::new(SupplierGenerator::new(scale, k, n)).with_batch_size(rows)),
        };
        Ok(Generator { batches, schema: table.schema() })
    }

    /// First and last key of a part of a table whose rows come in the order of their keys (of lineitem, its order's; of partsupp, its
    /// part's); `None` for other tables and where a part is empty.
    pub fn key_bounds(table: Table, scale: f64, part: u32, parts: u32) -> Option<(i64, i64)> {
        let (keyed, is_sparse) = match table {
            Table::Lineitem | Table::Orders => (Table::Orders, true),
            Table::Partsupp | Table::Part => (Table::Part, false),
            Table::Customer | Table::Supplier => (table, false),
            Table::Nation | Table::Region => return None,
        };
        let keys = i64::try_from(keyed.row_count(scale)).ok()?;
        if part >= parts {
            return None;
        }
        // All parts have the same number of keys, but for the last one, which has the rest too.
        let keys_of_part = keys / i64::from(parts);
        let first = keys_of_part * i64::from(part) + 1;
        let last = if part + 1 == parts { keys } else { first + keys_of_part - 1 };
        let key = |index| if is_sparse { OrderGenerator::make_order_key(index) } else { index };
        (first <= last).then(|| (key(first), key(last)))
    }

    /// The table's columns.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Iterator for Generator {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.batches.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let columns = batch.columns().iter().map(narrow).collect::<Result<_, _>>();
        Some(columns.and_then(|columns| RecordBatch::try_new(self.schema(), columns)))
    }
}

/// Decimals as the engine carries them; other columns as they are.
fn narrow(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let DataType::Decimal128(precision, scale) = *column.data_type() else {
        return Ok(Arc::clone(column));
    };
    // The values have at most 15 digits.
    let values = column.as_primitive::<Decimal128Type>().values().iter().map(|value| *value as i64);
    Ok(Arc::new(Decimal64Array::from_iter_values(values).with_precision_and_scale(precision, scale)?))
}

#[cfg(test)]
mod tests {
    use arrow::{compute::concat_batches, datatypes::Int64Type};

    use super::*;

    fn all(table: Table, scale: f64, parts: u32) -> RecordBatch {
        let batches: Vec<_> =
            (0..parts).flat_map(|part| Generator::with_batch_rows(table, scale, part, parts, 1000).unwrap()).map(Result::unwrap).collect();
        concat_batches(&table.schema(), &batches).unwrap()
    }

    #[test]
    fn parts_together_are_the_table() {
        for table in Table::ALL {
            let whole = all(table, 0.001, 1);
            assert_eq!(whole, all(table, 0.001, 3), "{}", table.name());
            if table != Table::Lineitem {
                assert_eq!(whole.num_rows() as u64, table.row_count(0.001), "{}", table.name());
            }
        }
    }

    #[test]
    fn lineitem_has_the_published_number_of_rows() {
        let rows: usize = Generator::new(Table::Lineitem, 0.01, 0, 1).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, 60_175);
    }

    #[test]
    fn orders_keys_are_sparse_and_ascending() {
        // Of every 32 keys dbgen uses the first 8.
        let orders = all(Table::Orders, 0.001, 1);
        let keys = orders.column(0).as_primitive::<Int64Type>().values();
        assert_eq!(&keys[..10], [1, 2, 3, 4, 5, 6, 7, 32, 33, 34]);
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_bounds_of_a_part_are_those_of_its_rows() {
        for table in Table::ALL {
            for (scale, parts) in [(0.001, 1), (0.001, 7), (0.0123, 5)] {
                for part in 0..parts {
                    let Some(bounds) = Generator::key_bounds(table, scale, part, parts) else {
                        assert!(matches!(table, Table::Nation | Table::Region));
                        continue;
                    };
                    let batches: Vec<_> = Generator::new(table, scale, part, parts).unwrap().map(Result::unwrap).collect();
                    let keys: Vec<i64> =
                        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
                    assert!(keys.is_sorted());
                    assert_eq!((keys[0], keys[keys.len() - 1]), bounds, "{} part {part} of {parts}", table.name());
                }
            }
        }
        assert_eq!(Generator::key_bounds(Table::Part, 1.0, 3, 3), None);
    }

    #[test]
    fn wrong_scales_and_parts_are_refused() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(Generator::new(Table::Part, scale, 0, 1), Err(GeneratorError::Scale(_))));
        }
        for (part, parts) in [(0, 0), (1, 1), (0, u32::MAX)] {
            assert!(matches!(Generator::new(Table::Part, 1.0, part, parts), Err(GeneratorError::Part { .. })));
        }
    }
}
